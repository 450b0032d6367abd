//! Sockets in the file system: beside a port or instead of it, for those whom their files let in.

use std::{
    fs::{self, File, Permissions},
    io,
    net::TcpStream,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, id},
    thread,
    time::Duration,
};

use integration_tests::{
    agent::{Agent, Configuration, SHOW_LIMIT, binary, command},
    capability,
    certificates::Authority,
    cgroup::Tree,
    exposition::{Exposition, Format},
    http::{self, Response},
    process, wait,
};
use nix::sys::signal::Signal;
use sessionscope::telemetry::Event;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(10);
const START_LIMIT: Duration = Duration::from_mins(1);
const CANNOT_LISTEN: i32 = 7;
const UNREACHABLE: i32 = 10;
/// A name that no agent has.
const FOREIGN: &str = "desks.example.com";

/// A folder that everybody may enter, with a socket in it, and what an agent is configured with.
struct House {
    folder: TempDir,
    configuration: Configuration,
    tree: Tree,
}

impl House {
    /// The socket comes first, so that it is what the command line takes.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("it is ours");
        let tree = Tree::new();
        let socket = folder.path().join("agent.sock");
        let listen = format!("[\"unix:{}\", \"127.0.0.1:0\"]", socket.display());
        let configuration = Configuration::of(&tree).set("listen", &listen);
        Self {
            folder,
            configuration,
            tree,
        }
    }

    fn set(mut self, key: &str, value: &str) -> Self {
        self.configuration = self.configuration.set(key, value);
        self
    }

    /// Has a key name a file with a text.
    fn set_file(self, key: &str, text: &str) -> Self {
        let path = self.file(key);
        fs::write(&path, text).expect("a file can be written");
        let value = format!("{:?}", path.display().to_string());
        self.set(key, &value)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.file("agent.sock")
    }

    fn address(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    fn start(&self) -> Agent {
        Agent::start(&self.configuration)
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        get(&self.socket(), path, headers).expect("an answer")
    }
}

fn get(socket: &Path, path: &str, headers: &[(&str, &str)]) -> io::Result<Response> {
    get_of("localhost", socket, path, headers)
}

/// From somebody who takes the agent for this host.
fn get_of(host: &str, socket: &Path, path: &str, headers: &[(&str, &str)]) -> io::Result<Response> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    http::exchange(&mut stream, host, path, headers)
}

fn parsed(answer: Response) -> Exposition {
    let text = answer.success().expect("an exposition").text();
    Exposition::parse(&text, Format::Text).expect("it can be read")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `sessionscope sessions` with options.
fn sessions(program: &Path, options: &[&str]) -> Command {
    let mut sessions = command(program);
    sessions.arg("sessions").args(options);
    sessions
}

fn output(mut command: Command) -> Output {
    command.output().expect("the binary runs")
}

#[test]
fn a_scrape_by_the_socket_and_one_by_the_port_are_answered_at_once() {
    if !capability::kernel() {
        return;
    }
    let house = House::new();
    let _session = house.tree.child("desk");
    let agent = house.start();
    agent.wait_for(&["desk"]);
    assert_eq!(agent.logged(Event::Listening).len(), 2, "{}", agent.log());
    let (socket, port) = (house.socket(), agent.address());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let answer = get(&socket, "/metrics", &[]);
                    let metrics = parsed(answer.expect("an answer by the socket"));
                    assert!(metrics.value("vdi_agent_series", &[]) > 0.0);
                }
            });
            scope.spawn(|| {
                for _ in 0..10 {
                    let answer = http::get(port, "/metrics", &[]);
                    let metrics = parsed(answer.expect("an answer by the port"));
                    assert!(metrics.value("vdi_agent_series", &[]) > 0.0);
                }
            });
        }
    });
    // What comes by the socket is counted as all else.
    let requests = || {
        let labels = [
            ("method", "GET"),
            ("path", "/api/v1/sessions"),
            ("status", "200"),
        ];
        let metrics = agent.fresh_metrics();
        metrics.count("vdi_agent_http_requests_total", &labels)
    };
    let before = requests();
    assert_eq!(house.get("/api/v1/sessions", &[]).status, 200);
    assert_eq!(requests(), before + 1);
    // What forwards a port to a socket may be asked by a page of another host.
    let answer = get_of(FOREIGN, &house.socket(), "/api/v1/sessions", &[]);
    assert_eq!(answer.expect("an answer").status, 421);
    let stream = TcpStream::connect(port).expect("it listens");
    let answer = http::ask(stream, FOREIGN, "/api/v1/sessions", &[]).expect("an answer");
    assert_eq!(answer.status, 421);
}

