//! A load of `bench net`: short TCP connections, one after the other, which is what costs an observer
//! of connections most.
//!
//! Both ends are the hidden command `connections`. The server prints where it listens, the client
//! how long it took. Each run has a loopback address of its own, because a closed connection keeps its
//! pair of ports for a minute.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write, stdout};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};

use super::inside::{self, Place, Printing};
use super::load::{Description, Load, Run, Unit};

/// Connections of a run; half a second, and fewer than there are ports.
const CONNECTIONS: u64 = 10_000;
/// Runs take turns with so many loopback addresses.
const ADDRESSES: u8 = 250;

/// The options of the hidden command.
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    end: End,
}

#[derive(Subcommand)]
enum End {
    /// Accept connections at this address and any port.
    Serve { address: String },
    /// Make so many connections.
    Make { server: SocketAddr, count: u64 },
}

/// Runs the hidden command.
pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.end {
        End::Serve { address } => serve(address),
        End::Make { server, count } => make(*server, *count),
    }
}

fn serve(address: &str) -> Result<()> {
    let listener =
        TcpListener::bind((address, 0)).with_context(|| format!("cannot listen at {address}"))?;
    println!(
        "{}",
        listener
            .local_addr()
            .context("cannot read the own address")?
    );
    stdout().flush().context("cannot say the own address")?;
    loop {
        let (mut stream, _) = listener.accept().context("cannot accept a connection")?;
        let mut byte = [0];
        // One byte each way, then the client closes first.
        while let Ok(1) = stream.read(&mut byte) {
            stream.write_all(&byte).context("cannot answer")?;
        }
    }
}

fn make(server: SocketAddr, count: u64) -> Result<()> {
    let begin = Instant::now();
    for _ in 0..count {
        let mut stream =
            TcpStream::connect(server).with_context(|| format!("cannot connect to {server}"))?;
        let mut byte = [1];
        stream.write_all(&byte).context("cannot ask")?;
        match stream.read_exact(&mut byte) {
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => {
                return Err(error).context("there is no answer");
            }
            _ => {}
        }
    }
    println!("{}", begin.elapsed().as_secs_f64());
    Ok(())
}

/// The load.
pub(super) struct Connections {
    server: (PathBuf, usize),
    client: (PathBuf, usize),
    run: AtomicU8,
}

impl Connections {
    /// Between a server and a client, each in a cgroup and on a CPU.
    pub(super) fn new(server: (PathBuf, usize), client: (PathBuf, usize)) -> Self {
        Self {
            server,
            client,
            run: AtomicU8::new(0),
        }
    }
}

impl Load for Connections {
    fn description(&self) -> Description {
        Description {
            label: "short TCP connections over loopback".into(),
            operation: "connection".into(),
            unit: Unit::OperationsPerSecond,
            promise: None,
        }
    }

    fn runs(&self) -> usize {
        2
    }

    fn run(&self, interrupted: &Receiver<()>) -> Result<Run> {
        let number = self.run.fetch_add(1, Ordering::Relaxed) % ADDRESSES;
        let address = format!("127.0.1.{}", number + 1);
        // This program, in a process that `inside` has made.
        let this = PathBuf::from("/proc/self/exe");
        let place = Place::new(&self.server.0, self.server.1);
        let arguments = ["connections", "serve", &address];
        let mut server = inside::start(place, &this, &arguments, Stdio::piped(), Stdio::inherit())?;
        let mut listening = String::new();
        let output = server.0.stdout.take().context("the server has no output")?;
        BufReader::new(output)
            .read_line(&mut listening)
            .context("cannot read where the server listens")?;
        ensure!(!listening.is_empty(), "the server of connections has ended");

        let count = CONNECTIONS.to_string();
        let place = Place::new(&self.client.0, self.client.1);
        let arguments = ["connections", "make", listening.trim(), &count];
        let output = Printing::start(place, &this, &arguments)?.finish(interrupted)?;
        let seconds = output.trim().parse();
        Ok(Run {
            operations: CONNECTIONS,
            seconds: seconds.with_context(|| format!("the client printed no time but {output}"))?,
        })
    }

    fn counted(&self) -> Option<(&'static str, f64)> {
        // Both ends are sessions, so each connection is opened twice.
        Some(("vdi_session_tcp_connections_opened_total", 2.0))
    }
}
