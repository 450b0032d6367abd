//! The table of sessions: its columns, their order, and how much of it fits a terminal.

use std::cmp::Ordering;

use anstyle::Style;
use clap::{ValueEnum, builder::PossibleValue};
use tabled::{
    Table,
    builder::Builder,
    settings::{Alignment, Modify, Padding, Style as Lines, Width, object::Columns},
};

use super::{
    judge::{self, FAINT, GOOD, HEADING, WARNING, styled},
    units::{self, or_absent},
};
use crate::api::Session;

/// Columns of a session's name that stay on the narrowest terminal.
const LEAST_NAME: usize = 8;
/// As many as it has at most beside others.
const MOST_NAME: usize = 32;

/// A column: what it says of a session.
struct Column {
    heading: &'static str,
    /// What `--sort` calls it.
    key: &'static str,
    /// Only with `-o wide`.
    wide: bool,
    content: Content,
}

enum Content {
    /// In the order of the alphabet.
    Text(fn(&Session) -> Cell),
    /// Aligned to the right; the largest first.
    Figure {
        /// At a time.
        value: fn(&Session, f64) -> Option<f64>,
        form: fn(f64) -> String,
        /// More is too much.
        limit: Option<f64>,
    },
}

/// A text and how it looks.
struct Cell(String, Style);

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self(text, Style::new())
    }
}

const fn text(heading: &'static str, key: &'static str, cell: fn(&Session) -> Cell) -> Column {
    Column {
        heading,
        key,
        wide: false,
        content: Content::Text(cell),
    }
}

const fn figure(
    heading: &'static str,
    key: &'static str,
    form: fn(f64) -> String,
    value: fn(&Session, f64) -> Option<f64>,
) -> Column {
    Column {
        heading,
        key,
        wide: false,
        content: Content::Figure {
            value,
            form,
            limit: None,
        },
    }
}

const fn limited(column: Column, most: f64) -> Column {
    let content = match column.content {
        Content::Figure { value, form, .. } => Content::Figure {
            value,
            form,
            limit: Some(most),
        },
        text @ Content::Text(_) => text,
    };
    Column { content, ..column }
}

const fn wide(column: Column) -> Column {
    Column {
        wide: true,
        ..column
    }
}

fn count(value: f64) -> String {
    units::count(value as u64)
}

fn bytes(value: f64) -> String {
    units::bytes(value as u64)
}

fn whole(value: Option<u64>) -> Option<f64> {
    value.map(|value| value as f64)
}

/// On a narrow terminal the last are left out first.
const COLUMNS: &[Column] = &[
    text("SESSION", "session", |s| {
        units::printable(&s.session).into()
    }),
    text("NAMESPACE", "namespace", |s| name(&s.namespace)),
    text("TEMPLATE", "template", |s| name(&s.template)),
    text("PHASE", "phase", phase),
    figure("AGE", "age", units::age, lived),
    figure("PROCS", "procs", count, |s, _| whole(s.processes)),
    figure("CPU", "cpu", units::cpus, |s, _| s.cpu_ratio),
    limited(
        figure("WAIT P99", "wait-p99", units::time, |s, _| {
            s.runqueue_wait.recent?.observed.p99
        }),
        judge::RUNQUEUE_WAIT_P99,
    ),
    wide(figure("LIFE", "life", units::time, |s, _| {
        s.runqueue_wait.whole.p99
    })),
    figure("RTT P50", "rtt-p50", units::time, |s, _| {
        s.tcp?.inbound.rtt_minute?.observed.p50
    }),
    wide(limited(
        figure("RTT P95", "rtt-p95", units::time, |s, _| {
            s.tcp?.inbound.rtt_minute?.observed.p95
        }),
        judge::CLIENT_RTT_P95,
    )),
    figure("CLIENTS", "clients", count, |s, _| whole(s.clients)),
    wide(figure("DISCONNECTS", "disconnects", count, |s, _| {
        whole(disconnects(s))
    })),
    wide(figure("MEMORY", "memory", bytes, |s, _| {
        whole(Some(s.memory_bytes?.current))
    })),
    wide(figure("THROTTLED", "throttled", units::time, |s, _| {
        s.cpu_throttled_seconds
    })),
    figure("GPU", "gpu", units::percent, |s, _| gpu_share(s)),
    figure("GPU MEM", "gpu-mem", bytes, |s, _| whole(gpu_memory(s))),
    figure("ENC FPS", "enc-fps", count, |s, _| whole(encoder_fps(s))),
    wide(text("PREEMPTED MOST BY", "preempted-by", |s| {
        let most = s.preempted_by.first();
        or_absent(most, |most| units::printable(&most.session)).into()
    })),
    wide(text("USER", "user", |s| {
        name(s.user.as_deref().unwrap_or_default())
    })),
    wide(text("SOURCE", "source", |s| name(&s.source))),
    wide(text("RULE", "rule", |s| name(&s.rule))),
    wide(text("CGROUP", "cgroup", |s| name(&s.cgroup))),
];

