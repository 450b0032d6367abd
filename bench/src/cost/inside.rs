//! The hidden command `inside`: becomes another program inside a cgroup and on one CPU.
//!
//! The program cannot do this itself, and between fork and exec only unsafe code could. It ends with
//! the benchmark that started it, so that even a killed benchmark leaves no load behind.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use lab::{cgroup, command, cpus};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;

use crate::interrupt::Interrupted;

/// The options of the hidden command.
#[derive(Args)]
pub(crate) struct Options {
    /// The cgroup to move into.
    #[arg(long)]
    cgroup: Option<PathBuf>,
    /// The CPU to stay on.
    #[arg(long)]
    cpu: Option<usize>,
    /// Have the kernel's tracing files, in a mount namespace of its own where nobody mounted them.
    #[arg(long)]
    tracing: bool,
    /// What to become.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Runs the hidden command; returns only when the program cannot be started.
pub(crate) fn run(options: &Options) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot ask to end with the benchmark")?;
    if let Some(cgroup) = &options.cgroup {
        cgroup::enter(cgroup)?;
    }
    if let Some(cpu) = options.cpu {
        cpus::pin(cpu)?;
    }
    if options.tracing {
        have_tracing()?;
    }
    let (program, arguments) = options.command.split_first().context("nothing to become")?;
    let mut command = Command::new(program);
    command.args(arguments);
    let error = command.exec();
    Err(error).with_context(|| command::cannot_start(&command))
}

/// Mounts the tracing files for this process alone, unless everybody has them.
fn have_tracing() -> Result<()> {
    const POINTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    let has_events = |point: &&str| Path::new(point).join("events").exists();
    if POINTS.iter().any(has_events) {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
    let nothing: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(nothing, "/", nothing, private, nothing).context("cannot keep mounts private")?;
    let tracefs = Some("tracefs");
    mount(tracefs, POINTS[0], tracefs, MsFlags::empty(), nothing)
        .with_context(|| format!("cannot mount tracefs on {}", POINTS[0]))
}

/// This program, also when cargo has meanwhile put a new one in its place.
const THIS: &str = "/proc/self/exe";
/// How often to look whether a program has ended: a few times, because looking is work too.
const POLL: Duration = Duration::from_millis(20);

/// Where a program is to run.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place<'a> {
    pub(super) cgroup: Option<&'a Path>,
    pub(super) cpu: Option<usize>,
    pub(super) tracing: bool,
}

impl<'a> Place<'a> {
    /// In a cgroup.
    pub(crate) fn in_cgroup(cgroup: &'a Path) -> Self {
        Self {
            cgroup: Some(cgroup),
            ..Self::default()
        }
    }

    /// In a cgroup, on one CPU.
    pub(super) fn new(cgroup: &'a Path, cpu: usize) -> Self {
        Self {
            cgroup: Some(cgroup),
            cpu: Some(cpu),
            tracing: false,
        }
    }
}

/// Starts a program in its place.
pub(crate) fn start(
    place: Place<'_>,
    program: &Path,
    arguments: &[&str],
    output: Stdio,
    errors: Stdio,
) -> Result<Running> {
    let mut command = Command::new(THIS);
    command.arg("inside");
    if let Some(cgroup) = place.cgroup {
        command.arg("--cgroup").arg(cgroup);
    }
    if let Some(cpu) = place.cpu {
        command.args(["--cpu", &cpu.to_string()]);
    }
    if place.tracing {
        command.arg("--tracing");
    }
    command
        .arg("--")
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        // Ctrl-C reaches the whole foreground group, and it is the benchmark that ends its load.
        .process_group(0);
    let child = command
        .spawn()
        .with_context(|| command::cannot_start(&command))?;
    Ok(Running(child))
}

/// A running program; dropping it ends it.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It holds nothing that an orderly end would save.
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("warning: cannot end process {}: {error}", self.0.id());
        }
    }
}

/// A program that runs to its end, and what it prints.
pub(super) struct Printing {
    running: Running,
    name: String,
    output: JoinHandle<String>,
}

impl Printing {
    /// Starts it.
    pub(super) fn start(place: Place<'_>, program: &Path, arguments: &[&str]) -> Result<Self> {
        let mut running = start(place, program, arguments, Stdio::piped(), Stdio::inherit())?;
        let stdout = running.0.stdout.take();
        // Read while it runs: a pipe holds less than some programs print.
        let output = thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut stdout) = stdout {
                // What is missing after an error is missed by whoever looks for a figure in it.
                let _ = stdout.read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        });
        let words = [program.to_string_lossy().into_owned()];
        let words = words
            .into_iter()
            .chain(arguments.iter().map(|word| (*word).to_owned()));
        Ok(Self {
            running,
            name: words.collect::<Vec<_>>().join(" "),
            output,
        })
    }

    /// Waits for its end and returns what it printed.
    pub(super) fn finish(mut self, interrupted: &Receiver<()>) -> Result<String> {
        let status = loop {
            let status = self.running.0.try_wait();
            if let Some(status) =
                status.with_context(|| format!("cannot ask after `{}`", self.name))?
            {
                break status;
            }
            if interrupted.recv_timeout(POLL).is_ok() {
                return Err(Interrupted.into());
            }
        };
        let output = self.output.join().unwrap_or_default();
        if !status.success() {
            bail!(
                "`{}` failed ({status}) and printed: {}",
                self.name,
                output.trim()
            );
        }
        Ok(output)
    }
}
