//! The agent, its tests and the workload.
//!
//! Guests of the machine's own architecture run what its own tests run, with the libraries that it is linked
//! with. For the other architecture it is compiled again, and linked statically.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use debian_archive::Archive;
use ebpf_build::toolchain;
use lab::programs::{AGENT, WORKLOAD};

use super::list::Architecture;
use crate::command;
use crate::workspace::{self, Compiler, Executable};

/// Folder of the test programs, below the workspace's.
const TESTS: &str = "tests/tests";
/// Their package.
const TEST_PACKAGE: &str = "integration-tests";
/// Test programs that do not run in a guest: they need Prometheus or another program, or
/// test what is the same on every kernel, as what platforms say of sessions. Every other one of the
/// package `integration-tests` runs there, but for those of the GPUs, whose agent loads a library.
const NOT_IN_GUEST: [&str; 38] = [
    "alertmanager",
    "alerts",
    "budget",
    "chart",
    "clients",
    "compose",
    "crowd",
    "day",
    "display",
    "door",
    "door_peer",
    "errors",
    "exposition",
    "faulty_kernel",
    "findings",
    "hostile",
    "kubernetes",
    "locks",
    "log",
    "logind",
    "nvml_real",
    "on_call",
    "operations",
    "package",
    "page",
    "platform",
    "pod",
    "prometheus",
    "render",
    "rollout",
    "runtimes",
    "scaling",
    "stack",
    "tenants",
    "terminal",
    "top",
    "traces",
    "unresponsive",
];

/// What goes into the guests of one architecture.
pub(super) struct Binaries {
    pub(super) agent: PathBuf,
    pub(super) workload: PathBuf,
    /// Name and path of each test program, ordered by name.
    pub(super) tests: Vec<(String, PathBuf)>,
    /// The libraries that they are linked with, where the loader looks for them.
    pub(super) libraries: BTreeSet<PathBuf>,
}

/// Compiles them.
pub(super) fn build(
    architecture: Architecture,
    work: &Path,
    compiler: Compiler,
) -> Result<Binaries> {
    if std::env::consts::ARCH == architecture.name() {
        native(work, compiler)
    } else {
        cross(architecture, work)
    }
}

/// Those of this machine's tests, without what only a debugger wants.
fn native(work: &Path, compiler: Compiler) -> Result<Binaries> {
    let folder = work.join("stripped");
    // Cargo gives each build a name of its own.
    if folder.is_dir() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut binaries = collect(workspace::executables(compiler)?)?;
    let tests = binaries.tests.iter_mut().map(|(_, path)| path);
    let programs = [&mut binaries.agent, &mut binaries.workload];
    for path in programs.into_iter().chain(tests) {
        let name = path.file_name().context("a program has a name")?;
        let stripped = folder.join(name);
        command::run(Command::new("strip").arg("-o").arg(&stripped).arg(&*path))?;
        binaries.libraries.extend(libraries(path)?);
        *path = stripped;
    }
    Ok(binaries)
}

/// What a program is linked with, the loader itself included.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let mut ldd = Command::new("ldd");
    // That of the cargo that runs this program.
    ldd.arg(program).env_remove("LD_LIBRARY_PATH");
    let said = command::output(&mut ldd)?;
    ensure!(
        !said.contains("not found"),
        "{} is linked with libraries that are not there:\n{said}",
        program.display()
    );
    let paths = said.lines().filter_map(|line| {
        // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, or the loader by its path.
        let path = line.split_once("=>").map_or(line, |(_, path)| path);
        let path = path.split_whitespace().next()?;
        path.starts_with('/').then(|| PathBuf::from(path))
    });
    Ok(paths.collect())
}

/// Those for another architecture.
fn cross(architecture: Architecture, work: &Path) -> Result<Binaries> {
    let mut cargo = cross_cargo(architecture, work)?;
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let messages = command::output(&mut cargo)
        .with_context(|| format!("cannot build the tests for {}", architecture.target()))?;
    let executables = messages.lines().map(workspace::executable);
    let executables: Result<Vec<_>> = executables.collect();
    collect(executables?.into_iter().flatten().collect())
}

fn cross_cargo(architecture: Architecture, work: &Path) -> Result<Command> {
    let mut cargo = command::cargo();
    cargo
        .args(["build", "--profile", "guest"])
        .args(["--target", architecture.target()])
        .args(["--package", AGENT])
        .args(["--package", TEST_PACKAGE])
        .args(["--bin", AGENT, "--bin", WORKLOAD])
        .arg("--target-dir")
        .arg(work.join("build"))
        .env_remove("RUSTFLAGS");
    for name in test_programs()? {
        cargo.args(["--test", &name]);
    }
    ensure!(
        architecture == Architecture::Arm64,
        "programs for {} are only built where it is the machine's own architecture: name kernels of {} with \
         --kernel",
        architecture.name(),
        std::env::consts::ARCH
    );
    ensure!(
        toolchain::has_debian_compiler(),
        "the kernels of {} need Debian's rustc-web, whose library for them is fetched: \
         `cargo xtask setup`, or name the kernels of {} as the filter",
        architecture.name(),
        std::env::consts::ARCH
    );
    let flags = [
        "-Ctarget-feature=+crt-static".to_owned(),
        format!("--sysroot={}", sysroot(work)?.display()),
        "-Clinker=aarch64-linux-gnu-gcc".to_owned(),
    ];
    cargo.env("RUSTC", toolchain::DEBIAN_RUSTC);
    // They belong to the compiler that runs this program.
    for inherited in [
        "LD_LIBRARY_PATH",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTUP_TOOLCHAIN",
    ] {
        cargo.env_remove(inherited);
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

/// Those of the executables that go into a guest.
fn collect(executables: Vec<Executable>) -> Result<Binaries> {
    let wanted = test_programs()?;
    let (mut agent, mut workload, mut tests) = (None, None, Vec::new());
    for executable in executables {
        let name = executable.name.as_str();
        match (executable.package.as_str(), executable.is_test) {
            (AGENT, false) if name == AGENT => agent = Some(executable.path),
            (TEST_PACKAGE, false) if name == WORKLOAD => workload = Some(executable.path),
            (TEST_PACKAGE, true) if wanted.iter().any(|wanted| wanted == name) => {
                tests.push((executable.name, executable.path));
            }
            _ => {}
        }
    }
    tests.sort();
    ensure!(
        tests.iter().map(|(name, _)| name).eq(&wanted),
        "cargo has not built each of {} for the guests",
        wanted.join(", ")
    );
    Ok(Binaries {
        agent: agent.context("cargo built no `sessionscope`")?,
        workload: workload.context("cargo built no `workload`")?,
        tests,
        libraries: BTreeSet::new(),
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
