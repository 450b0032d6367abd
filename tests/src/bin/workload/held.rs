//! Threads that wait where no signal but a fatal one reaches them.
//!
//! Each makes a process that shares its memory, as `vfork` does, and waits until that ends or executes a program; which
//! it never does.

use std::thread;

use nix::{
    libc::SIGCHLD,
    sched::{CloneFlags, clone},
    sys::{prctl::set_pdeathsig, signal::Signal},
    unistd::pause,
};
use serde_json::{Value, json};

const STACK_BYTES: usize = 16 << 10;

pub(crate) fn run(count: usize) -> Value {
    for _ in 0..count {
        thread::spawn(hold);
    }
    json!({ "threads": count })
}

fn hold() {
    let mut stack = vec![0; STACK_BYTES];
    let stays = || {
        // Without that it would outlive the thread that waits for it.
        if set_pdeathsig(Signal::SIGKILL).is_ok() {
            pause();
        }
        0_isize
    };
    // SAFETY: the child has a stack of its own, takes no memory, and this thread waits until it has ended.
    #[expect(unsafe_code, reason = "no safe function makes a process this way")]
    let child = unsafe {
        clone(
            Box::new(stays),
            &mut stack,
            CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK,
            Some(SIGCHLD),
        )
    };
    panic!("{child:?}: the child has ended, or there is none");
}
