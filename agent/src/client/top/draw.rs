//! The screen: a line on the node, the list or one session or the keys, and a line of what can be done.

use anstyle::{AnsiColor, Color as Ansi, Effects, Style as AnsiStyle};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    symbols::Marker,
    text::{Line, Span, Text},
    widgets::{Axis, Block, Cell, Chart, Dataset, GraphType, Paragraph, Row, Table, TableState},
};

use super::{
    super::{
        explain,
        table::{self, Form, Grid},
        units,
    },
    state::{Places, State, Typing, View},
};
use crate::api::{History, Session};

/// Between two columns.
const GAP: u16 = 2;
/// Lines of a plot with its frame.
const PLOT: u16 = 9;
/// Narrower than this, plots are one above the other, and only the first is there.
const TWO_PLOTS: u16 = 72;

const KEYS: &[(&str, &str)] = &[
    (
        "↑ ↓ PgUp PgDn Home End",
        "choose a session; on its page, move the text",
    ),
    ("Enter →", "the session's page"),
    ("Esc ← q", "back; q on the list leaves"),
    (
        "/ F3 F4",
        "search in session, namespace and template; Esc ends it",
    ),
    ("s > F6, <", "sort by the next column, by the one before"),
    ("r", "turn the order round"),
    ("w", "more columns, or fewer"),
    ("space p", "freeze, and go on"),
    ("h ? F1", "these keys"),
    ("Ctrl-C", "leave"),
    (
        "mouse",
        "a heading sorts; a session is chosen, and entered by a second click",
    ),
];

pub(super) fn draw(frame: &mut Frame, state: &mut State) {
    let [head, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(node(state)), head);
    match state.view {
        View::List => list(frame, state, body),
        View::Session { .. } => session(frame, state, body),
        View::Help => frame.render_widget(help(), body),
    }
    frame.render_widget(Paragraph::new(hints(state)), foot);
}

/// The node in a line.
fn node(state: &State) -> Line<'static> {
    let sessions = state.sessions();
    let in_phase = |phase: &str| {
        let of_phase = |session: &&&Session| session.phase.as_deref() == Some(phase);
        sessions.iter().filter(of_phase).count()
    };
    let mut parts = vec![match (state.count(), sessions.len()) {
        (all, shown) if all == shown => format!("{all} sessions"),
        (all, shown) => format!("{shown} of {all} sessions"),
    }];
    for phase in ["Running", "Idle", "Starting", "Pending", "Terminating"] {
        let count = in_phase(phase);
        if count > 0 {
            parts.push(format!("{count} {phase}"));
        }
    }
    let cpus: f64 = sessions
        .iter()
        .filter_map(|session| session.cpu_ratio)
        .sum();
    parts.push(format!("{} CPUs in use", units::cpus(cpus)));
    let held = |session: &&&Session| session.findings.as_ref().is_some_and(|f| !f.is_empty());
    let held = sessions.iter().filter(held).count();
    if held > 0 {
        parts.push(format!("{held} held back"));
    }
    let said = parts.join(", ");
    Line::styled(said, Style::new().add_modifier(Modifier::BOLD))
}

/// What can be done, or what is the matter.
fn hints(state: &State) -> Line<'static> {
    let warning = Style::new().fg(Color::Yellow);
    if let Some(error) = &state.error {
        return Line::styled(units::printable(error), warning);
    }
    if state.typing == Typing::Search {
        return Line::raw(format!("search: {}▏", units::printable(&state.search)));
    }
    let keys = match state.view {
        View::List => {
            "Enter page  / search  s sort  r reverse  w wide  space freeze  h keys  q leave"
        }
        View::Session { .. } => "Esc back  ↑ ↓ move  space freeze  h keys",
        View::Help => "Esc back",
    };
    let mut spans = Vec::new();
    if state.is_frozen {
        spans.push(Span::styled("frozen  ", warning));
    }
    if !state.search.is_empty() && state.view == View::List {
        let search = format!("/{}  ", units::printable(&state.search));
        spans.push(Span::styled(search, warning));
    }
    spans.push(Span::styled(keys, Style::new().add_modifier(Modifier::DIM)));
    Line::from(spans)
}

