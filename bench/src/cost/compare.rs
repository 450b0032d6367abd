//! How loads are measured with nothing, with the agent and with others beside them.
//!
//! Virtual machines drift by more than what is measured. So nothing is measured between any two
//! conditions, each condition is compared with the nothing before and after it, and each round begins
//! with another condition, so that none always follows the same one. The kernel's statistics slow
//! every program down and therefore get rounds of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aya::sys::{Stats, enable_stats};

use super::beside::Beside;
use super::comparison::{Comparison, ProgramRuns, Round, Sample};
use super::condition::Condition;
use super::load::{self, Load, Measurement};
use super::programs::{self, Runs};
use super::sessions::{self, NAMESPACE};
use crate::interrupt::{Interrupted, pause};
use crate::machine::Machine;
use crate::waiting::wait_until;

/// Between the start of a condition and its measurement: an agent that starts looks at every process.
const SETTLE: Duration = Duration::from_millis(700);
/// How long to wait for the programs of others to go away.
const PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(50);

/// What is to be measured.
pub(super) struct Plan<'a> {
    pub(super) loads: Vec<&'a dyn Load>,
    /// What runs beside them, in turns.
    pub(super) conditions: Vec<Condition>,
    /// The cgroup above the sessions, and how many they are.
    pub(super) cgroup: PathBuf,
    pub(super) sessions: usize,
    pub(super) rounds: u32,
    /// Rounds with the kernel's statistics on; each run is an average of many already.
    pub(super) statistics_rounds: u32,
    pub(super) repetitions: u32,
    pub(super) command: String,
    pub(super) interrupted: &'a Receiver<()>,
}

