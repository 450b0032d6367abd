//! The load of `bench sched`: `perf bench sched pipe`, inside a session and on one CPU.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::inside::{self, Place};
use crate::command;

/// How often to look whether a run has ended: rarely, because looking is a context switch too.
const POLL: Duration = Duration::from_millis(100);

/// On one CPU each process blocks once per operation.
pub(super) const SWITCHES_PER_OPERATION: u64 = 2;

/// Where and how long the load runs.
pub(super) struct Pipe {
    perf: PathBuf,
    cgroup: PathBuf,
    cpu: usize,
    loops: u64,
}

impl Pipe {
    /// A load of so many operations a run.
    pub(super) fn new(cgroup: PathBuf, cpu: usize, loops: u64) -> Result<Self> {
        let perf = command::find_program("perf").context("there is no program `perf`")?;
        Ok(Self {
            perf,
            cgroup,
            cpu,
            loops,
        })
    }

    /// Runs it once and returns microseconds per operation.
    pub(super) fn run(&self, interrupted: &Receiver<()>) -> Result<f64> {
        let output = run(
            &self.perf,
            Place {
                cgroup: Some(&self.cgroup),
                cpu: Some(self.cpu),
            },
            &["bench", "sched", "pipe", "-l", &self.loops.to_string()],
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
