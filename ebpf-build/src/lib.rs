//! Compiles the kernel programs: for the agent's build script, which embeds them, and for `cargo xtask`.
//!
//! There are two objects because where per-thread state lives is decided by map definitions, which
//! a loader cannot exchange: kernels with task storage get the one, older kernels the other.

pub mod toolchain;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, iter};

use anyhow::{Context, Result, anyhow, ensure};

use crate::toolchain::{TARGET, Toolchain};

/// The features of the package `agent-ebpf`, each of which is one object.
pub const VARIANTS: [&str; 2] = ["task-storage", "pid-array"];

/// Where the empty program of the benchmarks is.
const FLOOR: &str = "--manifest-path=bench/ebpf/Cargo.toml";

/// How cargo-clippy hands arguments to the compiler that it puts in rustc's place.
pub const DENY_WARNINGS: &str = "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__";

/// What the objects are made from, relative to the repository.
pub const SOURCES: [&str; 6] = [
    "agent-ebpf/src",
    "agent-ebpf/Cargo.toml",
    "agent-common/src",
    "agent-common/Cargo.toml",
    // Versions, and the profile `release`.
    "Cargo.lock",
    "Cargo.toml",
];

/// The repository, known at compile time so that a program also finds it when sudo has emptied the
/// environment.
pub fn repository() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Where an object is published for tests, guests and benchmarks.
pub fn object(name: &str) -> PathBuf {
    file(&repository().join("target/bpf"), name)
}

/// The agent's objects, where they are published.
pub fn objects() -> [PathBuf; 2] {
    VARIANTS.map(object)
}

/// The object of a name in a folder.
pub fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.o"))
}

/// Compiles the agent's objects and publishes them, into the folder `besides` too.
pub fn build(besides: Option<&Path>) -> Result<()> {
    let toolchain = find()?;
    let work = WorkFolder::lock()?;
    for variant in VARIANTS {
        let built = work
            .compile(&toolchain, &package(variant), "sessionscope-ebpf")
            .with_context(|| format!("cannot build the kernel programs for {variant}"))?;
        publish(&built, &object(variant))?;
        if let Some(folder) = besides {
            publish(&built, &file(folder, variant))?;
        }
    }
    Ok(())
}

/// Compiles the empty program that benchmarks compare with, publishes it and returns its object. It is a
/// package outside the workspace, because it has nothing in common with the agent's programs.
pub fn build_floor() -> Result<PathBuf> {
    let built = WorkFolder::lock()?
        .compile(&find()?, &[FLOOR], "bench-floor")
        .context("cannot build the empty kernel program of the benchmarks")?;
    let object = object("bench-floor");
    publish(&built, &object)?;
    Ok(object)
}

/// Checks every kernel program with clippy, whose findings are errors. `false` where the toolchain has no
/// clippy, and nothing was checked.
pub fn lint() -> Result<bool> {
    let toolchain = find()?;
    let Some(clippy) = toolchain.clippy() else {
        return Ok(false);
    };
    let work = WorkFolder::lock()?;
    let floor = vec![FLOOR];
    let packages = VARIANTS.map(|variant| package(variant).to_vec());
    for arguments in packages.into_iter().chain([floor]) {
        run(toolchain
            .cargo("check")
            .args(arguments)
            .arg("--target-dir")
            .arg(&work.path)
            .env("RUSTC_WORKSPACE_WRAPPER", &clippy)
            .env("CLIPPY_ARGS", DENY_WARNINGS))
        .context("clippy has findings in the kernel programs")?;
    }
    Ok(true)
}

/// Finds a program on `PATH`, where cargo installs, or where Debian keeps root's programs; the
/// last two are often missing from `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    env::split_paths(&path)
        .chain(cargo_home.map(|home| home.join("bin")))
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

fn find() -> Result<Toolchain> {
    toolchain::find().map_err(|missing| {
        anyhow!("{missing}: `cargo xtask setup` installs it, or says what to install")
    })
}

/// The arguments of cargo for one variant of the agent's programs.
fn package(variant: &str) -> [&str; 4] {
    [
        "--package=agent-ebpf",
        "--no-default-features",
        "--features",
        variant,
    ]
}

/// Where cargo compiles the kernel programs. It is not cargo's own target folder, which is locked by the
/// cargo that runs a build script.
struct WorkFolder {
    path: PathBuf,
    /// Both variants have the same file name: who compiles one copies it before anybody compiles the
    /// other. An editor's cargo and one in a terminal do so at the same time.
    _lock: File,
}

impl WorkFolder {
    fn lock() -> Result<Self> {
        let path = repository().join("target/bpf-build");
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let lock = path.join("objects.lock");
        let file = File::create(&lock)
            .and_then(|file| file.lock().map(|()| file))
            .with_context(|| format!("cannot lock {}", lock.display()))?;
        Ok(Self { path, _lock: file })
    }

    fn compile(&self, toolchain: &Toolchain, arguments: &[&str], binary: &str) -> Result<PathBuf> {
        run(toolchain
            .cargo("build")
            .args(arguments)
            .args(["--bin", binary, "--target-dir"])
            .arg(&self.path))?;
        Ok(self.path.join(TARGET).join("release").join(binary))
    }
}

fn run(command: &mut Command) -> Result<()> {
    let words = iter::once(command.get_program()).chain(command.get_args());
    let line = words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    let status = command
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    ensure!(status.success(), "`{line}` failed ({status})");
    Ok(())
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
