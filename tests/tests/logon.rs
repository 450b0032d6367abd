//! How long a logon took, as the agent tells it of what logs people in: a real sshd with a PAM stack that takes its time,
//! a real logind, a real systemd that starts the user's service manager, and a home folder that is mounted.
//!
//! It needs a machine of its own, which a guest of `cargo xtask test --kernels` is: one that boots Debian, and whose
//! clock counts instructions. By that clock it is about as fast as a machine, so a moment is told within 50 ms there too.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::StreamExt;
use integration_tests::{
    agent::{Agent, Configuration, SHOW_LIMIT},
    capability,
    exposition::Exposition,
    wait,
};
use sessionscope::{clock, session::logon::LogonPhase};
use tokio::runtime::Runtime;
use zbus::{Connection, MessageStream};

/// Who logs in.
const USER: &str = "ada";
const UID: u32 = 54_321;
/// Where sshd listens.
const PORT: u16 = 2222;

/// Scripts and what they log.
const FOLDER: &str = "/run/logon";
const KEY: &str = "/run/logon/key";
const SSHD_LOG: &str = "/run/logon/sshd.log";

/// How far a phase may be from what the scripts have logged.
const TOLERANCE: Duration = Duration::from_millis(50);
/// What the scripts wait: for a second factor, in the service manager's start, and for a file server.
const SECOND_FACTOR: Duration = Duration::from_secs(2);
const MANAGER: Duration = Duration::from_millis(600);
const FILE_SERVER: Duration = Duration::from_millis(400);
/// For all of a logon, or of a logoff.
const LIMIT: Duration = Duration::from_secs(20);

/// What a script logs, with the time of day in microseconds, which bash knows without starting another program.
const SAY: &str = "#!/bin/bash\nsay() { echo \"$1 ${EPOCHREALTIME/./}\" >>/run/logon/said; }\n";

/// The scripts of PAM and of units. Those of PAM are also called when the session is closed.
const SCRIPTS: [(&str, &str); 6] = [
    (
        "second-factor",
        "say second-factor-begins\nsleep 2\nsay second-factor-ends\n",
    ),
    (
        "opening",
        "[ \"$PAM_TYPE\" = open_session ] || exit 0\nsay opening\n",
    ),
    ("manager-begins", "say manager-begins\n"),
    ("manager", "sleep 0.6\n"),
    ("manager-is-active", "say manager-is-active\n"),
    (
        "home",
        "[ \"$PAM_TYPE\" = open_session ] || exit 0\n\
         say home-begins\nsleep 0.4\nmount -t tmpfs none /home/ada\nsay home-is-mounted\n",
    ),
];

/// With a key PAM is not asked for a password, but all the same whether the account may be used.
const PAM_SSHD: &str = "auth required pam_permit.so\n\
    account required pam_exec.so /run/logon/second-factor\n\
    session required pam_exec.so /run/logon/opening\n\
    session required pam_systemd.so\n\
    session required pam_exec.so /run/logon/home\n";
const PAM_MANAGER: &str = "account required pam_permit.so\nsession required pam_systemd.so\n";
const PAM_OTHER: &str = "auth required pam_deny.so\naccount required pam_deny.so\n\
    session required pam_deny.so\npassword required pam_deny.so\n";

/// What else is to be there, and its content.
const FILES: [(&str, &str); 7] = [
    ("/etc/pam.d/sshd", PAM_SSHD),
    ("/etc/pam.d/systemd-user", PAM_MANAGER),
    ("/etc/pam.d/other", PAM_OTHER),
    // The service manager's turn comes once this unit is active, which it is after the script.
    (
        "/etc/systemd/system/user-runtime-dir@.service.d/said.conf",
        "[Service]\nExecStartPost=/run/logon/manager-begins\n",
    ),
    (
        "/etc/systemd/system/user@.service.d/slow.conf",
        "[Service]\n\
         ExecStartPre=+/run/logon/manager\n\
         ExecStartPost=+/run/logon/manager-is-active\n",
    ),
    ("/etc/default/ssh", "SSHD_OPTS='-E /run/logon/sshd.log'\n"),
    (
        "/etc/ssh/sshd_config",
        "Port 2222\n\
         ListenAddress 127.0.0.1\n\
         HostKey /run/logon/host-key\n\
         AuthorizedKeysFile /run/logon/key.pub\n\
         StrictModes no\n\
         UsePAM yes\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n",
    ),
];

/// Whether this is the machine for it; says that it is not.
fn is_own_machine() -> bool {
    env::var_os("SESSIONSCOPE_TEST_SYSTEM").is_some()
        || capability::skip_on_this_kernel(
            "a machine that is booted for the test is a guest of the kernel matrix",
        )
}

