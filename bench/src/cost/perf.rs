//! The loads of `bench sched`: `perf bench sched pipe` and `sched messaging`, inside a session.

use std::path::PathBuf;
use std::sync::mpsc::Receiver;

use anyhow::{Context, Result};
use lab::command;

use super::inside::{Place, Printing};
use super::load::{Description, Load, Run, Unit};

/// What the design promises: throughput with the agent over throughput without.
const LEAST_PIPE: f64 = 0.90;

/// Runs of a measurement; each takes a third of a second, as long as a burst of other work.
const PIPE_RUNS: u64 = 10;
/// On one CPU each process blocks once per operation.
const SWITCHES_PER_OPERATION: f64 = 2.0;

/// `sched messaging` has so many senders and as many receivers in a group, and each sender writes to
/// each receiver.
const GROUP: u64 = 20;
/// 200 processes, which is what a busy desktop has, and half a second.
const GROUPS: u64 = 5;
const MESSAGES: u64 = 200;
const MESSAGING_RUNS: usize = 3;

/// Two processes that hand a token to and fro on one CPU.
pub(super) struct Pipe {
    perf: PathBuf,
    cgroup: PathBuf,
    cpu: usize,
    loops_per_run: u64,
}

impl Pipe {
    /// A load of about so many operations a measurement.
    pub(super) fn new(cgroup: PathBuf, cpu: usize, loops: u64) -> Result<Self> {
        Ok(Self {
            perf: perf()?,
            cgroup,
            cpu,
            loops_per_run: loops.div_ceil(PIPE_RUNS),
        })
    }
}

impl Load for Pipe {
    fn description(&self) -> Description {
        Description {
            label: format!("`perf bench sched pipe` on CPU {}", self.cpu),
            operation: "operation".into(),
            unit: Unit::MicrosecondsPerOperation,
            promise: Some(LEAST_PIPE),
        }
    }

    fn runs(&self) -> usize {
        PIPE_RUNS as usize
    }

    fn run(&self, interrupted: &Receiver<()>) -> Result<Run> {
        let loops = self.loops_per_run.to_string();
        let place = Place::new(&self.cgroup, self.cpu);
        let arguments = ["bench", "sched", "pipe", "-l", &loops];
        let output = Printing::start(place, &self.perf, &arguments)?.finish(interrupted)?;
        run(&output, self.loops_per_run)
    }

    fn counted(&self) -> Option<(&'static str, f64)> {
        Some(("vdi_session_context_switches_total", SWITCHES_PER_OPERATION))
    }
}

/// Many processes that write to one another on all CPUs.
pub(super) struct Messaging {
    perf: PathBuf,
    cgroup: PathBuf,
}

impl Messaging {
    /// Inside this cgroup.
    pub(super) fn new(cgroup: PathBuf) -> Result<Self> {
        Ok(Self {
            perf: perf()?,
            cgroup,
        })
    }
}

impl Load for Messaging {
    fn description(&self) -> Description {
        Description {
            label: format!(
                "`perf bench sched messaging`, {} processes on all CPUs",
                2 * GROUP * GROUPS
            ),
            operation: "message".into(),
            unit: Unit::MicrosecondsPerOperation,
            promise: None,
        }
    }

    fn runs(&self) -> usize {
        MESSAGING_RUNS
    }

    fn run(&self, interrupted: &Receiver<()>) -> Result<Run> {
        let (groups, messages) = (GROUPS.to_string(), MESSAGES.to_string());
        let place = Place {
            cgroup: Some(&self.cgroup),
            ..Place::default()
        };
        let arguments = [
            "bench",
            "sched",
            "messaging",
            "-g",
            &groups,
            "-l",
            &messages,
        ];
        let output = Printing::start(place, &self.perf, &arguments)?.finish(interrupted)?;
        run(&output, GROUPS * GROUP * GROUP * MESSAGES)
    }

    fn counted(&self) -> Option<(&'static str, f64)> {
        // How many messages a process finds when it wakes is up to the scheduler.
        Some(("vdi_session_context_switches_total", 0.001))
    }
}

fn perf() -> Result<PathBuf> {
    command::find_program("perf").context("there is no program `perf`")
}

fn run(output: &str, operations: u64) -> Result<Run> {
    let seconds =
        total_seconds(output).with_context(|| format!("perf printed no time but: {output}"))?;
    Ok(Run {
        operations,
        seconds,
    })
}

fn total_seconds(output: &str) -> Option<f64> {
    let line = output
        .lines()
        .find_map(|line| line.trim().strip_prefix("Total time:"))?;
    // Pipe gives milliseconds only; its time per operation has more digits.
    let per_operation = output.lines().find(|line| line.ends_with("usecs/op"));
    let executed = output
        .lines()
        .find_map(|line| line.strip_prefix("# Executed "));
    if let (Some(time), Some(executed)) = (per_operation, executed) {
        return Some(first(time)? * first(executed)? / 1e6);
    }
    first(line)
}

fn first(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::total_seconds;

    #[test]
    fn the_time_of_pipe_has_all_its_digits() {
        let output = "# Running 'sched/pipe' benchmark:\n# Executed 100000 pipe operations \
                      between two processes\n\n     Total time: 0.325 [sec]\n\n       \
                      3.251610 usecs/op\n         307539 ops/sec\n";
        assert_eq!(total_seconds(output), Some(0.325_161));
        assert_eq!(total_seconds("nothing"), None);
    }

    #[test]
    fn the_time_of_messaging_is_its_total() {
        let output = "# Running 'sched/messaging' benchmark:\n# 20 sender and receiver processes \
                      per group\n# 10 groups == 400 processes run\n\n     Total time: 0.825 [sec]\n";
        assert_eq!(total_seconds(output), Some(0.825));
    }
}
