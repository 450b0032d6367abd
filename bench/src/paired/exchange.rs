//! Loads that switch threads, or read, and do nothing else, in a process of their own that runs as long as it is told.

use std::env;
use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write, pipe};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use lab::{cgroup, command, cpus};
use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::time::ClockId;

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

/// What is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Two threads send each other a byte: everything that a switch needs is in the nearest cache.
    Pair,
    /// A byte goes around among many threads, each of which reads memory of its own when it has it: what the kernel
    /// and its programs know of a thread has left the near caches when it is switched again.
    Ring,
    /// As the pair, through sockets.
    Messages,
    /// Reads of a drive, one after the other, past the page cache.
    Reads,
}

impl Kind {
    fn argument(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Ring => "ring",
            Self::Messages => "messages",
            Self::Reads => "reads",
        }
    }

    /// As tables name it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Pair => "hot: two threads on one CPU that wake each other",
            Self::Ring => "cold: a ring of 64 threads on one CPU, each of which reads 64 KiB",
            Self::Messages => "a byte to and fro on a unix socket",
            Self::Reads => "4 KiB of a drive at a time",
        }
    }

    fn members(self) -> usize {
        match self {
            Self::Pair | Self::Messages => 2,
            Self::Ring => 64,
            Self::Reads => 1,
        }
    }

    /// Bytes that a member reads before it passes the byte on.
    fn memory(self) -> usize {
        match self {
            Self::Ring => 64 << 10,
            Self::Pair | Self::Messages | Self::Reads => 0,
        }
    }
}

/// Rounds between two looks at the clock.
const BETWEEN_LOOKS: u64 = 16;
const CACHE_LINE: usize = 64;
const BLOCK: usize = 4096;

/// What a slice of the load was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    /// Switches from one thread to another, or reads.
    pub(crate) operations: u64,
    /// Time on a CPU, in which waiting for others is not.
    pub(crate) cpu_ns: u64,
}

/// Runs the hidden command until its input ends.
pub(crate) fn run(options: &Options) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot ask to end with the benchmark")?;
    if let Some(path) = &options.cgroup {
        cgroup::enter(path)?;
    }
    cpus::pin(options.cpu)?;
    let members = options.kind.members();
    let mut around = around(options.kind)?;
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
        println!("{} {}", rounds * members as u64, cpu_ns()? - cpu);
    }
    Ok(())
}

/// What is done once around.
type Around = Box<dyn FnMut() -> Result<()>>;

fn around(kind: Kind) -> Result<Around> {
    match kind {
        Kind::Reads => reads(),
        Kind::Messages => messages(),
        Kind::Pair | Kind::Ring => ring(kind.members(), kind.memory()),
    }
}

/// Each has the byte from the one before it.
fn ring(members: usize, memory: usize) -> Result<Around> {
    let (mut first, mut to_next) = pipe().context("cannot make a pipe")?;
    for _ in 1..members {
        let (reader, writer) = pipe().context("cannot make a pipe")?;
        let from = std::mem::replace(&mut first, reader);
        thread::spawn(move || pass_on(from, writer, memory));
    }
    let own = vec![1u8; memory];
    Ok(Box::new(move || {
        read_memory(&own);
        to_next.write_all(&[0])?;
        Ok(first.read_exact(&mut [0])?)
    }))
}

fn messages() -> Result<Around> {
    let (mut near, far) = UnixStream::pair().context("cannot make a pair of sockets")?;
    let answers = far.try_clone().context("cannot have a socket twice")?;
    thread::spawn(move || pass_on(far, answers, 0));
    Ok(Box::new(move || {
        near.write_all(&[0])?;
        Ok(near.read_exact(&mut [0])?)
    }))
}

/// Reads this program's own file, past the page cache.
fn reads() -> Result<Around> {
    let path = env::current_exe().context("cannot find this program's own file")?;
    let direct = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_DIRECT.bits())
        .open(&path);
    let file = direct.with_context(|| format!("cannot read {} directly", path.display()))?;
    let blocks = file.metadata()?.len() / BLOCK as u64;
    // Direct reads want memory that begins at a block.
    let memory = vec![0u8; 2 * BLOCK].leak();
    let begin = memory.as_ptr().align_offset(BLOCK);
    let block = &mut memory[begin..begin + BLOCK];
    let mut next = 0;
    Ok(Box::new(move || {
        next = (next + 7) % blocks;
        Ok(file.read_exact_at(block, next * BLOCK as u64)?)
    }))
}

fn pass_on(mut from: impl Read, mut to: impl Write, memory: usize) {
    let own = vec![1u8; memory];
    // It ends with the process, whose pipes end then.
    while from.read_exact(&mut [0]).is_ok() {
        read_memory(&own);
        if to.write_all(&[0]).is_err() {
            return;
        }
    }
}

fn read_memory(own: &[u8]) {
    let mut sum = 0u8;
    for line in own.chunks(CACHE_LINE) {
        sum = sum.wrapping_add(line[0]);
    }
    black_box(sum);
}

fn cpu_ns() -> Result<u64> {
    let time = Duration::from(ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?);
    Ok(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
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
        command.args(["exchange", kind.argument(), "--cpu", &cpu.to_string()]);
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
        let (operations, cpu_ns) =
            slice.with_context(|| format!("the load said {line:?} and not two numbers"))?;
        Ok(Slice { operations, cpu_ns })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("warning: cannot end process {}: {error}", self.child.id());
        }
    }
}
