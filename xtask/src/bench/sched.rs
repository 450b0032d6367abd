//! `bench sched`: what a context switch costs with nothing, with the agent and with others beside it.
//!
//! Virtual machines drift by more than what is measured. So nothing is measured between any two
//! conditions, each condition is compared with the nothing before and after it, and each round begins
//! with another condition, so that none always follows the same one. The kernel's statistics slow
//! every program down and therefore get rounds of their own.

use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aya::sys::{Stats, enable_stats};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::conditions::{Beside, Condition, PARENT, SESSION, pause};
use super::machine::{Machine, allowed_cpus};
use super::pipe::{Measurement, Pipe, SWITCHES_PER_OPERATION};
use super::programs::{self, Runs};
use crate::cgroup::Tree;
use crate::command;

/// The options of `bench sched`.
#[derive(Args)]
pub(super) struct Options {
    /// Rounds; in each, every condition is measured once, and nothing before and after it.
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
const SETTLE: Duration = Duration::from_millis(700);

/// How long to wait for other programs to go away.
const PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(50);

/// What `bench sched` measures.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measurements {
    pub(super) machine: Machine,
    pub(super) command: String,
    pub(super) cpu: usize,
    pub(super) loops: u64,
    pub(super) rounds: Vec<Round>,
    pub(super) programs: Vec<ProgramRuns>,
}

/// Each condition once.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Round {
    /// Without any; one more than there are conditions.
    pub(super) without: Vec<Measurement>,
    pub(super) with: Vec<(Condition, Measurement)>,
}

impl Round {
    /// Microseconds per operation around a condition and in it.
    pub(super) fn pair(&self, condition: Condition) -> Option<(f64, f64)> {
        let at = self.with.iter().position(|(one, _)| *one == condition)?;
        let (before, after) = (self.without.get(at)?, self.without.get(at + 1)?);
        Some((f64::midpoint(before.us, after.us), self.with[at].1.us))
    }

    /// All measurements.
    pub(super) fn measurements(&self) -> impl Iterator<Item = &Measurement> {
        let with = self.with.iter().map(|(_, measurement)| measurement);
        self.without.iter().chain(with)
    }
}

/// The kernel's statistics of one program over one measurement.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ProgramRuns {
    pub(super) condition: Condition,
    pub(super) program: String,
    #[serde(flatten)]
    pub(super) runs: Runs,
    pub(super) operations: u64,
}

/// Takes all measurements.
pub(super) fn measure(options: &Options, interrupted: &Receiver<()>) -> Result<Measurements> {
    // The first CPU is where most machines handle their interrupts.
    let cpu = allowed_cpus()?
        .pop()
        .context("no CPU is allowed to this process")?;
    let cgroups = Tree::create(PARENT, &[SESSION])?;
    let pipe = Pipe::new(cgroups.child(SESSION), cpu, options.loops)?;
    let loops = pipe.loops();
    let bench = Bench {
        pipe,
        floor: command::repository().join("target/bpf/bench-floor.o"),
        switches: loops * SWITCHES_PER_OPERATION,
        interrupted,
    };
    let mut measurements = Measurements {
        machine: Machine::read()?,
        command: format!("cargo xtask bench sched {}", options.arguments().join(" ")),
        cpu,
        loops,
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
        for condition in Condition::ALL {
            measurements.programs.extend(bench.statistics(condition)?);
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
    fn round(&self, number: usize) -> Result<Round> {
        let mut order = Condition::ALL;
        order.rotate_left(number % Condition::ALL.len());
        let mut round = Round {
            without: vec![self.nothing()?],
            with: Vec::new(),
        };
        for condition in order {
            let mut beside = self.begin(condition)?;
            let measurement = self.pipe.measure(self.interrupted)?;
            beside.has_counted(self.switches)?;
            drop(beside);
            round.with.push((condition, measurement));
            round.without.push(self.nothing()?);
            let (without, with) = round.pair(condition).unwrap_or_default();
            eprintln!(
                "  {without:.3} and {with:.3} µs an operation without and with {}",
                condition.label()
            );
        }
        Ok(round)
    }

    fn nothing(&self) -> Result<Measurement> {
        self.wait_for_nothing()?;
        pause(SETTLE, self.interrupted)?;
        self.pipe.measure(self.interrupted)
    }

    fn statistics(&self, condition: Condition) -> Result<Vec<ProgramRuns>> {
        self.wait_for_nothing()?;
        let mut beside = self.begin(condition)?;
        let ids = programs::attached(beside.pid())?;
        let before = programs::runs(&ids);
        let operations = self.pipe.measure(self.interrupted)?.operations;
        let after = programs::runs(&ids);
        beside.has_counted(self.switches)?;
        ensure!(
            !after.is_empty(),
            "no program of {} is attached",
            condition.label()
        );
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
                    operations,
                });
            }
        }
        Ok(found)
    }

    /// Waits until the kernel has forgotten the last condition's programs, which takes a moment.
    fn wait_for_nothing(&self) -> Result<()> {
        let begin = Instant::now();
        loop {
            let others = programs::others();
            if others.is_empty() {
                return Ok(());
            }
            ensure!(
                begin.elapsed() < PATIENCE,
                "kernel programs of others look at the scheduler, so nothing can be compared: {}",
                others.join(", ")
            );
            pause(POLL, self.interrupted)?;
        }
    }

    fn begin(&self, condition: Condition) -> Result<Beside> {
        let beside = Beside::begin(condition, &self.floor, self.interrupted)?;
        pause(SETTLE, self.interrupted)?;
        Ok(beside)
    }
}
