//! Which CPUs there are, and staying on one.

use anyhow::{Context, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// The CPUs that this process may use; in a container that need not be all of them, nor CPU 0.
pub fn allowed() -> Result<Vec<usize>> {
    let allowed =
        sched_getaffinity(Pid::from_raw(0)).context("cannot read which CPUs are allowed")?;
    Ok((0..CpuSet::count())
        .filter(|cpu| allowed.is_set(*cpu).unwrap_or_default())
        .collect())
}

/// Keeps this thread, and what it starts, on one CPU.
pub fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)
        .with_context(|| format!("CPU {cpu} is beyond what an affinity mask holds"))?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot run on CPU {cpu}"))
}