fn write(path: impl AsRef<Path>, content: &str, mode: u32) {
    let path = path.as_ref();
    let made = || -> io::Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        fs::write(path, content)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    };
    made().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn append(path: &str, line: &str) {
    let file = fs::OpenOptions::new().append(true).open(path);
    let mut file = file.unwrap_or_else(|error| panic!("{path}: {error}"));
    file.write_all(line.as_bytes())
        .unwrap_or_else(|error| panic!("{path}: {error}"));
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .status();
    let status = status.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// The machine's sshd, which logs [`USER`] in by a key. Its log is shown after a failure.
struct Sshd;

impl Sshd {
    fn start() -> Self {
        append(
            "/etc/passwd",
            &format!("{USER}:x:{UID}:{UID}::/home/{USER}:/bin/bash\n"),
        );
        append("/etc/group", &format!("{USER}:x:{UID}:\n"));
        fs::create_dir_all(format!("/home/{USER}")).expect("a folder can be made");
        for (path, content) in FILES {
            write(path, content, 0o644);
        }
        for (name, script) in SCRIPTS {
            write(
                Path::new(FOLDER).join(name),
                &format!("{SAY}{script}"),
                0o755,
            );
        }
        for key in [KEY, "/run/logon/host-key"] {
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", key]);
        }
        run("systemctl", &["start", "ssh.service"]);
        Self
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if thread::panicking() {
            let said = fs::read_to_string(said_in()).unwrap_or_default();
            let log = fs::read_to_string(SSHD_LOG).unwrap_or_default();
            eprintln!("the scripts:\n{said}sshd:\n{log}");
        }
    }
}

fn said_in() -> String {
    format!("{FOLDER}/said")
}

/// What the scripts have logged so far: moments, nanoseconds since boot.
fn said() -> BTreeMap<String, u64> {
    let text = fs::read_to_string(said_in()).unwrap_or_default();
    let moment = |line: &str| {
        let (what, micros) = line.split_once(' ')?;
        let time: SystemTime = UNIX_EPOCH + Duration::from_micros(micros.parse().ok()?);
        Some((what.to_owned(), clock::boot_of_wall(time)))
    };
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let (what, at_ns) = moment(line).unwrap_or_else(|| panic!("{line:?} is no moment"));
        assert!(all.insert(what, at_ns).is_none(), "twice: {line}");
    }
    all
}

/// Takes one connection on to sshd, and so knows when that had it: a client takes some time to begin.
struct Relay {
    port: u16,
    connected: thread::JoinHandle<io::Result<u64>>,
}

impl Relay {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let connected = thread::spawn(move || {
            let (client, _) = listener.accept()?;
            let server = TcpStream::connect(("127.0.0.1", PORT))?;
            let connected_ns = clock::boot_ns();
            carry(client.try_clone()?, server.try_clone()?);
            carry(server, client);
            Ok(connected_ns)
        });
        Self { port, connected }
    }

    /// When sshd had the connection, nanoseconds since boot.
    fn connected_ns(self) -> u64 {
        let connected = self.connected.join().expect("no panic");
        connected.expect("sshd takes a connection")
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        // Whoever ends first ends both.
        let _carried = io::copy(&mut from, &mut to);
        let _closed = to.shutdown(Shutdown::Write);
    });
}

/// Somebody who is logged in until this is told to leave.
struct Client(Child);

