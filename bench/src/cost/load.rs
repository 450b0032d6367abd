//! A load: something that is done as fast as the machine does it, and how that is measured.
//!
//! Machines are seldom quiet, and what is measured is small. A run during which something else worked
//! is therefore repeated, and a measurement is the lower quartile of the times of several runs: what
//! the host of a virtual machine does besides cannot be seen, comes in bursts and only ever adds.

use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::Result;
use lab::cgroup::cpu_time;
use serde::{Deserialize, Serialize};

use super::beside::Beside;
use crate::interrupt::pause;
use crate::machine::{busy, process_cpu_time};
use crate::numbers::{lower_quartile, median};

/// How much others may work during a run: this share of it, or what the clock tick cannot tell.
const OTHERS_SHARE: f64 = 0.1;
const OTHERS_LEAST: Duration = Duration::from_millis(30);
/// Between a run that was disturbed and the next one.
const BREAK: Duration = Duration::from_millis(500);

/// Something that is done as fast as the machine does it, inside sessions.
pub(super) trait Load {
    /// What it is.
    fn description(&self) -> Description;

    /// Runs of a measurement.
    fn runs(&self) -> usize;

    /// Does it once.
    fn run(&self, interrupted: &Receiver<()>) -> Result<Run>;

    /// What the agent must have counted for each operation: a metric of the benchmark's sessions, and
    /// how much of it at least. A price for nothing is no price.
    fn counted(&self) -> Option<(&'static str, f64)>;
}

/// What a load is, for tables.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) label: String,
    /// What is done: `fork`, `MiB`.
    pub(super) operation: String,
    pub(super) unit: Unit,
    /// Least throughput with the agent over throughput without that is expected.
    pub(super) promise: Option<f64>,
}

/// What throughput is shown as.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Unit {
    MicrosecondsPerOperation,
    OperationsPerSecond,
    /// Of operations that are MiB.
    GigabitsPerSecond,
}

impl Unit {
    /// The value to show for a time per operation.
    pub(super) fn value(self, seconds: f64) -> f64 {
        match self {
            Self::MicrosecondsPerOperation => seconds * 1e6,
            Self::OperationsPerSecond => 1.0 / seconds,
            Self::GigabitsPerSecond => 8.0 * 1024.0 * 1024.0 / 1e9 / seconds,
        }
    }
}

/// What was done in one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) operations: u64,
    pub(super) seconds: f64,
}

/// What a measurement took, and whether the machine let it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Measurement {
    /// Seconds per operation.
    pub(super) seconds: f64,
    /// Runs that were thrown away because others worked.
    pub(super) repeated: u32,
    /// Runs that count although others worked.
    pub(super) disturbed: u32,
    /// Operations, those of runs that were thrown away included.
    pub(super) operations: u64,
    /// CPUs that others kept busy during the runs that count.
    pub(super) others: f64,
}

/// Measures a load once. `cgroup` is the one above all of its sessions; `repetitions` is how many
/// disturbed runs may be thrown away. After that the measurement takes what it gets, and says so.
pub(super) fn measure(
    load: &dyn Load,
    beside: Option<&Beside>,
    cgroup: &Path,
    repetitions: u32,
    interrupted: &Receiver<()>,
) -> Result<Measurement> {
    // Of the load and of what runs beside it on purpose.
    let wanted = || -> Result<Duration> {
        let beside = beside
            .map(|beside| process_cpu_time(beside.pid()))
            .transpose()?;
        Ok(cpu_time(cgroup)? + beside.unwrap_or_default())
    };
    let mut times = Vec::new();
    let mut busy_with_others = Vec::new();
    let (mut repeated, mut disturbed, mut operations) = (0, 0, 0);
    while times.len() < load.runs() {
        let (busy_before, wanted_before) = (busy()?, wanted()?);
        let begin = Instant::now();
        let run = load.run(interrupted)?;
        let elapsed = begin.elapsed();
        let others = busy()?
            .saturating_sub(busy_before)
            .saturating_sub(wanted()?.saturating_sub(wanted_before));
        operations += run.operations;
        if others > OTHERS_LEAST.max(elapsed.mul_f64(OTHERS_SHARE)) {
            if repeated < repetitions {
                repeated += 1;
                pause(BREAK, interrupted)?;
                continue;
            }
            disturbed += 1;
        }
        times.push(run.seconds / run.operations as f64);
        busy_with_others.push(others.as_secs_f64() / elapsed.as_secs_f64());
    }
    Ok(Measurement {
        seconds: lower_quartile(times),
        repeated,
        disturbed,
        operations,
        others: median(busy_with_others),
    })
}

#[cfg(test)]
mod tests {
    use super::Unit;

    #[test]
    fn a_gigabit_is_decimal() {
        let seconds_per_mib = 8.0 * 1_048_576.0 / 40e9;
        assert!((Unit::GigabitsPerSecond.value(seconds_per_mib) - 40.0).abs() < 1e-9);
        assert!((Unit::OperationsPerSecond.value(0.001) - 1000.0).abs() < 1e-9);
        assert!((Unit::MicrosecondsPerOperation.value(0.001) - 1000.0).abs() < 1e-9);
    }
}
