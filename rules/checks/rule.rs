//! Rule files as Prometheus reads them, and stricter: a field that it does not know, a key that is there twice, and a
//! number where a text must be are errors (pint's `yaml/parse`), and so is an expression that is none
//! (`promql/syntax`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use promql_parser::{
    parser::{Expr, parse},
    util::parse_duration,
};
use serde::Deserialize;
use serde_yaml_ng::Value;

use crate::catalogue::Catalogue;

/// The folders of rules.
const FOLDERS: [&str; 4] = ["recordings", "alerts", "platform", "compat"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    interval: Option<String>,
    rules: Vec<Body>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    record: Option<String>,
    alert: Option<String>,
    expr: String,
    #[serde(rename = "for")]
    pending: Option<String>,
    keep_firing_for: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// An alert or a recording, and where it stands.
pub(crate) struct Rule {
    pub(crate) file: String,
    pub(crate) group: String,
    /// Of the group; `None` is Prometheus's own.
    pub(crate) interval: Option<String>,
    pub(crate) is_alert: bool,
    pub(crate) name: String,
    pub(crate) expr: Expr,
    pub(crate) pending: Option<String>,
    pub(crate) keep_firing_for: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Rule {
    /// Its name, with the labels that tell it from others of that name.
    pub(crate) fn title(&self) -> String {
        let mut title = self.name.clone();
        for (name, value) in &self.labels {
            let _ = write!(title, " {name}={value}");
        }
        title
    }

    /// How long it waits before it fires.
    pub(crate) fn waits(&self) -> Duration {
        let pending = self.pending.as_deref();
        // What is no duration is found by a check of its own (`alerts/for`).
        pending.and_then(duration).unwrap_or_default()
    }
}

/// All that a check can look at.
pub(crate) struct World {
    pub(crate) metrics: Catalogue,
    pub(crate) rules: Vec<Rule>,
}

impl World {
    /// The rules and metrics of a repository.
    pub(crate) fn read(repository: &Path) -> Result<Self> {
        let mut rules = Vec::new();
        for folder in FOLDERS {
            let path = repository.join("rules").join(folder);
            let entries = fs::read_dir(&path).with_context(|| path.display().to_string())?;
            let mut paths = Vec::new();
            for entry in entries {
                paths.push(entry?.path());
            }
            paths.retain(|path| path.extension().is_some_and(|kind| kind == "yml"));
            paths.sort();
            ensure!(!paths.is_empty(), "{}: no rules", path.display());
            for path in paths {
                let name = path.strip_prefix(repository).unwrap_or(&path);
                let name = name.display().to_string();
                let text = fs::read_to_string(&path).with_context(|| name.clone())?;
                rules.extend(parse_file(&name, &text)?);
            }
        }
        let metrics = Catalogue::read(repository)?;
        Ok(Self { metrics, rules })
    }

    /// The recordings of a name, of which there may be some with different labels.
    pub(crate) fn recordings<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Rule> {
        let recordings = self.rules.iter().filter(|rule| !rule.is_alert);
        recordings.filter(move |rule| rule.name == name)
    }
}

/// The rules of a file.
pub(crate) fn parse_file(file: &str, text: &str) -> Result<Vec<Rule>> {
    // By way of a value, which has no key twice, and in which a number is no text.
    let value: Value = serde_yaml_ng::from_str(text).with_context(|| file.to_owned())?;
    let parsed: File = serde_yaml_ng::from_value(value).with_context(|| file.to_owned())?;
    let mut rules = Vec::new();
    for group in parsed.groups {
        for body in group.rules {
            let (name, is_alert) = match (body.record, body.alert) {
                (Some(record), None) => (record, false),
                (None, Some(alert)) => (alert, true),
                _ => {
                    let group = &group.name;
                    return Err(anyhow!("{file}: {group}: a rule is a record or an alert"));
                }
            };
            let expr = parse(&body.expr).map_err(|error| anyhow!("{file}: {name}: {error}"))?;
            rules.push(Rule {
                file: file.to_owned(),
                group: group.name.clone(),
                interval: group.interval.clone(),
                is_alert,
                name,
                expr,
                pending: body.pending,
                keep_firing_for: body.keep_firing_for,
                labels: body.labels,
                annotations: body.annotations,
            });
        }
    }
    Ok(rules)
}

/// A duration as Prometheus writes them.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    // The parser is for ranges, which cannot be 0.
    if text == "0" || ["0s", "0m", "0h", "0d"].contains(&text) {
        return Some(Duration::ZERO);
    }
    parse_duration(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let error = parse_file("a.yml", text).err().expect("an error");
        format!("{error:#}")
    }

    #[test]
    fn what_prometheus_would_take_and_nobody_meant_is_an_error() {
        let head = "groups:\n- name: g\n  rules:\n  - ";
        for (rule, why) in [
            ("record: a\n    expr: b\n    expr: c", "duplicate"),
            ("record: a\n    expr: b\n    fro: 1m", "fro"),
            ("record: a\n    expr: b\n    labels: {x: 1}", "invalid type"),
            ("record: a\n    expr: sum(b", "a:"),
            ("record: a\n    alert: b\n    expr: b", "record or an alert"),
        ] {
            let error = error(&format!("{head}{rule}\n"));
            assert!(error.contains(why), "{rule}: {error}");
        }
    }

    #[test]
    fn a_rule_knows_where_it_stands() {
        let text = "groups:\n- name: g\n  interval: 1m\n  rules:\n  - alert: A\n    expr: b > 1\n    for: 2m\n    labels: {severity: info}\n";
        let rules = parse_file("a.yml", text).expect("rules");
        assert_eq!(rules[0].title(), "A severity=info");
        assert_eq!(rules[0].waits(), Duration::from_mins(2));
        assert_eq!(rules[0].group, "g");
    }
}
