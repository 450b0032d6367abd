//! A process that works on a GPU for a share of the time and holds some of its memory; the hidden
//! command `gpu-load`.
//!
//! With `PyTorch` it is what a notebook does. Without, it is the driver alone, so that a machine with
//! nothing but a driver will do.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use lab::{cgroup, command};
use nix::sys::prctl;
use nix::sys::signal::Signal;

use super::cuda::Gpu;

/// What a process prints once it has its memory and begins to work.
pub(super) const READY: &str = "ready";

/// One cycle of work and rest, several within each second that utilisation is an average of.
const CYCLE: Duration = Duration::from_millis(100);
/// As short as a frame, so that others get their turn.
const KERNEL: Duration = Duration::from_millis(5);

/// What does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// Matrix products of `PyTorch`.
    Torch,
    /// A kernel of our own through the driver's library.
    Driver,
    /// Nothing, for a rehearsal without a GPU.
    #[value(hide = true)]
    Nothing,
}

impl Work {
    /// The word that selects it on the command line.
    pub(super) fn argument(self) -> &'static str {
        match self {
            Self::Torch => "torch",
            Self::Driver => "driver",
            Self::Nothing => "nothing",
        }
    }

    /// As the report names it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Torch => "PyTorch's matrix products",
            Self::Driver => "a kernel through libcuda",
            Self::Nothing => "no work",
        }
    }
}

/// The options of the hidden command `gpu-load`.
#[derive(Args)]
pub(crate) struct Options {
    #[arg(long)]
    work: Work,
    /// Share of the time, 0 to 1.
    #[arg(long)]
    duty: f64,
    /// Memory to hold, in MiB.
    #[arg(long)]
    memory: usize,
    /// The cgroup to move into before doing anything; without it, that of who started this.
    #[arg(long)]
    cgroup: Option<PathBuf>,
    /// Instead of working, wait for the end of the input and then make an error of the GPU.
    #[arg(long)]
    fault: bool,
}

/// Runs the hidden command `gpu-load`; it ends only by a signal, or with who started it.
pub(crate) fn run(options: &Options) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot ask to end with the test")?;
    if let Some(cgroup) = &options.cgroup {
        cgroup::enter(cgroup)?;
    }
    match options.work {
        Work::Driver if options.fault => fault(),
        Work::Nothing if options.fault => {
            wait_to_fail()?;
            bail!("the rehearsal wants this to fail")
        }
        Work::Torch => become_torch(options),
        Work::Driver => drive(options),
        Work::Nothing => {
            say_ready()?;
            loop {
                thread::park();
            }
        }
    }
}

/// Whether `PyTorch` is installed and sees a GPU.
pub(super) fn has_torch() -> bool {
    let script = "import sys, torch; sys.exit(not torch.cuda.is_available())";
    let status = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// The interpreter takes this process's place, so that the session has one process.
fn become_torch(options: &Options) -> Result<()> {
    let mut python = Command::new("python3");
    python.args([
        "-c",
        include_str!("matmul.py"),
        &options.duty.to_string(),
        &options.memory.to_string(),
    ]);
    let error = python.exec();
    Err(error).context(command::cannot_start(Command::new("python3").arg("-c")))
}

fn drive(options: &Options) -> Result<()> {
    let gpu = Gpu::open()?;
    gpu.allocate(options.memory << 20)?;
    let kernels = kernels_per_cycle(options.duty);
    gpu.launch(KERNEL)?;
    gpu.synchronize()?;
    say_ready()?;
    loop {
        let begin = Instant::now();
        for _ in 0..kernels {
            gpu.launch(KERNEL)?;
        }
        gpu.synchronize()?;
        thread::sleep(CYCLE.saturating_sub(begin.elapsed()));
    }
}

/// Never succeeds: if the driver lets it pass, that is an error too.
fn fault() -> Result<()> {
    let gpu = Gpu::open()?;
    gpu.launch(KERNEL)?;
    gpu.synchronize()?;
    wait_to_fail()?;
    gpu.launch_fault()?;
    gpu.synchronize()?;
    bail!("the driver has let a kernel write where nothing is mapped")
}

fn wait_to_fail() -> Result<()> {
    say_ready()?;
    io::copy(&mut io::stdin(), &mut io::sink()).context("cannot wait for the end of the input")?;
    Ok(())
}

fn kernels_per_cycle(duty: f64) -> u32 {
    (duty * CYCLE.as_secs_f64() / KERNEL.as_secs_f64()).round() as u32
}

fn say_ready() -> Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{READY}")
        .and_then(|()| stdout.flush())
        .context("cannot say that the work begins")
}

#[cfg(test)]
mod tests {
    use super::kernels_per_cycle;

    #[test]
    fn a_cycle_has_as_many_kernels_as_its_share_takes() {
        assert_eq!(kernels_per_cycle(1.0), 20);
        assert_eq!(kernels_per_cycle(0.3), 6);
        assert_eq!(kernels_per_cycle(0.05), 1);
    }
}
