//! What one tenant can do to the figures of another: nothing. The attacks run without any capability, as a user to
//! whom a subtree is delegated as systemd does it.

use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio, id},
    thread,
    time::Duration,
};

use integration_tests::{
    agent::{Agent, Configuration, SHOW_LIMIT},
    capability,
    cgroup::v2_mount,
    exposition::Exposition,
    wait, workload,
};
use nix::sys::signal::Signal;

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
const FORKS: &str = "vdi_session_process_forks_total";
/// A container of somebody else.
const VICTIM: &str = "6d1f0a7c25b3e8946d1f0a7c25b3e8946d1f0a7c25b3e8946d1f0a7c25b3e894";

/// Cgroups at places of the hierarchy that platforms own, each removed again unless it was there before.
struct Places {
    mount: PathBuf,
    made: Vec<PathBuf>,
}

impl Places {
    fn new() -> Self {
        Self {
            mount: v2_mount().expect("cgroup v2 is mounted"),
            made: Vec::new(),
        }
    }

    /// Makes a cgroup and those above it that are missing.
    fn make(&mut self, path: &str) -> PathBuf {
        let mut at = self.mount.clone();
        for name in Path::new(path) {
            at.push(name);
            if !at.exists() {
                fs::create_dir(&at).expect("a cgroup is made");
                self.made.push(at.clone());
            }
        }
        at
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // The kernel keeps one busy for a moment after its last process.
            let gone = (0..100).any(|_| {
                let gone = remove(path).is_ok();
                if !gone {
                    thread::sleep(Duration::from_millis(20));
                }
                gone
            });
            if !gone {
                eprintln!("warning: the cgroup {} is left behind", path.display());
            }
        }
    }
}

/// Removes a cgroup with all below.
fn remove(path: &Path) -> std::io::Result<()> {
    let children = fs::read_dir(path)?.flatten();
    for child in children.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove(&child.path())?;
    }
    fs::remove_dir(path)
}

/// A shell of a user in a service manager of the user's own. It ends when it is dropped.
struct User {
    uid: u32,
    manager: PathBuf,
    name: String,
    shell: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl User {
    fn log_in(places: &mut Places) -> Self {
        // One that no other run has.
        let uid = 61_184 + id() % 4_000;
        let slice = format!("user.slice/user-{uid}.slice");
        let manager = places.make(&format!("{slice}/user@{uid}.service"));
        let init = places.make(&format!("{slice}/user@{uid}.service/init.scope"));
        for directory in [&manager, &init] {
            for file in ["", "cgroup.procs", "cgroup.subtree_control"] {
                chown(directory.join(file), Some(uid), Some(uid)).expect("it is delegated");
            }
        }
        let mut shell = Command::new("sh")
            .current_dir(&manager)
            .uid(uid)
            .gid(uid)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        fs::write(init.join("cgroup.procs"), shell.id().to_string()).expect("it is moved");
        let lines = BufReader::new(shell.stdout.take().expect("a pipe")).lines();
        Self {
            uid,
            manager,
            name: format!("user-{uid}"),
            shell,
            lines,
        }
    }

    /// Runs lines of a shell and waits until they are done.
    fn run(&mut self, script: &str) {
        let stdin = self.shell.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{script}\necho done").expect("the shell reads");
        let said = self.lines.next().expect("the shell answers");
        assert_eq!(said.expect("in text"), "done", "{script}");
    }
}

/// Ends when it is dropped.
struct Worker {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// Starts a workload of a user, who may not read where it was compiled to, and lets it work in a cgroup.
    fn start(uid: u32, cgroup: &Path, folder: &Path, arguments: &[&str]) -> Self {
        let binary = folder.join("workload");
        if !binary.exists() {
            fs::set_permissions(folder, Permissions::from_mode(0o755)).expect("it is ours");
            fs::copy(workload::binary(WORKLOAD), &binary).expect("it can be copied");
        }
        let mut child = Command::new(binary)
            .args(arguments)
            .current_dir("/")
            .uid(uid)
            .gid(uid)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the workload starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        assert_eq!(lines.next().and_then(Result::ok).as_deref(), Some("ready"));
        let procs = cgroup.join("cgroup.procs");
        fs::write(procs, child.id().to_string()).expect("it is moved");
        let stdin = child.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "go").expect("it waits for that");
        Self { child, lines }
    }

    fn wait(&mut self) {
        let said = self.lines.next().expect("it reports");
        assert!(said.expect("in text").starts_with('{'));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _gone = self.shell.kill();
        let _status = self.shell.wait();
        for cgroup in ["init.scope", ""] {
            let procs = fs::read_to_string(self.manager.join(cgroup).join("cgroup.procs"));
            assert_eq!(procs.unwrap_or_default(), "", "the user has left nobody");
        }
    }
}

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

/// Resident memory in bytes.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the agent runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    1024 * kib
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .expect("a figure in kB")
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
/// Places for connections in the kernel; one session may have two thirds.
const PLACES: u64 = 65_536;

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
    let connections = |uid: u32, cgroup: &Path, pairs: usize| {
        let pairs = pairs.to_string();
        let arguments = ["connections", "--count", &pairs];
        let mut worker = Worker::start(uid, cgroup, folder.path(), &arguments);
        worker.wait();
        worker
    };
    // Each has both its sides in the session.
    let workers = PLACES as usize * 2 / 3 / (2 * PAIRS) + 2;
    let init = user.manager.join("init.scope");
    let crowd: Vec<Worker> = (0..workers)
        .map(|_| connections(user.uid, &init, PAIRS))
        .collect();
    let victim = places.make(&format!("system.slice/docker-{VICTIM}.scope"));
    agent.wait_for(&["6d1f0a7c25b3"]);
    let honest = connections(0, &victim, PAIRS);
    let exceeded = |metrics: &Exposition, name: &str| {
        let labels = [("session", name), ("resource", "connections")];
        metrics.count_if_any("vdi_session_budget_exceeded_total", &labels)
    };
    let clients = |metrics: &Exposition, name: &str| {
        metrics.count_if_any("vdi_session_clients", &[("session", name)])
    };
    let read = |name: &str| {
        wait::until(&format!("all of {name} are read"), SHOW_LIMIT, || {
            let metrics = agent.fresh_metrics();
            (clients(&metrics, name) == PAIRS as u64).then_some(metrics)
        })
    };
    let both = read("6d1f0a7c25b3");
    assert_eq!(exceeded(&both, "6d1f0a7c25b3"), 0);
    let sides = (2 * PAIRS * workers) as u64;
    let left_out = exceeded(&both, &user.name);
    let kept = sides - left_out;
    assert!(
        (PLACES * 2 / 3..=PLACES * 2 / 3 + 10).contains(&kept),
        "{kept}"
    );
    // What is free again is for whoever comes.
    drop(crowd);
    drop(honest);
    let more = connections(user.uid, &init, PAIRS);
    assert_eq!(exceeded(&read(&user.name), &user.name), left_out);
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
