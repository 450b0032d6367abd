//! Asks an agent by its socket in the file system.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    net::{
        self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType,
        sockopt::{Timeout, set_socket_timeout},
    },
    process::geteuid,
};
use tokio::runtime;
use ureq::{
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{
            Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, RustlsConnector,
            Transport,
        },
    },
};

/// One that asks by the socket at a path, whatever the host of a request is. `only_of_root`: not where another user
/// listens than root or the own one, because a token is shown.
pub(super) fn agent(
    config: Config,
    path: &Path,
    only_of_root: bool,
    limit: Duration,
) -> ureq::Agent {
    let dial = Dial {
        path: path.to_owned(),
        only_of_root,
        limit,
    };
    ureq::Agent::with_parts(config, dial.chain(RustlsConnector::default()), Nowhere)
}

/// Opens connections to a socket.
#[derive(Debug)]
struct Dial {
    path: PathBuf,
    only_of_root: bool,
    limit: Duration,
}

impl Dial {
    fn open(&self) -> io::Result<UnixStream> {
        let flags = SocketFlags::CLOEXEC;
        let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // Also how long it waits for its turn to be accepted (unix(7)).
        set_socket_timeout(&socket, Timeout::Send, Some(self.limit))?;
        net::connect(&socket, &SocketAddrUnix::new(self.path.as_path())?)?;
        let stream = UnixStream::from(socket);
        if self.only_of_root {
            let uid = listener(&stream)?;
            if uid != 0 && uid != geteuid().as_raw() {
                return Err(io::Error::other(format!(
                    "no token is shown where the user {uid} listens and not the agent"
                )));
            }
        }
        Ok(stream)
    }
}

/// The user who listens at the other end. Asked by tokio's types: std has no stable way, and rustix takes no process of
/// another pid namespace, whose number is 0 here.
fn listener(stream: &UnixStream) -> io::Result<u32> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    stream.set_nonblocking(true)?;
    let same = tokio::net::UnixStream::from_std(stream.try_clone()?)?;
    let uid = same.peer_cred()?.uid();
    stream.set_nonblocking(false)?;
    Ok(uid)
}

impl Connector for Dial {
    type Out = Connection;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<Connection>, ureq::Error> {
        let stream = self.open().map_err(ureq::Error::Io)?;
        let config = details.config;
        let (input, output) = (config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Connection {
            stream,
            buffers: LazyBuffers::new(input, output),
        }))
    }
}

/// A connection with its buffers.
#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let timeout = timeout.for_write();
        let limit = left(timeout)?;
        let output = &self.buffers.output()[..amount];
        let written = self
            .stream
            .set_write_timeout(limit)
            .and_then(|()| self.stream.write_all(output));
        written.map_err(|error| failure(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let timeout = timeout.for_read();
        let limit = left(timeout)?;
        let input = self.buffers.input_append_buf();
        let read = self
            .stream
            .set_read_timeout(limit)
            .and_then(|()| self.stream.read(input));
        let amount = read.map_err(|error| failure(error, timeout))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// Each request has a connection of its own.
    fn is_open(&mut self) -> bool {
        false
    }
}

fn left(timeout: NextTimeout) -> Result<Option<Duration>, ureq::Error> {
    if timeout.after.is_zero() {
        return Err(ureq::Error::Timeout(timeout.reason));
    }
    Ok(timeout.not_zero().map(|left| *left))
}

fn failure(error: io::Error, timeout: NextTimeout) -> ureq::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ureq::Error::Timeout(timeout.reason),
        _ => ureq::Error::Io(error),
    }
}

/// Looks up no name: the socket is where the request goes. An address is wanted all the same.
#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, thread};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn config() -> Config {
        let builder = ureq::Agent::config_builder().timeout_global(Some(LIMIT));
        builder.proxy(None).build()
    }

    #[test]
    fn a_request_goes_to_the_socket_whatever_its_host() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhere";
            stream.write_all(answer).unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        // Who runs this test listens there, as root or not.
        let agent = agent(config(), &path, true, LIMIT);
        let mut answer = agent.get("http://localhost/x").call().unwrap();
        assert_eq!(answer.body_mut().read_to_string().unwrap(), "here");
        let request = served.join().unwrap();
        assert!(request.starts_with("GET /x HTTP/1.1\r\n"), "{request}");
    }

    #[test]
    fn a_socket_that_nobody_listens_on_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        let agent = agent(config(), &path, false, LIMIT);
        let error = agent.get("http://localhost/").call().unwrap_err();
        assert!(error.to_string().contains("refused"), "{error}");
    }
}
