//! The hidden command `inside`: becomes another program inside a cgroup.
//!
//! The program cannot do this itself, and between fork and exec only unsafe code could. It ends with
//! the benchmark that started it, so that even a killed benchmark leaves no load behind.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;
use lab::{cgroup, command};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;

/// The options of the hidden command.
#[derive(Args)]
pub(crate) struct Options {
    /// The cgroup to move into.
    #[arg(long)]
    cgroup: Option<PathBuf>,
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

/// Where a program is to run.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place<'a> {
    pub(super) cgroup: Option<&'a Path>,
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