/// The column by which sessions are ordered: figures from the largest on, names by the alphabet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort(usize);

const VARIANTS: [Sort; COLUMNS.len()] = {
    let mut variants = [Sort(0); COLUMNS.len()];
    let mut at = 0;
    while at < COLUMNS.len() {
        variants[at] = Sort(at);
        at += 1;
    }
    variants
};

/// What the keys were called when there were two.
const ALIASES: [(&str, &str); 2] = [("wait-p99", "p99"), ("session", "name")];

impl Default for Sort {
    fn default() -> Self {
        let by_wait = COLUMNS.iter().position(|column| column.key == "wait-p99");
        Self(by_wait.unwrap_or_default())
    }
}

impl ValueEnum for Sort {
    fn value_variants<'a>() -> &'a [Self] {
        &VARIANTS
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let key = self.column().key;
        let aliases = ALIASES.iter().filter(|(of, _)| *of == key);
        Some(PossibleValue::new(key).aliases(aliases.map(|(_, alias)| *alias)))
    }
}

impl Sort {
    fn column(self) -> &'static Column {
        &COLUMNS[self.0]
    }

    /// Which of two sessions comes first at a time. What is not known comes last, and those that are alike are ordered by
    /// their names.
    pub(super) fn compare(self, one: &Session, other: &Session, now: f64) -> Ordering {
        let by_column = match self.column().content {
            Content::Text(cell) => cell(one).0.cmp(&cell(other).0),
            Content::Figure { value, .. } => match (value(one, now), value(other, now)) {
                (Some(one), Some(other)) => other.total_cmp(&one),
                (one, other) => other.is_some().cmp(&one.is_some()),
            },
        };
        let key = |s: &Session| (s.session.clone(), s.namespace.clone(), s.template.clone());
        by_column.then_with(|| key(one).cmp(&key(other)))
    }
}

/// How a table is drawn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Form {
    /// With all columns.
    pub(super) wide: bool,
    /// The column by which it is ordered, which is always there.
    pub(super) sort: Sort,
    /// Columns of the terminal; the others are left out until it fits, and names are cut.
    pub(super) fits: Option<usize>,
}

