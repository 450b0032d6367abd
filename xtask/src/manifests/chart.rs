//! What of `deploy/chart/` is made from other files.
//!
//! ```text
//!  rules/table/*.toml ─┬─► files/rules/{alerts,platform}/   alerts with the names of their thresholds
//!                      ├─► values.yaml, rules.thresholds    their defaults, units and reasons
//!                      └─► values.schema.json               which alerts and thresholds there are
//!  docs/configuration.md ─► values.schema.json              which settings there are below `config`
//!  rules/recordings/, rules/compat/, rules/runbooks, dashboards ─► files/, as they are: Helm reads nothing else
//! ```
//!
//! A release is kept as a Secret of 1 MiB at most. This one comes to 350 KB, half of it the dashboards, which are in it
//! twice: as files of the chart and as objects. A dashboard is a `ConfigMap` of 94 KB at most, of 1 MiB that it may have.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rules::File;
use rules::chart::{
    definition, object, reference, rule_files, schema_of_alerts, schema_of_thresholds, thresholds,
};

const CHART: &str = "deploy/chart";

/// The lines of `values.yaml` between which the thresholds stand.
const THRESHOLDS: (&str, &str) = (
    "  thresholds: # written by `cargo xtask manifests` from rules/table/\n",
    "  # end of the thresholds\n",
);
/// The last line of `values.schema.json` that is written by hand.
const GENERATED: &str =
    "    \"generated\": {\"$comment\": \"What follows is written by cargo xtask manifests.\"},\n";

/// What the chart gives as variables, which go before `sessionscope.toml`: a setting there would do nothing.
const SET_BY_THE_CHART: [&str; 8] = [
    "listen",
    "traces.endpoint",
    "traces.protocol",
    "traces.ratio",
    "traces.environment",
    "gpu.enabled",
    "kubernetes.node",
    "sessions.user_key",
];
const TABLES_SET_BY_THE_CHART: [&str; 2] = ["web", "socket"];

/// The files of the chart, each as it should be.
///
/// # Errors
///
/// When a source cannot be read, and when the chart has a file that none of them makes.
pub(super) fn files(repository: &Path) -> Result<Vec<File>> {
    let chart = Path::new(CHART);
    let (tables, runbooks) = (rules::tables(repository)?, rules::runbooks(repository)?);
    let mut files = rule_files(&tables, &runbooks);
    for folder in ["rules/recordings", "rules/compat"] {
        files.extend(copies(repository, folder)?);
    }
    let dashboards = dashboards::all().context("cannot write a dashboard as JSON")?;
    for (file, text) in dashboards {
        files.push((chart.join("files").join(file), text));
    }
    files.push((chart.join("files/runbooks"), format!("{runbooks}\n")));
    let present = below(&repository.join(chart).join("files"))?;
    let is_stale = |file: &PathBuf| {
        let name = file.strip_prefix(repository).unwrap_or(file);
        !files.iter().any(|(made, _)| made == name)
    };
    let stale: Vec<PathBuf> = present.into_iter().filter(is_stale).collect();
    ensure!(
        stale.is_empty(),
        "nothing makes {stale:?} any more: remove them"
    );

    let values = chart.join("values.yaml");
    let text = read(repository, &values)?;
    let text = replaced(&text, THRESHOLDS.0, THRESHOLDS.1, &thresholds(&tables));
    let text =
        text.with_context(|| format!("{} has no line {:?}", values.display(), THRESHOLDS.0))?;
    files.push((values, text));

    let schema = chart.join("values.schema.json");
    let text = read(repository, &schema)?;
    let (by_hand, _) = text
        .split_once(GENERATED)
        .with_context(|| format!("{} has no line {GENERATED:?}", schema.display()))?;
    let settings = read(repository, Path::new("docs/configuration.md"))?;
    let definitions = [
        schema_of_alerts(&tables),
        schema_of_config(&settings).context("docs/configuration.md")?,
        schema_of_thresholds(&tables),
    ];
    let text = format!(
        "{by_hand}{GENERATED}{}\n  }}\n}}\n",
        definitions.join(",\n")
    );
    files.push((schema, text));
    Ok(files)
}