impl Plan<'_> {
    /// Takes all measurements.
    pub(super) fn run(mut self) -> Result<Comparison> {
        let present = self.wait_for_scheduler()?;
        let baseline = present.keys().copied().collect();
        let absent = self.try_peers(&baseline)?;
        let mut comparison = Comparison {
            machine: Machine::read()?,
            command: self.command.clone(),
            loads: self.loads.iter().map(|load| load.description()).collect(),
            conditions: self.conditions.clone(),
            rounds: Vec::new(),
            programs: Vec::new(),
            absent,
            others: present.into_values().collect(),
        };
        // The first run of a load also fills caches and lays out files.
        for load in &self.loads {
            load.run(self.interrupted)?;
        }
        for number in 0..self.rounds {
            eprintln!("round {} of {}", number + 1, self.rounds);
            let round = self.round(number as usize, &baseline)?;
            comparison.rounds.push(round);
        }
        // The kernel counts while this is open, so not even a killed benchmark leaves it on.
        let statistics =
            enable_stats(Stats::RunTime).context("cannot turn the BPF statistics on")?;
        if !self.conditions.contains(&Condition::Floor) {
            self.conditions.insert(0, Condition::Floor);
        }
        for number in 0..self.statistics_rounds {
            eprintln!(
                "statistics, round {} of {}",
                number + 1,
                self.statistics_rounds
            );
            for condition in &self.conditions {
                let found = self.statistics(*condition, &baseline)?;
                comparison.programs.extend(found);
            }
        }
        drop(statistics);
        Ok(comparison)
    }

    /// Leaves out the peers that this machine cannot run, and returns why.
    fn try_peers(&mut self, baseline: &BTreeSet<u32>) -> Result<Vec<(Condition, String)>> {
        let mut absent = Vec::new();
        for condition in self.conditions.clone() {
            if !matches!(condition, Condition::Peer(_)) {
                continue;
            }
            self.wait_for_nothing(baseline)?;
            if let Err(error) = self.begin(condition) {
                if error.is::<Interrupted>() {
                    return Err(error);
                }
                eprintln!("{} cannot be compared: {error:#}", condition.label());
                absent.push((condition, format!("{error:#}")));
            }
        }
        let runs = |one: &Condition| absent.iter().all(|(other, _)| other != one);
        self.conditions.retain(runs);
        Ok(absent)
    }

    fn round(&self, number: usize, baseline: &BTreeSet<u32>) -> Result<Round> {
        let mut order = self.conditions.clone();
        order.rotate_left(number % self.conditions.len());
        let mut round = Round {
            without: vec![self.nothing(baseline)?],
            with: Vec::new(),
        };
        for condition in order {
            let mut beside = self.begin(condition)?;
            let sample = self.sample(Some(&mut beside))?;
            drop(beside);
            round.with.push((condition, sample));
            round.without.push(self.nothing(baseline)?);
            for (at, load) in self.loads.iter().enumerate() {
                let (without, with) = round.pair(condition, at).unwrap_or_default();
                eprintln!(
                    "  {:.3} of the throughput of {} with {}",
                    without / with,
                    load.description().label,
                    condition.label()
                );
            }
        }
        Ok(round)
    }

    fn nothing(&self, baseline: &BTreeSet<u32>) -> Result<Sample> {
        self.wait_for_nothing(baseline)?;
        pause(SETTLE, self.interrupted)?;
        self.sample(None)
    }

    fn sample(&self, mut beside: Option<&mut Beside>) -> Result<Sample> {
        let loads = self.loads.iter();
        loads
            .map(|load| self.measure(*load, beside.as_deref_mut()))
            .collect()
    }

    fn measure(&self, load: &dyn Load, beside: Option<&mut Beside>) -> Result<Measurement> {
        let measure = |beside: Option<&Beside>| {
            load::measure(
                load,
                beside,
                &self.cgroup,
                self.repetitions,
                self.interrupted,
            )
        };
        let Some(beside) = beside else {
            return measure(None);
        };
        let before = counted(load, beside)?;
        let measurement = measure(Some(beside))?;
        let Some(((_, least), before)) = load.counted().zip(before) else {
            return Ok(measurement);
        };
        let expected = before + least * measurement.operations as f64;
        let mut seen = None;
        wait_until("the agent has counted the load", self.interrupted, || {
            seen = counted(load, beside)?;
            Ok(seen.is_some_and(|seen| seen >= expected))
        })
        .with_context(|| format!("it has counted {before}, then {seen:?} of {expected}"))?;
        Ok(measurement)
    }

    fn statistics(
        &self,
        condition: Condition,
        baseline: &BTreeSet<u32>,
    ) -> Result<Vec<ProgramRuns>> {
        self.wait_for_nothing(baseline)?;
        let mut beside = self.begin(condition)?;
        let full = beside.agent().map(sessions::programs).transpose()?;
        let names = programs::named(&programs::held(beside.pid())?, &full.unwrap_or_default());
        let mut found = Vec::new();
        for (at, load) in self.loads.iter().enumerate() {
            let before = programs::runs(&names);
            let operations = self.measure(*load, Some(&mut beside))?.operations;
            let after = programs::runs(&names);
            ensure!(
                !after.is_empty(),
                "no program of {} is attached",
                condition.label()
            );
            for (program, after) in after {
                let before = before.get(&program).copied().unwrap_or_default();
                let runs = Runs {
                    count: after.count.saturating_sub(before.count),
                    ns: after.ns.saturating_sub(before.ns),
                };
                if runs.count > 0 {
                    found.push(ProgramRuns {
                        condition,
                        load: at,
                        program,
                        runs,
                        operations,
                    });
                }
            }
        }
        Ok(found)
    }

    /// Waits until nothing looks at the scheduler any more, which is how an agent can be told, and returns
    /// what else traces.
    fn wait_for_scheduler(&self) -> Result<BTreeMap<u32, String>> {
        let begin = Instant::now();
        loop {
            pause(SETTLE, self.interrupted)?;
            let present = programs::tracing();
            let mut scheduler = present.values().filter(|name| name.contains("sched_"));
            let Some(name) = scheduler.next() else {
                return Ok(present);
            };
            ensure!(
                begin.elapsed() < PATIENCE,
                "kernel programs of others look at the scheduler, so nothing can be compared: {name}"
            );
        }
    }

    /// Waits until the kernel has forgotten the last condition's programs, which takes a moment.
    fn wait_for_nothing(&self, baseline: &BTreeSet<u32>) -> Result<()> {
        let begin = Instant::now();
        loop {
            let mut others = programs::tracing();
            others.retain(|id, _| !baseline.contains(id));
            if others.is_empty() {
                return Ok(());
            }
            ensure!(
                begin.elapsed() < PATIENCE,
                "others have begun to trace, so nothing can be compared: {others:?}"
            );
            pause(POLL, self.interrupted)?;
        }
    }

    fn begin(&self, condition: Condition) -> Result<Beside> {
        let beside = Beside::begin(condition, self.sessions, self.interrupted)?;
        pause(SETTLE, self.interrupted)?;
        Ok(beside)
    }
}

/// What the agent, if it is one, has counted of a load.
fn counted(load: &dyn Load, beside: &mut Beside) -> Result<Option<f64>> {
    let (Some((family, _)), Some(agent)) = (load.counted(), beside.agent()) else {
        return Ok(None);
    };
    // A counter that does not count yet may be absent.
    let sum = agent.metrics()?.sum(family, &[NAMESPACE]);
    Ok(Some(sum.unwrap_or_default()))
}
