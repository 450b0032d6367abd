//! The agent logs through its list of events alone.
//!
//! Clippy refuses the macros of `tracing` by name (`clippy.toml`), but for `event!`, of which `log_event!` is made: clippy
//! would find it in there, too.

use std::path::Path;

use anyhow::Result;

use crate::sources;

/// The room that has the list.
const ROOM: &str = "telemetry";
const FORBIDDEN: [&str; 3] = ["tracing::event!", "tracing::event;", "tracing::{event"];

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

fn forbidden(text: &str) -> impl Iterator<Item = usize> {
    let lines = text.lines().zip(1..);
    lines
        .filter(|(line, _)| FORBIDDEN.iter().any(|one| line.contains(one)))
        .map(|(_, number)| number)
}

#[cfg(test)]
mod tests {
    use super::forbidden;

    #[test]
    fn what_logs_past_the_list_is_found() {
        let text =
            "log_event!(GpuWoken);\ntracing::event!(Level::INFO, \"a\");\nuse tracing::event;\n";
        assert_eq!(forbidden(text).collect::<Vec<_>>(), [2, 3]);
    }
}
