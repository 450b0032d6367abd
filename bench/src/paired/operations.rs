//! What loads do, and nothing else: each kind of operation, done once around.

use std::env;
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::{Read, Write, pipe};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

use super::displays;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Two threads send each other a byte: everything that a switch needs is in the nearest cache.
    Pair,
    /// A byte goes around among many threads, each of which reads memory of its own when it has it: what the kernel
    /// and its programs know of a thread has left the near caches when it is switched again.
    Ring,
    /// As the pair, through unix sockets.
    Messages,
    /// The same through a connection to a display, at whose ends the agent measures input.
    DisplayMessages,
    /// A display server with many applications, at the rhythm of a busy desktop.
    Desktop,
    /// One TCP connection that carries as much as it can.
    Stream,
    /// The same with many connections in turn.
    Streams,
    /// TCP connections that are opened, carry a byte each way and are closed.
    Connections,
    /// Reads of a drive, one after the other, past the page cache.
    Reads,
    /// Writes in the same way.
    Writes,
    /// Threads that end at once.
    Threads,
    /// Processes that end at once.
    Processes,
    /// Processes that fail at once.
    Failures,
}

/// What a kind is.
struct Description {
    /// As tables name it.
    label: &'static str,
    /// What is done once.
    operation: &'static str,
    /// Operations each time around.
    members: usize,
    /// Whether it waits for a drive, which takes no CPU time.
    waits: bool,
}

impl Kind {
    fn description(self) -> Description {
        let of = |label, operation| Description {
            label,
            operation,
            members: 1,
            waits: false,
        };
        match self {
            Self::Pair => Description {
                members: 2,
                ..of("hot: two threads on one CPU that wake each other", "switch")
            },
            Self::Ring => Description {
                members: 64,
                ..of(
                    "cold: a ring of 64 threads on one CPU, each of which reads 64 KiB",
                    "switch",
                )
            },
            Self::Messages => Description {
                members: 2,
                ..of("a byte to and fro on a unix socket", "message")
            },
            Self::DisplayMessages => Description {
                members: 2,
                ..of(
                    "a byte to and fro on a connection to a display, both ends of which are measured",
                    "message",
                )
            },
            Self::Desktop => Description {
                members: 2,
                ..of("a desktop of 2,000 display messages a second", "message")
            },
            Self::Stream => of("a TCP connection over loopback", "64 KiB"),
            Self::Streams => of("64 TCP connections over loopback, in turn", "64 KiB"),
            Self::Connections => of(
                "TCP connections over loopback with a byte each way",
                "connection",
            ),
            Self::Reads => Description {
                waits: true,
                ..of("4 KiB of a drive at a time, read", "read")
            },
            Self::Writes => Description {
                waits: true,
                ..of("4 KiB of a drive at a time, written", "write")
            },
            Self::Threads => of("threads that end at once", "thread"),
            Self::Processes => of("processes of `/bin/true`", "process"),
            Self::Failures => of("processes of `/bin/false`", "process"),
        }
    }

    /// As tables name it.
    pub(crate) fn label(self) -> &'static str {
        self.description().label
    }

    /// What is done once.
    pub(crate) fn operation(self) -> &'static str {
        self.description().operation
    }

    /// Operations each time around.
    pub(super) fn members(self) -> usize {
        self.description().members
    }

    /// Whether it waits for a drive, so that its time is the clock's and not that of a CPU.
    pub(crate) fn waits(self) -> bool {
        self.description().waits
    }

    /// Sockets at which the agent measures input, if it is in a session.
    pub(super) fn measured_sockets(self) -> usize {
        match self {
            Self::DisplayMessages => 2,
            Self::Desktop => displays::APPLICATIONS,
            _ => 0,
        }
    }

    /// As an argument.
    pub(super) fn argument(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    /// What is done once around.
    pub(super) fn around(self) -> Result<Around> {
        match self {
            Self::Pair => ring(self.members(), 0),
            Self::Ring => ring(self.members(), MEMORY),
            Self::Messages => messages(),
            Self::DisplayMessages => displays::marked(),
            Self::Desktop => displays::desktop(),
            Self::Stream => streams(1),
            Self::Streams => streams(STREAMS),
            Self::Connections => connections(),
            Self::Reads => reads(),
            Self::Writes => writes(),
            Self::Threads => Ok(Box::new(|| {
                let thread = thread::Builder::new().spawn(|| ());
                let ended = thread.context("cannot start a thread")?.join();
                ensure!(ended.is_ok(), "a thread failed that does nothing");
                Ok(())
            })),
            Self::Processes => Ok(Box::new(|| process("/bin/true", true))),
            Self::Failures => Ok(Box::new(|| process("/bin/false", false))),
        }
    }
}

/// What is done once around.
pub(super) type Around = Box<dyn FnMut() -> Result<()>>;

