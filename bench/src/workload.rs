//! What the demo and the benchmarks run inside their cgroups: small sessions with known behaviour.
//!
//! They are part of this program because the demo must look the same everywhere, and no load
//! generator is installed everywhere. Each ends with the process that started it, so that even a
//! killed demo leaves no spinning threads behind.

use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, process, thread};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use lab::programs::repository;
use lab::{cgroup, cpus};
use nix::sys::prctl;
use nix::sys::signal::Signal;

/// The options of the hidden command `workload`.
#[derive(Args)]
pub(crate) struct Options {
    kind: Kind,
    /// The cgroup to move into before doing anything.
    #[arg(long)]
    cgroup: PathBuf,
    /// The CPU that the hog and the desktop compete for.
    #[arg(long, default_value_t = 0)]
    cpu: usize,
    /// The port that the client connects to.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

/// What a workload does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Two threads that never sleep.
    CpuHog,
    /// A thread that wakes often, works shortly and suffers from waiting.
    Latency,
    /// Processes that end well, badly and by a signal, again and again.
    CrashLoop,
    /// A process that serves its clients, and one that is all of them and says something to each a few
    /// times a second, as a session that somebody looks at.
    Serve,
    /// The clients that the server has started.
    Client,
    /// Nothing, until the crash loop that started it ends.
    Sleep,
}

impl Kind {
    /// The word that selects it on the command line.
    pub(crate) fn argument(self) -> &'static str {
        match self {
            Self::CpuHog => "cpu-hog",
            Self::Latency => "latency",
            Self::CrashLoop => "crash-loop",
            Self::Serve => "serve",
            Self::Client => "client",
            Self::Sleep => "sleep",
        }
    }
}

/// Two, so that the hog also waits for itself and the demo shows that as such.
const HOG_THREADS: usize = 2;
/// A desktop under somebody's hands: woken by input and frames, busy for a fraction of that.
const DESKTOP_SLEEP: Duration = Duration::from_millis(2);
const DESKTOP_WORK: Duration = Duration::from_micros(100);
/// The connections of a served session, and how often something is said on each.
pub(crate) const CLIENTS: usize = 4;
const CLIENT_SLEEP: Duration = Duration::from_millis(200);
const CRASH_PAUSE: Duration = Duration::from_millis(100);
/// One in so many rounds of the crash loop also has a process killed by a signal.
const CRASH_SIGNAL_EVERY: u64 = 10;
/// Processes that stay, so that the session has a population as well as a turnover.
const CRASH_SLEEPERS: usize = 3;

/// Runs the hidden command `workload`; it ends only by a signal.
pub(crate) fn run(options: &Options) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot ask to end with the demo")?;
    cgroup::enter(&options.cgroup)?;
    match options.kind {
        Kind::CpuHog => hog(options.cpu),
        Kind::Latency => desktop(options.cpu),
        Kind::CrashLoop => crash_loop(&options.cgroup),
        Kind::Serve => serve(&options.cgroup),
        Kind::Client => talk(options.port),
        Kind::Sleep => loop {
            thread::park();
        },
    }
}

/// Starts a workload as a process of its own.
pub(crate) fn start(kind: Kind, cgroup: &Path, cpu: usize) -> Result<Child> {
    start_with(kind, cgroup, "--cpu", cpu)
}

fn start_with(kind: Kind, cgroup: &Path, option: &str, value: usize) -> Result<Child> {
    // This program, also when cargo has meanwhile put a new one in its place.
    Command::new("/proc/self/exe")
        .args([
            "workload",
            kind.argument(),
            option,
            &value.to_string(),
            "--cgroup",
        ])
        .arg(cgroup)
        .stdin(Stdio::null())
        // Ctrl-C reaches the whole foreground group, and it is the demo that ends its workloads.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start the workload {}", kind.argument()))
}

fn hog(cpu: usize) -> Result<()> {
    // The threads inherit the affinity.
    cpus::pin(cpu)?;
    for _ in 1..HOG_THREADS {
        thread::spawn(spin);
    }
    spin()
}

