//! The one build of everything that checks and tests need.
//!
//! Lint, generated pages, unit tests, integration tests and the guests of the machine's own architecture have
//! the same compilation, in cargo's profile `dev`: its dependencies are compiled once. Each command of cargo
//! names the same packages, because cargo compiles a dependency again for another set of them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lab::programs::{AGENT, developed};
use serde_json::Value;

use crate::command;
use crate::setup::{self, Purpose};

/// All packages that are for this machine: the kernel programs have a compiler of their own.
const PACKAGES: [&str; 3] = ["--workspace", "--exclude", "agent-ebpf"];

/// How the workspace's own packages are compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compiler {
    /// As they are.
    Plain,
    /// With clippy's findings as errors. Dependencies are those of the other way.
    Clippy,
}

/// Something that cargo has built.
pub(crate) struct Executable {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Whether it is a program of tests, and not a program of the package.
    pub(crate) is_test: bool,
    /// What its source is to the package: `lib`, `bin`, `test` or another word of cargo's.
    pub(crate) kind: String,
    /// Its package is this one of the workspace.
    pub(crate) package: String,
    /// The package's folder, in which cargo starts its tests.
    pub(crate) folder: PathBuf,
}

/// A command of cargo for all packages.
pub(crate) fn cargo(subcommand: &str, compiler: Compiler) -> Result<Command> {
    let mut cargo = command::cargo();
    cargo.arg(subcommand).args(PACKAGES);
    if compiler == Compiler::Clippy {
        cargo
            .env("RUSTC_WORKSPACE_WRAPPER", clippy()?)
            .env("CLIPPY_ARGS", ebpf_build::DENY_WARNINGS);
    }
    Ok(cargo)
}

/// Builds every program, library and test, the kernel programs among them, and returns the agent.
pub(crate) fn build(compiler: Compiler) -> Result<PathBuf> {
    setup::prepare(Purpose::Build)?;
    command::run(cargo("build", compiler)?.arg("--all-targets"))?;
    let agent = developed(AGENT);
    ensure!(
        agent.is_file(),
        "cargo built the agent but there is no {}: is build.target-dir set?",
        agent.display()
    );
    Ok(agent)
}

/// What [`build`] has built.
pub(crate) fn executables(compiler: Compiler) -> Result<Vec<Executable>> {
    let mut cargo = cargo("build", compiler)?;
    cargo
        .arg("--all-targets")
        .args(["--message-format", "json-render-diagnostics"]);
    let messages = command::output(&mut cargo)?;
    let mut executables = Vec::new();
    for line in messages.lines() {
        executables.extend(executable(line)?);
    }
    Ok(executables)
}

/// The executable that a message of cargo's is about.
pub(crate) fn executable(message: &str) -> Result<Option<Executable>> {
    let message: Value = serde_json::from_str(message)
        .with_context(|| format!("cargo printed something that is not JSON: {message}"))?;
    let Some(path) = message["executable"].as_str() else {
        return Ok(None);
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // `path+file:///repository/tests#integration-tests@0.1.0`, without the name where that is the folder's.
    let id = text(&message["package_id"]);
    let (folder, name) = id.split_once('#').unwrap_or((&id, ""));
    let named = name.split_once('@').map(|(name, _)| name);
    let package = named.or_else(|| folder.rsplit('/').next());
    Ok(Some(Executable {
        name: text(&message["target"]["name"]),
        path: path.into(),
        is_test: message["profile"]["test"].as_bool().unwrap_or(false),
        kind: text(&message["target"]["kind"][0]),
        package: package.unwrap_or_default().to_owned(),
        folder: Path::new(&text(&message["manifest_path"]))
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default(),
    }))
}

/// The compiler with clippy's lints, beside the cargo that runs this program.
fn clippy() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").map(PathBuf::from).unwrap_or_default();
    let beside = cargo.with_file_name("clippy-driver");
    if beside.is_file() {
        return Ok(beside);
    }
    command::find_program("clippy-driver")
        .context("no clippy-driver: `rustup component add clippy`")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::executable;

    #[test]
    fn an_executable_is_known_with_its_package() {
        let message = |id: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"{id}","executable":"/t/net-1",
                    "manifest_path":"/r/tests/Cargo.toml","target":{{"name":"net","kind":["test"]}},"profile":{{"test":true}}}}"#
            )
        };
        for (id, package) in [
            (
                "path+file:///r/tests#integration-tests@0.1.0",
                "integration-tests",
            ),
            ("path+file:///r/xtask#0.1.0", "xtask"),
        ] {
            let found = executable(&message(id)).unwrap().unwrap();
            assert_eq!((found.name.as_str(), found.is_test), ("net", true));
            assert_eq!(
                (found.package.as_str(), found.kind.as_str()),
                (package, "test")
            );
            assert_eq!(found.folder, Path::new("/r/tests"));
        }
        let library = r#"{"reason":"compiler-artifact","executable":null}"#;
        assert!(executable(library).unwrap().is_none());
        assert!(executable("Compiling").is_err());
    }
}
