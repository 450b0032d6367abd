//! Where connections come in: ports, and sockets in the file system.

use std::{
    future::poll_fn,
    io,
    net::{self, SocketAddr},
    os::unix::net as unix_net,
    task::{Context, Poll, ready},
};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::{
    address::Address,
    rights::Rights,
    unix::{self, SocketFile},
};
use crate::error::Error;

/// One of them.
#[derive(Debug)]
pub struct Inlet {
    address: Address,
    listener: Listener,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// One that is bound, and is not asked yet: it outlives the runtime that it was made in.
#[derive(Debug)]
pub struct Bound {
    address: Address,
    listener: Unasked,
}

#[derive(Debug)]
enum Unasked {
    Tcp(net::TcpListener),
    Unix(unix_net::UnixListener),
}

/// A connection, and who it is of.
#[derive(Debug)]
pub(super) enum Arrival {
    /// From an address.
    Tcp(TcpStream, SocketAddr),
    /// From a process of a user.
    Unix(UnixStream, u32),
}

/// Listens on all of the addresses. The files of sockets are there for as long as what comes with them.
pub async fn bind(
    addresses: &[Address],
    rights: &Rights,
) -> Result<(Vec<Bound>, Vec<SocketFile>), Error> {
    let (mut inlets, mut files) = (Vec::new(), Vec::new());
    for address in addresses {
        let fails = |source: io::Error| Error::listen(address, &source);
        let (address, listener) = match address {
            Address::Tcp(asked) => {
                let listener = TcpListener::bind(*asked).await.map_err(fails)?;
                // The kernel chooses a port where none was asked for.
                let own = listener.local_addr().unwrap_or(*asked);
                (
                    Address::Tcp(own),
                    Unasked::Tcp(listener.into_std().map_err(fails)?),
                )
            }
            Address::Unix(path) => {
                let (listener, file) = unix::bind(path, rights)?;
                files.push(file);
                (address.clone(), Unasked::Unix(listener))
            }
        };
        inlets.push(Bound { address, listener });
    }
    Ok((inlets, files))
}

impl Inlet {
    /// One that is asked in this runtime.
    ///
    /// # Errors
    ///
    /// When the runtime cannot wait for it.
    pub fn new(bound: Bound) -> io::Result<Self> {
        let Bound { address, listener } = bound;
        let listener = match listener {
            Unasked::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
            Unasked::Unix(listener) => Listener::Unix(UnixListener::from_std(listener)?),
        };
        Ok(Self { address, listener })
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Arrival>> {
        let arrival = match &self.listener {
            Listener::Tcp(listener) => {
                let (stream, address) = ready!(listener.poll_accept(context))?;
                Arrival::Tcp(stream, address)
            }
            Listener::Unix(listener) => {
                let (stream, _) = ready!(listener.poll_accept(context))?;
                let uid = stream.peer_cred()?.uid();
                Arrival::Unix(stream, uid)
            }
        };
        Poll::Ready(Ok(arrival))
    }
}

/// The next connection that comes anywhere. The one after `turn` is asked first, so that a crowd at one of them keeps
/// nobody from another.
pub(super) async fn accept(inlets: &[Inlet], turn: &mut usize) -> io::Result<Arrival> {
    poll_fn(|context| {
        for offset in 0..inlets.len() {
            let at = (*turn + offset) % inlets.len();
            if let Poll::Ready(arrival) = inlets[at].poll_accept(context) {
                *turn = at + 1;
                return Poll::Ready(arrival);
            }
        }
        Poll::Pending
    })
    .await
}
