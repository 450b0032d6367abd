//! The machine that measurements are from; without it a number says nothing.

use std::fmt;
use std::time::{Duration, SystemTime};
use std::{env, fs};

use anyhow::{Context, Result};
use lab::cpus;
use nix::time::ClockId;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// What is printed beside a table.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) processor: String,
    pub(crate) cpus: usize,
    pub(crate) virtualized: bool,
    pub(crate) pid_max: u64,
    /// The day, in UTC.
    pub(crate) date: String,
}

impl Machine {
    /// Describes this machine, now.
    pub(crate) fn read() -> Result<Self> {
        let cpuinfo = read("/proc/cpuinfo")?;
        let field = |name: &str| {
            cpuinfo.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                (key.trim() == name).then(|| value.trim().to_owned())
            })
        };
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        Ok(Self {
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            // arm64 names no model.
            processor: field("model name").unwrap_or_else(|| env::consts::ARCH.to_owned()),
            cpus: cpus::allowed()?.len(),
            virtualized: field("flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            pid_max: read("/proc/sys/kernel/pid_max")?
                .trim()
                .parse()
                .context("kernel.pid_max is not a number")?,
            date: now.split('T').next().unwrap_or_default().to_owned(),
        })
    }

    /// One that tests of tables may name.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        Self {
            kernel: "6.1".into(),
            processor: "A processor".into(),
            cpus: 2,
            virtualized: false,
            pid_max: 32_768,
            date: "2026-01-02".into(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.virtualized {
            ", virtual machine"
        } else {
            ""
        };
        write!(
            formatter,
            "{}: Linux {}, {}, {} CPUs{kind}",
            self.date, self.kernel, self.processor, self.cpus
        )
    }
}

/// The CPU time that a process has taken, to the nanosecond; `/proc/PID/stat` has it in ticks.
pub(crate) fn process_cpu_time(pid: u32) -> Result<Duration> {
    ClockId::pid_cpu_clock_id(Pid::from_raw(pid as i32))
        .and_then(ClockId::now)
        .map(Duration::from)
        .with_context(|| format!("cannot read the CPU time of process {pid}"))
}

/// The CPU time that the thread of this name of a process has taken, `None` where there is no such one.
pub(crate) fn thread_cpu_time(pid: u32, name: &str) -> Result<Option<Duration>> {
    let tasks = format!("/proc/{pid}/task");
    for task in fs::read_dir(&tasks).with_context(|| format!("cannot read {tasks}"))? {
        let task = task.with_context(|| format!("cannot read {tasks}"))?.path();
        // A thread may end meanwhile; the one that is wanted does not.
        let comm = fs::read_to_string(task.join("comm")).unwrap_or_default();
        if comm.trim_end() == name {
            let path = task.join("schedstat").display().to_string();
            let time = time_on_cpu(&read(&path)?);
            return time
                .map(Some)
                .with_context(|| format!("{path} has no time"));
        }
    }
    Ok(None)
}

/// How often the threads of a process have gone to sleep: each time somebody had to wake them. A thread that has ended
/// meanwhile takes its share along.
pub(crate) fn sleeps(pid: u32) -> Result<u64> {
    let tasks = format!("/proc/{pid}/task");
    let mut sum = 0;
    for task in fs::read_dir(&tasks).with_context(|| format!("cannot read {tasks}"))? {
        let task = task.with_context(|| format!("cannot read {tasks}"))?.path();
        let status = fs::read_to_string(task.join("status")).unwrap_or_default();
        sum += voluntary_switches(&status).unwrap_or_default();
    }
    Ok(sum)
}

fn voluntary_switches(status: &str) -> Option<u64> {
    let mut fields = status.lines().filter_map(|line| line.split_once(':'));
    let (_, count) = fields.find(|(key, _)| *key == "voluntary_ctxt_switches")?;
    count.trim().parse().ok()
}

fn time_on_cpu(schedstat: &str) -> Option<Duration> {
    let nanoseconds = schedstat.split(' ').next()?;
    Some(Duration::from_nanos(nanoseconds.parse().ok()?))
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{process_cpu_time, sleeps, time_on_cpu, voluntary_switches};

    #[test]
    fn sleeps_are_those_of_all_threads() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t42\nnonvoluntary_ctxt_switches:\t7\n";
        assert_eq!(voluntary_switches(status), Some(42));
        assert_eq!(voluntary_switches("Name:\tx\n"), None);
        std::thread::sleep(Duration::from_millis(1));
        assert!(sleeps(std::process::id()).unwrap() > 0);
    }

    #[test]
    fn a_process_has_taken_time() {
        assert!(process_cpu_time(std::process::id()).unwrap() > Duration::ZERO);
    }

    #[test]
    fn the_time_of_a_thread_is_before_what_it_waited() {
        assert_eq!(time_on_cpu("1500 7 3\n"), Some(Duration::from_nanos(1500)));
        assert_eq!(time_on_cpu(""), None);
    }
}
