//! `cargo xtask dashboards`: writes the Grafana dashboards of `dashboards/`.
//!
//! They are lists of panels in `dashboards/src`. `--check` fails when a committed file differs.

use anyhow::{Context, Result};
use clap::Args;

use crate::generated;

/// The options of `dashboards`.
#[derive(Args)]
pub(crate) struct Options {
    /// Compare instead of writing, and fail when a dashboard is out of date.
    #[arg(long)]
    check: bool,
}

/// Runs `cargo xtask dashboards`.
pub(crate) fn run(options: &Options) -> Result<()> {
    generate(options.check)
}

/// Writes the dashboards, or compares them.
pub(crate) fn generate(check: bool) -> Result<()> {
    let files = dashboards::all().context("cannot write a dashboard as JSON")?;
    generated::write_or_compare(&files, check, "cargo xtask dashboards")
}
