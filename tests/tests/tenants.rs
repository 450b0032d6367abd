//! What one tenant can do to the figures of another: nothing. The attacks run without any capability, as a user to
//! whom a subtree is delegated as systemd does it.

use std::{
    ffi::OsStr,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsFd,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use integration_tests::{
    agent::{Agent, Configuration, SHOW_LIMIT},
    capability,
    exposition::Exposition,
    process::resident,
    sockets::inside_of,
    tenant::{Places, User, Worker, for_everybody},
    wait,
};
use nix::sys::{
    signal::Signal,
    socket::{setsockopt, sockopt},
};

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
const FORKS: &str = "vdi_session_process_forks_total";
const CONNECTIONS: &str = "vdi_session_tcp_connections";
/// A container of somebody else.
const VICTIM: &str = "6d1f0a7c25b3e8946d1f0a7c25b3e8946d1f0a7c25b3e8946d1f0a7c25b3e894";

fn builtin() -> Configuration {
    let none = Configuration::without_rules();
    none.set("sessions.builtin_rules", "true")
}

fn forks(metrics: &Exposition, session: &str) -> u64 {
    metrics.count(FORKS, &[("session", session)])
}

#[test]
fn a_user_who_calls_a_cgroup_like_anothers_container_charges_nobody_else() {
    if !capability::kernel() {
        return;
    }
    let mut places = Places::new();
    let scope = format!("docker-{VICTIM}.scope");
    let victim = places.make(&format!("system.slice/{scope}"));
    let mut user = User::log_in(&mut places);
    let agent = Agent::start(&builtin());
    agent.wait_for(&["6d1f0a7c25b3", &user.name]);
    user.run(&format!(
        "mkdir {scope} {scope}/inner && echo $$ > {scope}/inner/cgroup.procs && \
         n=0; while [ $n -lt 300 ]; do (:); n=$((n + 1)); done"
    ));
    let uid = user.name.strip_prefix("user-").expect("it is called so");
    let own = format!("6d1f0a7c25b3-user@{uid}");
    agent.session_that(&own, "is found", |_| true);
    let metrics = agent.fresh_metrics();
    assert_eq!(forks(&metrics, "6d1f0a7c25b3"), 0);
    assert!(forks(&metrics, &own) >= 300);
    // Nor does the other one live on in it.
    fs::remove_dir(&victim).expect("the victim ends");
    wait::until("the end of the victim", SHOW_LIMIT, || {
        let session = agent.session("6d1f0a7c25b3")?;
        (session["phase"].is_null()).then_some(())
    });
    user.run(&format!(
        "echo $$ > init.scope/cgroup.procs; rmdir {scope}/inner {scope}"
    ));
    drop(user);
}

#[test]
fn what_root_of_a_container_makes_is_its_own() {
    if !capability::kernel() {
        return;
    }
    let mut places = Places::new();
    let outer = format!("system.slice/docker-{VICTIM}.scope");
    let invented = "kubepods-pod0f7c1d9e_5b64_4c7e_9d35_2f1a8e6b7c40.slice";
    let agent = Agent::start(&builtin());
    places.make(&outer);
    agent.wait_for(&["6d1f0a7c25b3"]);
    let inner = [
        invented,
        "lxc/desk",
        "user.slice/user-7.slice/session-1.scope",
    ];
    for inner in inner {
        places.make(&format!("{outer}/{inner}"));
    }
    let metrics = agent.fresh_metrics();
    let sessions = metrics.matching("vdi_session_info", &[]);
    let names: Vec<_> = sessions.map(|sample| &sample.labels["session"]).collect();
    assert_eq!(names, ["6d1f0a7c25b3"]);
    // The same for what was there before the agent.
    drop(agent);
    let agent = Agent::start(&builtin());
    agent.wait_for(&["6d1f0a7c25b3"]);
    let metrics = agent.fresh_metrics();
    assert_eq!(metrics.matching("vdi_session_info", &[]).count(), 1);
}

#[test]
fn depth_and_long_names_cost_the_agent_next_to_nothing() {
    if !capability::kernel() {
        return;
    }
    let mut places = Places::new();
    let mut user = User::log_in(&mut places);
    let agent = Agent::start(&builtin().set("sampling.rescan", "\"1s\""));
    agent.wait_for(&[&user.name]);
    let before = resident(agent.pid());
    let name = "x".repeat(200);
    // The shell exports its folder, which becomes longer than the kernel allows a variable to be.
    user.run(&format!(
        "n=0; while [ $n -lt 1200 ]; do \
         (unset PWD OLDPWD; exec mkdir {name}) && cd -P {name} && n=$((n + 1)); done"
    ));
    for _ in 0..8 {
        agent.fresh_metrics();
    }
    let grown = resident(agent.pid()).saturating_sub(before);
    eprintln!("{grown} bytes more for 1,200 cgroups in each other");
    user.run(&format!(
        "while [ $n -gt 0 ]; do \
         cd -P .. && (unset PWD OLDPWD; exec rmdir {name}) && n=$((n - 1)); done"
    ));
    assert!(grown < 16 << 20, "{grown} bytes");
}

#[test]
fn a_user_takes_nobodys_place_with_empty_cgroups() {
    if !capability::kernel() {
        return;
    }
    let mut places = Places::new();
    let mut user = User::log_in(&mut places);
    let agent = Agent::start(&builtin().set("sessions.max_sessions", "24"));
    agent.wait_for(&[&user.name]);
    user.run("for n in $(seq 10 49); do mkdir docker-$n$(printf %062d 0).scope; done");
    places.make(&format!("system.slice/docker-{VICTIM}.scope"));
    agent.wait_for(&["6d1f0a7c25b3"]);
    let metrics = agent.fresh_metrics();
    let exceeded = "vdi_session_budget_exceeded_total";
    let labels = [("session", user.name.as_str()), ("resource", "sessions")];
    assert_eq!(metrics.count(exceeded, &labels), 40 - 16);
    assert_eq!(metrics.count("vdi_agent_sessions_overflowed_total", &[]), 0);
    user.run("rmdir docker-*.scope");
}

/// More cgroups than the kernel has places for sessions.
const CROWD: usize = 17_000;
/// Cgroups below a session of which the agent knows.
const KNOWN: u64 = 1024;

#[test]
fn a_user_with_more_cgroups_than_there_are_places_takes_none_and_is_measured_in_all() {
    if !capability::kernel() {
        return;
    }
    let mut places = Places::new();
    let mut user = User::log_in(&mut places);
    let agent = Agent::start(&builtin());
    agent.wait_for(&[&user.name]);
    let before = resident(agent.pid());
    // Wide, and each with one inside, of which the agent does not even know where it is.
    user.run(&format!(
        "mkdir crowd; (cd crowd; seq {CROWD} | xargs mkdir; mkdir {CROWD}/inner)"
    ));
    places.make(&format!("system.slice/docker-{VICTIM}.scope"));
    agent.wait_for(&["6d1f0a7c25b3"]);
    let name = user.name.clone();
    let forks = |metrics: &Exposition| metrics.count(FORKS, &[("session", &name)]);
    let counted = forks(&agent.fresh_metrics());
    // The shell forks once for `seq`; what it does in its cgroup is counted there.
    user.run(&format!(
        "echo $$ > crowd/{CROWD}/inner/cgroup.procs; for n in $(seq 50); do (:); done; \
         echo $$ > init.scope/cgroup.procs"
    ));
    let metrics = agent.fresh_metrics();
    assert_eq!(forks(&metrics) - counted, 51);
    let exceeded = "vdi_session_budget_exceeded_total";
    let labels = [("session", name.as_str()), ("resource", "cgroups")];
    let left_out = CROWD as u64 - KNOWN;
    // Those that the ring had no room for are found by a scan.
    assert!(metrics.count(exceeded, &labels) >= left_out / 2);
    let grown = resident(agent.pid()).saturating_sub(before);
    eprintln!("{grown} bytes more for {CROWD} cgroups");
    user.run("(cd crowd; rmdir */inner; rmdir *); rmdir crowd");
    assert!(grown < 8 << 20, "{grown} bytes");
}

/// So many pairs of connections at once, as few descriptors as a user may have.
const PAIRS: usize = 3_000;
/// Places for connections in the kernel that are for whoever comes: three quarters. One session alone may have five sixths
/// of them.
const PLACES: u64 = 65_536 / 4 * 3;
const MOST: u64 = PLACES / 6 * 5;

/// What a connection carries before it is reset.
const BYTES: usize = 12_345;

/// What the agent says that a session's connections have carried.
#[derive(Debug, PartialEq, Eq)]
struct Carried {
    /// Sent and received.
    bytes: [u64; 2],
    /// Of inbound connections, of outbound ones, and of those of which nobody knows the side.
    resets: [u64; 3],
}

impl Carried {
    fn of(metrics: &Exposition, session: &str) -> Self {
        let count =
            |family: &str, label| metrics.count_if_any(family, &[("session", session), label]);
        let bytes = ["transmit", "receive"]
            .map(|direction| count("vdi_session_network_bytes_total", ("direction", direction)));
        let resets = ["inbound", "outbound", "unknown"]
            .map(|side| count("vdi_session_tcp_resets_total", ("side", side)));
        Self { bytes, resets }
    }
}

/// A connection to itself that carries so many bytes and is reset.
fn abort_one(bytes: usize) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut near = TcpStream::connect(address).expect("a connection");
    let (mut far, _) = listener.accept().expect("the same");
    near.write_all(&vec![1; bytes]).expect("it is sent");
    far.read_exact(&mut vec![0; bytes]).expect("and received");
    // With a linger of zero a close is a reset.
    let abort = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&near.as_fd(), sockopt::Linger, &abort).expect("an option of every socket");
    drop(near);
    thread::sleep(Duration::from_millis(20));
}

