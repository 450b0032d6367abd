//! The machine that measurements are from; without it a number says nothing.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};
use std::{env, fs};

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// The unit of `/proc/stat`, the same on all architectures that the agent runs on.
const TICKS_PER_SECOND: u64 = 100;

/// What is printed beside a table.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) kernel: String,
    pub(super) processor: String,
    pub(super) cpus: usize,
    pub(super) virtualized: bool,
    pub(super) pid_max: u64,
    /// The day, in UTC.
    pub(super) date: String,
}

impl Machine {
    /// Describes this machine, now.
    pub(super) fn read() -> Result<Self> {
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
            cpus: allowed_cpus()?.len(),
            virtualized: field("flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            pid_max: read("/proc/sys/kernel/pid_max")?
                .trim()
                .parse()
                .context("kernel.pid_max is not a number")?,
            date: now.split('T').next().unwrap_or_default().to_owned(),
        })
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

/// The CPUs that this process may use; in a container that need not be all of them.
pub(super) fn allowed_cpus() -> Result<Vec<usize>> {
    let allowed =
        sched_getaffinity(Pid::from_raw(0)).context("cannot read which CPUs are allowed")?;
    Ok((0..CpuSet::count())
        .filter(|cpu| allowed.is_set(*cpu).unwrap_or_default())
        .collect())
}

/// The time that all CPUs together have worked since the machine was started, interrupts aside: those
/// of a load count for no process.
pub(super) fn busy() -> Result<Duration> {
    let stat = read("/proc/stat")?;
    busy_ticks(&stat)
        .map(|ticks| Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
        .context("/proc/stat has no line of all CPUs")
}

fn busy_ticks(stat: &str) -> Option<u64> {
    let ticks: Vec<u64> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is in these already.
    let [user, nice, system, _, _, _, _, steal] = ticks.get(..8)?.try_into().ok()?;
    Some(user + nice + system + steal)
}

/// The CPU time that a process has taken.
pub(super) fn process_cpu_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    cpu_time(&read(&path)?).with_context(|| format!("{path} has no CPU time"))
}

fn cpu_time(stat: &str) -> Option<Duration> {
    // The name before it may contain anything, parentheses included.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis(
        (user + system) * 1000 / TICKS_PER_SECOND,
    ))
}

/// The CPU time of a cgroup and of those below it; version 2 counts it without any controller.
pub(super) fn cgroup_cpu_time(cgroup: &Path) -> Result<Duration> {
    let path = cgroup.join("cpu.stat");
    let stat =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    usage(&stat).with_context(|| format!("{} has no usage_usec", path.display()))
}

fn usage(stat: &str) -> Option<Duration> {
    let microseconds = stat
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "))?;
    Some(Duration::from_micros(microseconds.parse().ok()?))
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{busy_ticks, cpu_time, usage};

    #[test]
    fn idle_time_interrupts_and_time_counted_twice_are_not_busy() {
        let stat = "cpu  1 20 300 9 9 4000 50000 600000 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(busy_ticks(stat), Some(600_321));
        assert_eq!(busy_ticks("cpu  1 2\n"), None);
    }

    #[test]
    fn the_time_of_a_process_is_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 15 6 0 0 20 0 1 0 9";
        assert_eq!(cpu_time(stat), Some(Duration::from_millis(210)));
        assert_eq!(cpu_time("7"), None);
    }

    #[test]
    fn the_time_of_a_cgroup_is_its_usage() {
        let stat = "usage_usec 1500\nuser_usec 1000\n";
        assert_eq!(usage(stat), Some(Duration::from_micros(1500)));
        assert_eq!(usage("user_usec 1000\n"), None);
    }
}
