//! Connections to a display server, at whose ends the agent measures input. They have names without a file, of which
//! nothing is left when the load is killed.

use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, connect, socket};

use super::operations::{Around, exchange};

/// Of the desktop, to its applications and back.
pub(super) const MESSAGES_A_SECOND: u32 = 2_000;
/// Connections of the desktop.
pub(super) const APPLICATIONS: usize = 16;
/// An application answers each message.
const BETWEEN: Duration = Duration::from_micros(2 * 1_000_000 / MESSAGES_A_SECOND as u64);

/// As `…/.X11-unix/X0`, below a name that no other process takes.
fn name_of(display: u32) -> String {
    format!("/sessionscope-bench/{}/.X11-unix/X{display}", process::id())
}

/// What listens as a display server.
struct Display {
    address: UnixAddr,
    listener: UnixListener,
}

impl Display {
    fn listen(display: u32) -> Result<Self> {
        let name = name_of(display);
        let address = SocketAddr::from_abstract_name(&name)?;
        let listener = UnixListener::bind_addr(&address);
        Ok(Self {
            address: UnixAddr::new_abstract(name.as_bytes())?,
            listener: listener.with_context(|| format!("cannot listen as {name}"))?,
        })
    }

    /// A new connection: the application's end and the server's. The application's has the name of another display if
    /// there is one.
    fn connect(&self, named: Option<u32>) -> Result<[UnixStream; 2]> {
        let stream = SockType::Stream;
        let near = socket(AddressFamily::Unix, stream, SockFlag::SOCK_CLOEXEC, None)?;
        if let Some(display) = named {
            let name = UnixAddr::new_abstract(name_of(display).as_bytes())?;
            bind(near.as_raw_fd(), &name).context("cannot name a socket")?;
        }
        connect(near.as_raw_fd(), &self.address).context("cannot connect to a display")?;
        let (far, _) = self.listener.accept()?;
        Ok([near.into(), far])
    }
}

/// A byte to and fro. Each end is connected to one that is called as a display is, so the agent marks both, and no run of
/// a hook is at a socket that it does not measure.
pub(super) fn marked() -> Result<Around> {
    let [near, far] = Display::listen(0)?.connect(Some(1))?;
    exchange(near, far)
}

/// A display server that sends its applications a message in turn, each of which is answered.
pub(super) fn desktop() -> Result<Around> {
    let display = Display::listen(0)?;
    let mut servers = Vec::new();
    for _ in 0..APPLICATIONS {
        let [near, far] = display.connect(None)?;
        servers.push(exchange(far, near)?);
    }
    let mut due = Instant::now();
    let mut next = 0;
    Ok(Box::new(move || {
        // What is late is made up for by the next ones, and a pause is not.
        let now = Instant::now();
        due = (due + BETWEEN).max(now);
        thread::sleep(due - now);
        next = (next + 1) % APPLICATIONS;
        servers[next]()
    }))
}
