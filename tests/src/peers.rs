//! Clients at addresses of their own, as other machines have them: to the agent each address of loopback is a peer.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    os::fd::AsRawFd,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};

use crate::http::{self, Response};

/// An address of loopback, `127.0.0.<last>`.
pub fn loopback(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

/// A connection from an address of this machine.
pub fn connect_from(own: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let SocketAddr::V4(to) = to else {
        return Err(io::Error::other("agents of tests listen on IPv4"));
    };
    let stream = SockType::Stream;
    let socket = socket(AddressFamily::Inet, stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(
        socket.as_raw_fd(),
        &SockaddrIn::from(SocketAddrV4::new(own, 0)),
    )?;
    connect(socket.as_raw_fd(), &SockaddrIn::from(to))?;
    Ok(socket.into())
}

/// Requests a path from an address of this machine.
pub fn get_from(
    own: Ipv4Addr,
    to: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> io::Result<Response> {
    http::ask(connect_from(own, to)?, &to.to_string(), path, headers)
}
