//! `bench sched`: what a context switch costs with nothing, with the agent and with others beside it.

use anyhow::{Context, Result};
use clap::Args;
use lab::cgroup::Tree;
use lab::cpus::allowed;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compare::Plan;
use super::comparison::Comparison;
use super::condition::{Condition, Peer};
use super::measuring::Bench;
use super::perf::{Messaging, Pipe};
use super::sessions::PARENT;

/// What else runqlat costs is what the agent is measured against.
const REFERENCE: Condition = Condition::Peer(Peer::Runqlat);
/// What the design promises: the agent's added time over runqlat's, of the first load.
const LARGEST_SHARE: f64 = 0.2;

const SESSION: &str = "switching";
const STATISTICS_ROUNDS: u32 = 1;

/// Three seconds of `sched pipe`, without anything beside it.
const LOOPS: u64 = 1_000_000;

/// The options of `bench sched`.
#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// Operations of `sched pipe` per measurement, each of two context switches.
    #[arg(long, default_value_t = LOOPS, value_parser = clap::value_parser!(u64).range(1..))]
    loops: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { loops: LOOPS }
    }
}

impl Options {
    /// As they are typed.
    pub(super) fn arguments(&self) -> Vec<String> {
        vec!["--loops".into(), self.loops.to_string()]
    }
}

/// What `bench sched` measures.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measurements(Comparison);

/// Takes all measurements.
pub(super) fn measure(options: &Options, bench: &Bench<'_>) -> Result<Measurements> {
    // The first CPU is where most machines handle their interrupts.
    let cpu = allowed()?
        .pop()
        .context("no CPU is allowed to this process")?;
    let cgroups = Tree::create(PARENT, &[SESSION])?;
    let pipe = Pipe::new(cgroups.path_of(SESSION), cpu, options.loops)?;
    let messaging = Messaging::new(cgroups.path_of(SESSION))?;
    let plan = Plan {
        loads: vec![&pipe, &messaging],
        conditions: vec![
            Condition::Floor,
            Condition::PidArray,
            Condition::TaskStorage,
            REFERENCE,
            Condition::Peer(Peer::RunqlatBt),
        ],
        cgroup: cgroups.path_of(""),
        sessions: 1,
        rounds: bench.rounds,
        statistics_rounds: STATISTICS_ROUNDS,
        repetitions: bench.repetitions,
        command: bench.command("sched", &options.arguments()),
        interrupted: bench.interrupted,
    };
    Ok(Measurements(plan.run()?))
}

impl super::measuring::Measurements for Measurements {
    const NAME: &'static str = "sched";

    fn summary(&self) -> Value {
        self.0.summary(Some(REFERENCE))
    }

    fn markdown(&self) -> String {
        let shares = self.0.expected_shares(REFERENCE, LARGEST_SHARE);
        self.0.markdown(Some(REFERENCE), &shares)
    }
}
