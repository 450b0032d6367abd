//! Display servers and applications in sessions: Xvnc with xterms, weston with a client.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::sys::{prctl::set_pdeathsig, signal::Signal};
use tempfile::TempDir;

use crate::{agent::SHOW_LIMIT, cgroup::Cgroup, process, rfb::Viewer, sockets::inside, wait};

/// A program of a session, killed when it is dropped.
#[derive(Debug)]
pub struct Inhabitant(Child);

impl Inhabitant {
    /// Starts it, ahead of what else the machine does.
    pub fn start(session: &Cgroup, command: &mut Command) -> Self {
        // SAFETY: one system call, which changes nothing but the child.
        #[expect(unsafe_code, reason = "what is between fork and exec is the child's")]
        unsafe {
            command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?));
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = inside(session, || command.spawn()).expect("it is installed");
        process::favour(child.id());
        Self(child)
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.0.id(), signal);
    }

    /// Lets it stand still for a time, beginning with what `input` does.
    pub fn stopped(&self, time: Duration, input: impl FnOnce()) -> Duration {
        self.signal(Signal::SIGSTOP);
        thread::sleep(Duration::from_millis(20));
        input();
        let began = Instant::now();
        thread::sleep(time);
        self.signal(Signal::SIGCONT);
        began.elapsed()
    }
}

impl Drop for Inhabitant {
    fn drop(&mut self) {
        self.signal(Signal::SIGCONT);
        self.signal(Signal::SIGTERM);
        if !process::end(&mut self.0, Duration::from_secs(5)) {
            let _gone = self.0.kill();
        }
    }
}

/// An X server that is a VNC server as well.
#[derive(Debug)]
pub struct Xvnc {
    _server: Inhabitant,
    /// Its number with a colon.
    pub display: String,
    /// Where viewers connect.
    pub address: SocketAddr,
}

impl Xvnc {
    /// Starts one, on a display that nobody has.
    pub fn start(session: &Cgroup) -> Self {
        static BEFORE: AtomicU32 = AtomicU32::new(0);
        // Of four digits, as displays are, and of no other test's: ids that are near one another are of processes that
        // run at the same time.
        let further = 4500 * BEFORE.fetch_add(1, Ordering::Relaxed);
        let number = 1000 + (std::process::id() + further) % 9000;
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        let address = port.expect("a port is free");
        let mut command = Command::new("Xtigervnc");
        command
            .arg(format!(":{number}"))
            .args(["-rfbport", &address.port().to_string()])
            .args(["-interface", "127.0.0.1", "-SecurityTypes", "None"])
            .args([
                "-geometry",
                "640x480",
                "-depth",
                "24",
                "-nolisten",
                "tcp",
                "-ac",
            ]);
        let server = Inhabitant::start(session, &mut command);
        let socket = format!("/tmp/.X11-unix/X{number}");
        wait::until("the display is there", SHOW_LIMIT, || {
            (Path::new(&socket).exists() && TcpStream::connect(address).is_ok()).then_some(())
        });
        Self {
            _server: server,
            display: format!(":{number}"),
            address,
        }
    }

    /// Starts an xterm at a place of the screen (`80x24+0+0`).
    pub fn xterm(&self, session: &Cgroup, place: &str) -> Inhabitant {
        let mut command = Command::new("xterm");
        command.args(["-display", &self.display, "-geometry", place, "-e", "cat"]);
        Inhabitant::start(session, &mut command)
    }
}

/// A compositor without a screen, and where its socket is.
pub fn weston(session: &Cgroup) -> (Inhabitant, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("it is ours");
    let mut command = Command::new("weston");
    command
        .args([
            "--backend=headless-backend.so",
            "--no-config",
            "--idle-time=0",
            "--socket=wayland-7",
        ])
        .env("XDG_RUNTIME_DIR", folder.path());
    let server = Inhabitant::start(session, &mut command);
    wait::until("weston listens", SHOW_LIMIT, || {
        folder.path().join("wayland-7").exists().then_some(())
    });
    (server, folder)
}

/// Somebody who looks at a display, when the xterm below the pointer, at the upper left, takes keys.
pub fn viewer(xvnc: &Xvnc) -> Viewer {
    let mut viewer = Viewer::connect(xvnc.address);
    // Without a window manager the keys are for the window below the pointer.
    viewer.points(10, 10);
    wait::until("the xterm takes keys", SHOW_LIMIT, || {
        viewer.settle();
        viewer.answers('a').then_some(())
    });
    viewer.settle();
    viewer
}
