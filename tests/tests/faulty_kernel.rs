//! What the agent makes of a kernel that refuses it something, or says what is not so: it says so, and goes on.

use std::{
    fmt::Write as _,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use integration_tests::{
    agent::{Agent, Configuration, SHOW_LIMIT, binary},
    capability,
    cgroup::{Cgroup, Tree, v2_mount},
    exposition::Exposition,
    kernel_log::KernelLog,
    mount_namespace,
    strace::{self, Calls, Failing},
    wait::{self, patient},
    workload::{Workload, two_cpus},
};
use sessionscope::telemetry::Event;

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
const SOON: Duration = Duration::from_secs(20);

fn until_logged(agent: &Agent, event: Event) {
    wait::until(event.name(), patient(SOON), || {
        (!agent.logged(event).is_empty()).then_some(())
    });
}

#[test]
fn maps_that_cannot_be_used_for_a_while_are_said_and_sessions_are_measured_afterwards() {
    if !capability::strace() {
        return;
    }
    let tree = Tree::new();
    // Two containers of a pod, neither below the other: a session with two roots.
    let pod = "kubepods-burstable-pod0f7c1d9e_5b64_4c7e_9d35_2f1a8e6b7c40.slice:cri-containerd";
    let container = |number: u32| format!("{pod}:{number:064x}");
    let nested = format!("^{}/outer/(?<session>nested)$", tree.path());
    let children = format!("^{}/(?<session>outer|late)$", tree.path());
    let configuration = Configuration::without_rules()
        .set("sampling.rescan", "'1s'")
        .set("sessions.builtin_rules", "true")
        .rule("child", &children, "namespace = 'tests'")
        .rule("nested", &nested, "namespace = 'tests'\ntrust = true");
    let outer = tree.child("outer");
    let first = tree.child(container(1));
    let agent = Agent::start(&configuration);
    agent.wait_for(&["outer"]);
    wait::until("the pod is a session", SHOW_LIMIT, || {
        let metrics = agent.metrics();
        let tracked = metrics.value("vdi_agent_sessions_tracked", &[]);
        (tracked >= 2.0).then_some(())
    });

    let failing = Failing::begin(agent.pid(), &Calls::all("bpf", "EIO"));
    let late = tree.child("late");
    let nested = tree.child("outer/nested");
    let second = tree.child(container(2));
    for event in [
        Event::KernelUnread,
        Event::KernelUnwritten,
        Event::SessionUnmeasured,
        Event::CgroupWithAbove,
        Event::CgroupUnmeasured,
    ] {
        until_logged(&agent, event);
    }
    assert_eq!(agent.get("/healthz", &[]).status, 200);
    drop(failing);

    agent.wait_for(&["late", "nested"]);
    // An iterator over one process's files that cannot be read: all processes are walked.
    let calls = Calls {
        of: Some("anon_inode:bpf_iter".into()),
        ..Calls::all("read", "EIO")
    };
    let failing = Failing::begin(agent.pid(), &calls);
    let idle = Workload::start(WORKLOAD, &late, &["idle"]);
    until_logged(&agent, Event::KernelDetail);
    drop((failing, idle));

    let [cpu, _] = two_cpus();
    let burn = ["burn", "--cpu", &cpu, "--seconds", "0.3"];
    let mut work = Workload::start(WORKLOAD, &late, &burn);
    let before = late.cpu_usage();
    work.run();
    let used = late.cpu_usage().saturating_sub(before).as_secs_f64();
    agent.session_that("late", "is measured", |session| {
        session["cpu_seconds"].as_f64().expect("a number") >= 0.99 * used
    });
    drop((work, nested, second, first, outer));
}

#[test]
fn a_hierarchy_that_cannot_be_read_is_said_and_what_was_known_stays() {
    if !capability::strace() {
        return;
    }
    let tree = Tree::new();
    let configuration = Configuration::of(&tree).set("sampling.rescan", "'1s'");
    let _desk = tree.child("desk");
    let agent = Agent::start(&configuration);
    agent.wait_for(&["desk"]);
    let calls = Calls {
        of: Some(v2_mount().expect("it is mounted").into()),
        ..Calls::all("statx,newfstatat", "EIO")
    };
    let failing = Failing::begin(agent.pid(), &calls);
    until_logged(&agent, Event::ScanFailed);
    // What comes now is told by the kernel programs.
    let _other = tree.child("other");
    agent.wait_for(&["desk", "other"]);
    drop(failing);
    let metrics = agent.fresh_metrics();
    let labels = [("source", "cgroup"), ("result", "error")];
    assert!(metrics.value("vdi_agent_reconcile_total", &labels) >= 1.0);
    assert_eq!(metrics.count("vdi_agent_sessions_tracked", &[]), 2);
}

#[test]
fn who_may_not_raise_its_limits_runs_all_the_same() {
    if !capability::strace() {
        return;
    }
    let tree = Tree::new();
    let _desk = tree.child("desk");
    // Rust's start asks for the size of the stack, twice, and the agent for the limit of open files.
    let calls = Calls {
        from: 4,
        ..Calls::all("prlimit64", "EPERM")
    };
    let agent = Agent::start_by(
        strace::command(&calls, binary()),
        &Configuration::of(&tree),
        &[],
    );
    agent.wait_for(&["desk"]);
    until_logged(&agent, Event::OpenFilesLimited);
}

#[test]
fn who_may_not_give_up_what_it_may_says_so() {
    if !capability::strace() {
        return;
    }
    let tree = Tree::new();
    let _desk = tree.child("desk");
    let calls = Calls::all("capset", "EPERM");
    let agent = Agent::start_by(
        strace::command(&calls, binary()),
        &Configuration::of(&tree),
        &[],
    );
    agent.wait_for(&["desk"]);
    let kept = agent.logged(Event::CapabilitiesKept);
    let reason = kept[0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("not permitted"), "{reason}");
    assert!(agent.logged(Event::CapabilitiesGivenUp).is_empty());
}

#[test]
fn debug_records_that_cannot_be_read_are_no_reason_to_end() {
    if !capability::strace() {
        return;
    }
    let tree = Tree::new();
    let _desk = tree.child("desk");
    // The ring of events is mapped first, in two parts.
    let calls = Calls {
        of: Some("anon_inode:bpf-map".into()),
        from: 3,
        ..Calls::all("mmap", "ENOMEM")
    };
    let configuration = Configuration::of(&tree).set("kernel.debug_log", "true");
    let agent = Agent::start_by(strace::command(&calls, binary()), &configuration, &[]);
    agent.wait_for(&["desk"]);
    until_logged(&agent, Event::DebugRecordsOff);
}

#[test]
fn a_store_of_states_that_cannot_be_made_has_the_other_one_in_its_place() {
    if !capability::strace() || !capability::task_storage() {
        return;
    }
    let tree = Tree::new();
    let _desk = tree.child("desk");
    // After the library has asked what this kernel can do: one map of the first object.
    let calls = Calls {
        from: 30,
        to: Some(30),
        ..Calls::all("bpf", "ENOSPC")
    };
    let command = strace::command(&calls, binary());
    let agent = Agent::start_by(command, &Configuration::of(&tree), &[]);
    agent.wait_for(&["desk"]);
    let said = agent.logged(Event::StoreUnusable);
    assert_eq!(said.len(), 1, "{said:?}");
    let used = &agent.report()["agent"]["task_state"];
    assert!(["task-storage", "pid-array"].contains(&used.as_str().unwrap_or_default()));
    assert_ne!(said[0]["store"], *used);
}

/// Types of the kernel, of which none knows this name any more.
const FORGOTTEN: &[u8] = b"\0skc_num\0";

#[test]
fn a_kernel_without_a_member_is_measured_without_what_is_read_from_it() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let _desk = tree.child("desk");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("btf");
    let mut types = fs::read("/sys/kernel/btf/vmlinux").expect("the kernel has BTF");
    let mut found = types.windows(FORGOTTEN.len());
    let at = found.position(|bytes| bytes == FORGOTTEN);
    types[at.expect("sockets have a port") + 1] = b'x';
    fs::write(&path, types).expect("a file can be written");
    let configuration = Configuration::of(&tree);
    let agent = Agent::start(&configuration.set("kernel.btf", &format!("{path:?}")));
    agent.wait_for(&["desk"]);
    let said = agent.logged(Event::MemberAbsent);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0]["member"], "sock_local_port");
    let up = |agent: &Agent| {
        agent
            .metrics()
            .sum("vdi_agent_probe_up", &[("probe", "sched_switch")])
    };
    assert_eq!(up(&agent), Some(1.0));
}

