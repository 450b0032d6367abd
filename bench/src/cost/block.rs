//! `bench block`: what reads and writes of a drive cost with the agent and with others beside it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use lab::cgroup::Tree;
use lab::cpus::allowed;
use lab::programs::repository;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compare::Plan;
use super::comparison::Comparison;
use super::condition::{Condition, Peer};
use super::disk::{Access, Disk, File};
use super::measuring::Bench;
use super::sessions::PARENT;

const SESSION: &str = "disk";
/// As many as keep a drive busy while one thread hands them in.
const DEPTH: u32 = 16;

/// The options of `bench block`.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Options {
    /// Where the file is written that is read and written; `target` unless it is given. A file system in
    /// memory has no drive.
    #[arg(long)]
    folder: Option<PathBuf>,
}

impl Options {
    /// As they are typed.
    pub(super) fn arguments(&self) -> Vec<String> {
        let folder = self.folder.iter();
        folder
            .flat_map(|folder| ["--folder".to_owned(), folder.display().to_string()])
            .collect()
    }
}

/// What `bench block` measures.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measurements(Comparison);

/// Takes all measurements.
pub(super) fn measure(options: &Options, bench: &Bench<'_>) -> Result<Measurements> {
    let cpu = allowed()?
        .pop()
        .context("no CPU is allowed to this process")?;
    let folder = options.folder.clone();
    let file = File::in_folder(&folder.unwrap_or_else(|| repository().join("target")));
    let cgroups = Tree::create(PARENT, &[SESSION])?;
    let disk = |access| Disk {
        file: &file,
        cgroup: cgroups.path_of(SESSION),
        cpu,
        access,
        depth: DEPTH,
    };
    let (read, write) = (disk(Access::Read), disk(Access::Write));
    let plan = Plan {
        loads: vec![&read, &write],
        conditions: vec![Condition::Agent, Condition::Peer(Peer::Biolatency)],
        cgroup: cgroups.path_of(""),
        sessions: 1,
        rounds: bench.rounds,
        statistics_rounds: 1,
        repetitions: bench.repetitions,
        command: bench.command("block", &options.arguments()),
        interrupted: bench.interrupted,
    };
    Ok(Measurements(plan.run()?))
}

impl super::measuring::Measurements for Measurements {
    const NAME: &'static str = "block";

    fn summary(&self) -> Value {
        self.0.summary(None)
    }

    fn markdown(&self) -> String {
        self.0.markdown(None, &[])
    }
}
