//! The agent's own process, as `/proc/self` has it.

use std::{fs, path::Path};

use procfs::process::{LimitValue, Process};
use tokio::runtime::Handle;

use crate::allocator;

/// The standard process metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OwnProcess {
    /// User and kernel time, seconds.
    pub cpu_seconds: f64,
    /// Resident set, bytes.
    pub resident_bytes: f64,
    /// Virtual size, bytes.
    pub virtual_bytes: f64,
    /// Open file descriptors.
    pub open_fds: Option<f64>,
    /// Soft limit on them.
    pub max_fds: Option<f64>,
    /// Threads.
    pub threads: f64,
    /// Start, seconds since the epoch.
    pub start_seconds: Option<f64>,
    /// Memory that is allocated, bytes; the C library tells it.
    pub allocated_bytes: Option<f64>,
    /// The least limit of memory of its cgroup and those above it, bytes.
    pub memory_limit_bytes: Option<f64>,
    /// Tasks of the runtime.
    pub tasks: Option<f64>,
}

impl OwnProcess {
    /// Reads `/proc/self`; `None` where it cannot be read.
    pub fn read() -> Option<Self> {
        let process = Process::myself().ok()?;
        let stat = process.stat().ok()?;
        let ticks = procfs::ticks_per_second() as f64;
        let max_fds = process
            .limits()
            .ok()
            .and_then(|l| match l.max_open_files.soft_limit {
                LimitValue::Value(n) => Some(n as f64),
                LimitValue::Unlimited => None,
            });
        Some(Self {
            cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
            resident_bytes: (stat.rss * procfs::page_size()) as f64,
            virtual_bytes: stat.vsize as f64,
            open_fds: process.fd_count().ok().map(|n| n as f64),
            max_fds,
            threads: stat.num_threads as f64,
            start_seconds: procfs::boot_time_secs()
                .ok()
                .map(|boot| boot as f64 + stat.starttime as f64 / ticks),
            allocated_bytes: allocator::allocated_bytes().map(|bytes| bytes as f64),
            memory_limit_bytes: memory_limit(&process).map(|bytes| bytes as f64),
            tasks: Handle::try_current()
                .ok()
                .map(|runtime| runtime.metrics().num_alive_tasks() as f64),
        })
    }
}

/// Where controllers are mounted, of version 2 and of version 1, and the file with the limit in bytes.
const LIMITS: [(&str, &str); 3] = [
    ("/sys/fs/cgroup", "memory.max"),
    ("/sys/fs/cgroup/unified", "memory.max"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
];
/// Above this a limit is none: version 1 has the largest number of pages for that.
const NONE: u64 = 1 << 62;

/// The least limit of a process's cgroups and those above them; `None` where there is none.
fn memory_limit(process: &Process) -> Option<u64> {
    let cgroups = process.cgroups().ok()?;
    let mut least = None;
    for cgroup in cgroups {
        let is_of_memory =
            cgroup.hierarchy == 0 || cgroup.controllers.iter().any(|c| c == "memory");
        if !is_of_memory {
            continue;
        }
        for (mount, file) in LIMITS {
            for above in Path::new(cgroup.pathname.trim_start_matches('/')).ancestors() {
                let text = fs::read_to_string(Path::new(mount).join(above).join(file));
                let limit = text.ok().and_then(|text| text.trim().parse::<u64>().ok());
                least = least
                    .into_iter()
                    .chain(limit.filter(|limit| *limit < NONE))
                    .min();
            }
        }
    }
    least
}
