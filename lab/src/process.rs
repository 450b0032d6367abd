//! Ending processes by their id, and waiting for them with a limit.

use std::{
    process::{Child, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::wait::patient;

const POLL: Duration = Duration::from_millis(5);

/// Sends a signal; a process that is gone already is no error.
pub fn signal(pid: u32, signal: Signal) {
    let _gone = kill(Pid::from_raw(pid as i32), signal);
}

/// Waits for the end of a child; `None` when it has not ended within `limit`.
pub fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let limit = patient(limit);
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if began.elapsed() >= limit {
            return None;
        }
        thread::sleep(POLL);
    }
}

/// Ends a child politely, and after `limit` by force; says whether it ended politely.
pub fn end(child: &mut Child, limit: Duration) -> bool {
    // Only what has not been waited for still has its id.
    if let Ok(Some(_)) = child.try_wait() {
        return true;
    }
    signal(child.id(), Signal::SIGTERM);
    if wait(child, limit).is_some() {
        return true;
    }
    let _gone = child.kill();
    let _status = child.wait();
    false
}
