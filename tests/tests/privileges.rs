//! What the agent may do while it runs: what the table of its capabilities says, on each of its threads, and no more.
//! And it measures with that what it measured with all.

use std::{
    env,
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use integration_tests::{
    agent::{self, Agent, Configuration},
    capability,
    cgroup::Tree,
    systemd,
    workload::{Workload, two_cpus},
};
use serde_json::Value;
use sessionscope::kernel::capabilities::Capabilities;
use sessionscope::telemetry::Event;

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");

/// All that may stay: `CAP_SYS_PTRACE` in a container, `CAP_PERFMON` with GPUs, `CAP_BPF` before Linux 5.19.
const MAY_STAY: [&str; 4] = [
    "CAP_DAC_READ_SEARCH",
    "CAP_SYS_PTRACE",
    "CAP_PERFMON",
    "CAP_BPF",
];

/// A set of capabilities of a thread, as its `status` has it.
fn set(status: &str, name: &str) -> Capabilities {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let bits = line.and_then(|line| line.strip_prefix(':')).expect(name);
    Capabilities(u64::from_str_radix(bits.trim(), 16).expect("a number"))
}

/// The `status` of each thread of the agent.
fn threads(agent: &Agent) -> Vec<String> {
    let folder = format!("/proc/{}/task", agent.pid());
    let threads = fs::read_dir(folder).expect("it runs");
    let status = threads.map(|thread| thread.expect("/proc can be read").path().join("status"));
    // One may have ended.
    status
        .filter_map(|path| fs::read_to_string(path).ok())
        .collect()
}

/// What `check --security` says that an agent with a configuration keeps, for one started by a command.
fn checked(mut command: Command, agent: &Agent) -> Value {
    let output = command
        .args(["check", "--security", "--format", "json", "--config"])
        .arg(agent.configuration_file())
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn names(list: &Value) -> Vec<&str> {
    let names = list.as_array().expect("a list").iter();
    names.map(|name| name.as_str().expect("a name")).collect()
}

/// Each thread has what `check --security` says, in every set.
fn assert_bounded(agent: &Agent, checked: &Value) {
    let kept = names(&checked["kept"]);
    let statuses = threads(agent);
    // The sampling task, and the workers of the runtime.
    assert!(statuses.len() > 2, "{statuses:?}");
    for status in &statuses {
        for name in ["CapEff", "CapPrm"] {
            assert_eq!(set(status, name).names(), kept, "{name} of {status}");
        }
        for name in ["CapInh", "CapAmb"] {
            assert_eq!(set(status, name), Capabilities(0), "{name} of {status}");
        }
        let bounding = set(status, "CapBnd").names();
        assert_eq!(bounding, names(&checked["bounding"]), "{status}");
    }
}

/// A session is found and its figures are there; so is one that its user has closed to others.
fn assert_measures(agent: &Agent, tree: &Tree) {
    let desk = tree.child("desk");
    let closed = tree.child("closed");
    close(closed.path());
    agent.wait_for(&["desk", "closed"]);
    let [cpu, _] = two_cpus();
    let spin = ["spin", "--seconds", "60", "--cpu", &cpu];
    let mut workload = Workload::start(WORKLOAD, &desk, &spin);
    workload.go();
    agent.session_that("desk", "has used a CPU and is counted", |session| {
        session["cpu_seconds"].as_f64() > Some(0.05) && session["processes"].as_u64() > Some(0)
    });
    // Over some scans.
    thread::sleep(Duration::from_secs(3));
    agent.wait_for(&["desk", "closed"]);
    let log = agent.log();
    for fault in [Event::CgroupsUnread, Event::KernelUnread] {
        assert!(agent.logged(fault).is_empty(), "{log}");
    }
    // What a hardened kernel refuses whoever asks has a stand-in, which runs.
    let report = agent.report();
    let programs = report["agent"]["programs"].as_array();
    let programs = programs.expect("there are programs").iter();
    let stood_in_for: Vec<String> = programs
        .filter(|program| program["up"] == true)
        .filter_map(|program| program["stands_in_for"].as_str())
        .map(|name| format!("\"program\":\"{name}\""))
        .collect();
    let mut grave = log
        .lines()
        .filter(|line| line.contains("\"warn\"") || line.contains("\"error\":"))
        .filter(|line| !stood_in_for.iter().any(|program| line.contains(program)));
    assert!(!grave.any(|line| line.contains("(os error 1)")), "{log}");
}

/// Leaves a directory to a user who lets nobody else in.
fn close(directory: &Path) {
    chown(directory, Some(1000), Some(1000)).expect("root may");
    fs::set_permissions(directory, Permissions::from_mode(0o700)).expect("root may");
}

fn configuration(tree: &Tree) -> Configuration {
    // Believed also of a cgroup that is its user's.
    let pattern = format!("^{}/(?<session>[^/]+)$", tree.path());
    Configuration::without_rules()
        .rule("child", &pattern, "trust = true")
        .set("sampling.rescan", "\"1s\"")
}

#[test]
fn each_thread_has_what_the_table_says_and_sessions_are_measured_with_that() {
    if !capability::kernel() {
        return;
    }
    for gpus in [false, true] {
        let tree = Tree::new();
        let configuration = configuration(&tree).set("gpu.enabled", &gpus.to_string());
        let agent = Agent::start(&configuration);
        let checked = checked(agent::command(&agent::binary()), &agent);
        // Some kernels of distributions want it for every perf event from this level on.
        let level = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
        let level = level
            .ok()
            .and_then(|level| level.trim().parse::<i32>().ok());
        let of_administrators = gpus && level > Some(2);
        for name in names(&checked["kept"]) {
            let may_stay =
                MAY_STAY.contains(&name) || (of_administrators && name == "CAP_SYS_ADMIN");
            assert!(may_stay, "{checked}");
        }
        assert_bounded(&agent, &checked);
        assert_measures(&agent, &tree);
        assert_bounded(&agent, &checked);
        assert_eq!(agent.logged(Event::CapabilitiesGivenUp).len(), 1);
        let is_set = |status: &String| status.contains("NoNewPrivs:\t1");
        assert!(gpus || threads(&agent).iter().all(is_set));
    }
}

#[test]
fn with_the_capabilities_of_the_unit_it_gives_up_what_it_has_more_of() {
    // A guest of the kernel matrix has no setpriv; the test above is for it.
    if env::var_os("SESSIONSCOPE_TEST_MATRIX").is_some() || !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let command = || systemd::command(&agent::binary());
    let agent = Agent::start_by(command(), &configuration(&tree), &[]);
    let checked = checked(command(), &agent);
    assert_bounded(&agent, &checked);
    let kept = names(&checked["kept"]);
    assert!(kept.contains(&"CAP_DAC_READ_SEARCH"), "{checked}");
    for name in ["CAP_SYSLOG", "CAP_SYS_RESOURCE"] {
        assert!(!kept.contains(&name), "{checked}");
    }
    assert_measures(&agent, &tree);
}

#[test]
fn with_the_setting_nothing_is_given_up() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let configuration = configuration(&tree).set("kernel.keep_capabilities", "true");
    let agent = Agent::start(&configuration);
    let own = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    for status in threads(&agent) {
        assert_eq!(set(&status, "CapEff"), set(&own, "CapEff"));
    }
    assert!(agent.logged(Event::CapabilitiesGivenUp).is_empty());
}