#[test]
fn the_command_line_asks_by_the_socket() {
    if !capability::kernel() {
        return;
    }
    let house = House::new();
    let _session = house.tree.child("desk");
    let agent = house.start();
    agent.wait_for(&["desk"]);
    let (address, file) = (house.address(), agent.configuration_file());
    let file = file.display().to_string();
    for options in [["--address", &address], ["--config", &file]] {
        let listed = output(sessions(&binary(), &options));
        assert!(listed.status.success(), "{}", said(&listed));
        let table = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(table.contains("desk"), "{table}");
    }
    let mut explain = command(&binary());
    explain.args(["explain", "desk", "--address", &address]);
    let explained = output(explain);
    assert!(explained.status.success(), "{}", said(&explained));
    // A socket that is not there is named.
    let wrong = format!("{address}.none");
    let failed = output(sessions(&binary(), &["--address", &wrong]));
    assert_eq!(failed.status.code(), Some(UNREACHABLE));
    assert!(said(&failed).contains(&wrong), "{}", said(&failed));
}

#[test]
fn the_file_has_its_mode_and_owner_and_the_kernel_refuses_others() {
    if !capability::kernel() {
        return;
    }
    // Numbers that nobody has.
    let group = 61_184 + id() % 4_000;
    let user = group + 4_000;
    let house = House::new()
        .set("socket.owner", &format!("\":{group}\""))
        .set("socket.mode", "\"0660\"");
    let _agent = house.start();
    let found = fs::symlink_metadata(house.socket()).expect("it is there");
    assert!(found.file_type().is_socket());
    assert_eq!(
        (found.mode() & 0o7777, found.uid(), found.gid()),
        (0o660, 0, group)
    );
    // Where the agent was built others may not read it.
    let program = house.file("sessionscope");
    fs::copy(binary(), &program).expect("it can be copied");
    let ask = |gid| {
        let mut sessions = sessions(&program, &["--address", &house.address()]);
        sessions.current_dir("/").uid(user).gid(gid);
        output(sessions)
    };
    let member = ask(group);
    assert!(member.status.success(), "{}", said(&member));
    let stranger = ask(user);
    assert_eq!(stranger.status.code(), Some(UNREACHABLE));
    assert!(
        said(&stranger).contains("Permission denied"),
        "{}",
        said(&stranger)
    );
}

#[test]
fn the_file_is_gone_after_sigterm_and_replaced_after_sigkill() {
    if !capability::kernel() {
        return;
    }
    let house = House::new();
    let socket = house.socket();
    let mut killed = house.start();
    // Another agent is told that it is taken, and takes nothing.
    let error = Agent::try_start(&house.configuration).expect_err("it is in use");
    assert!(
        error.contains("address in use") && error.contains(&house.address()),
        "{error}"
    );
    assert_eq!(house.get("/readyz", &[]).status, 200);
    killed.signal(Signal::SIGKILL);
    killed.ended(LIMIT).expect("it ends");
    assert!(socket.exists(), "nobody has removed it");
    let mut agent = house.start();
    assert_eq!(house.get("/readyz", &[]).status, 200);
    agent.signal(Signal::SIGTERM);
    let status = agent.ended(LIMIT).expect("it ends");
    assert!(status.success(), "{status}");
    assert!(!socket.exists(), "it is left behind");
    // What is no socket stays what it is, and the agent does not start.
    fs::write(&socket, "mine").expect("a file can be written");
    let error = Agent::try_start(&house.configuration).expect_err("it is no socket");
    assert!(
        error.contains(&house.address()) && error.contains("remove it"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&socket).expect("it is there"), "mine");
}

