//! systemd's own logind, on a bus of the test's own and apart from this machine's logins.
//!
//! `systemd-logind` needs a bus, a systemd that starts units, and `/run/systemd`. The bus is a `dbus-daemon`
//! with a socket in a temporary folder ([`bus`]); for systemd stands [`systemd`], which says of each unit
//! that it has started; and logind runs in a mount namespace of its own, where `/run` is a folder of the test
//! and `/etc/passwd` knows [`USER`]. So it sees none of this machine's sessions, seats and buttons, this
//! machine sees none of its, and a logind that is started again finds what the one before it has left.
//!
//! What a display manager or `pam_systemd` does, [`Logind::login`] does: it asks for a session, with a process
//! that leads it, and holds the pipe that is the session's life. In logind's name for the unit of that process,
//! [`Login::scope`], no cgroup is made: where a test needs one it makes it, of that name, and puts the leader
//! into it.

pub mod bus;
pub mod systemd;

use std::{
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::signal::Signal,
};
use tokio::task::JoinHandle;
use zbus::{Connection, DynamicType, Message, OwnedObjectPath, Variant};

use self::{bus::Bus, systemd::Systemd};
use crate::{process, wait};

/// The user who logs in.
pub const USER: &str = "ada";
/// The user's number: of a person (systemd has ranges of its own from 60,001 on), and hardly another's.
pub const UID: u32 = 54_321;

const NAME: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const SESSION: &str = "org.freedesktop.login1.Session";

const START_LIMIT: Duration = Duration::from_secs(10);
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// No terminals to reserve, and nothing of the user's to kill or to remove.
const SETTINGS: &str = "[Login]\n\
    NAutoVTs=0\n\
    ReserveVT=0\n\
    KillUserProcesses=no\n\
    RemoveIPC=no\n\
    UserStopDelaySec=0\n";

/// Where Debian and others have it.
pub fn program() -> Option<PathBuf> {
    let folders = ["/usr/lib/systemd", "/lib/systemd"];
    let programs = folders.map(|folder| Path::new(folder).join("systemd-logind"));
    programs.into_iter().find(|program| program.is_file())
}

/// A running logind with its bus. Dropping it ends both; after a failure its log is shown.
#[derive(Debug)]
pub struct Logind {
    // Dropped in this order: who uses the bus first.
    daemon: Child,
    connection: Connection,
    systemd: Systemd,
    bus: Bus,
}

impl Logind {
    /// Starts it, without sessions.
    pub fn start() -> Self {
        let bus = Bus::start();
        prepare(bus.folder()).expect("logind's files can be made");
        let logind = Self {
            systemd: Systemd::serve(&bus),
            connection: bus.connect(),
            daemon: spawn(&bus),
            bus,
        };
        logind.wait_until_it_answers();
        logind
    }

    /// A D-Bus address, as `logind.bus` takes it.
    pub fn address(&self) -> String {
        self.bus.address()
    }

    /// Ends logind alone, as an upgrade of systemd does.
    pub fn stop(&mut self) {
        process::end(&mut self.daemon, STOP_LIMIT);
    }

    /// Starts it again; it finds the sessions that there were.
    pub fn start_again(&mut self) {
        self.stop();
        self.daemon = spawn(&self.bus);
        self.wait_until_it_answers();
    }

    /// Ends the bus and with it all that is on it.
    pub fn stop_bus(&mut self) {
        self.bus.stop();
        self.stop();
    }

    /// Starts all of it again.
    pub fn start_bus_again(&mut self) {
        self.bus.start_again();
        self.systemd = Systemd::serve(&self.bus);
        self.connection = self.bus.connect();
        self.start_again();
    }

