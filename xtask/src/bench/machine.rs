//! The machine that measurements are from; without it a number says nothing.

use std::fmt;
use std::time::SystemTime;
use std::{env, fs};

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

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

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}
