//! `cargo xtask rules`: writes the alerts that Prometheus loads, and what pages say of them, from `rules/table/`.
//!
//! `--check` fails when a committed file differs.

use anyhow::Result;
use clap::Args;
use rules::{RUNBOOKS, pages, rule_files, tables};

use crate::{command, generated};

/// The options of `rules`.
#[derive(Args)]
pub(crate) struct Options {
    /// Compare instead of writing, and fail when a file is out of date.
    #[arg(long)]
    check: bool,
    /// Where the runbooks of docs/runbooks/ are served: what stands before an alert's name in its link.
    #[arg(long, value_name = "BASE", default_value = RUNBOOKS)]
    runbooks: String,
}

/// Runs `cargo xtask rules`.
pub(crate) fn run(options: &Options) -> Result<()> {
    generate(options.check, &options.runbooks)
}

/// Writes the files, or compares them.
pub(crate) fn generate(check: bool, runbooks: &str) -> Result<()> {
    let repository = command::repository();
    let tables = tables(repository)?;
    let mut files = rule_files(&tables, runbooks);
    files.extend(pages(repository, &tables)?);
    generated::write_or_compare(&files, check, "cargo xtask rules")
}