    /// Sends it a signal: `SIGSTOP` for one that hangs.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.daemon.id(), signal);
    }

    /// Lets sessions stay on their way in until [`Self::release`].
    pub fn hold(&self) {
        self.systemd.hold();
    }

    /// Lets them in.
    pub fn release(&self) {
        self.systemd.release(&self.bus);
    }

    /// Logs [`USER`] in and waits until the session is open.
    pub fn login(&self, request: &Request) -> Login {
        self.finish(self.begin(request))
    }

    /// Begins to log [`USER`] in.
    pub fn begin(&self, request: &Request) -> Opening {
        self.begin_led(leader(), request)
    }

    /// Begins to log [`USER`] in, led by a process that has been there for some time: one that has asked for a password.
    pub fn begin_led(&self, leader: Child, request: &Request) -> Opening {
        let none: Vec<(String, Variant<'static>)> = Vec::new();
        let body = (
            UID,
            leader.id(),
            request.service,
            request.kind,
            request.class,
            // Desktop and seat; number of the virtual terminal.
            "",
            "",
            0_u32,
            request.tty,
            request.display,
            !request.remote_host.is_empty(),
            // User and host at the other end.
            "",
            request.remote_host,
            none,
        );
        let connection = self.connection.clone();
        let asked = self.bus.runtime.spawn(async move {
            connection
                .call_method(Some(NAME), PATH, Some(MANAGER), "CreateSession", &body)
                .await
        });
        Opening { leader, asked }
    }

    /// Waits until the session is open.
    pub fn finish(&self, opening: Opening) -> Login {
        type Created = (
            String,
            OwnedObjectPath,
            String,
            zbus::OwnedFd,
            u32,
            String,
            u32,
            bool,
        );
        let Opening { leader, asked } = opening;
        let reply = self.bus.runtime.block_on(asked).expect("no panic");
        let reply = reply.unwrap_or_else(|error| panic!("logind opens no session: {error}"));
        let created: Created = reply.body().deserialize().expect("logind's answer");
        let (id, path, _runtime_directory, pipe, _uid, _seat, _terminal, existing) = created;
        assert!(!existing, "the session {id} was there before");
        Login {
            id,
            path,
            pipe: Some(pipe.into()),
            leader,
        }
    }

    /// Says that nobody uses a graphical session, or that somebody does, as its desktop would.
    pub fn set_idle(&self, login: &Login, idle: bool) {
        self.ask(login, "SetIdleHint", &idle);
    }

    /// Says that its screen is locked or open, as its desktop would.
    pub fn set_locked(&self, login: &Login, locked: bool) {
        self.ask(login, "SetLockedHint", &locked);
    }

    /// Logs out; the session stays, closing, as long as it has processes.
    pub fn log_out(&self, login: &mut Login) {
        login.pipe = None;
        let what = "the session is closing";
        wait::until(what, START_LIMIT, || {
            (self.state(login).as_deref() == Some("closing")).then_some(())
        });
    }

    /// Ends the leader, as a logout does; what else there is in the session stays.
    pub fn leave(&self, login: &mut Login) {
        login.end_leader();
        self.log_out(login);
    }

    /// Logs out and ends the session's processes.
    pub fn end(&self, mut login: Login) {
        self.log_out(&mut login);
        let scope = login.scope();
        drop(login);
        self.systemd.end(&self.bus, &scope);
    }

    fn state(&self, login: &Login) -> Option<String> {
        let properties = "org.freedesktop.DBus.Properties";
        let asked = self.call(&login.path, properties, "Get", &(SESSION, "State"));
        let reply = asked.ok()?.body();
        let state: Variant<'_> = reply.deserialize().ok()?;
        String::try_from(state).ok()
    }

    fn ask<B: serde::Serialize + DynamicType>(&self, login: &Login, method: &str, body: &B) {
        let asked = self.call(&login.path, SESSION, method, body);
        asked.unwrap_or_else(|error| panic!("{method} of session {}: {error}", login.id));
    }

    fn call<B: serde::Serialize + DynamicType>(
        &self,
        path: &OwnedObjectPath,
        interface: &str,
        method: &str,
        body: &B,
    ) -> zbus::Result<Message> {
        let call = self
            .connection
            .call_method(Some(NAME), path, Some(interface), method, body);
        self.bus.runtime.block_on(call)
    }

    fn wait_until_it_answers(&self) {
        wait::until("logind answers", START_LIMIT, || {
            let call =
                self.connection
                    .call_method(Some(NAME), PATH, Some(MANAGER), "ListSessions", &());
            self.bus.runtime.block_on(call).ok()
        });
    }
}

