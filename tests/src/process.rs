//! Ending processes by their id, and waiting for them with a limit.

use std::{
    fs,
    process::{Child, Command, ExitStatus},
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

/// Lets a process run before what else the machine does.
pub fn favour(pid: u32) {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let threads = threads.map(|thread| thread.expect("/proc can be read").file_name());
    renice(threads.map(|thread| thread.to_string_lossy().into_owned()));
}

/// The same for one thread.
pub fn favour_thread(id: u32) {
    renice([id.to_string()]);
}

fn renice(threads: impl IntoIterator<Item = String>) {
    let mut renice = Command::new("renice");
    let output = renice.args(["-n", "-20", "-p"]).args(threads).output();
    let output = output.expect("renice is installed with util-linux");
    assert!(output.status.success(), "{output:?}");
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

/// Ends a child politely, and after `limit` by force.
pub fn end(child: &mut Child, limit: Duration) {
    signal(child.id(), Signal::SIGTERM);
    if wait(child, limit).is_none() {
        // It is our child and not reaped, so its id is still its own.
        let _gone = child.kill();
        let _status = child.wait();
    }
}
