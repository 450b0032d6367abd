//! As many short processes as the machine can start.
//!
//! Each is made with `CLONE_VM | CLONE_VFORK`, as `posix_spawn` makes its processes: nothing is copied and
//! nothing executed, so what is left is the kernel's own work for a fork and an exit.

use std::{
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use nix::{
    libc::SIGCHLD,
    sched::{CloneFlags, clone},
    sys::wait::{WaitStatus, waitpid},
};
use serde_json::{Value, json};

/// Threads that fork: one for each of two CPUs.
const THREADS: u64 = 2;
const STACK_BYTES: usize = 16 << 10;

/// How long it goes on.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Storm {
    /// Until so many processes have been started.
    #[arg(long)]
    forks: Option<u64>,
    /// For so long.
    #[arg(long)]
    seconds: Option<f64>,
}

impl Storm {
    /// Starts the processes, every other one of which fails.
    pub(crate) fn run(&self) -> Value {
        let began = Instant::now();
        let forks = self.forks.unwrap_or(u64::MAX) / THREADS;
        let end = self.seconds.map(Duration::from_secs_f64);
        let threads: Vec<_> = (0..THREADS)
            .map(|_| thread::spawn(move || fork(forks, end.map(|end| began + end))))
            .collect();
        let ends = threads
            .into_iter()
            .map(|thread| thread.join().expect("a thread that forks does not panic"))
            .fold([0, 0], |sum, ends| [sum[0] + ends[0], sum[1] + ends[1]]);
        json!({
            "forks": ends[0] + ends[1],
            "success": ends[0],
            "error": ends[1],
            "seconds": began.elapsed().as_secs_f64(),
        })
    }
}

/// How many ended well, and how many did not.
fn fork(times: u64, end: Option<Instant>) -> [u64; 2] {
    let mut ends = [0, 0];
    let mut stack = vec![0; STACK_BYTES];
    for time in 0..times {
        if end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
        let code = (time % 2) as isize;
        // SAFETY: the child returns at once, on a stack of its own, and this thread waits until it has.
        #[expect(unsafe_code, reason = "no safe function makes a process this way")]
        let child = unsafe {
            clone(
                Box::new(move || code),
                &mut stack,
                CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK,
                Some(SIGCHLD),
            )
        };
        match waitpid(child.expect("a process starts"), None) {
            Ok(WaitStatus::Exited(_, 0)) => ends[0] += 1,
            Ok(WaitStatus::Exited(_, 1)) => ends[1] += 1,
            other => panic!("{other:?} is not how it ends"),
        }
    }
    ends
}
