//! The hidden command `bench inside`: becomes another program inside a cgroup and on one CPU.
//!
//! The program cannot do this itself, and between fork and exec only unsafe code could. It ends with
//! the benchmark that started it, so that even a killed benchmark leaves no load behind.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;
use nix::sys::prctl;
use nix::sys::signal::Signal;

use crate::{command, workload};

/// The options of the hidden command.
#[derive(Args)]
pub(super) struct Options {
    /// The cgroup to move into.
    #[arg(long)]
    cgroup: Option<PathBuf>,
    /// The CPU to stay on.
    #[arg(long)]
    cpu: Option<usize>,
    /// What to become.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Runs the hidden command; returns only when the program cannot be started.
pub(super) fn run(options: &Options) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot ask to end with the benchmark")?;
    if let Some(cgroup) = &options.cgroup {
        workload::enter(cgroup)?;
    }
    if let Some(cpu) = options.cpu {
        workload::pin(cpu)?;
    }
    let (program, arguments) = options.command.split_first().context("nothing to become")?;
    let mut command = Command::new(program);
    command.args(arguments);
    let error = command.exec();
    Err(error).with_context(|| command::cannot_start(&command))
}

/// This program, also when cargo has meanwhile put a new one in its place.
const THIS: &str = "/proc/self/exe";

/// Where a program is to run.
#[derive(Clone, Copy, Default)]
pub(super) struct Place<'a> {
    pub(super) cgroup: Option<&'a Path>,
    pub(super) cpu: Option<usize>,
}

/// Starts a program in its place, with its standard output going to `output`.
pub(super) fn start(
    place: Place<'_>,
    program: &Path,
    arguments: &[&str],
    output: Stdio,
) -> Result<Running> {
    let mut command = Command::new(THIS);
    command.args(["bench", "inside"]);
    if let Some(cgroup) = place.cgroup {
        command.arg("--cgroup").arg(cgroup);
    }
    if let Some(cpu) = place.cpu {
        command.args(["--cpu", &cpu.to_string()]);
    }
    command
        .arg("--")
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output)
        // Ctrl-C reaches the whole foreground group, and it is the benchmark that ends its load.
        .process_group(0);
    let child = command
        .spawn()
        .with_context(|| command::cannot_start(&command))?;
    Ok(Running(child))
}

/// A running program; dropping it ends it.
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It holds nothing that an orderly end would save.
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("warning: cannot end process {}: {error}", self.0.id());
        }
    }
}
