//! `cargo xtask build-ebpf`: compiles the kernel programs into `target/bpf`.
//!
//! There are two objects because where per-thread state lives is decided by map definitions, which
//! a loader cannot exchange: kernels with task storage get the one, older kernels the other. The
//! agent's build script embeds both.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use lab::programs::FLOOR;

use crate::command;
use crate::setup::{self, Purpose};
use crate::toolchain::{self, TARGET};

/// The options of `build-ebpf`.
#[derive(Args)]
pub(crate) struct Options {}

/// The features of the package, each of which is one object.
const VARIANTS: [&str; 2] = ["task-storage", "pid-array"];

/// Runs `cargo xtask build-ebpf`.
pub(crate) fn run(_options: &Options) -> Result<()> {
    build()?;
    for variant in VARIANTS {
        println!("{}", object(variant).display());
    }
    Ok(())
}

/// Builds every object, installing a toolchain first if there is none.
pub(crate) fn build() -> Result<()> {
    setup::prepare(Purpose::Build)?;
    for variant in VARIANTS {
        let arguments = [
            "--package=agent-ebpf",
            "--no-default-features",
            "--features",
            variant,
        ];
        compile(&arguments, "sessionscope-ebpf", &object(variant))
            .with_context(|| format!("cannot build the kernel programs for {variant}"))?;
    }
    Ok(())
}

/// Builds the empty program that benchmarks compare with, and returns its object. It is a package
/// outside the workspace, because it has nothing in common with the agent's programs.
pub(crate) fn build_floor() -> Result<PathBuf> {
    let object = object(FLOOR);
    let arguments = ["--manifest-path=bench/ebpf/Cargo.toml"];
    compile(&arguments, FLOOR, &object)
        .context("cannot build the empty kernel program of the benchmarks")?;
    Ok(object)
}

fn compile(arguments: &[&str], binary: &str, object: &Path) -> Result<()> {
    let work = command::repository().join("target/bpf-build");
    command::run(
        toolchain::find()?
            .cargo_build()
            .args(arguments)
            .args(["--bin", binary, "--target-dir"])
            .arg(&work),
    )?;
    publish(&work.join(TARGET).join("release").join(binary), object)
}

/// The agent's objects.
pub(crate) fn objects() -> [PathBuf; 2] {
    VARIANTS.map(object)
}

fn object(name: &str) -> PathBuf {
    command::repository()
        .join("target/bpf")
        .join(format!("{name}.o"))
}

/// Copies an object unless the same bytes are there: a new time stamp alone would make cargo build
/// the agent again.
fn publish(built: &Path, object: &Path) -> Result<()> {
    let bytes = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    if fs::read(object).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    if let Some(directory) = object.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
    }
    fs::write(object, bytes).with_context(|| format!("cannot write {}", object.display()))
}