/// Arithmetic, not a pause instruction: that one makes hypervisors take the CPU away.
fn spin() -> ! {
    let mut number = 1_u64;
    loop {
        number = black_box(
            number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1),
        );
    }
}

fn desktop(cpu: usize) -> Result<()> {
    cpus::pin(cpu)?;
    loop {
        thread::sleep(DESKTOP_SLEEP);
        let begin = Instant::now();
        while begin.elapsed() < DESKTOP_WORK {
            black_box(begin);
        }
    }
}

fn serve(cgroup: &Path) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen on 127.0.0.1")?;
    let port = listener
        .local_addr()
        .context("cannot read the own address")?
        .port();
    let display = UnixListener::bind_addr(&display_of(port)?).context("cannot open a display")?;
    thread::spawn(move || {
        for stream in display.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    write_something()?;
    let _client = start_with(Kind::Client, cgroup, "--port", port.into())?;
    loop {
        let (stream, _) = listener.accept().context("cannot accept a client")?;
        thread::spawn(move || answer(stream));
    }
}

/// What the server with that port listens on as a display: a name without a file, of which nothing is left.
fn display_of(port: u16) -> Result<SocketAddr> {
    let name = format!("/sessionscope-bench/{port}/.X11-unix/X0");
    SocketAddr::from_abstract_name(name).context("cannot name a display")
}

/// As much as a drive notices, in a file that is gone at once.
fn write_something() -> Result<()> {
    let path = repository().join(format!("target/serve-{}.tmp", process::id()));
    let cannot = || format!("cannot write {}", path.display());
    let mut file = File::create_new(&path).with_context(cannot)?;
    fs::remove_file(&path).with_context(cannot)?;
    file.write_all(&[7; 4096]).with_context(cannot)?;
    file.sync_all().with_context(cannot)
}

/// Says back whatever it is told, until the client is gone.
fn answer(mut stream: impl Read + Write) {
    let mut buffer = [0; 64];
    while let Ok(length) = stream.read(&mut buffer) {
        if length == 0 || stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

fn talk(port: u16) -> Result<()> {
    let connect = |_| TcpStream::connect(("127.0.0.1", port));
    let clients = (0..CLIENTS).map(connect).collect::<Result<Vec<_>, _>>();
    let mut clients = clients.context("cannot connect to the server of the session")?;
    let display = UnixStream::connect_addr(&display_of(port)?);
    let mut display = display.context("cannot connect to the display of the session")?;
    let datagrams = UdpSocket::bind(("127.0.0.1", 0)).context("cannot bind on 127.0.0.1")?;
    let itself = datagrams
        .local_addr()
        .context("cannot read the own address")?;
    let mut buffer = [7; 64];
    loop {
        for client in &mut clients {
            ask(client, &mut buffer)?;
        }
        ask(&mut display, &mut buffer)?;
        datagrams
            .send_to(&buffer, itself)
            .context("cannot send a datagram")?;
        datagrams
            .recv(&mut buffer)
            .context("a datagram does not arrive")?;
        thread::sleep(CLIENT_SLEEP);
    }
}

fn ask(stream: &mut (impl Read + Write), buffer: &mut [u8]) -> Result<()> {
    stream.write_all(buffer).context("cannot ask")?;
    stream.read_exact(buffer).context("there is no answer")
}

fn crash_loop(cgroup: &Path) -> Result<()> {
    let _sleepers = (0..CRASH_SLEEPERS)
        .map(|_| start(Kind::Sleep, cgroup, 0))
        .collect::<Result<Vec<_>>>()?;
    for round in 1_u64.. {
        spawn("true", &[])?.wait()?;
        spawn("false", &[])?.wait()?;
        if round.is_multiple_of(CRASH_SIGNAL_EVERY) {
            // Without a core file: the demo must leave nothing on disk.
            spawn("sh", &["-c", "ulimit -c 0; kill -SEGV $$"])?.wait()?;
        }
        thread::sleep(CRASH_PAUSE);
    }
    bail!("the crash loop has counted to the end")
}

fn spawn(program: &str, arguments: &[&str]) -> Result<Child> {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start `{program}`"))
}