/// As many pairs of connections at once as a process may have, both sides in the cgroup.
fn connections(program: &Path, uid: u32, cgroup: &Path) -> Worker {
    let pairs = PAIRS.to_string();
    let arguments = ["connections", "--count", &pairs];
    let mut worker = Worker::start(program, uid, cgroup, &arguments);
    worker.wait();
    worker
}

/// More of them than a user may have measured.
fn crowd(program: &Path, user: &User) -> Vec<Worker> {
    let workers = MOST as usize / (2 * PAIRS) + 2;
    let init = user.manager.join("init.scope");
    (0..workers)
        .map(|_| connections(program, user.uid, &init))
        .collect()
}

/// Connections of a session that the agent says it has left out.
fn exceeded(metrics: &Exposition, session: &str) -> u64 {
    let labels = [("session", session), ("resource", "connections")];
    metrics.count_if_any("vdi_session_budget_exceeded_total", &labels)
}

#[test]
fn a_connection_that_is_left_out_is_counted_once_however_often_it_is_found() {
    if !capability::kernel() {
        return;
    }
    let mut places = Places::new();
    let user = User::log_in(&mut places);
    let folder = tempfile::tempdir().expect("a folder");
    let crowd = crowd(&for_everybody(WORKLOAD, folder.path()), &user);
    let elsewhere = places.make("elsewhere");
    let agent = Agent::start(&builtin());
    let left_out = wait::until("they are found open", SHOW_LIMIT, || {
        let metrics = agent.fresh_metrics();
        (metrics.count_if_any(CONNECTIONS, &[("session", &user.name), ("side", "inbound")]) != 0)
            .then(|| exceeded(&metrics, &user.name))
    });
    let kept = (2 * PAIRS * crowd.len()) as u64 - left_out;
    assert!((MOST..=MOST + 10).contains(&kept), "{kept}");
    // A process comes with its connections, and its open files are walked.
    for worker in [&crowd[0], &crowd[crowd.len() - 1]] {
        worker.move_to(&elsewhere);
        agent.fresh_metrics();
        worker.move_to(&user.manager.join("init.scope"));
        agent.fresh_metrics();
    }
    assert_eq!(exceeded(&agent.fresh_metrics(), &user.name), left_out);
    drop(crowd);
}

