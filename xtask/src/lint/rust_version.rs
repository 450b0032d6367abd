//! The oldest compiler that `Cargo.toml` promises (`rust-version`).
//!
//! Where this machine's compiler is that one, its build is the check. With a newer compiler there is only
//! what dependencies say of themselves.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::command;

/// That of the workspace, which this package shares.
const STATED: &str = env!("CARGO_PKG_RUST_VERSION");
/// The workspaces: the kernel program of the benchmarks has one of its own.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "bench/ebpf/Cargo.toml"];

/// Checks that no package wants a newer compiler, and says whether the compiler here is the one promised.
pub(super) fn check() -> Result<()> {
    let clippy = std::fs::read_to_string(command::repository().join("clippy.toml"))
        .context("cannot read clippy.toml")?;
    ensure!(
        !clippy.contains("msrv"),
        "clippy.toml: remove `msrv`: clippy takes the oldest compiler from `rust-version` in Cargo.toml"
    );
    let mut newer = Vec::new();
    for manifest in MANIFESTS {
        let metadata = command::output(command::cargo().args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--manifest-path",
            manifest,
        ]))?;
        let metadata: Value =
            serde_json::from_str(&metadata).context("cargo printed metadata that is not JSON")?;
        newer.extend(newer_than(&metadata, STATED));
    }
    if !newer.is_empty() {
        bail!(
            "Cargo.toml promises Rust {STATED}, but these packages want a newer one: {}. Take an older \
             version of them (`cargo update --precise`), or raise `rust-version`",
            newer.join(", ")
        );
    }
    let rustc = command::output(Command::new("rustc").arg("--version"))?;
    let here = rustc.split_whitespace().nth(1).unwrap_or_default();
    if version(here)[..2] == version(STATED)[..2] {
        eprintln!(
            "rustc {here} is the oldest that is promised: that it builds everything is the check"
        );
    } else {
        eprintln!(
            "rustc {here} is not the promised {STATED}: checked is only what packages say they want"
        );
    }
    Ok(())
}

/// The packages of cargo's metadata that want a newer compiler than `stated`.
fn newer_than(metadata: &Value, stated: &str) -> Vec<String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .filter_map(|package| {
            let wanted = package["rust_version"].as_str()?;
            let name = package["name"].as_str().unwrap_or_default();
            (version(wanted) > version(stated)).then(|| format!("{name} ({wanted})"))
        })
        .collect()
}

/// The three numbers of a version.
fn version(text: &str) -> [u32; 3] {
    let mut numbers = text.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{newer_than, version};

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(version("1.100") > version("1.95.0"));
        assert_eq!(version("1.95"), version("1.95.0"));
        assert_eq!(version("1.96.0-nightly"), [1, 96, 0]);
    }

    #[test]
    fn a_package_that_wants_a_newer_compiler_is_named() {
        let metadata = json!({"packages": [
            {"name": "old", "rust_version": "1.60"},
            {"name": "silent", "rust_version": null},
            {"name": "new", "rust_version": "1.98"},
        ]});
        assert_eq!(newer_than(&metadata, "1.95"), ["new (1.98)"]);
    }
}
