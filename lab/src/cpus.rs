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

/// Gives the calling thread, and the threads that it starts from now on, real-time priority.
///
/// # Errors
/// Only the root user may.
pub fn become_real_time(priority: u8) -> Result<()> {
    let parameters = nix::libc::sched_param {
        sched_priority: priority.into(),
    };
    // SAFETY: the parameters live during the call; 0 is the calling thread.
    #[expect(unsafe_code, reason = "no safe function sets a scheduling policy")]
    let result =
        unsafe { nix::libc::sched_setscheduler(0, nix::libc::SCHED_FIFO, &raw const parameters) };
    nix::errno::Errno::result(result)
        .map(drop)
        .context("cannot get real-time priority")
}
