//! The load of `bench sched`: `perf bench sched pipe`, inside a session and on one CPU.
//!
//! Machines are seldom quiet, and what is measured is small. A run during which something else worked
//! is therefore repeated, and a measurement is the lower quartile of several runs: what the host of a
//! virtual machine does besides cannot be seen, comes in bursts and only ever adds.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::conditions::pause;
use super::inside::{self, Place};
use super::lower_quartile;
use super::machine::busy;
use crate::command;

/// How often to look whether a run has ended: a few times, because looking is a context switch too.
const POLL: Duration = Duration::from_millis(20);

/// Runs of a measurement; each takes a third of a second, as long as a burst of other work.
const RUNS: u64 = 10;
/// How much others may work during a run: this share of it, or what the clock tick cannot tell.
const OTHERS_SHARE: f64 = 0.1;
const OTHERS_LEAST: Duration = Duration::from_millis(30);
/// Between a run that was disturbed and the next one.
const BREAK: Duration = Duration::from_millis(500);
/// Disturbed runs that a measurement may throw away. After that it takes what it gets, and says so.
const REPETITIONS: u32 = 100;

/// On one CPU each process blocks once per operation.
pub(super) const SWITCHES_PER_OPERATION: u64 = 2;

/// What a measurement took, and whether the machine let it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Measurement {
    /// Microseconds per operation.
    pub(super) us: f64,
    /// Runs that were thrown away because others worked.
    pub(super) repeated: u32,
    /// Runs that count although others worked.
    pub(super) disturbed: u32,
    /// Operations, those of runs that were thrown away included.
    pub(super) operations: u64,
}

/// Where and how long the load runs.
pub(super) struct Pipe {
    perf: PathBuf,
    cgroup: PathBuf,
    cpu: usize,
    loops_per_run: u64,
}

impl Pipe {
    /// A load of about so many operations a measurement.
    pub(super) fn new(cgroup: PathBuf, cpu: usize, loops: u64) -> Result<Self> {
        let perf = command::find_program("perf").context("there is no program `perf`")?;
        Ok(Self {
            perf,
            cgroup,
            cpu,
            loops_per_run: loops.div_ceil(RUNS),
        })
    }

    /// The operations of a measurement.
    pub(super) fn loops(&self) -> u64 {
        self.loops_per_run * RUNS
    }

    /// Measures once.
    pub(super) fn measure(&self, interrupted: &Receiver<()>) -> Result<Measurement> {
        let mut times = Vec::new();
        let (mut repeated, mut disturbed) = (0, 0);
        while times.len() < RUNS as usize {
            let busy_before = busy()?;
            let begin = Instant::now();
            let time = self.run(interrupted)?;
            // The load keeps one CPU busy.
            let own = begin.elapsed();
            let others = busy()?.saturating_sub(busy_before + own);
            if others > OTHERS_LEAST.max(own.mul_f64(OTHERS_SHARE)) {
                if repeated < REPETITIONS {
                    repeated += 1;
                    pause(BREAK, interrupted)?;
                    continue;
                }
                disturbed += 1;
            }
            times.push(time);
        }
        Ok(Measurement {
            us: lower_quartile(times),
            repeated,
            disturbed,
            operations: self.loops_per_run * (RUNS + u64::from(repeated)),
        })
    }

    /// Runs once and returns microseconds per operation.
    fn run(&self, interrupted: &Receiver<()>) -> Result<f64> {
        let output = run(
            &self.perf,
            Place {
                cgroup: Some(&self.cgroup),
                cpu: Some(self.cpu),
            },
            &[
                "bench",
                "sched",
                "pipe",
                "-l",
                &self.loops_per_run.to_string(),
            ],
            interrupted,
        )?;
        microseconds(&output).with_context(|| {
            format!("`perf bench sched pipe` printed no time per operation but:\n{output}")
        })
    }
}

fn run(
    program: &Path,
    place: Place<'_>,
    arguments: &[&str],
    interrupted: &Receiver<()>,
) -> Result<String> {
    let mut running = inside::start(place, program, arguments, Stdio::piped())?;
    let status = loop {
        if let Some(status) = running.0.try_wait().context("cannot ask after perf")? {
            break status;
        }
        if interrupted.recv_timeout(POLL).is_ok() {
            bail!("interrupted");
        }
    };
    let mut output = String::new();
    if let Some(stdout) = &mut running.0.stdout {
        stdout
            .read_to_string(&mut output)
            .context("cannot read what perf prints")?;
    }
    if !status.success() {
        bail!("`perf bench sched pipe` failed ({status})");
    }
    Ok(output)
}

fn microseconds(output: &str) -> Option<f64> {
    let line = output.lines().find(|line| line.ends_with("usecs/op"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::microseconds;

    #[test]
    fn the_time_per_operation_is_found() {
        let output = "# Running 'sched/pipe' benchmark:\n# Executed 100000 pipe operations \
                      between two processes\n\n     Total time: 0.325 [sec]\n\n       \
                      3.251610 usecs/op\n         307539 ops/sec\n";
        assert_eq!(microseconds(output), Some(3.25161));
        assert_eq!(microseconds("nothing"), None);
    }
}