impl Drop for Logind {
    fn drop(&mut self) {
        // A stopped one does not hear that it shall end.
        self.signal(Signal::SIGCONT);
        self.stop();
        if thread::panicking() {
            let log = fs::read_to_string(self.bus.folder().join("logind.log"));
            eprintln!("logind:\n{}", log.unwrap_or_default());
        }
    }
}

/// How somebody logs in. What is empty is not so.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// `x11`, `wayland`, `tty`, …
    pub kind: &'static str,
    /// `user`, `greeter`, `background`, …
    pub class: &'static str,
    /// The program by which.
    pub service: &'static str,
    /// The terminal.
    pub tty: &'static str,
    /// The X display.
    pub display: &'static str,
    /// Where from.
    pub remote_host: &'static str,
}

impl Request {
    /// By a display manager.
    pub fn desktop() -> Self {
        Self {
            kind: "x11",
            class: "user",
            service: "lightdm",
            tty: "",
            display: ":7",
            remote_host: "",
        }
    }

    /// From another machine.
    pub fn remote() -> Self {
        Self {
            kind: "tty",
            service: "sshd",
            display: "",
            remote_host: "192.0.2.7",
            ..Self::desktop()
        }
    }
}

/// A session on its way in.
#[derive(Debug)]
pub struct Opening {
    leader: Child,
    asked: JoinHandle<zbus::Result<Message>>,
}

/// A session that is open. Dropping it ends its leader and logs out.
#[derive(Debug)]
pub struct Login {
    id: String,
    path: OwnedObjectPath,
    pipe: Option<OwnedFd>,
    leader: Child,
}

impl Login {
    /// The unit that its processes would be in.
    pub fn scope(&self) -> String {
        format!("session-{}.scope", self.id)
    }

    /// Its first process.
    pub fn leader(&self) -> u32 {
        self.leader.id()
    }

    fn end_leader(&mut self) {
        // Once it has been waited for this does nothing, so its id is still its own.
        let _gone = self.leader.kill();
        let _status = self.leader.wait();
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.end_leader();
    }
}

/// A process that can lead a session, and does nothing.
pub fn leader() -> Child {
    Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a process starts")
}

/// What logind finds in the places of this machine's `/run` and `/etc/passwd`.
fn prepare(folder: &Path) -> io::Result<()> {
    let settings = folder.join("run/systemd/logind.conf.d");
    fs::create_dir_all(&settings)?;
    fs::write(settings.join("test.conf"), SETTINGS)?;
    let users = fs::read_to_string("/etc/passwd")?;
    let user = format!("{USER}:x:{UID}:{UID}::/:/bin/sh\n");
    fs::write(folder.join("passwd"), user + &users)
}

fn spawn(bus: &Bus) -> Child {
    let folder = bus.folder();
    let program = program().expect("systemd-logind is installed: `cargo xtask setup --for test`");
    let log = folder.join("logind.log");
    let log = File::options().create(true).append(true).open(log);
    let mut command = Command::new(program);
    command
        .env("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
        .env("SYSTEMD_LOG_TARGET", "console")
        .env("SYSTEMD_LOG_LEVEL", "debug")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.expect("logind's log can be made"));
    let entered = || {
        replace_files(folder).expect("root may have a mount namespace");
        command.spawn().expect("logind starts")
    };
    // The thread's namespace goes to what it starts, and ends with that.
    let spawned = thread::scope(|scope| scope.spawn(entered).join());
    spawned.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Puts the folder's files in the places of the machine's, for this thread only.
fn replace_files(folder: &Path) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none: Option<&str> = None;
    // Otherwise the mounts below would be the machine's too.
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none)?;
    for (source, target) in [("run", "/run"), ("passwd", "/etc/passwd")] {
        let source = folder.join(source);
        mount(Some(&source), target, none, MsFlags::MS_BIND, none)?;
    }
    Ok(())
}
