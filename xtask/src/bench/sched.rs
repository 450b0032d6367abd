//! `bench sched`: what a context switch costs with nothing, with the agent and with others beside it.
//!
//! Virtual machines drift by more than what is measured, so the conditions take turns and are only
//! compared within a round. Each round begins with another condition, so that no condition always
//! follows the same one. The kernel's statistics slow every program down and therefore get
//! rounds of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::{Context, Result};
use aya::sys::{Stats, enable_stats};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::conditions::{Beside, Condition, PARENT, SESSION, pause};
use super::machine::{Machine, allowed_cpus};
use super::pipe::{Pipe, SWITCHES_PER_OPERATION};
use super::programs::{self, Runs};
use crate::cgroup::Tree;
use crate::command;

/// The options of `bench sched`.
#[derive(Args)]
pub(super) struct Options {
    /// Rounds; in each, every condition is measured once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Operations per measurement, each of two context switches.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    loops: u64,
}

impl Options {
    /// As they are typed.
    pub(super) fn arguments(&self) -> Vec<String> {
        vec![
            "--pairs".into(),
            self.pairs.to_string(),
            "--loops".into(),
            self.loops.to_string(),
        ]
    }
}

/// Rounds with the kernel's statistics on; each run is an average of millions already.
const STATISTICS_ROUNDS: u32 = 3;
/// Between the start of a condition and its measurement: an agent that starts looks at every process.
const SETTLE: Duration = Duration::from_secs(1);

/// What `bench sched` measures.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measurements {
    pub(super) machine: Machine,
    pub(super) command: String,
    pub(super) cpu: usize,
    pub(super) loops: u64,
    /// Microseconds per operation.
    pub(super) rounds: Vec<BTreeMap<Condition, f64>>,
    pub(super) programs: Vec<ProgramRuns>,
}

/// The kernel's statistics of one program over one run of the load.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ProgramRuns {
    pub(super) condition: Condition,
    pub(super) program: String,
    #[serde(flatten)]
    pub(super) runs: Runs,
}

/// Takes all measurements.
pub(super) fn measure(options: &Options, interrupted: &Receiver<()>) -> Result<Measurements> {
    // The first CPU is where most machines handle their interrupts.
    let cpu = allowed_cpus()?
        .pop()
        .context("no CPU is allowed to this process")?;
    let cgroups = Tree::create(PARENT, &[SESSION])?;
    let bench = Bench {
        pipe: Pipe::new(cgroups.child(SESSION), cpu, options.loops)?,
        floor: command::repository().join("target/bpf/bench-floor.o"),
        switches: options.loops * SWITCHES_PER_OPERATION,
        interrupted,
    };
    let mut measurements = Measurements {
        machine: Machine::read()?,
        command: format!("cargo xtask bench sched {}", options.arguments().join(" ")),
        cpu,
        loops: options.loops,
        rounds: Vec::new(),
        programs: Vec::new(),
    };
    for number in 0..options.pairs {
        eprintln!("round {} of {}", number + 1, options.pairs);
        measurements.rounds.push(bench.round(number as usize)?);
    }
    // The kernel counts while this is open, so not even a killed benchmark leaves it on.
    let statistics = enable_stats(Stats::RunTime).context("cannot turn the BPF statistics on")?;
    for number in 0..STATISTICS_ROUNDS {
        eprintln!("statistics, round {} of {STATISTICS_ROUNDS}", number + 1);
        for condition in &Condition::ALL[1..] {
            measurements.programs.extend(bench.statistics(*condition)?);
        }
    }
    drop(statistics);
    Ok(measurements)
}

struct Bench<'a> {
    pipe: Pipe,
    floor: PathBuf,
    switches: u64,
    interrupted: &'a Receiver<()>,
}

impl Bench<'_> {
    fn round(&self, number: usize) -> Result<BTreeMap<Condition, f64>> {
        let mut order = Condition::ALL;
        order.rotate_left(number % Condition::ALL.len());
        let mut times = BTreeMap::new();
        for condition in order {
            let mut beside = self.begin(condition, &self.floor)?;
            let time = self.pipe.run(self.interrupted)?;
            beside.has_counted(self.switches)?;
            eprintln!("  {time:.3} µs an operation beside {}", condition.label());
            times.insert(condition, time);
        }
        Ok(times)
    }

    fn statistics(&self, condition: Condition) -> Result<Vec<ProgramRuns>> {
        let mut beside = self.begin(condition, &self.floor)?;
        let ids = programs::attached(beside.pid())?;
        let before = programs::runs(&ids)?;
        self.pipe.run(self.interrupted)?;
        let after = programs::runs(&ids)?;
        beside.has_counted(self.switches)?;
        let mut found = Vec::new();
        for (program, after) in after {
            let before = before.get(&program).copied().unwrap_or_default();
            let runs = Runs {
                count: after.count - before.count,
                ns: after.ns - before.ns,
            };
            // The others wait for events that this load does not have.
            if runs.count >= self.switches / 2 {
                eprintln!(
                    "  {:.0} ns a run of {program} of {}",
                    runs.ns as f64 / runs.count as f64,
                    condition.label()
                );
                found.push(ProgramRuns {
                    condition,
                    program,
                    runs,
                });
            }
        }
        Ok(found)
    }

    fn begin(&self, condition: Condition, floor: &Path) -> Result<Beside> {
        let beside = Beside::begin(condition, floor, self.interrupted)?;
        pause(SETTLE, self.interrupted)?;
        Ok(beside)
    }
}
