//! The table of sessions.

use anstyle::Style;
use tabled::{
    builder::Builder,
    settings::{Alignment, Padding, Style as Lines, object::Columns},
};

use super::{
    judge::{self, FAINT, GOOD, HEADING, WARNING, styled},
    units::{self, or_absent},
};
use crate::api::Session;

/// A column: what its cells say of a session at a time.
#[derive(Clone, Copy)]
struct Column {
    heading: &'static str,
    /// Figures are aligned to the right.
    figures: bool,
    /// Only with `-o wide`.
    wide: bool,
    cell: fn(&Session, f64) -> Cell,
}

/// A text and how it looks.
struct Cell(String, Style);

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self(text, Style::new())
    }
}

const fn text(heading: &'static str, cell: fn(&Session, f64) -> Cell) -> Column {
    Column {
        heading,
        figures: false,
        wide: false,
        cell,
    }
}

const fn figures(heading: &'static str, cell: fn(&Session, f64) -> Cell) -> Column {
    Column {
        figures: true,
        ..text(heading, cell)
    }
}

const fn wide(column: Column) -> Column {
    Column {
        wide: true,
        ..column
    }
}

const COLUMNS: &[Column] = &[
    text("SESSION", |s, _| units::printable(&s.session).into()),
    text("NAMESPACE", |s, _| name(&s.namespace)),
    text("TEMPLATE", |s, _| name(&s.template)),
    text("PHASE", |s, _| phase(s)),
    figures("AGE", |s, now| or_absent(lived(s, now), units::age).into()),
    figures("PROCS", |s, _| or_absent(s.processes, units::count).into()),
    figures("CPU", |s, _| or_absent(s.cpu_ratio, units::cpus).into()),
    figures("WAIT P99", |s, _| {
        let p99 = s.runqueue_wait.recent.and_then(|r| r.waits.p99);
        limited(p99, judge::RUNQUEUE_WAIT_P99)
    }),
    wide(figures("LIFE", |s, _| {
        or_absent(s.runqueue_wait.whole.p99, units::time).into()
    })),
    figures("RTT P50", |s, _| {
        or_absent(s.tcp.and_then(|t| t.inbound.rtt.p50), units::time).into()
    }),
    wide(figures("RTT P95", |s, _| {
        limited(s.tcp.and_then(|t| t.inbound.rtt.p95), judge::CLIENT_RTT_P95)
    })),
    figures("CLIENTS", |s, _| or_absent(s.clients, units::count).into()),
    wide(figures("DISCONNECTS", |s, _| {
        or_absent(disconnects(s), units::count).into()
    })),
    wide(figures("MEMORY", |s, _| {
        or_absent(s.memory_bytes.map(|m| m.current), units::bytes).into()
    })),
    wide(figures("THROTTLED", |s, _| {
        or_absent(s.cpu_throttled_seconds, units::time).into()
    })),
    figures("GPU", |s, _| or_absent(gpu_share(s), units::percent).into()),
    figures("GPU MEM", |s, _| {
        or_absent(gpu_memory(s), units::bytes).into()
    }),
    figures("ENC FPS", |s, _| {
        or_absent(encoder_fps(s), units::count).into()
    }),
    wide(text("PREEMPTED MOST BY", |s, _| {
        let most = s.preempted_by.first();
        or_absent(most, |most| units::printable(&most.session)).into()
    })),
    wide(text("USER", |s, _| {
        name(s.user.as_deref().unwrap_or_default())
    })),
    wide(text("SOURCE", |s, _| name(&s.source))),
    wide(text("RULE", |s, _| name(&s.rule))),
    wide(text("CGROUP", |s, _| name(&s.cgroup))),
];

/// Sessions as a table, a line each, with colours.
pub(super) fn table<'s>(
    sessions: impl Iterator<Item = &'s Session>,
    wide: bool,
    now: f64,
) -> String {
    let columns: Vec<&Column> = COLUMNS.iter().filter(|c| wide || !c.wide).collect();
    let mut rows = Builder::default();
    rows.push_record(columns.iter().map(|c| styled(c.heading, HEADING)));
    for session in sessions {
        rows.push_record(columns.iter().map(|column| {
            let Cell(text, style) = (column.cell)(session, now);
            styled(&text, style)
        }));
    }
    let mut table = rows.build();
    table.with(Lines::empty()).with(Padding::new(0, 2, 0, 0));
    for (at, column) in columns.iter().enumerate() {
        if column.figures {
            table.modify(Columns::one(at), Alignment::right());
        }
    }
    let drawn = table.to_string();
    let lines = drawn.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

fn name(name: &str) -> Cell {
    let known = Some(name).filter(|name| !name.is_empty());
    or_absent(known, units::printable).into()
}

fn limited(seconds: Option<f64>, limit: f64) -> Cell {
    let style = if seconds.is_some_and(|s| s > limit) {
        WARNING
    } else {
        Style::new()
    };
    Cell(or_absent(seconds, units::time), style)
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