#[test]
fn the_door_is_shut_at_the_socket_too() {
    if !capability::kernel() {
        return;
    }
    let (scraper, desk) = ("token-of-the-scraper", "token-of-the-service-desk");
    let house = House::new()
        .set_file("web.metrics_tokens", scraper)
        .set_file("web.session_tokens", desk)
        .set_file("web.config_file", "");
    let agent = house.start();
    for (path, token) in [("/metrics", scraper), ("/api/v1/sessions", desk)] {
        assert_eq!(house.get(path, &[]).status, 401);
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str())];
        assert_eq!(house.get(path, &headers).status, 200);
    }
    let address = house.address();
    let refused = output(sessions(&binary(), &["--address", &address]));
    assert_eq!(refused.status.code(), Some(UNREACHABLE));
    assert!(
        said(&refused).contains("show a token"),
        "{}",
        said(&refused)
    );
    // The token of the configuration is shown: root listens.
    let file = agent.configuration_file().display().to_string();
    let own = ["--config", file.as_str()];
    let listed = output(sessions(&binary(), &own));
    assert!(listed.status.success(), "{}", said(&listed));
    // With TLS it is asked for there as at the port.
    let servers = Authority::new("servers");
    let issued = servers.issue(&["localhost"], 2040);
    issued.write(&house.file("tls.crt"), &house.file("tls.key"));
    let web = "tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n";
    fs::write(house.file("new"), web).expect("a file can be written");
    fs::rename(house.file("new"), house.file("web.config_file")).expect("it replaces the old one");
    wait::until("TLS is spoken", SHOW_LIMIT, || {
        let answer = get(&house.socket(), "/healthz", &[]).ok()?;
        (answer.status == 400 && answer.text().contains("https://")).then_some(())
    });
    let listed = output(sessions(&binary(), &own));
    assert!(listed.status.success(), "{}", said(&listed));
    let authority = servers.write(house.file("servers.crt"));
    let authority = authority.display().to_string();
    let tokens = house.file("web.session_tokens").display().to_string();
    let options = ["--address", &address, "--ca-file", &authority];
    let known = [&options[..], &["--token-file", &tokens]].concat();
    let listed = output(sessions(&binary(), &known));
    assert!(listed.status.success(), "{}", said(&listed));
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        process::end(&mut self.0, LIMIT);
    }
}

#[test]
fn where_there_is_only_a_socket_no_port_is_open() {
    if !capability::kernel() {
        return;
    }
    let house = House::new();
    let log = house.file("log");
    let start = || {
        let output = File::create(&log).expect("a file can be written");
        let mut agent = command(&binary());
        agent
            .args(["run", "--log-format", "json", "--listen", &house.address()])
            .env("SESSIONSCOPE_SESSIONS_STATE", house.file("sessions.json"))
            .env("SESSIONSCOPE_SESSIONS_BUILTIN_RULES", "false")
            .stdout(output.try_clone().expect("a second descriptor"))
            .stderr(output);
        Running(agent.spawn().expect("the binary runs"))
    };
    let first = start();
    wait::until("the agent is ready", START_LIMIT, || {
        let answer = get(&house.socket(), "/readyz", &[]).ok()?;
        (answer.status == 200).then_some(())
    });
    let written = fs::read_to_string(&log).expect("its log");
    let lines = written
        .lines()
        .filter(|line| line.contains("\"listening\""));
    assert_eq!(lines.count(), 1, "{written}");
    assert!(!written.contains("who reaches the port"), "{written}");
    // Of what it has open no socket of TCP listens.
    assert_eq!(listening(first.0.id()), 0);
    let mut second = start();
    let status = process::wait(&mut second.0, START_LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(CANNOT_LISTEN));
}

/// Sockets of TCP on which a process listens.
fn listening(pid: u32) -> usize {
    let tables = ["tcp", "tcp6"].map(|name| format!("/proc/{pid}/net/{name}"));
    let tables = tables.map(|path| fs::read_to_string(path).unwrap_or_default());
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs");
    let open = descriptors.flatten().filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        let target = target.to_string_lossy().into_owned();
        let inode = target.strip_prefix("socket:[")?.strip_suffix(']')?;
        Some(inode.to_owned())
    });
    let is_listener = |inode: &String| {
        let mut lines = tables.iter().flat_map(|table| table.lines());
        lines.any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // State 0A is TCP_LISTEN (proc(5)).
            fields.get(3) == Some(&"0A") && fields.get(9) == Some(&inode.as_str())
        })
    };
    open.filter(is_listener).count()
}