#[test]
fn a_user_with_connections_without_number_leaves_the_others_theirs() {
    if !capability::kernel() {
        return;
    }
    let mut places = Places::new();
    let user = User::log_in(&mut places);
    let agent = Agent::start(&builtin());
    agent.wait_for(&[&user.name]);
    let folder = tempfile::tempdir().expect("a folder");
    let program = for_everybody(WORKLOAD, folder.path());
    let init = user.manager.join("init.scope");
    let crowd = crowd(&program, &user);
    let victim = places.make(&format!("system.slice/docker-{VICTIM}.scope"));
    agent.wait_for(&["6d1f0a7c25b3"]);
    let honest = connections(&program, 0, &victim);
    let inbound = |metrics: &Exposition, name: &str| {
        metrics.count_if_any(CONNECTIONS, &[("session", name), ("side", "inbound")])
    };
    let read = |name: &str| {
        wait::until(&format!("all of {name} are read"), SHOW_LIMIT, || {
            let metrics = agent.fresh_metrics();
            (inbound(&metrics, name) == PAIRS as u64).then_some(metrics)
        })
    };
    let both = read("6d1f0a7c25b3");
    assert_eq!(exceeded(&both, "6d1f0a7c25b3"), 0);
    let sides = (2 * PAIRS * crowd.len()) as u64;
    let left_out = exceeded(&both, &user.name);
    let kept = sides - left_out;
    assert!((MOST..=MOST + 10).contains(&kept), "{kept}");
    // Of those that have no place the bytes are the session's, and nobody knows their side.
    let before = Carried::of(&agent.fresh_metrics(), &user.name);
    inside_of(&init, || abort_one(BYTES));
    let now = Carried::of(&agent.fresh_metrics(), &user.name);
    let bytes = before.bytes.map(|bytes| bytes + BYTES as u64);
    let [inbound, outbound, unknown] = before.resets;
    // One end has sent the reset, and the other has received it.
    let resets = [inbound, outbound, unknown + 2];
    assert_eq!(now, Carried { bytes, resets });
    // What is free again is for whoever comes.
    drop(crowd);
    drop(honest);
    let more = connections(&program, user.uid, &init);
    let both_of_one = 2;
    assert_eq!(
        exceeded(&read(&user.name), &user.name),
        left_out + both_of_one
    );
    drop(more);
}

