//! What the processes do that a workload starts.

use std::{
    hint,
    os::unix::process::CommandExt,
    path::PathBuf,
    process,
    sync::{Arc, Barrier},
    thread,
};

use clap::{Subcommand, ValueEnum};
use nix::{
    libc,
    sys::signal::{Signal, raise},
};

/// Threads beside the first.
const THREADS: usize = 3;
const MIB: usize = 1 << 20;
/// Far beyond the limit of any test, and little enough for the machine if there is no limit.
const HUNGRY_MIB: usize = 256;

/// The part of one process.
#[derive(Subcommand)]
pub(crate) enum Role {
    /// Sends back every byte.
    Pong,
    /// Ends with a code.
    Exit { code: i32 },
    /// Ends by a signal, for example SEGV.
    Signal { name: String },
    /// Several threads that end in some way.
    Threads { end: End },
    /// Takes memory in a cgroup until it is killed.
    Hungry { cgroup: Option<PathBuf> },
    /// Sleeps until it is killed.
    Sleep,
}

/// How a process of several threads ends.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum End {
    /// The first thread ends the process while the others run.
    ExitGroup,
    /// A signal ends the process while the others run.
    Killed,
    /// Every thread ends itself, all at the same moment.
    Each,
    /// The same, and the first one with another exit code than the others.
    Apart,
    /// Another thread than the first executes a program, which ends them all but is the same process.
    Exec,
}

pub(crate) fn run(role: Role) -> ! {
    match role {
        Role::Pong => super::pong(),
        Role::Exit { code } => process::exit(code),
        Role::Signal { name } => crash(format!("SIG{name}").parse().expect("a signal")),
        Role::Threads { end } => threads(end),
        Role::Hungry { cgroup } => {
            if let Some(cgroup) = cgroup {
                super::join(&cgroup);
            }
            take_memory()
        }
        Role::Sleep => super::stay(),
    }
}

/// More than once, because Rust's own handler of SEGV puts the default back first.
fn crash(signal: Signal) -> ! {
    loop {
        raise(signal).expect("a signal can be raised");
    }
}

fn threads(end: End) -> ! {
    let together = Arc::new(Barrier::new(THREADS + 1));
    for thread in 0..THREADS {
        let together = Arc::clone(&together);
        thread::spawn(move || {
            together.wait();
            match end {
                End::Exec if thread == 0 => {
                    let error = super::child(&["exit", "0"]).exec();
                    panic!("cannot execute: {error}");
                }
                End::Exec => super::stay(),
                // On a CPU, so that they die at the same moment as the first.
                End::ExitGroup | End::Killed => loop {
                    hint::spin_loop();
                },
                End::Each | End::Apart => end_this_thread(0),
            }
        });
    }
    together.wait();
    match end {
        End::ExitGroup => process::exit(0),
        End::Killed => crash(Signal::SIGKILL),
        End::Exec => super::stay(),
        End::Each => end_this_thread(0),
        End::Apart => end_this_thread(3),
    }
}

/// Ends the calling thread alone, as C's `pthread_exit` does in the end.
fn end_this_thread(code: i32) -> ! {
    // SAFETY: does not return, so nothing of this thread is used again; what it owns is leaked to a
    // process that ends with it.
    #[expect(
        unsafe_code,
        reason = "no safe function ends the first thread of a process alone"
    )]
    unsafe {
        libc::syscall(libc::SYS_exit, code);
    }
    unreachable!("exit does not return")
}

/// With threads that sleep meanwhile: the kill must count as one end of one process.
fn take_memory() -> ! {
    for _ in 0..THREADS {
        thread::spawn(|| super::stay());
    }
    let mut taken = Vec::new();
    for _ in 0..HUNGRY_MIB {
        taken.push(vec![1u8; MIB]);
    }
    // Not reached where there is a limit.
    process::exit(taken.len().min(1) as i32)
}
