//! The agent, its tests and the workload, linked statically: a guest has no libraries.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use debian_archive::Archive;
use serde_json::Value;

use super::list::Architecture;
use crate::{command, toolchain};

/// Folder of the test programs, below the workspace's.
const TESTS: &str = "tests/tests";
/// Test programs that do not run in a guest: they need Prometheus or a library that is not static, or
/// test what is the same on every kernel, as what platforms say of sessions. Every other one of the
/// package `integration-tests` runs there, but for those of the GPUs, whose agent loads a library.
const NOT_IN_GUEST: [&str; 12] = [
    "bench",
    "budget",
    "containers",
    "crowd",
    "errors",
    "exposition",
    "kubernetes",
    "locks",
    "logind",
    "nvml_real",
    "operations",
    "prometheus",
];

/// What goes into the guests of one architecture.
pub(super) struct Binaries {
    pub(super) agent: PathBuf,
    pub(super) workload: PathBuf,
    /// Name and path of each test program, ordered by name.
    pub(super) tests: Vec<(String, PathBuf)>,
}

/// Compiles them.
pub(super) fn build(architecture: Architecture, work: &Path) -> Result<Binaries> {
    let mut cargo = cargo(architecture, work)?;
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let messages = command::output(&mut cargo)
        .with_context(|| format!("cannot build the tests for {}", architecture.target()))?;
    collect(&messages)
}

fn cargo(architecture: Architecture, work: &Path) -> Result<Command> {
    let mut cargo = command::cargo();
    cargo
        .args(["build", "--profile", "guest"])
        .args(["--target", architecture.target()])
        .args(["--package", "sessionscope"])
        .args(["--package", "integration-tests"])
        .args(["--bin", "sessionscope", "--bin", "workload"])
        .arg("--target-dir")
        .arg(work.join("build"))
        .env_remove("RUSTFLAGS");
    for name in test_programs()? {
        cargo.args(["--test", &name]);
    }
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    if architecture == Architecture::Arm64 && std::env::consts::ARCH != architecture.name() {
        ensure!(
            toolchain::has_debian_compiler(),
            "the kernels of arm64 need Debian's rustc-web, whose library for arm64 is fetched: \
             `cargo xtask setup`, or name the kernels of x86 as the filter"
        );
        flags.push(format!("--sysroot={}", sysroot(work)?.display()));
        flags.push("-Clinker=aarch64-linux-gnu-gcc".to_owned());
        cargo.env("RUSTC", toolchain::DEBIAN_RUSTC);
        // They belong to the compiler that runs this program.
        for inherited in ["LD_LIBRARY_PATH", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN"] {
            cargo.env_remove(inherited);
        }
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    Ok(cargo)
}

/// The names of those that run in a guest.
fn test_programs() -> Result<Vec<String>> {
    let folder = command::repository().join(TESTS);
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        let is_program = path.extension().is_some_and(|extension| extension == "rs");
        if is_program && !NOT_IN_GUEST.contains(&name) && !name.starts_with("gpu") {
            names.push(name.to_owned());
        }
    }
    ensure!(
        !names.is_empty(),
        "{} has no test program for a guest",
        folder.display()
    );
    names.sort();
    Ok(names)
}

/// A folder that looks to the compiler like its own, with the library for arm64: Debian's package
/// of it cannot be installed without the whole architecture.
fn sysroot(work: &Path) -> Result<PathBuf> {
    let folder = work.join("tools/rust-arm64");
    if !folder.is_dir() {
        eprintln!("fetching the Rust library for arm64");
        let version = command::output(Command::new("dpkg-query").args([
            "--show",
            "--showformat=${Version}",
            "libstd-rust-web-dev",
        ]))?;
        let package = format!("libstd-rust-web-dev={version}");
        Archive::of_machine(&work.join("apt"), Architecture::Arm64.debian())?
            .unpack(&[package], &folder)?;
    }
    let sysroot = folder.join("usr");
    let library = sysroot
        .join("lib/rustlib")
        .join(Architecture::Arm64.target());
    ensure!(
        library.is_dir(),
        "the package libstd-rust-web-dev has no {}",
        library.display()
    );
    Ok(sysroot)
}

/// What cargo says it has built.
fn collect(messages: &str) -> Result<Binaries> {
    let (mut agent, mut workload, mut tests) = (None, None, Vec::new());
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line)
            .with_context(|| format!("cargo printed something that is not JSON: {line}"))?;
        let Some(executable) = message["executable"].as_str() else {
            continue;
        };
        let target = &message["target"];
        let name = target["name"].as_str().unwrap_or_default();
        let path = PathBuf::from(executable);
        match (target["kind"][0].as_str(), name) {
            (Some("bin"), "sessionscope") => agent = Some(path),
            (Some("bin"), "workload") => workload = Some(path),
            (Some("test"), name) => tests.push((name.to_owned(), path)),
            _ => {}
        }
    }
    tests.sort();
    Ok(Binaries {
        agent: agent.context("cargo built no `sessionscope`")?,
        workload: workload.context("cargo built no `workload`")?,
        tests,
    })
}

/// Busybox for the guest: its shell and its commands in one static file.
pub(super) fn busybox(architecture: Architecture, work: &Path) -> Result<Vec<u8>> {
    let folder = work.join(format!("tools/busybox-{}", architecture.debian()));
    if !folder.is_dir() {
        Archive::of_machine(&work.join("apt"), architecture.debian())?
            .unpack(&["busybox-static"], &folder)?;
    }
    let path = ["bin/busybox", "usr/bin/busybox"]
        .map(|path| folder.join(path))
        .into_iter()
        .find(|path| path.is_file())
        .context("the package busybox-static has no busybox")?;
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}