fn list(frame: &mut Frame, state: &mut State, area: Rect) {
    let form = Form {
        wide: state.is_wide,
        sort: state.sort,
        fits: Some(area.width.into()),
    };
    let (grid, chosen) = {
        let sessions = state.sessions();
        (table::grid(&sessions, form, state.now), state.chosen())
    };
    if grid.rows.is_empty() {
        let nothing = if state.search.is_empty() {
            "no sessions"
        } else {
            "no session has that in its name, namespace or template"
        };
        frame.render_widget(Paragraph::new(nothing), area);
        state.places = Places::default();
        return;
    }
    let arrow = if state.is_reversed { "▲" } else { "▼" };
    let widths: Vec<u16> = grid
        .columns
        .iter()
        .map(|column| (column.width + usize::from(column.is_key)) as u16)
        .collect();
    let headings = grid.columns.iter().zip(&widths).map(|(column, width)| {
        let text = if column.is_key {
            format!("{}{arrow}", column.text)
        } else {
            column.text.to_owned()
        };
        Cell::from(aligned(text, *width, column.is_figure))
    });
    let headings = Row::new(headings).style(Style::new().add_modifier(Modifier::BOLD));
    let rows = grid.rows.iter().map(|row| {
        Row::new(row.iter().zip(&grid.columns).zip(&widths).map(
            |(((text, style), column), width)| {
                let text = aligned(text.clone(), *width, column.is_figure);
                Cell::from(text).style(style_of(*style))
            },
        ))
    });
    let widget = Table::new(rows, widths.iter().map(|width| Constraint::Length(*width)))
        .header(headings)
        .column_spacing(GAP)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut scrolled = TableState::new().with_selected(chosen);
    frame.render_stateful_widget(widget, area, &mut scrolled);
    state.places = places(&grid, &widths, area, scrolled.offset());
}

/// Where the mouse finds what.
fn places(grid: &Grid, widths: &[u16], area: Rect, first: usize) -> Places {
    let mut begin = area.x;
    let mut columns = Vec::new();
    for (column, width) in grid.columns.iter().zip(widths) {
        columns.push((begin, column.key));
        begin += width + GAP;
    }
    let shown = (grid.rows.len() - first).min(area.height.saturating_sub(1).into());
    Places {
        headings: area.y,
        rows: (area.y + 1, shown as u16),
        first,
        columns,
    }
}

fn aligned(text: String, width: u16, is_figure: bool) -> String {
    let width = usize::from(width);
    if is_figure {
        format!("{text:>width$}")
    } else {
        text
    }
}

/// One session: plots of its last quarter of an hour, and what `explain` says.
fn session(frame: &mut Frame, state: &mut State, area: Rect) {
    let Some((session, history)) = state.shown() else {
        frame.render_widget(Paragraph::new("the agent has forgotten this session"), area);
        return;
    };
    let page = explain::page(session, state.gpus(), state.now);
    let page = page_text(&page);
    let has_plots = history.is_some() && area.height >= 2 * PLOT;
    let [plots, text] = Layout::vertical([
        Constraint::Length(if has_plots { PLOT } else { 0 }),
        Constraint::Min(1),
    ])
    .areas(area);
    if let Some(history) = history.filter(|_| has_plots) {
        draw_plots(frame, history, plots);
    }
    let most = page.lines.len().saturating_sub(text.height.into());
    state.bound(most);
    let View::Session { above, .. } = state.view else {
        return;
    };
    let above = u16::try_from(above).unwrap_or(u16::MAX);
    frame.render_widget(Paragraph::new(page).scroll((above, 0)), text);
}

/// A figure over time.
struct Plot {
    title: &'static str,
    figures: &'static [(&'static str, Color)],
    form: fn(f64) -> String,
}

const CPU: Plot = Plot {
    title: "CPUs in use, and threads that wait for others",
    figures: &[("cpus", Color::Green), ("contention", Color::Yellow)],
    form: units::cpus,
};
/// The first of these that has been known is the second plot.
const OTHERS: [Plot; 3] = [
    Plot {
        title: "round trip, p95",
        figures: &[("rtt_p95", Color::Cyan)],
        form: units::time,
    },
    Plot {
        title: "GPUs in use",
        figures: &[("gpus", Color::Cyan)],
        form: units::cpus,
    },
    Plot {
        title: "wait for a CPU, p99",
        figures: &[("wait_p99", Color::Yellow)],
        form: units::time,
    },
];