impl Client {
    fn log_in(port: u16) -> Self {
        let target = format!("{USER}@127.0.0.1");
        let child = Command::new("ssh")
            .args(["-F", "none", "-i", KEY, "-p", &port.to_string()])
            .args(["-o", "BatchMode=yes", "-o", "LogLevel=ERROR"])
            .args(["-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null"])
            .args([&target, "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("there is an ssh"))
    }

    fn log_out(mut self) {
        drop(self.0.stdin.take());
        let status = self.0.wait().expect("it can be waited for");
        assert!(status.success(), "ssh: {status}");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Once it has been waited for this does nothing, so its id is still its own.
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

fn between(from_ns: u64, to_ns: u64) -> Duration {
    Duration::from_nanos(to_ns.saturating_sub(from_ns))
}

/// Listens to logind, which says on the bus that there is a session as soon as it has opened it.
struct Listener {
    runtime: Runtime,
    messages: MessageStream,
}

impl Listener {
    const RULE: &str = "type='signal',sender='org.freedesktop.login1',\
        interface='org.freedesktop.login1.Manager',member='SessionNew'";

    fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime can be made");
        let messages = runtime.block_on(async {
            let connection = Connection::system().await?;
            let messages = MessageStream::from(&connection);
            let bus = "org.freedesktop.DBus";
            let path = "/org/freedesktop/DBus";
            connection
                .call_method(Some(bus), path, Some(bus), "AddMatch", &Self::RULE)
                .await?;
            zbus::Result::Ok(messages)
        });
        let messages = messages.expect("the bus takes a connection");
        Self { runtime, messages }
    }

    /// Waits in a thread for the first session to be opened: when that was, nanoseconds since boot.
    fn opened(mut self) -> thread::JoinHandle<u64> {
        thread::spawn(move || {
            let heard = self.runtime.block_on(async {
                loop {
                    let message = self.messages.next().await?.ok()?;
                    let header = message.header();
                    let is_new = header.member().is_some_and(|name| name == "SessionNew");
                    if is_new {
                        return Some(clock::boot_ns());
                    }
                }
            });
            heard.expect("the bus is there")
        })
    }
}

/// How long each phase of the only logon took.
fn phases(metrics: &Exposition) -> BTreeMap<LogonPhase, Duration> {
    let took = |phase: LogonPhase| {
        let labels = [("phase", phase.name())];
        let count = metrics.sum("vdi_session_logon_seconds_count", &labels)?;
        assert!(count <= 1.0, "{phase:?}: {count} logons");
        let sum = metrics.sum("vdi_session_logon_seconds_sum", &labels)?;
        (count > 0.0).then(|| (phase, Duration::from_secs_f64(sum)))
    };
    LogonPhase::ALL.into_iter().filter_map(took).collect()
}

#[test]
fn a_logon_by_sshd_is_told_as_its_scripts_have_logged_it() {
    if !is_own_machine() {
        return;
    }
    let _sshd = Sshd::start();
    let configuration = Configuration::without_rules()
        .set("sessions.builtin_rules", "true")
        .set("sampling.period", "\"1s\"")
        .set("logind.watch", "\"on\"");
    let agent = Agent::start(&configuration);
    wait::until("logind answers the agent", SHOW_LIMIT, || {
        let up = [("source", "logind"), ("reason", "")];
        let metrics = agent.metrics();
        (metrics.find("vdi_agent_source_up", &up) == Some(1.0)).then_some(())
    });

    let opened = Listener::start().opened();
    let relay = Relay::start();
    let client = Client::log_in(relay.port);
    let said = wait::until("the home folder is mounted", LIMIT, || {
        let said = said();
        said.contains_key("home-is-mounted").then_some(said)
    });
    let connected_ns = relay.connected_ns();
    wait::until("the agent knows of the home folder", LIMIT, || {
        let of = [("milestone", "home_mounted")];
        let known = agent
            .metrics()
            .sum("vdi_session_startup_seconds_count", &of);
        (known == Some(1.0)).then_some(())
    });
    // A login without a picture is over when the session is, at the latest.
    let left = Instant::now();
    client.log_out();
    let metrics = wait::until("the logoff is counted", LIMIT, || {
        let metrics = agent.metrics();
        let left = metrics.sum("vdi_session_logoff_seconds_count", &[]);
        (left == Some(1.0)).then_some(metrics)
    });

    let at = |what: &str| said[what];
    let [opening_ns, begins_ns, active_ns, mounted_ns] = [
        "opening",
        "manager-begins",
        "manager-is-active",
        "home-is-mounted",
    ]
    .map(at);
    // PAM's script is done before logind is asked, and the first script of a unit runs once it has opened the session.
    let opened_ns = opened.join().expect("no panic");
    assert!(
        (opening_ns..begins_ns).contains(&opened_ns),
        "{opened_ns} is not within {said:?}"
    );
    let phases = phases(&metrics);
    for (phase, truth, at_least) in [
        (
            LogonPhase::Authentication,
            between(connected_ns, opened_ns),
            SECOND_FACTOR,
        ),
        (
            LogonPhase::UserManager,
            between(begins_ns, active_ns),
            MANAGER,
        ),
        (
            LogonPhase::HomeMounted,
            between(active_ns, mounted_ns),
            FILE_SERVER,
        ),
        (
            LogonPhase::Unaccounted,
            between(opened_ns, begins_ns),
            Duration::ZERO,
        ),
    ] {
        let took = phases.get(&phase).copied();
        let took = took.unwrap_or_else(|| panic!("no {phase:?}: {phases:?}"));
        eprintln!("{phase:?}: {took:.3?} by the agent, {truth:.3?} by the scripts");
        assert!(
            took.abs_diff(truth) < TOLERANCE && took >= at_least,
            "{phase:?}: {took:?}, and the scripts say {truth:?}: {said:?}"
        );
    }
    assert_eq!(phases.len(), 4, "{phases:?}");
    let whole = between(connected_ns, mounted_ns);
    let sum: Duration = phases.values().sum();
    assert!(
        sum.abs_diff(whole) < TOLERANCE,
        "together {sum:?}, and the scripts say {whole:?}"
    );
    let logoff = metrics.sum("vdi_session_logoff_seconds_sum", &[]);
    let logoff = Duration::from_secs_f64(logoff.expect("it is counted"));
    assert!(!logoff.is_zero() && logoff < left.elapsed(), "{logoff:?}");
}
