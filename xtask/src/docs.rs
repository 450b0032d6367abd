//! `cargo xtask docs`: writes the pages of `docs/` that the agent generates.
//!
//! Metric names and configuration keys are declared once, in the agent; the pages are what it
//! prints about them. `--check` fails when a page and the agent differ, so neither can drift.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use clap::Args;

use crate::workspace::{self, Compiler};
use crate::{command, generated};

/// The options of `docs`.
#[derive(Args)]
pub(crate) struct Options {
    /// Compare instead of writing, and fail when a page is out of date.
    #[arg(long)]
    check: bool,
}

/// A page and the arguments with which the agent prints it.
const PAGES: [(&str, &[&str]); 2] = [
    ("docs/metrics.md", &["metrics", "--format", "markdown"]),
    ("docs/configuration.md", &["configuration"]),
];

/// Runs `cargo xtask docs`.
pub(crate) fn run(options: &Options) -> Result<()> {
    generate(options.check, &workspace::build(Compiler::Plain)?)
}

/// Writes the pages that this agent prints, or compares them.
pub(crate) fn generate(check: bool, agent: &Path) -> Result<()> {
    let mut pages = Vec::new();
    for (page, arguments) in PAGES {
        let text = command::output(Command::new(agent).args(arguments))?;
        ensure!(!text.is_empty(), "the agent printed nothing for {page}");
        pages.push((page, text));
    }
    generated::write_or_compare(&pages, check, "cargo xtask docs")
}
