//! Drives the program `workload`, which does in a session exactly what it is told.
//!
//! It sleeps while it is moved to its cgroup, prepares, says `ready`, and waits. On `go` it does its work, reports what it did
//! as one line of JSON, and stays there, blocked, so that the kernel's accounts of it can be read.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use lab::cpus;
use serde_json::Value;

use crate::{
    cgroup::Cgroup,
    process,
    wait::{self, patient},
};

/// Whether the machine is emulated: what follows an event follows a millisecond later there.
pub fn is_emulated() -> bool {
    env::var_os("SESSIONSCOPE_TEST_SCALE").is_some()
}

/// So many times what a test does on a real machine: a part of it, at least one, where
/// `SESSIONSCOPE_TEST_SCALE` is set because the machine is emulated. It is for how much is done, never for
/// how exact the agent must be about it.
pub fn scaled(times: u64) -> u64 {
    let scale = env::var("SESSIONSCOPE_TEST_SCALE").map_or(1.0, |scale| {
        scale
            .parse()
            .expect("SESSIONSCOPE_TEST_SCALE is a number such as 0.1")
    });
    ((times as f64 * scale) as u64).max(1)
}

/// No workload of a test takes longer.
const LIMIT: Duration = Duration::from_secs(90);

/// The program: where it was compiled to, or where `SESSIONSCOPE_TEST_WORKLOAD` says it is.
pub fn binary(compiled: &str) -> PathBuf {
    let elsewhere = env::var_os("SESSIONSCOPE_TEST_WORKLOAD");
    elsewhere.map_or_else(|| compiled.into(), PathBuf::from)
}

/// Two CPUs that may be used, as arguments; the same one twice where there is only one.
pub fn two_cpus() -> [String; 2] {
    let mut usable = cpus::allowed().expect("a process has its CPUs").into_iter();
    let first = usable.next().expect("a process has a CPU");
    [first, usable.next().unwrap_or(first)].map(|cpu| cpu.to_string())
}

/// A workload that is ready, at work or done. Dropping it kills it.
#[derive(Debug)]
pub struct Workload {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Workload {
    /// Starts `binary` (of the caller's package: `env!("CARGO_BIN_EXE_workload")`) in a cgroup and waits
    /// until it is ready. Where the tests run on another machine than they were compiled on,
    /// `SESSIONSCOPE_TEST_WORKLOAD` says where it is.
    pub fn start(binary: &str, cgroup: &Cgroup, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(Into::into).collect();
        Self::start_with(binary, cgroup, arguments)
    }

    /// The same for arguments that may be paths.
    pub fn start_with(binary: &str, cgroup: &Cgroup, arguments: Vec<OsString>) -> Self {
        let mut child = Command::new(self::binary(binary))
            .arg("--moved")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the workload starts");
        let stdin = child.stdin.take().expect("stdin is a pipe");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let (send, lines) = channel();
        // A thread, because a pipe has no read with a limit.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let mut workload = Self {
            child,
            stdin,
            lines,
        };
        assert_eq!(workload.line(), "here");
        workload.join(cgroup);
        assert_eq!(workload.line(), "ready");
        workload
    }

    /// Moves it while it sleeps. A switch between the kernel's move and its tracepoint would leave the count of the
    /// session to a walk over all threads, which comes soon and not at once.
    fn join(&mut self, cgroup: &Cgroup) {
        let pid = self.pid();
        wait::until("the workload sleeps", patient(LIMIT), || {
            process::is_asleep(pid).then_some(())
        });
        cgroup.take(pid);
        self.go();
    }

    /// Its first process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it work.
    pub fn go(&mut self) {
        self.stdin
            .write_all(b"go\n")
            .expect("the workload waits for a line");
    }

    /// Waits until it has done its work, and returns its report.
    pub fn finish(&mut self) -> Value {
        serde_json::from_str(&self.line()).expect("the workload reports in JSON")
    }

    /// Both.
    pub fn run(&mut self) -> Value {
        self.go();
        self.finish()
    }

    fn line(&self) -> String {
        self.lines
            .recv_timeout(patient(LIMIT))
            .expect("the workload says something before it ends")
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        // Not reaped before this, so its id is still its own; its children end with it.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
