//! From a comparison to the figures that follow from it.
//!
//! Ratios and differences are taken within a round, from a condition to what was measured without it
//! before and after, and then their median. A slow minute of the machine slows both and does not show.

use serde::Serialize;
use serde_json::{Value, json};

use super::comparison::{Comparison, ProgramRuns};
use super::condition::Condition;
use crate::numbers::{Spread, median};

/// A load with a condition beside it, over all rounds.
#[derive(Debug, Serialize)]
pub(super) struct Cost {
    pub(super) load: usize,
    pub(super) condition: Condition,
    /// In the unit of the load.
    pub(super) value: Spread,
    /// Throughput with over throughput without.
    pub(super) throughput: Spread,
    /// Nanoseconds per operation.
    pub(super) added_ns: f64,
    /// Added time over that of what it is measured against.
    pub(super) share: Option<f64>,
}

/// A program over all rounds with statistics.
#[derive(Debug, Serialize)]
pub(super) struct ProgramCost {
    pub(super) load: usize,
    pub(super) condition: Condition,
    pub(super) program: String,
    /// Of all rounds together.
    pub(super) runs: u64,
    pub(super) ns_per_run: f64,
    /// What an empty program does not take.
    pub(super) ns_above_floor: f64,
    pub(super) runs_per_operation: f64,
    /// Above the floor.
    pub(super) ns_per_operation: f64,
}

impl Comparison {
    /// The figures, for scripts.
    pub(super) fn summary(&self, reference: Option<Condition>) -> Value {
        json!({ "conditions": self.costs(reference), "programs": self.program_costs() })
    }

    /// A load without anything beside it, in its unit.
    pub(super) fn without(&self, load: usize) -> Spread {
        let samples = self.rounds.iter().flat_map(|round| &round.without);
        let seconds = samples.filter_map(|sample| Some(sample.get(load)?.seconds));
        Spread::of(seconds.map(|seconds| self.loads[load].unit.value(seconds)))
    }

    fn pairs(&self, condition: Condition, load: usize) -> impl Iterator<Item = (f64, f64)> {
        let rounds = self.rounds.iter();
        rounds.filter_map(move |round| round.pair(condition, load))
    }

    fn added_ns(&self, condition: Condition, load: usize) -> f64 {
        let pairs = self.pairs(condition, load);
        median(pairs.map(|(without, with)| (with - without) * 1e9))
    }

    /// Every condition beside every load. `reference` is what added times are shares of.
    pub(super) fn costs(&self, reference: Option<Condition>) -> Vec<Cost> {
        let reference = reference.filter(|reference| self.is_present(*reference));
        let mut costs = Vec::new();
        for (load, description) in self.loads.iter().enumerate() {
            for condition in &self.conditions {
                let pairs = || self.pairs(*condition, load);
                let added_ns = self.added_ns(*condition, load);
                let share = |reference| added_ns / self.added_ns(reference, load);
                costs.push(Cost {
                    load,
                    condition: *condition,
                    value: Spread::of(pairs().map(|(_, with)| description.unit.value(with))),
                    throughput: Spread::of(pairs().map(|(without, with)| without / with)),
                    added_ns,
                    share: reference.map(share),
                });
            }
        }
        costs
    }

    fn is_present(&self, condition: Condition) -> bool {
        self.conditions.contains(&condition)
    }

    /// Every program beside every load.
    pub(super) fn program_costs(&self) -> Vec<ProgramCost> {
        let mut names: Vec<(usize, Condition, &str)> = Vec::new();
        for one in &self.programs {
            let name = (one.load, one.condition, one.program.as_str());
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.sort_by_key(|(load, ..)| *load);
        let costs = names.into_iter().map(|(load, condition, program)| {
            let rounds = || {
                let same = move |one: &&ProgramRuns| {
                    one.load == load && one.condition == condition && one.program == program
                };
                self.programs.iter().filter(same)
            };
            let floor = self.floor(load);
            let per_run = median(rounds().map(|one| one.runs.ns as f64 / one.runs.count as f64));
            let per_operation =
                median(rounds().map(|one| one.runs.count as f64 / one.operations as f64));
            ProgramCost {
                load,
                condition,
                program: program.to_owned(),
                runs: rounds().map(|one| one.runs.count).sum(),
                ns_per_run: per_run,
                ns_above_floor: per_run - floor,
                runs_per_operation: per_operation,
                ns_per_operation: (per_run - floor) * per_operation,
            }
        });
        costs.collect()
    }

    /// What an empty program takes beside a load.
    fn floor(&self, load: usize) -> f64 {
        let floors = self.programs.iter();
        let floors = floors.filter(|one| one.condition == Condition::Floor && one.load == load);
        median(floors.map(|one| one.runs.ns as f64 / one.runs.count as f64))
    }
}
