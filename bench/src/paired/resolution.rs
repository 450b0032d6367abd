//! `bench resolution`: whether the comparison by slices finds what is there, and nothing that is not.

use anyhow::{Context, Result};
use aya::sys::{Stats, enable_stats};
use clap::Args;
use lab::cgroup::Tree;
use lab::cpus::allowed;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sessionscope::kernel::object::TaskStore;

use super::exchange::Exchange;
use super::interval::Interval;
use super::operations::Kind;
use super::rounds::{Figure, Rounds, Slices};
use super::side::{Both, Floor, Programs, Side};
use crate::cost::measuring::{self, Bench};
use crate::cost::sessions::PARENT;
use crate::machine::Machine;
use crate::table::table;

const SESSION: &str = "switching";

/// The options of `bench resolution`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Runs of each comparison.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    #[command(flatten)]
    slices: Slices,
}

impl Options {
    /// As they are typed.
    pub(crate) fn arguments(&self) -> Vec<String> {
        [
            vec![format!("--runs={}", self.runs)],
            self.slices.arguments(),
        ]
        .concat()
    }
}

/// What `bench resolution` measures.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measurements {
    machine: Machine,
    command: String,
    /// What a run of the planted program takes by the kernel's statistics, above the empty one.
    planted_ns: Interval,
    /// The agent with the planted program beside it, against the agent with the empty one.
    planted: Vec<Interval>,
    /// The agent against itself.
    same: Vec<Interval>,
}

/// Takes all measurements.
pub(crate) fn measure(options: &Options, bench: &Bench<'_>) -> Result<Measurements> {
    let cpu = allowed()?
        .pop()
        .context("no CPU is allowed to this process")?;
    let cgroups = Tree::create(PARENT, &[SESSION])?;
    let session = cgroups.path_of(SESSION);
    let plan = options.slices.plan();
    let mut load = Exchange::start(Kind::Pair, Some(&session), cpu)?;
    let mut floor = Floor::load(Floor::EMPTY)?;
    let mut planted = Floor::load(Floor::PLANTED)?;
    let planted_ns = {
        let _on = enable_stats(Stats::RunTime).context("cannot turn the BPF statistics on")?;
        let sides: &mut [&mut dyn Side] = &mut [&mut floor, &mut planted];
        let rounds = Rounds::take(plan, &mut load, sides, bench.interrupted)?;
        rounds.difference(1, 0, Figure::Run(Floor::PLANTED))?
    };
    eprintln!("planted: {planted_ns} ns a switch");
    let mut measured = Measurements {
        machine: Machine::read()?,
        command: measuring::command("resolution", &options.arguments()),
        planted_ns,
        planted: Vec::new(),
        same: Vec::new(),
    };
    // One agent for both sides: two that are loaded differ in where their maps are.
    let agent = std::cell::RefCell::new(Programs::load(
        TaskStore::TaskStorage,
        Some(&session),
        false,
    )?);
    for run in 1..=options.runs {
        let (mut one, mut other) = (Shared(&agent), Shared(&agent));
        let mut without = Both(&mut one, &mut floor);
        let mut with = Both(&mut other, &mut planted);
        let sides: &mut [&mut dyn Side] = &mut [&mut without, &mut with];
        let found = Rounds::take(plan, &mut load, sides, bench.interrupted)?;
        measured
            .planted
            .push(found.difference(1, 0, Figure::Operation)?);
        let (mut one, mut other) = (Shared(&agent), Shared(&agent));
        let sides: &mut [&mut dyn Side] = &mut [&mut one, &mut other];
        let found = Rounds::take(plan, &mut load, sides, bench.interrupted)?;
        measured
            .same
            .push(found.difference(1, 0, Figure::Operation)?);
        let (planted, same) = (measured.planted.last(), measured.same.last());
        if let (Some(planted), Some(same)) = (planted, same) {
            eprintln!("run {run}: planted {planted} ns; against itself {same} ns");
        }
    }
    Ok(measured)
}

/// The same programs on either side.
struct Shared<'a>(&'a std::cell::RefCell<Programs>);

impl Side for Shared<'_> {
    fn label(&self) -> String {
        self.0.borrow().label()
    }
    fn begin(&mut self) -> Result<()> {
        self.0.borrow_mut().begin()
    }
    fn end(&mut self) -> Result<()> {
        self.0.borrow_mut().end()
    }
}

impl measuring::Measurements for Measurements {
    const NAME: &'static str = "resolution";

    fn summary(&self) -> Value {
        let found = |runs: &[Interval]| runs.iter().filter(|run| !run.holds_zero).count();
        serde_json::json!({
            "planted_found": found(&self.planted),
            "same_told_apart": found(&self.same),
            "runs": self.planted.len(),
        })
    }

    fn markdown(&self) -> String {
        let found = self.planted.iter().filter(|run| !run.holds_zero).count();
        let same = self.same.iter().filter(|run| run.holds_zero).count();
        let runs = self.planted.len();
        let rows: Vec<_> = self
            .planted
            .iter()
            .zip(&self.same)
            .map(|(planted, same)| vec![planted.to_string(), same.to_string()])
            .collect();
        [
            format!("{}. `{}`", self.machine, self.command),
            format!(
                "A program that takes {} ns more than an empty one, planted beside the agent in its place, was found in \
                 {found} of {runs} runs; the agent and itself were not told apart in {same} of {runs}. Nanoseconds a \
                 switch:",
                self.planted_ns
            ),
            table(&["the agent with the planted program", "the agent against itself"], &rows),
        ]
        .join("\n\n")
    }
}