fn draw_plots(frame: &mut Frame, history: &History, area: Rect) {
    let has = |plot: &&Plot| history.minutes.figures.contains_key(plot.figures[0].0);
    let other = OTHERS.iter().find(has);
    let both = area.width >= TWO_PLOTS && other.is_some();
    let [left, right] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Fill(u16::from(both))]).areas(area);
    draw_plot(frame, history, &CPU, left);
    if let Some(other) = other.filter(|_| both) {
        draw_plot(frame, history, other, right);
    }
}

fn draw_plot(frame: &mut Frame, history: &History, plot: &Plot, area: Rect) {
    let steps = &history.minutes;
    let minutes = 180.0 * steps.step_seconds / 60.0;
    let points: Vec<(Vec<(f64, f64)>, Color)> = plot
        .figures
        .iter()
        .filter_map(|(name, color)| {
            let values = steps.figures.get(*name)?;
            let ago = |at: usize| (values.len() - 1 - at) as f64 * steps.step_seconds / 60.0;
            let known = values.iter().enumerate();
            let points = known.filter_map(|(at, value)| Some((-ago(at), (*value)?)));
            Some((points.collect(), *color))
        })
        .collect();
    let all = points.iter().flat_map(|(points, _)| points);
    let most = all.map(|(_, value)| *value).fold(0.0, f64::max);
    // A line on the floor, and not a frame without one.
    let most = if most > 0.0 { most * 1.1 } else { 1.0 };
    let datasets = points.iter().map(|(points, color)| {
        Dataset::default()
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(Style::new().fg(*color))
            .data(points)
    });
    let dim = Style::new().add_modifier(Modifier::DIM);
    let across = Axis::default()
        .bounds([-minutes, 0.0])
        .labels([format!("-{minutes:.0} min"), "now".to_owned()])
        .style(dim);
    let up = Axis::default()
        .bounds([0.0, most])
        .labels(["0".to_owned(), (plot.form)(most)])
        .style(dim);
    let chart = Chart::new(datasets.collect())
        .block(Block::bordered().title(plot.title))
        .x_axis(across)
        .y_axis(up)
        .legend_position(None);
    frame.render_widget(chart, area);
}

/// The page with its colours: headings, and what is wrong.
fn page_text(page: &str) -> Text<'static> {
    let plain = anstream::adapter::strip_str(page).to_string();
    let lines = plain.lines().map(|line| {
        let style = if line.trim_start().starts_with("! ") {
            Style::new().fg(Color::Yellow)
        } else if !line.is_empty() && !line.starts_with(' ') {
            Style::new().add_modifier(Modifier::BOLD)
        } else {
            Style::new()
        };
        Line::styled(line.to_owned(), style)
    });
    Text::from(lines.collect::<Vec<_>>())
}

fn help() -> Paragraph<'static> {
    let widest = KEYS.iter().map(|(keys, _)| keys.chars().count()).max();
    let widest = widest.unwrap_or_default();
    let lines = KEYS.iter().map(|(keys, what)| {
        let space = " ".repeat(widest - keys.chars().count() + 2);
        Line::from(vec![
            Span::styled(*keys, Style::new().add_modifier(Modifier::BOLD)),
            Span::raw(space),
            Span::raw(*what),
        ])
    });
    Paragraph::new(lines.collect::<Vec<_>>())
}

/// A style of the other subcommands.
fn style_of(style: AnsiStyle) -> Style {
    let color = match style.get_fg_color() {
        Some(Ansi::Ansi(AnsiColor::Yellow)) => Some(Color::Yellow),
        Some(Ansi::Ansi(AnsiColor::Green)) => Some(Color::Green),
        _ => None,
    };
    let mut out = color.map_or_else(Style::new, |color| Style::new().fg(color));
    if style.get_effects().contains(Effects::DIMMED) {
        out = out.add_modifier(Modifier::DIM);
    }
    out
}

#[cfg(test)]
mod tests;
