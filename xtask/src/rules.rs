//! `cargo xtask rules`: writes the alerts that Prometheus loads, and what pages say of them, from `rules/table/`.
//!
//! `--check` fails when a committed file differs.

use std::fs;

use anyhow::{Context, Result, ensure};
use clap::Args;
use rules::{RUNBOOKS, is_base, pages, rule_files, runbooks, stale, tables, test_files};

use crate::{command, generated};

/// The options of `rules`.
#[derive(Args)]
pub(crate) struct Options {
    /// Compare instead of writing, and fail when a file is out of date.
    #[arg(long)]
    check: bool,
    /// From now on the runbooks of docs/runbooks/ are served there: a URL with a slash at its end, which stands before an
    /// alert's name in its link. It is kept in rules/runbooks.
    #[arg(long, value_name = "BASE", conflicts_with = "check")]
    runbooks: Option<String>,
}

/// Runs `cargo xtask rules`.
pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some(base) = &options.runbooks {
        is_base(base)?;
        let file = command::repository().join(RUNBOOKS);
        fs::write(&file, format!("{base}\n"))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    generate(options.check)
}

/// Writes the files, or compares them.
pub(crate) fn generate(check: bool) -> Result<()> {
    let repository = command::repository();
    let (tables, runbooks) = (tables(repository)?, runbooks(repository)?);
    let mut files = rule_files(&tables, &runbooks);
    let stale = stale(repository, &files)?;
    ensure!(
        stale.is_empty(),
        "no table makes {stale:?} any more: remove them"
    );
    files.extend(test_files(repository, &runbooks)?);
    files.extend(pages(repository, &tables)?);
    generated::write_or_compare(&files, check, "cargo xtask rules")
}
