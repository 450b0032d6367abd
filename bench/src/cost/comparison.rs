//! What a comparison of conditions has measured, as root hands it to whoever makes tables of it.

use serde::{Deserialize, Serialize};

use super::condition::Condition;
use super::load::{Description, Measurement};
use super::programs::Runs;
use crate::machine::Machine;

/// What has been measured.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Comparison {
    pub(super) machine: Machine,
    pub(super) command: String,
    pub(super) loads: Vec<Description>,
    pub(super) conditions: Vec<Condition>,
    pub(super) rounds: Vec<Round>,
    pub(super) programs: Vec<ProgramRuns>,
    /// Peers that cannot run here, and why.
    pub(super) absent: Vec<(Condition, String)>,
    /// What else traced on the machine all the time, by name.
    pub(super) others: Vec<String>,
}

/// A measurement of each load, in their order.
pub(super) type Sample = Vec<Measurement>;

/// Each condition once.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Round {
    /// Without any; one more than there are conditions.
    pub(super) without: Vec<Sample>,
    pub(super) with: Vec<(Condition, Sample)>,
}

impl Round {
    /// Seconds per operation of a load around a condition and in it.
    pub(super) fn pair(&self, condition: Condition, load: usize) -> Option<(f64, f64)> {
        let at = self.with.iter().position(|(one, _)| *one == condition)?;
        let seconds = |sample: &Sample| Some(sample.get(load)?.seconds);
        let before = seconds(self.without.get(at)?)?;
        let after = seconds(self.without.get(at + 1)?)?;
        Some((f64::midpoint(before, after), seconds(&self.with[at].1)?))
    }

    /// All measurements.
    pub(super) fn measurements(&self) -> impl Iterator<Item = &Measurement> {
        let with = self.with.iter().map(|(_, sample)| sample);
        self.without.iter().chain(with).flatten()
    }
}

/// The kernel's statistics of one program over one measurement.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ProgramRuns {
    pub(super) condition: Condition,
    pub(super) load: usize,
    pub(super) program: String,
    #[serde(flatten)]
    pub(super) runs: Runs,
    pub(super) operations: u64,
}