/// Bytes that a member of the ring reads before it passes the byte on.
const MEMORY: usize = 64 << 10;
const CACHE_LINE: usize = 64;
const BLOCK: usize = 4096;
/// Of the file that is written.
const BLOCKS: u64 = 16_384;
const STREAMS: usize = 64;
const MESSAGE: usize = 64 << 10;

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
    let (near, far) = UnixStream::pair().context("cannot make a pair of sockets")?;
    exchange(near, far)
}

/// A byte from the first to the other, where a thread sends it back.
pub(super) fn exchange(mut near: UnixStream, far: UnixStream) -> Result<Around> {
    let answers = far.try_clone().context("cannot have a socket twice")?;
    thread::spawn(move || pass_on(far, answers, 0));
    Ok(Box::new(move || {
        near.write_all(&[0])?;
        Ok(near.read_exact(&mut [0])?)
    }))
}

fn listener() -> Result<(TcpListener, u16)> {
    let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    let listener = TcpListener::bind(any).context("cannot listen on a port")?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// Messages that may be on their way: so few that what a slice sends is received in the slice.
const ON_THE_WAY: u64 = 4;

fn streams(count: usize) -> Result<Around> {
    let (listener, port) = listener()?;
    let (mut senders, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let sender = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        senders.push(sender.context("cannot connect over loopback")?);
        let (mut receiver, _) = listener.accept()?;
        let (has_received, received) = sync_channel(ON_THE_WAY as usize);
        answers.push(received);
        thread::spawn(move || {
            let mut message = vec![0u8; MESSAGE];
            while receiver.read_exact(&mut message).is_ok() && has_received.send(()).is_ok() {}
        });
    }
    let message = vec![0u8; MESSAGE];
    let mut number = 0;
    Ok(Box::new(move || {
        let next = (number % senders.len() as u64) as usize;
        if number / senders.len() as u64 >= ON_THE_WAY {
            answers[next].recv().context("a receiver has ended")?;
        }
        number += 1;
        Ok(senders[next].write_all(&message)?)
    }))
}

/// Connections to one address: a closed one keeps its pair of ports for a minute, and there are 28,000 to choose from.
const OF_AN_ADDRESS: u32 = 8_192;

fn connections() -> Result<Around> {
    let (listener, port) = listener()?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answered = stream.and_then(|mut stream| {
                let mut byte = [0];
                stream.read_exact(&mut byte)?;
                stream.write_all(&byte)
            });
            if answered.is_err() {
                return;
            }
        }
    });
    let first = u32::from(Ipv4Addr::LOCALHOST);
    let mut number = 0;
    Ok(Box::new(move || {
        // All of 127.0.0.0/8 is this machine's.
        let address = Ipv4Addr::from(first + number / OF_AN_ADDRESS);
        number += 1;
        let mut stream = TcpStream::connect(SocketAddr::from((address, port)))
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.write_all(&[0])?;
        // To its end, so that it is always the server that closes first and waits a minute with the pair of ports.
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer)?;
        ensure!(read == 1, "{read} bytes came back and not one");
        Ok(())
    }))
}

/// Direct input and output want memory that begins at a block.
fn block() -> &'static mut [u8] {
    let memory = vec![0u8; 2 * BLOCK].leak();
    let begin = memory.as_ptr().align_offset(BLOCK);
    &mut memory[begin..begin + BLOCK]
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
    let block = block();
    let mut next = 0;
    Ok(Box::new(move || {
        next = (next + 7) % blocks;
        Ok(file.read_exact_at(block, next * BLOCK as u64)?)
    }))
}

/// Writes a file without a name, beside this program's own, past the page cache.
fn writes() -> Result<Around> {
    let path = env::current_exe().context("cannot find this program's own file")?;
    let folder = path.parent().context("this program is in no folder")?;
    let nameless = tempfile::tempfile_in(folder)
        .with_context(|| format!("cannot make a file in {}", folder.display()))?;
    let zeros = vec![0u8; BLOCK];
    for number in 0..BLOCKS {
        nameless.write_all_at(&zeros, number * BLOCK as u64)?;
    }
    nameless.sync_all()?;
    let file = directly(&nameless)?;
    let block = block();
    let mut next = 0;
    Ok(Box::new(move || {
        next = (next + 7) % BLOCKS;
        Ok(file.write_all_at(block, next * BLOCK as u64)?)
    }))
}

fn directly(file: &File) -> Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    OpenOptions::new()
        .write(true)
        .custom_flags(OFlag::O_DIRECT.bits())
        .open(&path)
        .context("cannot write a file of the target folder directly")
}

fn process(program: &str, succeeds: bool) -> Result<()> {
    let status = Command::new(program).status();
    let status = status.with_context(|| format!("cannot start {program}"))?;
    ensure!(
        status.success() == succeeds,
        "{program} ended with {status}"
    );
    Ok(())
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

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::Kind;

    #[test]
    fn every_kind_is_done() {
        // Not each file system that tests are run on can be written past its cache.
        for kind in Kind::value_variants().iter().filter(|kind| !kind.waits()) {
            let mut around = kind.around().unwrap();
            for _ in 0..300 {
                around().unwrap_or_else(|error| panic!("{kind:?}: {error:#}"));
            }
        }
    }
}
