//! Ending processes by their id, waiting for them with a limit, and letting them run first.

use std::{fs, process::Command};

pub use lab::process::{end, signal, wait};

/// Lets a process run before what else the machine does.
pub fn favour(pid: u32) {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let threads = threads.map(|thread| thread.expect("/proc can be read").file_name());
    let said = renice(threads.map(|thread| thread.to_string_lossy().into_owned()));
    // One of its threads may have ended since they were listed.
    let is_gone = |line: &str| line.ends_with("No such process");
    assert!(said.lines().all(is_gone), "{said}");
}

/// The same for one thread.
pub fn favour_thread(id: u32) {
    assert_eq!(renice([id.to_string()]), "");
}

/// What `renice` has to complain of.
fn renice(threads: impl IntoIterator<Item = String>) -> String {
    let mut renice = Command::new("renice");
    let output = renice.args(["-n", "-20", "-p"]).args(threads).output();
    let output = output.expect("renice is installed with util-linux");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Resident memory in bytes.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    1024 * kib
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .expect("a figure in kB")
}

/// What each thread of a process does, as `ps` shows it: R, S, D and so on (`proc_pid_stat(5)`).
pub fn states(pid: u32) -> Vec<char> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let state = |thread: fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("stat")).ok()?;
        // The name before it may have anything in it.
        stat.rsplit_once(')')?.1.trim_start().chars().next()
    };
    // A thread may end meanwhile.
    threads.flatten().filter_map(state).collect()
}

/// Whether a process of one thread waits for something (state S of `proc_pid_stat(5)`).
pub fn is_asleep(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The name before it may have anything in it.
    let (_, rest) = stat.rsplit_once(')').expect("a name in parentheses");
    rest.trim_start().starts_with('S')
}
