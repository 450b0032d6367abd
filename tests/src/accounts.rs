//! The kernel's own accounts of the threads in a cgroup: what the agent is compared with.
//!
//! `/proc/<pid>/task/<tid>/schedstat` has the time on a CPU, the time runnable without one, and the
//! number of times it was given one; `status` has the two kinds of switches. A thread that is blocked
//! has been switched out as often as it was given a CPU, so the accounts of blocked threads can be
//! compared with counters of switches to the last digit.

use std::{fs, path::Path, thread, time::Duration};

use crate::{cgroup::Cgroup, exposition::Exposition, wait};

/// Between two readings that must agree.
const QUIET: Duration = Duration::from_millis(30);

/// What user space is told a tick is (`USER_HZ`, include/asm-generic/param.h).
pub const TICKS_PER_SECOND: f64 = 100.0;

/// Sums over threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Times that a thread was given a CPU.
    pub runs: u64,
    /// Time runnable without a CPU, nanoseconds.
    pub wait_ns: u64,
    /// Time on a CPU, nanoseconds.
    pub cpu_ns: u64,
    /// Switches because the thread blocked.
    pub voluntary: u64,
    /// Switches because the CPU was taken.
    pub involuntary: u64,
}

impl Accounts {
    /// Of every thread in a cgroup, now.
    pub fn now(cgroup: &Cgroup) -> Self {
        Self::read(cgroup).0
    }

    /// The same, and whether all of the threads are blocked.
    fn read(cgroup: &Cgroup) -> (Self, bool) {
        let mut sum = Self::default();
        let mut blocked = true;
        for pid in cgroup.processes() {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
            for task in tasks {
                blocked &= sum.add(&task.expect("the process lives").path());
            }
        }
        (sum, blocked)
    }

    /// Of every thread in a cgroup, once all of them are blocked and nothing changes any more.
    pub fn settled(cgroup: &Cgroup) -> Self {
        wait::until("the workload is blocked", Duration::from_secs(10), || {
            let first = Self::read(cgroup);
            thread::sleep(QUIET);
            (first.1 && first == Self::read(cgroup)).then_some(first.0)
        })
    }

    /// What has come since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            runs: self.runs - earlier.runs,
            wait_ns: self.wait_ns - earlier.wait_ns,
            cpu_ns: self.cpu_ns - earlier.cpu_ns,
            voluntary: self.voluntary - earlier.voluntary,
            involuntary: self.involuntary - earlier.involuntary,
        }
    }

    /// Adds a thread; says whether it is blocked.
    fn add(&mut self, task: &Path) -> bool {
        let read = |file: &str| fs::read_to_string(task.join(file)).expect("the thread lives");
        let schedstat: Vec<u64> = read("schedstat")
            .split_whitespace()
            .filter_map(|field| field.parse().ok())
            .collect();
        let [cpu_ns, wait_ns, runs] = schedstat[..] else {
            panic!("schedstat has three fields")
        };
        let status = read("status");
        let switches = |name: &str| -> u64 {
            let mut lines = status.lines().filter_map(|line| line.strip_prefix(name));
            let value = lines.next().and_then(|value| value.trim().parse().ok());
            value.expect("status has both kinds of switches")
        };
        self.runs += runs;
        self.wait_ns += wait_ns;
        self.cpu_ns += cpu_ns;
        self.voluntary += switches("voluntary_ctxt_switches:");
        self.involuntary += switches("nonvoluntary_ctxt_switches:");
        status.contains("\nState:\tS")
    }
}

/// What a hypervisor has taken of all CPUs since the boot, seconds: `steal` of the first line of `/proc/stat`.
///
/// # Panics
///
/// When the line cannot be read.
pub fn stolen_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").expect("/proc is mounted");
    let mut fields = stat.lines().next().unwrap_or_default().split_whitespace();
    let ticks = fields.nth(8).expect("a field for it");
    let ticks: f64 = ticks.parse().expect("a number");
    ticks / TICKS_PER_SECOND
}

/// What the agent says of a session's switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches {
    /// The thread blocked.
    pub voluntary: u64,
    /// Another thread of the session, another session, the system got the CPU.
    pub preempted: [u64; 3],
    /// A CPU limit was used up.
    pub throttled: u64,
    /// The thread gave the CPU up.
    pub yielded: u64,
}

impl Switches {
    /// Of one session.
    pub fn of(session: &str, metrics: &Exposition) -> Self {
        let kind = |kind| {
            let labels = [("session", session), ("kind", kind)];
            metrics.count_if_any("vdi_session_context_switches_total", &labels)
        };
        Self {
            voluntary: kind("voluntary"),
            preempted: [
                "preempted_by_self",
                "preempted_by_session",
                "preempted_by_system",
            ]
            .map(kind),
            throttled: kind("throttled"),
            yielded: kind("yielded"),
        }
    }

    /// What the kernel calls involuntary.
    pub fn involuntary(&self) -> u64 {
        self.preempted.iter().sum::<u64>() + self.throttled + self.yielded
    }
}
