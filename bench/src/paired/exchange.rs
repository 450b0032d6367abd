//! A load in a process of its own, which does what it does as long as it is told.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use lab::{cgroup, command, cpus};
use nix::sys::prctl;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::Signal;
use nix::time::ClockId;

use super::operations::Kind;

/// The options of the hidden command.
#[derive(Args)]
pub(crate) struct Options {
    kind: Kind,
    /// The cgroup to move into; where it is, otherwise.
    #[arg(long)]
    cgroup: Option<PathBuf>,
    /// The CPU to stay on.
    #[arg(long)]
    cpu: usize,
}

/// Rounds between two looks at the clock.
const BETWEEN_LOOKS: u64 = 16;

/// What a slice of the load was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    /// How often it was done.
    pub(crate) operations: u64,
    /// What that took: time on a CPU, in which waiting for others is not; by the clock for loads that wait for a drive.
    pub(crate) ns: u64,
}

/// Runs the hidden command until its input ends.
pub(crate) fn run(options: &Options) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot ask to end with the benchmark")?;
    if let Some(path) = &options.cgroup {
        cgroup::enter(path)?;
    }
    cpus::pin(options.cpu)?;
    let members = options.kind.members();
    let mut around = options.kind.around()?;
    for line in std::io::stdin().lock().lines() {
        let length = Duration::from_micros(line?.trim().parse().context("not a number")?);
        let (begin, cpu) = (Instant::now(), cpu_ns()?);
        let mut rounds = 0;
        while begin.elapsed() < length {
            for _ in 0..BETWEEN_LOOKS {
                around()?;
            }
            rounds += BETWEEN_LOOKS;
        }
        let ns = if options.kind.waits() {
            nanoseconds(begin.elapsed())
        } else {
            cpu_ns()? - cpu
        };
        println!("{} {ns}", rounds * members as u64);
    }
    Ok(())
}

/// Time on a CPU of this process and of those that it started and waited for.
fn cpu_ns() -> Result<u64> {
    let own = Duration::from(ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?);
    let children = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let children = children.user_time() + children.system_time();
    let seconds = Duration::from_secs(children.tv_sec().try_into()?);
    let rest = Duration::from_micros(children.tv_usec().try_into()?);
    Ok(nanoseconds(own + seconds + rest))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The process with the load; dropping it ends it.
pub(crate) struct Exchange {
    child: Child,
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
}

impl Exchange {
    /// Starts it in a cgroup, on a CPU.
    pub(crate) fn start(kind: Kind, cgroup: Option<&Path>, cpu: usize) -> Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.args(["exchange", &kind.argument(), "--cpu", &cpu.to_string()]);
        if let Some(cgroup) = cgroup {
            command.arg("--cgroup").arg(cgroup);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C reaches the whole foreground group, and it is the benchmark that ends its load.
            .process_group(0);
        let mut child = command
            .spawn()
            .with_context(|| command::cannot_start(&command))?;
        let ask = child.stdin.take().context("the load has no input")?;
        let answer = child.stdout.take().context("the load has no output")?;
        Ok(Self {
            child,
            ask,
            answer: BufReader::new(answer),
        })
    }

    /// Has it run for so long.
    pub(crate) fn run(&mut self, length: Duration) -> Result<Slice> {
        writeln!(self.ask, "{}", length.as_micros()).context("the load has ended")?;
        let mut line = String::new();
        self.answer
            .read_line(&mut line)
            .context("the load does not answer")?;
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let mut next = || numbers.next().and_then(Result::ok);
        let slice = next().zip(next());
        let (operations, ns) =
            slice.with_context(|| format!("the load said {line:?} and not two numbers"))?;
        Ok(Slice { operations, ns })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("warning: cannot end process {}: {error}", self.child.id());
        }
    }
}