/// Sessions as a table, a line each, with colours.
pub(super) fn table<'s>(
    sessions: impl Iterator<Item = &'s Session>,
    form: Form,
    now: f64,
) -> String {
    let sessions: Vec<&Session> = sessions.collect();
    let of_form = |column: &&Column| form.wide || !column.wide || is_key(column, form.sort);
    let mut columns: Vec<&Column> = COLUMNS.iter().filter(of_form).collect();
    let mut table = build(&sessions, &columns, form.sort, now);
    if let Some(fits) = form.fits {
        while table.total_width() > fits
            && let Some(at) = columns
                .iter()
                .rposition(|column| !is_key(column, form.sort) && column.key != COLUMNS[0].key)
        {
            columns.remove(at);
            table = build(&sessions, &columns, form.sort, now);
        }
        cut_names(&mut table, &sessions, fits);
    }
    let drawn = table.to_string();
    let lines = drawn.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

/// A table for whoever draws it otherwise.
pub(super) struct Grid {
    /// Those that fit.
    pub(super) columns: Vec<Heading>,
    /// A cell for each of them, and how it looks.
    pub(super) rows: Vec<Vec<(String, Style)>>,
}

/// A column of a [`Grid`].
pub(super) struct Heading {
    pub(super) text: &'static str,
    /// What `--sort` calls it.
    pub(super) key: &'static str,
    /// Of its widest cell.
    pub(super) width: usize,
    pub(super) is_figure: bool,
    /// The sessions are ordered by it.
    pub(super) is_key: bool,
}

/// Sessions with the columns that fit, two columns of the terminal apart.
pub(super) fn grid(sessions: &[&Session], form: Form, now: f64) -> Grid {
    let of_form = |column: &&Column| form.wide || !column.wide || is_key(column, form.sort);
    let mut columns: Vec<(Heading, Vec<(String, Style)>)> = COLUMNS
        .iter()
        .filter(of_form)
        .map(|column| {
            let cells: Vec<(String, Style)> = sessions
                .iter()
                .map(|session| column.cell(session, now))
                .map(|Cell(text, style)| (text, style))
                .collect();
            let widest = cells.iter().map(|(text, _)| text.chars().count()).max();
            let heading = Heading {
                text: column.heading,
                key: column.key,
                width: widest.unwrap_or(0).max(column.heading.chars().count()),
                is_figure: matches!(column.content, Content::Figure { .. }),
                is_key: is_key(column, form.sort),
            };
            (heading, cells)
        })
        .collect();
    let width = |columns: &[(Heading, Vec<(String, Style)>)]| -> usize {
        columns.iter().map(|(heading, _)| heading.width + 2).sum()
    };
    if let Some(fits) = form.fits {
        // One that is long must not take everybody's figures away.
        columns[0].0.width = columns[0].0.width.min(MOST_NAME);
        while width(&columns) > fits
            && let Some(at) = columns
                .iter()
                .rposition(|(heading, _)| !heading.is_key && heading.key != COLUMNS[0].key)
        {
            columns.remove(at);
        }
        let too_many = width(&columns).saturating_sub(fits);
        let (name, _) = &mut columns[0];
        name.width = name.width.saturating_sub(too_many).max(LEAST_NAME);
    }
    let mut rows = vec![Vec::new(); sessions.len()];
    let mut headings = Vec::new();
    for (heading, cells) in columns {
        for (row, cell) in rows.iter_mut().zip(cells) {
            row.push(cell);
        }
        headings.push(heading);
    }
    Grid {
        columns: headings,
        rows,
    }
}

fn is_key(column: &Column, sort: Sort) -> bool {
    column.key == sort.column().key
}

fn build(sessions: &[&Session], columns: &[&Column], sort: Sort, now: f64) -> Table {
    let mut rows = Builder::default();
    rows.push_record(columns.iter().map(|column| {
        let style = if is_key(column, sort) {
            HEADING.underline()
        } else {
            HEADING
        };
        styled(column.heading, style)
    }));
    for session in sessions {
        rows.push_record(columns.iter().map(|column| {
            let Cell(text, style) = column.cell(session, now);
            styled(&text, style)
        }));
    }
    let mut table = rows.build();
    table.with(Lines::empty()).with(Padding::new(0, 2, 0, 0));
    for (at, column) in columns.iter().enumerate() {
        if matches!(column.content, Content::Figure { .. }) {
            table.modify(Columns::one(at), Alignment::right());
        }
    }
    table
}

/// Cuts the names of sessions where they alone are too wide.
fn cut_names(table: &mut Table, sessions: &[&Session], fits: usize) {
    let too_many = table.total_width().saturating_sub(fits);
    if too_many > 0 {
        let names = sessions
            .iter()
            .map(|s| units::printable(&s.session).chars().count());
        let longest = names.max().unwrap_or_default();
        let width = longest.saturating_sub(too_many).max(LEAST_NAME);
        // The padding is part of the width.
        let cut = Width::truncate(width + 2).suffix("…");
        table.with(Modify::new(Columns::first()).with(cut));
    }
}

impl Column {
    fn cell(&self, session: &Session, now: f64) -> Cell {
        match self.content {
            Content::Text(cell) => cell(session),
            Content::Figure { value, form, limit } => {
                let value = value(session, now);
                let is_over = value.zip(limit).is_some_and(|(value, limit)| value > limit);
                let style = if is_over { WARNING } else { Style::new() };
                Cell(or_absent(value, form), style)
            }
        }
    }
}

fn name(name: &str) -> Cell {
    let known = Some(name).filter(|name| !name.is_empty());
    or_absent(known, units::printable).into()
}

fn phase(session: &Session) -> Cell {
    match (session.phase.as_deref(), session.end_reason.as_deref()) {
        (Some("Running"), _) => Cell("Running".to_owned(), GOOD),
        (Some("Idle"), _) => Cell("Idle".to_owned(), FAINT),
        (Some(phase), _) => Cell(phase.to_owned(), WARNING),
        (None, Some(reason)) => Cell(format!("Ended ({reason})"), FAINT),
        (None, None) => Cell("Ended".to_owned(), FAINT),
    }
}

/// How long it has lived, or lived.
pub(super) fn lived(session: &Session, now: f64) -> Option<f64> {
    Some(session.end_time.unwrap_or(now) - session.start_time?)
}

/// Clients whose connection was not closed: it broke off, or nothing came.
fn disconnects(session: &Session) -> Option<u64> {
    let gone = session.disconnects?;
    Some(gone.reset + gone.timed_out + gone.idle)
}

/// Share of the multiprocessors, all GPUs added up; `None` unless that of each is known.
fn gpu_share(session: &Session) -> Option<f64> {
    let shares = session.gpus.iter().map(|gpu| gpu.utilization.sm);
    shares.reduce(|a, b| Some(a? + b?)).flatten()
}

fn gpu_memory(session: &Session) -> Option<u64> {
    let bytes = session.gpus.iter().map(|gpu| gpu.memory_bytes);
    bytes.reduce(|a, b| Some(a? + b?)).flatten()
}

fn encoder_fps(session: &Session) -> Option<u64> {
    let encoders = session.gpus.iter().flat_map(|gpu| &gpu.encoders);
    encoders
        .map(|encoder| u64::from(encoder.streams.fps))
        .reduce(|a, b| a + b)
}

#[cfg(test)]
mod tests;
