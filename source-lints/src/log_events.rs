//! The agent logs through its list of events alone.
//!
//! Clippy refuses the macros of `tracing` by name (`clippy.toml`), but for `event!`, of which `log_event!` is made: clippy
//! would find it in there, too.

use std::path::Path;

use anyhow::Result;

use crate::sources;

/// The room that has the list.
const ROOM: &str = "telemetry";
const MACRO: &str = "tracing::event";
const GROUP: &str = "tracing::{";

/// Checks every file below the agent's source folder and returns one line per finding.
pub(crate) fn check(source: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for (path, text) in sources::below(source)? {
        let name = path.strip_prefix(source).unwrap_or(&path);
        if name.starts_with(ROOM) {
            continue;
        }
        let found = forbidden(&text).map(|line| format!("{}:{line}", name.display()));
        findings.extend(found);
    }
    Ok(findings)
}

/// The lines that name the macro, by its path or in a group.
fn forbidden(text: &str) -> impl Iterator<Item = usize> {
    let is_end = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
    let by_path = text.match_indices(MACRO);
    let by_path = by_path.filter(move |(at, found)| is_end(&text[at + found.len()..]));
    let in_group = text.match_indices(GROUP).filter(|(at, found)| {
        let group = text[at + found.len()..]
            .split('}')
            .next()
            .unwrap_or_default();
        group
            .split(',')
            .any(|name| name.split_whitespace().next() == Some("event"))
    });
    let mut found: Vec<usize> = by_path.chain(in_group).map(|(at, _)| at).collect();
    found.sort_unstable();
    found
        .into_iter()
        .map(|at| text[..at].matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::forbidden;

    #[test]
    fn what_logs_past_the_list_is_found() {
        let text = "log_event!(GpuWoken);\ntracing::event!(Level::INFO, \"a\");\nuse tracing::event;\n\
                    use tracing::{\n    Level,\n    event,\n};\nuse tracing::{self, event as e};\n\
                    use tracing::{Level, event_enabled};\ntracing::events();\n";
        assert_eq!(forbidden(text).collect::<Vec<_>>(), [2, 3, 4, 8]);
    }
}
