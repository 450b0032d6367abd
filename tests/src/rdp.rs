//! RDP: xrdp before a display server, a client of it, and a wire between the two that notes when bytes pass.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use lab::command::find_program;
use tempfile::TempDir;

use crate::{
    agent::SHOW_LIMIT,
    cgroup::Cgroup,
    displays::{Inhabitant, Xvnc},
    wait,
};

/// `FreeRDP`'s client as Debian 12 and Debian 13 call it.
const CLIENTS: [&str; 2] = ["xfreerdp", "xfreerdp3"];

/// The client that is installed.
pub fn client_program() -> Option<&'static str> {
    CLIENTS
        .into_iter()
        .find(|name| find_program(name).is_some())
}

fn free_port() -> SocketAddr {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    port.expect("a port is free")
}

/// An RDP server that shows the screen of an Xvnc.
#[derive(Debug)]
pub struct Xrdp {
    _server: Inhabitant,
    _folder: TempDir,
    /// Where clients connect.
    pub address: SocketAddr,
}

impl Xrdp {
    /// Starts one that asks nobody for a password.
    pub fn start(session: &Cgroup, screen: &Xvnc) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = free_port();
        let file = folder.path().join("xrdp.ini");
        // One process for all clients, so that nothing is left of it.
        let text = format!(
            "[Globals]\nini_version=1\nfork=false\nport=tcp://{address}\ntcp_nodelay=true\n\
             security_layer=tls\ncrypt_level=high\ncertificate=/etc/xrdp/cert.pem\n\
             key_file=/etc/xrdp/key.pem\nssl_protocols=TLSv1.2, TLSv1.3\nautorun=screen\n\
             allow_channels=true\nmax_bpp=32\nuse_fastpath=both\n\
             [Logging]\nLogFile={}\nLogLevel=INFO\nEnableSyslog=false\n\
             [screen]\nname=screen\nlib=libvnc.so\nusername=na\npassword=\nip={}\nport={}\n",
            folder.path().join("log").display(),
            screen.address.ip(),
            screen.address.port(),
        );
        fs::write(&file, text).expect("a file can be written");
        let mut command = Command::new("xrdp");
        command.arg("--nodaemon").arg("-c").arg(&file);
        let server = Inhabitant::start(session, &mut command);
        wait::until("xrdp listens", SHOW_LIMIT, || {
            TcpStream::connect(address).ok()
        });
        Self {
            _server: server,
            _folder: folder,
            address,
        }
    }
}

/// Starts a client of RDP on a display.
pub fn client(place: &Cgroup, display: &str, server: SocketAddr, home: &TempDir) -> Inhabitant {
    let program = client_program().expect("it was looked for");
    let mut command = Command::new(program);
    command
        .env("DISPLAY", display)
        .env("HOME", home.path())
        .args([&format!("/v:{server}"), "/u:na", "/p:none"])
        .args(["/cert:ignore", "/sec:tls", "/size:640x480"]);
    Inhabitant::start(place, &mut command)
}

/// Which way bytes passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toward {
    /// From the client.
    Server,
    /// From the server.
    Client,
}

type Passes = Arc<Mutex<Vec<(Instant, Toward)>>>;

/// A wire for one connection.
#[derive(Debug)]
pub struct Wire {
    passes: Passes,
    /// Where the client connects.
    pub address: SocketAddr,
}

impl Wire {
    /// One whose other end is there.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let passes = Passes::default();
        let noted = Arc::clone(&passes);
        thread::spawn(move || {
            let (near, _) = listener.accept().expect("a client connects");
            let far = TcpStream::connect(server).expect("the server listens");
            for end in [&near, &far] {
                end.set_nodelay(true).expect("an option of TCP");
            }
            let ends = (near.try_clone(), far.try_clone());
            let (near_too, far_too) = (ends.0.expect("a socket"), ends.1.expect("a socket"));
            let noted_too = Arc::clone(&noted);
            thread::spawn(move || pass(near_too, far_too, Toward::Server, &noted_too));
            pass(far, near, Toward::Client, &noted);
        });
        Self { passes, address }
    }

    /// What has passed.
    pub fn passes(&self) -> Vec<(Instant, Toward)> {
        let passes = self.passes.lock();
        passes.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until nothing has passed for so long.
    pub fn rests(&self, time: Duration) {
        wait::until("the wire rests", SHOW_LIMIT, || {
            let last = self.passes().last().map(|(when, _)| *when);
            last.is_none_or(|when| when.elapsed() >= time).then_some(())
        });
    }
}

/// Passes on what comes until an end is closed. What is noted is when it was read.
fn pass(mut from: TcpStream, mut to: TcpStream, toward: Toward, noted: &Passes) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let now = Instant::now();
        noted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((now, toward));
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // The other end may be gone already.
    let _closed = to.shutdown(Shutdown::Both);
}
