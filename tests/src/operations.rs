//! What stands in `rules/`, `dashboards/`, `deploy/` and the runbooks, read as text: which metrics it
//! names, and what it asks Prometheus.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use sessionscope::metrics::{catalog::families, family::Kind};
use tempfile::TempDir;

use crate::repository;

/// The files below a folder of the repository but its pictures, with their texts.
pub fn files(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![repository().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|kind| kind != "png") {
                let text = fs::read_to_string(&path).expect("the file is text");
                found.push((path, text));
            }
        }
    }
    found.sort();
    found
}

/// The folders of rule files: what is loaded as a rule, what takes another exporter, and what is for dashboards of others.
pub const ALL_RULES: [&str; 4] = [
    "rules/recordings",
    "rules/alerts",
    "rules/platform",
    "rules/compat",
];

/// The rule files, without their tests.
pub fn rule_files() -> Vec<(PathBuf, String)> {
    let mut rules: Vec<_> = ALL_RULES.into_iter().flat_map(files).collect();
    rules.retain(|(path, _)| is_yaml(path));
    rules
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "yml")
}

/// The rules that are loaded where nothing but the agent is scraped, with durations so many times shorter, in a folder.
///
/// # Panics
///
/// When they cannot be written.
pub fn faster_rules(factor: u64) -> TempDir {
    faster_rules_of(&ALL_RULES[..2], factor)
}

/// The rules of some folders, likewise.
///
/// # Panics
///
/// When they cannot be written.
pub fn faster_rules_of(folders: &[&str], factor: u64) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let rules = folders.iter().copied().flat_map(files);
    let rules = rules.filter(|(path, _)| is_yaml(path));
    for (number, (_, text)) in rules.enumerate() {
        let path = folder.path().join(format!("{number}.yml"));
        fs::write(path, rules::faster(&text, factor)).expect("a file can be written");
    }
    folder
}

/// The queries of a page: each is a block of its own.
pub fn promql(page: &str) -> impl Iterator<Item = &str> {
    let blocks = page.split("```promql\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().trim())
}

/// The names of the recordings in some folders.
fn recordings_in(folders: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, text) in folders.iter().copied().flat_map(files) {
        let records = text
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("- record: "));
        names.extend(records.map(str::to_owned));
    }
    names
}

/// The names of the recordings that are always loaded.
pub fn recordings() -> BTreeSet<String> {
    recordings_in(&ALL_RULES[..1])
}

/// Every name that a query may ask for: the samples of the catalogue, and the recordings.
pub fn known() -> BTreeSet<String> {
    let mut known = recordings_in(&ALL_RULES);
    let histogram =
        |name: &str| ["", "_bucket", "_sum", "_count"].map(|end| format!("{name}{end}"));
    for family in families() {
        match family.kind {
            Kind::Histogram(_) | Kind::BoundedHistogram(_) => {
                known.extend(histogram(&family.name()));
            }
            Kind::Counter | Kind::Gauge => {
                known.insert(family.sample_name());
            }
        }
    }
    known
}

/// The words of a text that look like a metric of the agent or a recording.
pub fn mentioned(text: &str) -> BTreeSet<&str> {
    let is_part = |one: char| one.is_ascii_alphanumeric() || one == '_' || one == ':';
    let words = text.split(|one| !is_part(one));
    words
        .map(|word| word.trim_matches(':'))
        .filter(|word| {
            word.starts_with("vdi_") || word.starts_with("process_") || word.contains(":vdi_")
        })
        .collect()
}

/// Title and query of each panel of the dashboards, with every variable at `All`.
pub fn panels() -> Vec<(String, String)> {
    let mut panels = Vec::new();
    let mut dashboards = files("dashboards");
    // Their sources stand beside them.
    dashboards.retain(|(path, _)| path.extension().is_some_and(|kind| kind == "json"));
    assert!(!dashboards.is_empty(), "there is no dashboard");
    for (path, text) in dashboards {
        let dashboard: Value = serde_json::from_str(&text).expect("a dashboard is JSON");
        let name = Path::new(path.file_name().expect("a file has a name"));
        let variables = dashboard["templating"]["list"]
            .as_array()
            .expect("variables");
        let variables: Vec<String> = variables
            .iter()
            .filter(|variable| variable["type"] == "query")
            .map(|variable| format!("${}", variable["name"].as_str().expect("a name")))
            .collect();
        for panel in dashboard["panels"].as_array().expect("panels") {
            let targets = panel["targets"].as_array().into_iter().flatten();
            // Loki is asked in another language.
            for target in targets.filter(|target| target["datasource"]["type"] != "loki") {
                let title = format!("{}: {}", name.display(), panel["title"]);
                let query = target["expr"].as_str().expect("a query");
                let query = query.replace("$__rate_interval", "30s");
                let query = query.replace("$__range", "10m");
                let query = variables
                    .iter()
                    .fold(query, |query, name| query.replace(name, ".*"));
                panels.push((title, query));
            }
        }
    }
    panels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_told_from_other_words() {
        let text = "- record: session:vdi_a_seconds:p95_5m\n  expr: rate(vdi_a_seconds_bucket{le=\"1\"}[5m])\n\
                    sessionscope: process_threads, namespace: vdi";
        let names = [
            "process_threads",
            "session:vdi_a_seconds:p95_5m",
            "vdi_a_seconds_bucket",
        ];
        assert_eq!(mentioned(text), BTreeSet::from(names));
    }

    #[test]
    fn samples_of_every_type_are_known() {
        let known = known();
        for name in [
            "vdi_sessions",
            "vdi_sessions_total",
            "vdi_session_ended_total",
            "vdi_session_runqueue_wait_seconds_bucket",
            "vdi_session_runqueue_wait_seconds",
        ] {
            assert!(known.contains(name), "{name}");
        }
        assert!(!known.contains("vdi_session_ended"));
    }
}
