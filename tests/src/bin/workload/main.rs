//! The tests' own load: joins a cgroup, does exactly what it is told, and says what it did.
//!
//! The protocol is that of `integration_tests::workload`: `ready`, then on a line from stdin the work,
//! then one line of JSON, then nothing until it is killed. Whatever it starts dies with it.

mod child;
mod held;
mod reread;
mod script;
mod storm;

use std::{
    fs::File,
    io::{self, BufRead, Read, Write},
    net::{TcpListener, TcpStream},
    os::{fd::AsFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::{Parser, Subcommand};
use lab::{cgroup, cpus};
use nix::sys::{
    prctl::set_pdeathsig,
    resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit},
    signal::Signal,
};
use serde_json::{Value, json};

#[derive(Parser)]
struct Arguments {
    /// Sleeps until it is told a first line: whoever started it moves it to its cgroup meanwhile.
    #[arg(long)]
    moved: bool,
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Two processes on one CPU hand a byte to each other.
    Pingpong {
        #[arg(long)]
        switches: u64,
        #[arg(long)]
        cpu: usize,
    },
    /// Threads on one CPU that never block.
    Spin {
        #[arg(long)]
        cpu: usize,
        #[arg(long, default_value_t = 1)]
        threads: usize,
        #[arg(long)]
        seconds: f64,
        /// Of this real-time priority: nothing ordinary takes the CPU from them.
        #[arg(long)]
        real_time: Option<u8>,
    },
    /// One thread, the only one of its process, that never blocks.
    Burn {
        #[arg(long)]
        cpu: usize,
        #[arg(long)]
        seconds: f64,
        /// It gives its CPU up all the time, and says how often it lost it and how long it waited for that.
        #[arg(long)]
        yielding: bool,
    },
    /// Wakes up some thousand times a second and takes the CPU at once, each time for a moment.
    Interrupt {
        #[arg(long)]
        cpu: usize,
        #[arg(long)]
        real_time: u8,
        #[arg(long)]
        seconds: f64,
    },
    /// Starts processes that end as they are told.
    Script(script::Script),
    /// Starts processes that do nothing, as fast as it can.
    Storm(storm::Storm),
    /// Reads a file or a disk again and again.
    Reread {
        #[arg(long)]
        path: PathBuf,
        #[arg(long)]
        seconds: f64,
    },
    /// Starts processes that sleep, and on the next line ends them.
    Sleepers {
        #[arg(long)]
        count: usize,
    },
    /// Threads that wait where no signal but a fatal one reaches them.
    Held {
        #[arg(long)]
        count: usize,
    },
    /// Holds TCP connections to itself.
    Connections {
        #[arg(long)]
        count: usize,
    },
    /// Does nothing.
    Idle,
    /// A process that another workload starts.
    #[command(subcommand, hide = true)]
    Child(child::Role),
}

fn main() {
    set_pdeathsig(Signal::SIGKILL).expect("the kernel ends us with our parent");
    let arguments = Arguments::parse();
    if let Work::Child(role) = arguments.work {
        child::run(role);
    }
    // The processes that crash must not leave a core.
    setrlimit(Resource::RLIMIT_CORE, 0, 0).expect("limits can be lowered");
    if arguments.moved {
        say("here");
        next_line();
    }
    match arguments.work {
        Work::Pingpong { switches, cpu } => pingpong(switches, cpu),
        Work::Spin {
            cpu,
            threads,
            seconds,
            real_time,
        } => {
            if let Some(priority) = real_time {
                cpus::become_real_time(priority).expect("root may");
            }
            spin(cpu, threads, Duration::from_secs_f64(seconds));
        }
        Work::Burn {
            cpu,
            seconds,
            yielding,
        } => burn(cpu, Duration::from_secs_f64(seconds), yielding),
        Work::Interrupt {
            cpu,
            real_time,
            seconds,
        } => {
            cpus::become_real_time(real_time).expect("root may");
            interrupt(cpu, Duration::from_secs_f64(seconds));
        }
        Work::Script(script) => {
            ready();
            report(&script.run());
        }
        Work::Storm(storm) => {
            ready();
            report(&storm.run());
        }
        Work::Reread { path, seconds } => {
            ready();
            report(&reread::run(&path, Duration::from_secs_f64(seconds)));
        }
        Work::Held { count } => {
            ready();
            report(&held::run(count));
        }
        Work::Sleepers { count } => sleepers(count),
        Work::Connections { count } => connections(count),
        Work::Idle => {
            ready();
            report(&Value::Null);
        }
        Work::Child(_) => unreachable!("handled above"),
    }
    stay();
}

/// Moves this process into a cgroup.
fn join(cgroup: &Path) {
    cgroup::enter(cgroup).unwrap_or_else(|error| panic!("{error:#}"));
}

/// Says that all is prepared and waits for the word.
fn ready() {
    say("ready");
    next_line();
}

fn report(report: &Value) {
    say(&report.to_string());
}

fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .expect("the test listens");
}

fn next_line() {
    let read = io::stdin().lock().read_line(&mut String::new());
    assert!(read.expect("the test speaks") > 0, "the test has gone");
}

/// Stays, blocked, until killed: the accounts of a thread go with it.
fn stay() -> ! {
    loop {
        thread::park();
    }
}

