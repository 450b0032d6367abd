//! Running other programs, and cargo among them.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
pub(crate) use lab::command::{as_root, cannot_start, check, find_program, is_root, output, run};
pub(crate) use lab::programs::repository;
use lab::programs::{self, AGENT, SCENARIO_LIBRARY, SCENARIO_PACKAGE};

/// The cargo that runs this program, started in the repository.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(repository());
    cargo
}

/// Builds the agent's release binary and returns its path.
pub(crate) fn build_agent() -> Result<PathBuf> {
    build_release(AGENT, AGENT)
}

/// Builds the library that answers in the driver's place, as fast as it gets, and returns its path.
pub(crate) fn build_scenario_library() -> Result<PathBuf> {
    build_release(SCENARIO_PACKAGE, SCENARIO_LIBRARY)
}

/// Builds a package with cargo's profile `release` and returns the path of its product.
pub(crate) fn build_release(package: &str, product: &str) -> Result<PathBuf> {
    run(cargo().args(["build", "--release", "--package", package]))?;
    built(package, programs::released(product))
}

/// The same with the profile `dev`, which takes less time.
pub(crate) fn build_quickly(package: &str, product: &str) -> Result<PathBuf> {
    run(cargo().args(["build", "--package", package]))?;
    built(package, programs::developed(product))
}

fn built(package: &str, product: PathBuf) -> Result<PathBuf> {
    ensure!(
        product.is_file(),
        "cargo built the package {package} but there is no {}: is build.target-dir set?",
        product.display()
    );
    Ok(product)
}
