//! `cargo xtask lint`: formatting, clippy, the kernel programs' warnings, the agent's layers, and the files
//! that are generated without the agent.
//!
//! The compiler of the kernel programs has no clippy, so their check is that they build with
//! warnings denied. Clippy's findings are errors of the build that the tests run from.

mod layers;

use anyhow::{Result, bail};
use clap::Args;

use crate::workspace::{self, Compiler};
use crate::{command, dashboards, manifests};

/// The options of `lint`.
#[derive(Args)]
pub(crate) struct Options {}

/// Runs `cargo xtask lint`.
pub(crate) fn run(_options: &Options) -> Result<()> {
    check()
}

/// Runs every check.
pub(crate) fn check() -> Result<()> {
    check_sources()?;
    workspace::build(Compiler::Clippy).map(|_agent| ())
}

/// Runs the checks that need no build, cheapest first.
pub(crate) fn check_sources() -> Result<()> {
    command::run(command::cargo().args(["fmt", "--all", "--check"]))?;
    check_layers()?;
    dashboards::generate(true)?;
    manifests::generate(true, "")
}

fn check_layers() -> Result<()> {
    let source = command::repository().join("agent/src");
    let findings = layers::check(&source)?;
    if findings.is_empty() {
        return Ok(());
    }
    bail!(
        "modules of the agent reach across its layers:\n{}\nMove the code, or change the table \
         in xtask/src/lint/layers.rs if the layers themselves are wrong",
        findings.join("\n")
    );
}
