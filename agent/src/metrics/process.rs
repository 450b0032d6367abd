//! The agent's own process, as `/proc/self` has it.

use procfs::process::{LimitValue, Process};

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
        })
    }
}
