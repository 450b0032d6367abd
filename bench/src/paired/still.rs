//! Loads that are there and do nothing: threads that sleep, connections that nobody uses.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use lab::{cgroup, command};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

/// The options of the hidden command.
#[derive(Args)]
pub(crate) struct Options {
    kind: Kind,
    /// How many.
    count: usize,
    /// The cgroup to move into; where it is, otherwise.
    #[arg(long)]
    cgroup: Option<PathBuf>,
    /// Where to connect to.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

/// What is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Threads that sleep.
    Threads,
    /// A listener, and its ends of connections.
    Server,
    /// The other ends.
    Clients,
}

/// A sleeping thread needs next to none.
const STACK: usize = 16 << 10;
/// What it says once all is there, before the port.
const READY: &str = "ready";

/// Runs the hidden command; it ends with who started it.
pub(crate) fn run(options: &Options) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot ask to end with the benchmark")?;
    if let Some(path) = &options.cgroup {
        cgroup::enter(path)?;
    }
    match options.kind {
        Kind::Threads => {
            for _ in 1..options.count {
                let sleeper = thread::Builder::new().stack_size(STACK);
                sleeper
                    .spawn(sleep)
                    .context("cannot start one more thread: is kernel.threads-max lower?")?;
            }
            println!("{READY} 0");
            sleep();
        }
        Kind::Server => {
            allow_files(options.count)?;
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen")?;
            println!("{READY} {}", listener.local_addr()?.port());
            let accepted = listener.incoming().take(options.count);
            let _held: Vec<TcpStream> = accepted.collect::<Result<_, _>>()?;
            sleep();
        }
        Kind::Clients => {
            allow_files(options.count)?;
            let mut held = Vec::new();
            // There are 28,232 ports to connect from, to each port.
            for number in 0..options.count {
                let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, options.port);
                let socket = TcpStream::connect(to);
                held.push(socket.with_context(|| format!("connection {number} to {to}"))?);
            }
            println!("{READY} 0");
            sleep();
        }
    }
    Ok(())
}

fn sleep() {
    loop {
        thread::park();
    }
}

/// Lets this process have so many files open.
fn allow_files(count: usize) -> Result<()> {
    let wanted = count as u64 + 64;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, wanted, most)
        .with_context(|| format!("cannot have {wanted} files open, where the hard limit is {most}"))
}

/// The process with the load; dropping it ends it.
pub(crate) struct Still {
    child: Child,
    /// Where it listens, if it does.
    pub(crate) port: u16,
}

impl Still {
    /// Starts it and waits until all is there; a server says so before its clients have come.
    pub(crate) fn start(
        kind: Kind,
        count: usize,
        cgroup: Option<&Path>,
        port: u16,
    ) -> Result<Self> {
        let word = match kind {
            Kind::Threads => "threads",
            Kind::Server => "server",
            Kind::Clients => "clients",
        };
        let mut command = Command::new("/proc/self/exe");
        command.args([
            "still",
            word,
            &count.to_string(),
            "--port",
            &port.to_string(),
        ]);
        if let Some(cgroup) = cgroup {
            command.arg("--cgroup").arg(cgroup);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0);
        let child = command
            .spawn()
            .with_context(|| command::cannot_start(&command))?;
        let mut still = Self { child, port: 0 };
        let mut line = String::new();
        let stdout = still
            .child
            .stdout
            .take()
            .context("the load has no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let (word, port) = line.trim().split_once(' ').unwrap_or_default();
        ensure!(
            word == READY,
            "the load of {count} {kind:?} ended before all were there"
        );
        still.port = port.parse().context("the load said no port")?;
        Ok(still)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("warning: cannot end process {}: {error}", self.child.id());
        }
    }
}