#[test]
fn a_kernel_log_that_ends_is_said_and_not_read_any_more() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let _desk = tree.child("desk");
    let log = KernelLog::new();
    let agent = log.start(&Configuration::of(&tree), &[]);
    let up = |metrics: &Exposition| metrics.sum("vdi_agent_kernel_log_up", &[]);
    agent.wait_for(&["desk"]);
    assert_eq!(up(&agent.metrics()), Some(1.0));
    drop(log);
    until_logged(&agent, Event::KernelLogLost);
    wait::until("the metric says so", SHOW_LIMIT, || {
        (up(&agent.metrics()) == Some(0.0)).then_some(())
    });
    agent.wait_for(&["desk"]);
}

/// Sets `kernel.pid_max` back.
struct PidMax(u32);

const PID_MAX: &str = "/proc/sys/kernel/pid_max";
/// The most that there can be (include/linux/threads.h, `PID_MAX_LIMIT`).
const HIGHEST: u32 = 1 << 22;

impl PidMax {
    fn now() -> Self {
        let text = fs::read_to_string(PID_MAX).expect("there is one");
        Self(text.trim().parse().expect("a number"))
    }

    fn set(value: u32) {
        fs::write(PID_MAX, value.to_string()).expect("root sets it");
    }
}

impl Drop for PidMax {
    fn drop(&mut self) {
        Self::set(self.0);
    }
}