fn read(repository: &Path, file: &Path) -> Result<String> {
    let path = repository.join(file);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The rule files of a folder, as they are.
fn copies(repository: &Path, folder: &str) -> Result<Vec<File>> {
    let mut copies = Vec::new();
    for path in below(&repository.join(folder))? {
        let name = path.strip_prefix(repository).unwrap_or(&path);
        if name.extension().is_some_and(|kind| kind == "yml") {
            copies.push((
                Path::new(CHART).join("files").join(name),
                read(repository, name)?,
            ));
        }
    }
    Ok(copies)
}

/// All files below a folder, in order; none where it is not there yet.
fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let cannot_read = || format!("cannot read {}", folder.display());
    let mut files = Vec::new();
    if !folder.exists() {
        return Ok(files);
    }
    for entry in fs::read_dir(folder).with_context(cannot_read)? {
        let path = entry.with_context(cannot_read)?.path();
        if path.is_dir() {
            files.extend(below(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A text with another part between two lines; `None` if it does not have them.
fn replaced(text: &str, begin: &str, end: &str, part: &str) -> Option<String> {
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}{part}{end}{after}"))
}

/// What the schema allows below `config`: the settings of the page, by their tables; a text besides, which is not
/// looked at.
fn schema_of_config(page: &str) -> Result<String> {
    let (settings, rest) = page
        .split_once("\n## Rules\n")
        .context("it has no section Rules")?;
    let mut tables: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
    for (key, value) in rows(settings) {
        let Some((table, name)) = key.split_once('.') else {
            continue;
        };
        if !SET_BY_THE_CHART.contains(&key) && !TABLES_SET_BY_THE_CHART.contains(&table) {
            let keys = tables.entry(table).or_default();
            keys.push((name.to_owned(), schema_of_setting(value)));
        }
    }
    ensure!(!tables.is_empty(), "it has no table of settings");
    let tables = tables.into_iter();
    let tables = tables.map(|(table, keys)| (table.to_owned(), object(keys.into_iter())));
    // The built-in rules come below.
    let (keys, _) = rest.split_once("\n### ").unwrap_or((rest, ""));
    let keys = rows(keys).map(|(key, _)| {
        let is_boolean = matches!(key, "ignore" | "trust");
        let kind = if is_boolean { "boolean" } else { "string" };
        (key.to_owned(), format!("{{\"type\": \"{kind}\"}}"))
    });
    let rule = object(keys);
    let rule = rule.strip_suffix('}').unwrap_or(&rule);
    let rules = format!(
        "{{\"type\": \"array\", \"items\": {rule}, \"required\": [\"name\", \"pattern\"]}}}}"
    );
    let tables = tables.chain([("rules".to_owned(), rules)]);
    Ok(definition("config", "[\"object\", \"string\"]", tables))
}

/// The first two cells of each row of a page's tables that begins with code: a key, and what it takes.
fn rows(page: &str) -> impl Iterator<Item = (&str, &str)> {
    page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let key = cells.next()?.trim_end_matches('`');
        Some((key, cells.next()?))
    })
}

/// The schema of a setting, from what the page says that it takes.
fn schema_of_setting(value: &str) -> String {
    if let Some((least, most)) = value
        .strip_prefix("integer, ")
        .and_then(|range| range.split_once(" to "))
    {
        return format!("{{\"type\": \"integer\", \"minimum\": {least}, \"maximum\": {most}}}");
    }
    if value.starts_with("duration") {
        return reference("duration");
    }
    if value.starts_with("array of ") {
        return "{\"type\": \"array\", \"items\": {\"type\": \"string\"}}".to_owned();
    }
    // Of `a`, `b` or `c` every second part is a name; where something else stands between, other values are allowed,
    // too.
    let parts: Vec<&str> = value.split('`').collect();
    let between = ["", ", ", " or "];
    if parts.len() > 1 && parts.iter().step_by(2).all(|part| between.contains(part)) {
        let names = parts.iter().skip(1).step_by(2);
        let names: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
        return format!("{{\"enum\": [{}]}}", names.join(", "));
    }
    let kind = if value == "boolean" {
        "boolean"
    } else {
        "string"
    };
    format!("{{\"type\": \"{kind}\"}}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::command;

    #[test]
    fn a_setting_takes_what_the_page_says() {
        for (value, schema) in [
            ("boolean", json!({"type": "boolean"})),
            (
                "integer, 1 to 4096",
                json!({"type": "integer", "minimum": 1, "maximum": 4096}),
            ),
            (
                "duration, at least 1s",
                json!({"$ref": "#/definitions/duration"}),
            ),
            (
                "array of selectors",
                json!({"type": "array", "items": {"type": "string"}}),
            ),
            (
                "`auto`, `on` or `off`",
                json!({"enum": ["auto", "on", "off"]}),
            ),
            (
                "`off`, `stdout` or absolute path",
                json!({"type": "string"}),
            ),
            ("absolute path", json!({"type": "string"})),
        ] {
            let made: Value = serde_json::from_str(&schema_of_setting(value)).unwrap();
            assert_eq!(made, schema, "{value}");
        }
    }

    #[test]
    fn the_schema_has_the_settings_of_the_page_but_those_that_the_chart_sets() {
        let page = read(command::repository(), Path::new("docs/configuration.md")).unwrap();
        let definition = schema_of_config(&page).unwrap();
        let schema: Value = serde_json::from_str(&format!("{{{definition}}}")).unwrap();
        let tables = &schema["config"]["properties"];
        assert_eq!(
            tables["sessions"]["properties"]["max_sessions"]["maximum"],
            4096
        );
        assert_eq!(tables["sessions"]["additionalProperties"], false);
        assert_eq!(
            tables["rules"]["items"]["required"],
            json!(["name", "pattern"])
        );
        assert!(tables["traces"]["properties"]["run_queue_wait"].is_object());
        for absent in ["web", "socket", "listen"] {
            assert!(tables[absent].is_null(), "{absent}");
        }
        assert!(tables["traces"]["properties"]["endpoint"].is_null());
        for key in SET_BY_THE_CHART {
            assert!(
                page.contains(&format!("| `{key}` |")),
                "{key} is not a setting"
            );
        }
    }

    #[test]
    fn a_part_between_two_lines_is_replaced() {
        let made = replaced("a\nB\nold\nE\nz\n", "B\n", "E\n", "new\n");
        assert_eq!(made.as_deref(), Some("a\nB\nnew\nE\nz\n"));
        assert_eq!(replaced("a\n", "B\n", "E\n", ""), None);
    }
}
