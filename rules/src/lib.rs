//! Sessionscope's alerts: tables in `rules/table/`, a file for each group, from which `cargo xtask rules` writes what
//! Prometheus loads, the page of all alerts, and the head of each runbook.
//!
//! ```text
//!  rules/table/*.toml ─► Table ─┬─► rules/alerts/GROUP.yml     what needs nothing but the agent
//!   name, severity, expression, ├─► rules/platform/NEED.yml    what needs another exporter
//!   thresholds and their reasons├─► docs/alerts.md             a table
//!                               ├─► docs/runbooks/ALERT.md     its head
//!                               └─► deploy/chart/              its rules, values and their schema
//! ```
//!
//! The recordings of `rules/recordings/` and of `rules/compat/` are written by hand: nothing in them is to be chosen.

pub mod chart;
mod faster;
mod page;
mod render;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use self::render::Places;

pub use self::faster::faster;
pub use self::table::{Alert, Need, Severity, Table, Threshold};

/// Has where runbooks are served: what stands before an alert's name in its `runbook_url`. As it is shipped, that is a
/// name that nobody can have (RFC 2606); whoever serves them writes their own by `cargo xtask rules --runbooks BASE`.
pub const RUNBOOKS: &str = "rules/runbooks";

/// Where runbooks are served.
///
/// # Errors
///
/// When the file cannot be read or has no base in it.
pub fn runbooks(repository: &Path) -> Result<String> {
    let file = repository.join(RUNBOOKS);
    let text = fs::read_to_string(&file).with_context(|| cannot_read(&file))?;
    let base = text.trim();
    is_base(base).with_context(|| file.display().to_string())?;
    Ok(base.to_owned())
}

/// Whether links can begin so.
///
/// # Errors
///
/// When they cannot: the error says why.
pub fn is_base(base: &str) -> Result<()> {
    let is_url = base.starts_with("https://") || base.starts_with("http://");
    ensure!(
        is_url && base.ends_with('/'),
        "{base:?} is no URL with a slash at its end"
    );
    let is_plain = |one: char| one.is_ascii_graphic() && !"\"'\\#".contains(one);
    ensure!(
        base.chars().all(is_plain),
        "{base:?} is no URL: encode what is not ASCII"
    );
    Ok(())
}

/// A file by its path in the repository, and its text.
pub type File = (PathBuf, String);

/// The tables of a repository, ordered by the names of their files.
///
/// # Errors
///
/// When one cannot be read, or says something that cannot be: the error names the file and the alert.
pub fn tables(repository: &Path) -> Result<Vec<Table>> {
    let folder = repository.join("rules/table");
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| cannot_read(&folder))? {
        paths.push(entry.with_context(|| cannot_read(&folder))?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "toml"));
    paths.sort();
    let mut tables = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).with_context(|| cannot_read(&path))?;
        let table = Table::parse(&text).with_context(|| path.display().to_string())?;
        ensure!(
            path.file_stem().is_some_and(|stem| *stem == *table.group),
            "{}: it is of the group {}, which has a file of that name",
            path.display(),
            table.group
        );
        tables.push(table);
    }
    no_alert_twice(&tables)?;
    Ok(tables)
}

fn no_alert_twice(tables: &[Table]) -> Result<()> {
    let mut seen = BTreeMap::new();
    for table in tables {
        for alert in &table.alerts {
            let key = (&alert.name, alert.severity, &alert.labels);
            if let Some(before) = seen.insert(key, table.file()) {
                bail!(
                    "{}: {} is there twice with severity {}, first in {before}: labels must tell them apart",
                    table.file(),
                    alert.name,
                    alert.severity.name()
                );
            }
        }
    }
    Ok(())
}

/// What Prometheus loads: a file for each group of what needs the agent alone, and one for each other need.
pub fn rule_files(tables: &[Table], runbooks: &str) -> Vec<File> {
    files(tables, runbooks, Places::Filled, render::head, "rules")
}

fn files(
    tables: &[Table],
    runbooks: &str,
    places: Places,
    head: fn(&[&str]) -> String,
    folder: &str,
) -> Vec<File> {
    let mut files = Vec::new();
    for table in tables {
        let group = render::group(table, Need::Agent, runbooks, places);
        files.extend(group.map(|group| {
            let head = head(&[table.file().as_str()]);
            let path = format!("{folder}/alerts/{}.yml", table.group);
            (path.into(), head + &group)
        }));
    }
    for need in [Need::KubeStateMetrics, Need::NodeExporter] {
        let groups: Vec<_> = tables
            .iter()
            .filter_map(|table| Some((table.file(), render::group(table, need, runbooks, places)?)))
            .collect();
        let sources: Vec<&str> = groups.iter().map(|(file, _)| file.as_str()).collect();
        let text = groups.iter().map(|(_, group)| group.as_str());
        let text = head(&sources) + &text.collect::<String>();
        let path = format!("{folder}/platform/{}.yml", need.name());
        files.push((path.into(), text));
    }
    files
}

/// Rule files in the folders of [`rule_files`] that no table makes any more.
///
/// # Errors
///
/// When a folder cannot be read.
pub fn stale(repository: &Path, files: &[File]) -> Result<Vec<PathBuf>> {
    let mut stale = Vec::new();
    for folder in ["rules/alerts", "rules/platform"] {
        let path = repository.join(folder);
        for entry in fs::read_dir(&path).with_context(|| cannot_read(&path))? {
            let name = entry.with_context(|| cannot_read(&path))?.file_name();
            let file = Path::new(folder).join(name);
            if !files.iter().any(|(made, _)| *made == file) {
                stale.push(file);
            }
        }
    }
    Ok(stale)
}

/// The tests of rules, with links that begin as those of the rules do.
///
/// # Errors
///
/// When one cannot be read.
pub fn test_files(repository: &Path, runbooks: &str) -> Result<Vec<File>> {
    let folder = Path::new("rules/tests");
    let path = repository.join(folder);
    let mut files = Vec::new();
    for entry in fs::read_dir(&path).with_context(|| cannot_read(&path))? {
        let path = entry.with_context(|| cannot_read(&path))?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            let text = fs::read_to_string(&path).with_context(|| cannot_read(&path))?;
            files.push((folder.join(name), render::with_links(&text, runbooks)));
        }
    }
    files.sort();
    Ok(files)
}

/// The pages that say of the alerts what the tables do: each as it is now, with the part between its marks anew.
///
/// # Errors
///
/// When a page cannot be read or has no marks.
pub fn pages(repository: &Path, tables: &[Table]) -> Result<Vec<File>> {
    let mut pages = vec![page::with_all(repository, tables)?];
    for name in names(tables) {
        pages.push(page::runbook(repository, tables, name)?);
    }
    Ok(pages)
}

/// The names of all alerts.
pub fn names(tables: &[Table]) -> std::collections::BTreeSet<&str> {
    let alerts = tables.iter().flat_map(|table| &table.alerts);
    alerts.map(|alert| alert.name.as_str()).collect()
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}
