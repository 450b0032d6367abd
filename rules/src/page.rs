//! What pages say of the alerts.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::table::{Alert, Need, Table, number};
use crate::{File, cannot_read};

const ALL: &str = "docs/alerts.md";

/// The page of all alerts.
pub(crate) fn with_all(repository: &Path, tables: &[Table]) -> Result<File> {
    let mut text = String::new();
    for table in tables {
        let _ = write!(text, "\n## {}\n\n{}\n\n", title(&table.group), table.about);
        text += "| alert | severity | what is wrong | for | thresholds |\n|---|---|---|---|---|\n";
        for alert in &table.alerts {
            let thresholds: Vec<String> = thresholds(alert).map(|(short, _)| short).collect();
            let needs = match alert.needs(table) {
                Need::Agent => String::new(),
                need => format!(" (needs {})", need.name()),
            };
            let _ = writeln!(
                text,
                "| [{name}](runbooks/{name}.md) | {} | {}{needs} | {} | {} |",
                alert.severity.name(),
                alert.filled(&alert.summary).replace('|', "\\|"),
                alert.pending.as_deref().unwrap_or("at once"),
                thresholds.join("; "),
                name = alert.name,
            );
        }
    }
    between_marks(repository, ALL.into(), "alerts", &text)
}

/// The page of one alert.
pub(crate) fn runbook(repository: &Path, tables: &[Table], name: &str) -> Result<File> {
    let mut text = String::new();
    for table in tables {
        for alert in table.alerts.iter().filter(|alert| alert.name == name) {
            text += &rule(alert);
        }
    }
    let path = PathBuf::from(format!("docs/runbooks/{name}.md"));
    between_marks(repository, path, "rule", &text)
}

/// What a runbook says of an alert of one severity.
fn rule(alert: &Alert) -> String {
    let mut text = format!("**{}**", alert.severity.name());
    for (name, value) in &alert.labels {
        let _ = write!(text, ", {name} {value}");
    }
    match &alert.pending {
        Some(time) => drop(write!(text, ": fires after {time}")),
        None => text += ": fires at once",
    }
    if let Some(time) = &alert.keep_firing_for {
        let _ = write!(text, "; goes on for {time} after its cause is over");
    }
    let expression = alert.expression();
    let _ = write!(
        text,
        ".\n\n```promql\n{expression}\n```\n\n{}\n\n",
        alert.why
    );
    for (short, why) in thresholds(alert) {
        let _ = writeln!(text, "- {short}: {why}");
    }
    if !alert.thresholds.is_empty() {
        text.push('\n');
    }
    text
}

/// Each threshold with its value, and why it has it.
fn thresholds(alert: &Alert) -> impl Iterator<Item = (String, &str)> {
    alert.thresholds.iter().map(|(name, threshold)| {
        let value = number(threshold.value);
        let short = format!("`{name}` {value} {}", threshold.unit);
        (short, threshold.why.as_str())
    })
}

fn title(group: &str) -> String {
    let mut letters = group.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// A page as it is, with this between its marks.
fn between_marks(repository: &Path, path: PathBuf, mark: &str, text: &str) -> Result<File> {
    let file = repository.join(&path);
    let page = fs::read_to_string(&file).with_context(|| cannot_read(&file))?;
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->\n"));
    let parts = page.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let (before, after) = parts.with_context(|| {
        format!(
            "{} has no lines `{}` and `{}`",
            path.display(),
            begin.trim(),
            end.trim()
        )
    })?;
    let text = text.trim();
    Ok((path, format!("{before}{begin}\n{text}\n\n{end}{after}")))
}
