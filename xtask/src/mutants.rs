//! `cargo xtask mutants`: whether the unit tests notice when the code is changed.
//!
//! cargo-mutants replaces an operator or a function's result and runs the unit tests, again and again. One that
//! nobody notices is a line that no test is about. Only what computes is changed: what talks to the kernel, a
//! driver or a socket has its tests end to end, and those are too slow to be run for each mutant.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::{build_ebpf, command};

/// Of one version, so that the same code has the same mutants.
const VERSION: &str = "27.0.0";
/// As many of a change as are tried: each costs a compilation of its package.
const MOST_OF_A_CHANGE: usize = 20;
/// What computes, and has its tests beside it.
const FILES: [&str; 13] = [
    "agent-common/src/**",
    "agent/src/client/**",
    "agent/src/config/**",
    "agent/src/discover/peer.rs",
    "agent/src/discover/rules.rs",
    "agent/src/discover/rules/**",
    "agent/src/discover/selector.rs",
    "agent/src/discover/users.rs",
    "agent/src/gpu/rhythm.rs",
    "agent/src/gpu/usage.rs",
    "agent/src/metrics/**",
    "agent/src/session/**",
    "agent/src/setting/**",
];

/// The options of `mutants`.
#[derive(Args)]
pub(crate) struct Options {
    /// Only this part of all mutants, as `0/8`; there are some 1,800.
    #[arg(long, value_name = "K/N", default_value = "0/100")]
    shard: String,
    /// Only mutants of what has changed since so many commits, twenty at most.
    #[arg(
        long,
        value_name = "COMMITS",
        num_args = 0..=1,
        default_missing_value = "1",
        conflicts_with = "shard"
    )]
    changed: Option<u32>,
}

/// Runs `cargo xtask mutants`.
pub(crate) fn run(options: &Options) -> Result<()> {
    build_ebpf::build()?;
    let results = command::repository().join("target/mutants");
    fs::create_dir_all(&results).with_context(|| format!("cannot create {}", results.display()))?;
    let tool = tool()?;
    let (name, selection) = match options.changed {
        None => (
            format!("shard-{}", options.shard.replace('/', "-of-")),
            vec!["--shard".to_owned(), options.shard.clone()],
        ),
        Some(commits) => match change(&tool, &results, commits)? {
            Some(selection) => ("changed".to_owned(), selection),
            None => return Ok(()),
        },
    };
    let output = results.join(name);
    let mut mutants = mutants(&tool);
    mutants
        .args(selection)
        .arg("--output")
        .arg(&output)
        .args(["--", "--lib"])
        // It works on a copy of the sources: what is compiled for one run serves the next, and the kernel
        // programs are not compiled for it.
        .env("CARGO_TARGET_DIR", results.join("build"))
        .env(
            "SESSIONSCOPE_BPF_DIR",
            command::repository().join("target/bpf"),
        );
    fs::create_dir_all(&output).with_context(|| format!("cannot create {}", output.display()))?;
    let status = mutants
        .status()
        .with_context(|| command::cannot_start(&mutants))?;
    let lists = output.join("mutants.out");
    match status.code() {
        Some(0) => Ok(()),
        Some(2) => bail!(
            "no test has noticed the mutants of {}",
            lists.join("missed.txt").display()
        ),
        Some(3) => bail!(
            "tests did not end with the mutants of {}",
            lists.join("timeout.txt").display()
        ),
        _ => command::check(&mutants, status),
    }
}

/// cargo-mutants, compiled on first use.
fn tool() -> Result<PathBuf> {
    let folder = command::repository().join(format!("target/tools/cargo-mutants-{VERSION}"));
    let tool = folder.join("bin/cargo-mutants");
    if !tool.is_file() {
        let mut install = command::cargo();
        install
            .args([
                "install",
                "cargo-mutants",
                "--locked",
                "--version",
                VERSION,
                "--root",
            ])
            .arg(&folder);
        command::run(&mut install)?;
    }
    ensure!(tool.is_file(), "cargo has installed no {}", tool.display());
    Ok(tool)
}

/// The command, for the files that it is for.
fn mutants(tool: &Path) -> Command {
    let mut mutants = Command::new(tool);
    mutants
        .arg("mutants")
        .current_dir(command::repository())
        // That of the cargo that runs this program would deny the warnings that a mutant has.
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    for file in FILES {
        mutants.args(["--file", file]);
    }
    mutants
}

/// The arguments for what has changed since so many commits, if that has any mutant.
fn change(tool: &Path, results: &Path, commits: u32) -> Result<Option<Vec<String>>> {
    let mut git = Command::new("git");
    git.args(["diff", &format!("HEAD~{commits}")])
        .current_dir(command::repository());
    let diff = results.join("changed.diff");
    fs::write(&diff, command::output(&mut git)?)
        .with_context(|| format!("cannot write {}", diff.display()))?;
    let mut arguments = vec!["--in-diff".to_owned(), diff.display().to_string()];
    let mut list = mutants(tool);
    list.args(["--list", "--json"]).args(&arguments);
    let listed = command::output(&mut list)?;
    // Where there is none it prints nothing at all.
    let count = if listed.trim().is_empty() {
        0
    } else {
        let listed: Value = serde_json::from_str(&listed)
            .with_context(|| format!("cargo-mutants lists no JSON: {listed}"))?;
        listed.as_array().map_or(0, Vec::len)
    };
    eprintln!("{count} mutants of the change, of which {MOST_OF_A_CHANGE} at most are tried");
    arguments.extend(["--shard".to_owned(), shard(count)]);
    Ok((count > 0).then_some(arguments))
}

/// The part of so many mutants that is not too large.
fn shard(count: usize) -> String {
    format!("0/{}", count.div_ceil(MOST_OF_A_CHANGE).max(1))
}

#[cfg(test)]
mod tests {
    use super::{FILES, shard};
    use crate::command;

    #[test]
    fn a_change_has_at_most_twenty() {
        assert_eq!(shard(0), "0/1");
        assert_eq!(shard(20), "0/1");
        assert_eq!(shard(21), "0/2");
    }

    #[test]
    fn every_file_is_there() {
        for file in FILES {
            let path = command::repository().join(file.trim_end_matches("/**"));
            assert!(path.exists(), "no {file}");
        }
    }
}