/// Starts this program as a child of its own.
fn child(role: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg("child").args(role);
    command
}

fn pin(cpu: usize) {
    cpus::pin(cpu).unwrap_or_else(|error| panic!("{error:#}"));
}

fn pingpong(switches: u64, cpu: usize) {
    pin(cpu);
    let mut pong = child(&["pong"]);
    pong.stdin(Stdio::piped()).stdout(Stdio::piped());
    #[expect(
        clippy::zombie_processes,
        reason = "both live until the test kills this one"
    )]
    let mut pong = pong.spawn().expect("the other process starts");
    let mut there = pong.stdin.take().expect("stdin is a pipe");
    let mut back = pong.stdout.take().expect("stdout is a pipe");
    let mut byte = [0];
    let mut round = || {
        there.write_all(&byte).expect("the other process reads");
        back.read_exact(&mut byte)
            .expect("the other process writes");
    };
    // One round before the measured ones: the other process has started for sure.
    round();
    ready();
    // Each process blocks once a round.
    let rounds = switches / 2;
    for _ in 0..rounds {
        round();
    }
    report(&json!({ "rounds": rounds }));
    stay();
}

/// The other side of `pingpong`.
fn pong() -> ! {
    let unbuffered = |fd: io::Result<std::os::fd::OwnedFd>| File::from(fd.expect("a descriptor"));
    let mut stdin = unbuffered(io::stdin().as_fd().try_clone_to_owned());
    let mut stdout = unbuffered(io::stdout().as_fd().try_clone_to_owned());
    let mut byte = [0];
    while stdin.read_exact(&mut byte).is_ok() && stdout.write_all(&byte).is_ok() {}
    std::process::exit(0);
}

fn spin(cpu: usize, threads: usize, duration: Duration) {
    // The second time it is for the word to go; the first time, so that every thread is there.
    let start = Arc::new(Barrier::new(threads + 1));
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..threads {
        let (start, done) = (Arc::clone(&start), Arc::clone(&done));
        thread::spawn(move || {
            pin(cpu);
            start.wait();
            start.wait();
            let began = Instant::now();
            while began.elapsed() < duration {}
            done.fetch_add(1, Ordering::Relaxed);
            stay();
        });
    }
    start.wait();
    ready();
    start.wait();
    thread::sleep(duration);
    while done.load(Ordering::Relaxed) < threads {
        thread::sleep(Duration::from_millis(10));
    }
    report(&json!({ "threads": threads }));
}

/// Yields between two readings of the thread's accounts. A reading takes longer than a yield, in an emulated machine ten
/// times as long, and a thread that is preempted while it reads has not yielded.
const YIELDS: usize = 4;

fn burn(cpu: usize, duration: Duration, yielding: bool) {
    pin(cpu);
    let accounts = File::open("/proc/thread-self/schedstat").expect("the kernel's accounts");
    ready();
    let began = Instant::now();
    let mut yielded = OwnAccounts::default();
    while began.elapsed() < duration {
        if yielding {
            let before = OwnAccounts::read(&accounts);
            for _ in 0..YIELDS {
                thread::yield_now();
            }
            yielded.add(OwnAccounts::read(&accounts).since(before));
        }
    }
    report(&json!({ "switches": yielded.involuntary, "waited_ns": yielded.waited_ns }));
}

/// What the kernel has of this thread.
#[derive(Clone, Copy, Default)]
struct OwnAccounts {
    involuntary: i64,
    waited_ns: u64,
}

impl OwnAccounts {
    fn read(schedstat: &File) -> Self {
        let mut text = [0; 64];
        let length = schedstat.read_at(&mut text, 0).expect("it can be read");
        let text = String::from_utf8_lossy(&text[..length]);
        let waited = text.split(' ').nth(1).and_then(|field| field.parse().ok());
        let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("the kernel accounts its threads");
        Self {
            involuntary: usage.involuntary_context_switches(),
            waited_ns: waited.expect("the second field is the time waited"),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            involuntary: self.involuntary - before.involuntary,
            waited_ns: self.waited_ns - before.waited_ns,
        }
    }

    fn add(&mut self, more: Self) {
        self.involuntary += more.involuntary;
        self.waited_ns += more.waited_ns;
    }
}

fn interrupt(cpu: usize, duration: Duration) {
    pin(cpu);
    ready();
    let mut times = 0_u64;
    let began = Instant::now();
    while began.elapsed() < duration {
        thread::sleep(Duration::from_micros(200));
        let woken = Instant::now();
        while woken.elapsed() < Duration::from_micros(20) {}
        times += 1;
    }
    report(&json!({ "times": times }));
}

fn sleepers(count: usize) {
    let mut sleepers: Vec<Child> = (0..count)
        .map(|_| child(&["sleep"]).spawn().expect("a process starts"))
        .collect();
    ready();
    for sleeper in &mut sleepers {
        sleeper.kill().expect("it sleeps");
        sleeper.wait().expect("it is ours");
    }
    report(&json!({ "ended": count }));
}

fn connections(count: usize) {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("limits can be read");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("up to there they can be raised");
    ready();
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let pairs: Vec<_> = (0..count)
        .map(|_| {
            let near = TcpStream::connect(address).expect("a connection");
            (near, listener.accept().expect("its other side"))
        })
        .collect();
    report(&json!({ "connections": pairs.len() }));
    stay();
}
