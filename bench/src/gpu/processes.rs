//! The sessions on the GPU: who is in them, how they start, and the one process that dies.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lab::cgroup::Tree;

use super::load::{READY, Work};
use crate::interrupt::pause;

/// The cgroup above the sessions.
pub(super) const PARENT: &str = "sessionscope-gpu";

/// Makes each child cgroup a session with a template of its own, because start-up milestones are per
/// template. Without the built-in rules, because whoever runs this may be inside a session of theirs.
pub(super) const RULES: &str = r#"[sessions]
builtin_rules = false

[[rules]]
name = "gpu"
pattern = '^/sessionscope-gpu/(?P<session>[^/]+)$'
template = "$session"
namespace = "gpu"
"#;

pub(super) const BUSY: &str = "busy";
pub(super) const LIGHT: &str = "light";
pub(super) const MANY: &str = "many";
/// The sessions, in the order of the report.
pub(super) const SESSIONS: [&str; 3] = [BUSY, LIGHT, MANY];

/// `PyTorch` takes tens of seconds to come up where the disk is slow.
const READY_LIMIT: Duration = Duration::from_mins(3);
const POLL: Duration = Duration::from_millis(100);

/// What a process does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// `None`: outside of any session.
    pub(super) session: Option<&'static str>,
    /// Share of the time, 0 to 1.
    pub(super) duty: f64,
    /// Memory to hold, in MiB; a context takes some more.
    pub(super) mebibytes: u32,
}

const fn load(session: Option<&'static str>, duty: f64, mebibytes: u32) -> Load {
    Load {
        session,
        duty,
        mebibytes,
    }
}

const LOADS: [Load; 8] = [
    load(Some(BUSY), 1.0, 1024),
    load(Some(LIGHT), 0.3, 512),
    load(Some(MANY), 0.05, 16),
    load(Some(MANY), 0.05, 16),
    load(Some(MANY), 0.05, 16),
    load(Some(MANY), 0.05, 16),
    load(Some(MANY), 0.05, 16),
    load(None, 0.05, 256),
];

/// A running process.
pub(super) struct Process {
    pub(super) load: Load,
    child: Child,
}

impl Process {
    /// Its pid, which is the driver's name for it too where both see the same pid namespace.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// All processes; dropping them ends them.
pub(super) struct Processes(Vec<Process>);

impl Processes {
    /// Makes the sessions, starts the processes on a GPU and waits until each has begun its work.
    pub(super) fn start(
        work: Work,
        device: u32,
        cgroups: &Tree,
        interrupted: &Receiver<()>,
    ) -> Result<Self> {
        for session in SESSIONS {
            cgroups.add(session)?;
        }
        let (sender, ready) = channel();
        let mut processes = Self(Vec::new());
        for load in LOADS {
            let mut child = spawn(&mut command(work, device, load, cgroups))?;
            let stdout = child.stdout.take();
            processes.0.push(Process { load, child });
            let stdout = stdout.context("a process on the GPU has no output")?;
            announce(stdout, sender.clone());
        }
        drop(sender);
        let begin = Instant::now();
        for _ in LOADS {
            wait_for_one(&ready, begin, interrupted)?;
        }
        Ok(processes)
    }

    /// Those that run.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Process> {
        self.0.iter()
    }

    /// The pids of a session, or of the processes outside.
    pub(super) fn pids(&self, session: Option<&str>) -> Vec<u32> {
        let of_session = self
            .0
            .iter()
            .filter(|process| process.load.session == session);
        of_session.map(Process::pid).collect()
    }

    /// Kills a process of a session, as a crash would, without a word to the driver.
    pub(super) fn kill_one(&mut self, session: &str) -> Result<()> {
        let found = self
            .0
            .iter()
            .position(|process| process.load.session == Some(session));
        let found = found.with_context(|| format!("the session {session} has no process"))?;
        end(&mut self.0.remove(found).child)
    }

    /// Fails if a process has ended by itself.
    pub(super) fn check(&mut self) -> Result<()> {
        for process in &mut self.0 {
            let ended = process.child.try_wait();
            if let Some(status) = ended.context("cannot ask after a process on the GPU")? {
                bail!(
                    "a process of {} has ended ({status}); it says why above",
                    process.load.session.unwrap_or("no session")
                );
            }
        }
        Ok(())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for process in &mut self.0 {
            if let Err(error) = end(&mut process.child) {
                eprintln!("warning: cannot end process {}: {error:#}", process.pid());
            }
        }
    }
}

fn end(child: &mut Child) -> Result<()> {
    child.kill().context("cannot kill a process on the GPU")?;
    child.wait().context("cannot wait for a killed process")?;
    Ok(())
}

/// What starts a process that works so, in its session.
pub(super) fn command(work: Work, device: u32, load: Load, cgroups: &Tree) -> Command {
    // This program, also when cargo has meanwhile put a new one in its place.
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["gpu-load", "--work", work.argument()])
        .args(["--duty", &load.duty.to_string()])
        .args(["--memory", &load.mebibytes.to_string()])
        // The order of NVML's and nvidia-smi's indices, of which the process sees one.
        .env("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        .env("CUDA_VISIBLE_DEVICES", device.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Ctrl-C reaches the whole foreground group, and it is this program that ends them.
        .process_group(0);
    if let Some(session) = load.session {
        command.arg("--cgroup").arg(cgroups.path_of(session));
    }
    command
}

pub(super) fn spawn(command: &mut Command) -> Result<Child> {
    command.spawn().context("cannot start a process on the GPU")
}

/// Tells when a process says that it is ready, or that it never will.
pub(super) fn announce(stdout: ChildStdout, sender: Sender<bool>) {
    thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines();
        let ready = lines.any(|line| line.is_ok_and(|line| line == READY));
        // Nobody listens once another process has failed.
        let _ = sender.send(ready);
        // Read on, so that nothing the process says can stop it.
        lines.for_each(drop);
    });
}

/// Waits for the next of them since `begin`.
pub(super) fn wait_for_one(
    ready: &Receiver<bool>,
    begin: Instant,
    interrupted: &Receiver<()>,
) -> Result<()> {
    loop {
        match ready.recv_timeout(POLL) {
            Ok(true) => return Ok(()),
            Ok(false) => bail!("a process could not begin its work on the GPU; it says why above"),
            Err(RecvTimeoutError::Disconnected) => bail!("nobody waits for the processes any more"),
            Err(RecvTimeoutError::Timeout) => pause(Duration::ZERO, interrupted)?,
        }
        if begin.elapsed() > READY_LIMIT {
            bail!("the processes have not begun their work on the GPU within {READY_LIMIT:?}");
        }
    }
}