#[test]
fn machines_of_one_name_are_two_sessions_with_labels_that_a_restart_keeps() {
    if !capability::kernel() {
        return;
    }
    let mut places = Places::new();
    let folder = tempfile::tempdir().expect("a folder");
    let state = format!("{:?}", folder.path().join("sessions.json"));
    let machines = ["qemu.slice/101.scope", "lxc/101"];
    let machines = machines.map(|path| places.make(path));
    let look = |agent: &Agent| -> Vec<(String, String)> {
        agent.wait_for(&["101", "101-lxc"]);
        let metrics = agent.fresh_metrics();
        let sessions = metrics.matching("vdi_session_info", &[]);
        let mut names: Vec<_> = sessions
            .map(|sample| {
                (
                    sample.labels["cgroup"].clone(),
                    sample.labels["session"].clone(),
                )
            })
            .collect();
        names.sort();
        names
    };
    // Also where the state is lost.
    for state in [state, "\"/proc/sessions.json\"".to_owned()] {
        let configuration = builtin().set("sessions.state", &state);
        let mut agent = Agent::start(&configuration);
        let before = look(&agent);
        let pair = |path: &str, name: &str| (path.to_owned(), name.to_owned());
        assert_eq!(
            before,
            [
                pair("/lxc/101", "101-lxc"),
                pair("/qemu.slice/101.scope", "101")
            ]
        );
        agent.signal(Signal::SIGKILL);
        agent.ended(SHOW_LIMIT);
        let agent = Agent::start(&configuration);
        assert_eq!(look(&agent), before);
    }
    // Each has figures of its own.
    let agent = Agent::start(&builtin());
    agent.wait_for(&["101", "101-lxc"]);
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a process starts");
    let procs = machines[1].join(OsStr::new("cgroup.procs"));
    fs::write(procs, child.id().to_string()).expect("it is moved");
    let of = |name: &str, metrics: &Exposition| {
        metrics.count("vdi_session_processes", &[("session", name)])
    };
    wait::until("a process of the container", SHOW_LIMIT, || {
        let metrics = agent.fresh_metrics();
        (of("101-lxc", &metrics) == 1).then(|| assert_eq!(of("101", &metrics), 0))
    });
    drop(child.stdin.take());
    child.wait().expect("it ends");
}
