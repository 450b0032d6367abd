//! The loads of `bench fork`: a shell on each CPU that does nothing but start processes and wait for
//! them, inside a session.
//!
//! A shell, because fork without exec is unsafe in a program with threads and a shell's subshell is
//! exactly that. All CPUs are busy, so that whatever the agent does in user space is paid for too.

use std::path::PathBuf;
use std::sync::mpsc::Receiver;

use anyhow::{Context, Result};
use lab::command;

use super::inside::{Place, Printing};
use super::load::{Description, Load, Run, Unit};

/// What the design promises: throughput with the agent over throughput without.
const LEAST: f64 = 0.95;

/// What a shell does again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// A process that ends at once.
    Fork,
    /// A process that becomes another program, which ends at once.
    Exec,
    /// A process that ends at once and says that it failed.
    Fail,
}

impl Deed {
    fn command(self) -> &'static str {
        match self {
            Self::Fork => "(:)",
            Self::Exec => "/bin/true",
            Self::Fail => "(exit 1)",
        }
    }

    /// About a second of it on one CPU.
    fn times(self) -> u64 {
        match self {
            Self::Fork | Self::Fail => 6_000,
            Self::Exec => 2_000,
        }
    }
}

/// A shell on each CPU.
pub(super) struct Shells {
    pub(super) cgroup: PathBuf,
    pub(super) cpus: Vec<usize>,
    pub(super) deed: Deed,
    /// How often each shell does it.
    times: u64,
}

impl Shells {
    /// Shells that take about so many seconds.
    pub(super) fn new(cgroup: PathBuf, cpus: Vec<usize>, deed: Deed, seconds: u64) -> Self {
        Self {
            cgroup,
            cpus,
            deed,
            times: deed.times() * seconds,
        }
    }

    fn script(&self) -> String {
        format!(
            "date +%s%N; i=0; while [ \"$i\" -lt {} ]; do {}; i=$((i+1)); done; date +%s%N",
            self.times,
            self.deed.command()
        )
    }
}

impl Load for Shells {
    fn description(&self) -> Description {
        let (label, operation) = match self.deed {
            Deed::Fork => ("fork and exit", "process"),
            Deed::Exec => ("fork, exec of `/bin/true` and exit", "process"),
            Deed::Fail => ("fork and exit with an error", "process"),
        };
        Description {
            label: format!("{label}, a shell on each of {} CPUs", self.cpus.len()),
            operation: operation.into(),
            unit: Unit::OperationsPerSecond,
            promise: Some(LEAST),
        }
    }

    fn runs(&self) -> usize {
        2
    }

    fn run(&self, interrupted: &Receiver<()>) -> Result<Run> {
        let shell = command::find_program("sh").context("there is no program `sh`")?;
        let script = self.script();
        let start =
            |cpu: &usize| Printing::start(Place::new(&self.cgroup, *cpu), &shell, &["-c", &script]);
        // All are started before the first is waited for.
        let shells: Vec<Printing> = self.cpus.iter().map(start).collect::<Result<_>>()?;
        let mut times = Vec::new();
        for shell in shells {
            let output = shell.finish(interrupted)?;
            times.push(
                times_of(&output)
                    .with_context(|| format!("a shell printed no times but {output}"))?,
            );
        }
        let begin = times
            .iter()
            .map(|(begin, _)| *begin)
            .fold(f64::NAN, f64::min);
        let end = times.iter().map(|(_, end)| *end).fold(f64::NAN, f64::max);
        Ok(Run {
            operations: self.times * self.cpus.len() as u64,
            seconds: end - begin,
        })
    }

    fn counted(&self) -> Option<(&'static str, f64)> {
        Some(("vdi_session_process_forks_total", 1.0))
    }
}

/// When a shell began and ended, in seconds.
fn times_of(output: &str) -> Option<(f64, f64)> {
    let mut lines = output.lines().map(|line| line.parse::<u64>().ok());
    let (begin, end) = (lines.next()??, lines.next()??);
    // Seconds of an hour: those of the epoch leave an f64 no microseconds.
    let seconds = |ns: u64| ns as f64 / 1e9;
    let hour = begin / 3_600_000_000_000 * 3_600_000_000_000;
    Some((seconds(begin - hour), seconds(end.checked_sub(hour)?)))
}

#[cfg(test)]
mod tests {
    use super::{Deed, Shells, times_of};

    #[test]
    fn a_shell_says_when_it_began_and_ended() {
        let (begin, end) = times_of("1700000000000000000\n1700000001500000000\n").unwrap();
        assert!((end - begin - 1.5).abs() < 1e-9);
        assert!(times_of("1700000000000000000\n").is_none());
    }

    #[test]
    fn a_script_does_it_so_often() {
        let shells = Shells::new("/x".into(), vec![0], Deed::Exec, 2);
        assert!(shells.script().contains("-lt 4000 ]; do /bin/true; i="));
    }
}
