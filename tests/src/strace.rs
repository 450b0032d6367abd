//! System calls of a program that fail, though the kernel would do them: by strace, which puts an error in the place of
//! the answer. What the program makes of it is its own.

use std::{
    ffi::{OsStr, OsString},
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{process, wait};

/// To take hold of a program, or to let it go.
const LIMIT: Duration = Duration::from_secs(10);

/// Which calls fail.
#[derive(Clone, Debug)]
pub struct Calls {
    /// Their names, with commas between them.
    pub names: &'static str,
    /// The error, as errno(3) names it.
    pub error: &'static str,
    /// Only those of this file, or of what the kernel calls so in `/proc/PID/fd`.
    pub of: Option<OsString>,
    /// From which of them on; the first is 1.
    pub from: u32,
    /// Up to which; absent for all that come.
    pub to: Option<u32>,
}

impl Calls {
    /// All calls of some names.
    pub fn all(names: &'static str, error: &'static str) -> Self {
        Self {
            names,
            error,
            of: None,
            from: 1,
            to: None,
        }
    }

    fn arguments(&self) -> Vec<OsString> {
        let Self {
            names, error, from, ..
        } = self;
        let when = match self.to {
            Some(to) => format!("{from}..{to}"),
            None => format!("{from}+"),
        };
        let mut arguments: Vec<OsString> = ["-f", "-qq", "-o", "/dev/null", "-e", "signal=none"]
            .map(OsString::from)
            .into();
        for expression in [
            format!("trace={names}"),
            format!("inject={names}:error={error}:when={when}"),
        ] {
            arguments.extend(["-e".into(), expression.into()]);
        }
        if let Some(path) = &self.of {
            arguments.extend(["-P".into(), path.clone()]);
        }
        arguments
    }
}

/// A command that becomes `program`, whose calls fail from its start on. What traces it is its grandchild.
pub fn command(calls: &Calls, program: impl AsRef<OsStr>) -> Command {
    let mut command = lab::agent::command("strace".as_ref());
    command
        .arg("-D")
        .args(calls.arguments())
        .arg("--")
        .arg(program);
    command
}

/// A running program of which calls fail, until this is dropped.
#[derive(Debug)]
pub struct Failing {
    strace: Child,
    pid: u32,
}

impl Failing {
    /// Takes hold of a program.
    ///
    /// # Panics
    /// When strace does not.
    pub fn begin(pid: u32, calls: &Calls) -> Self {
        let mut strace = Command::new("strace");
        strace
            .args(calls.arguments())
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null());
        let mut strace = strace
            .spawn()
            .expect("strace is there: `cargo xtask setup --for test` installs it");
        wait::until("strace holds each thread", LIMIT, || {
            let ended = strace.try_wait().expect("it is a child");
            assert!(ended.is_none(), "strace has ended: {ended:?}");
            let mut tracers = tracers(pid).into_iter();
            tracers.all(|tracer| tracer == strace.id()).then_some(())
        });
        Self { strace, pid }
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        let ended = process::end(&mut self.strace, LIMIT);
        if !std::thread::panicking() {
            assert!(ended, "strace does not end");
            assert!(tracers(self.pid).iter().all(|tracer| *tracer == 0));
        }
    }
}

/// Who traces each thread of a program; 0 for nobody.
fn tracers(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the program runs");
    let status = threads.filter_map(|thread| {
        let path = thread.ok()?.path().join("status");
        fs::read_to_string(path).ok()
    });
    let tracer = |status: String| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("TracerPid:"));
        line.and_then(|pid| pid.trim().parse().ok())
            .expect("a status has a tracer")
    };
    status.map(tracer).collect()
}