#[test]
fn more_pids_than_there_are_states_for_are_said() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let before = PidMax::now();
    let at_start = before.0.min(HIGHEST - 1);
    PidMax::set(at_start);
    let configuration = Configuration::of(&tree)
        .set("kernel.task_state", "'pid-array'")
        .set("sampling.rescan", "'1s'");
    let agent = Agent::start(&configuration);
    PidMax::set(at_start + 1);
    until_logged(&agent, Event::PidMaxRaised);
    let said = &agent.logged(Event::PidMaxRaised)[0];
    assert_eq!(said["at_start"], at_start);
    assert_eq!(said["now"], at_start + 1);
}

/// An error of a twentieth is the least that has a line; a bit more, for what the readings are apart.
const FACTOR: f64 = 1.06;

/// What stands in the place of a cgroup's `cpu.stat`: the same times a factor, written again and again.
fn falsify(real: &Cgroup, falsified: &File, factor: f64) {
    let mut text = String::new();
    for line in real.read("cpu.stat").lines() {
        let (name, value) = line.split_once(' ').expect("a name and a value");
        let value: f64 = value.parse().expect("a number");
        let value = if name == "usage_usec" {
            value * factor
        } else {
            value
        };
        writeln!(text, "{name} {value:020.0}").expect("a string takes all");
    }
    falsified
        .write_all_at(text.as_bytes(), 0)
        .expect("a file can be written");
}

/// Ends who writes, also when the test fails in the middle: the scope waits for it.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_figure_that_is_not_the_kernels_is_said() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let desk = tree.child("desk");
    let other = tree.child("other");
    let folder = tempfile::tempdir().expect("a folder");
    let path: PathBuf = folder.path().join("cpu.stat");
    let file = File::create(&path).expect("a file");
    falsify(&desk, &file, FACTOR);
    let [cpu, other_cpu] = two_cpus();
    let burn = |cpu: &str| ["burn", "--cpu", cpu, "--seconds", "7"].map(str::to_owned);
    let start = |cgroup: &Cgroup, cpu: &str| {
        let arguments = burn(cpu);
        let arguments = arguments.each_ref().map(String::as_str);
        Workload::start(WORKLOAD, cgroup, &arguments)
    };
    let agent = mount_namespace::with_folder_at(&path, &desk.path().join("cpu.stat"), || {
        Agent::start(&Configuration::of(&tree))
    });
    agent.wait_for(&["desk", "other"]);
    let mut works = [start(&desk, &cpu), start(&other, &other_cpu)];
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _whatever_happens = Done(&done);
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                falsify(&desk, &file, FACTOR);
                thread::sleep(Duration::from_millis(2));
            }
        });
        works.iter_mut().for_each(Workload::go);
        for work in &mut works {
            work.finish();
        }
        // Two sessions, one a second: each has its turn every other.
        wait::until("the figure that differs", patient(SOON), || {
            (!agent.logged(Event::FigureDiffers).is_empty()).then_some(())
        });
    });
    for said in agent.logged(Event::FigureDiffers) {
        assert_eq!(said["session"], "desk", "{said}");
        assert_eq!(said["account"], "cpu", "{said}");
        let discrepancy = said["discrepancy"].as_f64().expect("a number");
        assert!((0.05..0.07).contains(&discrepancy), "{said}");
    }
    let metrics = agent.metrics();
    let worst = metrics.value("vdi_agent_audit_discrepancy_ratio", &[("account", "cpu")]);
    assert!((0.05..0.07).contains(&worst), "{worst}");
}
