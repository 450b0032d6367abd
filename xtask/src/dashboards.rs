//! `cargo xtask dashboards`: writes the Grafana dashboards of `dashboards/`.
//!
//! A dashboard is a list of panels in Rust ([`sessions`]); what Grafana wants to know besides is in
//! [`grafana`]. `--check` fails when a committed file differs.

mod grafana;
mod model;
mod sessions;

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
    let mut text = serde_json::to_string_pretty(&sessions::dashboard().to_grafana())
        .context("cannot write a dashboard as JSON")?;
    text.push('\n');
    let files = [("dashboards/sessions.json", text)];
    generated::write_or_compare(&files, check, "cargo xtask dashboards")
}
