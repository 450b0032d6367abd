//! The demo's table, and its way onto a terminal or into a log.

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result};

use super::sessions::{Exits, Report, Session};
use crate::numbers::{UNKNOWN, seconds};

const HEADINGS: [&str; 10] = [
    "SESSION",
    "PHASE",
    "PROCS",
    "CPU%",
    "WAIT p50",
    "p95",
    "p99",
    "SWITCHES vol/invol",
    "PREEMPTED BY",
    "EXITS ok/err/signal",
];
/// Columns of words; the others hold numbers and are flush right.
const WORDS: [usize; 4] = [0, 1, 8, 9];

/// A log gets one in so many of the tables that a terminal gets.
const LOG_EVERY: usize = 5;

/// Shows one table after the other.
pub(super) struct Screen {
    terminal: bool,
    shown: usize,
}

impl Screen {
    /// The screen behind standard output.
    pub(super) fn new() -> Self {
        Self {
            terminal: io::stdout().is_terminal(),
            shown: 0,
        }
    }

    /// Redraws a terminal; adds every fifth table to a log, and the one that is called the last.
    pub(super) fn show(&mut self, heading: &str, report: &Report, last: bool) -> Result<()> {
        let table = format!("{heading}\n\n{}", render(report));
        let text = if self.terminal {
            let clear = if self.shown == 0 { "\x1b[2J" } else { "" };
            // Home, no wrapping of long lines, clear what the last table had beyond each line and
            // below the last.
            let lines = table.replace('\n', "\x1b[K\n");
            format!("{clear}\x1b[H\x1b[?7l{lines}\x1b[?7h\x1b[J")
        } else if last || self.shown.is_multiple_of(LOG_EVERY) {
            format!("{table}\n")
        } else {
            String::new()
        };
        self.shown += 1;
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .context("cannot write the table to standard output")
    }
}

fn render(report: &Report) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(report.sessions.iter().map(cells));
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: [usize; HEADINGS.len()] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let padded = if WORDS.contains(&column) {
                format!("{cell:<width$}  ")
            } else {
                format!("{cell:>width$}  ")
            };
            line.push_str(&padded);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn cells(session: &Session) -> [String; HEADINGS.len()] {
    let wait = session.wait();
    let switches = session.context_switches.as_ref();
    [
        session.name.clone(),
        session.phase.clone().unwrap_or_else(|| UNKNOWN.into()),
        count(session.processes),
        session
            .cpu_ratio
            .map_or_else(|| UNKNOWN.into(), |ratio| format!("{:.1}", ratio * 100.0)),
        seconds(wait.p50),
        seconds(wait.p95),
        seconds(wait.p99),
        format!(
            "{}/{}",
            count(switches.and_then(|switches| switches.voluntary)),
            count(switches.and_then(|switches| switches.involuntary))
        ),
        preempted_by(session),
        exits(
            session
                .process
                .as_ref()
                .and_then(|process| process.exits.as_ref()),
        ),
    ]
}

/// Shares of the preemptions, largest first: `cpu-hog 93% · system 7%`.
fn preempted_by(session: &Session) -> String {
    let mut shares: Vec<(&str, u64)> = Vec::new();
    let mut named = 0;
    for preemptor in session.preempted_by.iter().flatten() {
        shares.push((&preemptor.session, preemptor.count));
        named += preemptor.count;
    }
    if let Some(preemptions) = &session.preemptions {
        // The agent names the most frequent only.
        let others = preemptions
            .session
            .unwrap_or_default()
            .saturating_sub(named);
        shares.push(("others", others));
        shares.push(("system", preemptions.system.unwrap_or_default()));
        shares.push(("itself", preemptions.own.unwrap_or_default()));
    }
    let total: u64 = shares.iter().map(|(_, count)| count).sum();
    if total == 0 {
        return UNKNOWN.into();
    }
    shares.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    shares
        .into_iter()
        .map(|(name, count)| (name, count as f64 * 100.0 / total as f64))
        .filter(|(_, percent)| *percent >= 0.5)
        .map(|(name, percent)| format!("{name} {percent:.0}%"))
        .collect::<Vec<_>>()
        .join(" · ")
}

fn exits(exits: Option<&Exits>) -> String {
    let Some(exits) = exits else {
        return UNKNOWN.into();
    };
    format!(
        "{}/{}/{}",
        count(exits.success),
        count(exits.error),
        count(exits.signal)
    )
}

/// A count, or a dash.
pub(super) fn count(number: Option<u64>) -> String {
    number.map_or_else(|| UNKNOWN.into(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::sessions::{EXAMPLE, Report};
    use super::render;

    #[test]
    fn the_table_has_a_row_per_session_and_dashes_for_the_unknown() {
        let table = render(&Report::parse(EXAMPLE).unwrap());
        let lines: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(
            lines[1],
            [
                "crash-loop",
                "–",
                "–",
                "–",
                "–",
                "–",
                "–",
                "–/–",
                "–",
                "100/100/10"
            ]
        );
        let desktop = lines[2].join(" ");
        assert_eq!(
            desktop,
            "latency-desktop Running 1 5.1 18 µs 1.1 ms 3.1 ms 4000/57 cpu-hog 93% · system 7% 0/0/0"
        );
    }
}
