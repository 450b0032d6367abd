//! What the agent says a session had from the scheduler, against the kernel's own accounts of its threads.
//!
//! The accounts are read while the threads are blocked, before and after a run of at least a million
//! switches, so both sides speak of the same time; 1 % is then what the agent promises, and what it
//! really differs by is printed.

use std::{
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    accounts::{Accounts, Switches},
    agent::{Agent, Configuration},
    capability,
    cgroup::{Cgroup, Tree},
    exposition::Exposition,
    wait,
    workload::{Workload, scaled, two_cpus},
};

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
const PROMISE: f64 = 0.01;

/// What the agent has counted for a session.
#[derive(Clone, Copy, Debug)]
struct Counted {
    waits: f64,
    wait_seconds: f64,
    cpu_seconds: f64,
    voluntary: f64,
    involuntary: f64,
}

impl Counted {
    fn of(session: &str, metrics: &Exposition) -> Self {
        let value = |name: &str| metrics.value(name, &[("session", session)]);
        let switches = Switches::of(session, metrics);
        Self {
            waits: value("vdi_session_runqueue_wait_seconds_count"),
            wait_seconds: value("vdi_session_runqueue_wait_seconds_sum"),
            cpu_seconds: value("vdi_session_cpu_seconds_total"),
            voluntary: switches.voluntary as f64,
            involuntary: switches.involuntary() as f64,
        }
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            waits: self.waits - earlier.waits,
            wait_seconds: self.wait_seconds - earlier.wait_seconds,
            cpu_seconds: self.cpu_seconds - earlier.cpu_seconds,
            voluntary: self.voluntary - earlier.voluntary,
            involuntary: self.involuntary - earlier.involuntary,
        }
    }
}

/// Prints what the agent says beside the truth, and returns a line if it is not within 1 %.
fn compare(what: &str, said: f64, truth: f64) -> Option<String> {
    let line = format!("{what}: {said} where the kernel has {truth}");
    eprintln!("{line} ({:+.4} %)", (said - truth) / truth * 100.0);
    ((said - truth).abs() > PROMISE * truth).then_some(line)
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// A million switches in one session, beside another whose threads fight for the other CPU.
fn counts_agree_with_the_kernel(task_state: &str) {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let configuration = Configuration::of(&tree);
    let agent = Agent::start(&configuration.set("kernel.task_state", &format!("\"{task_state}\"")));
    assert_eq!(agent.report()["agent"]["task_state"], task_state);
    let names = ["talkers", "crowd"];
    let [talkers, crowd] = names.map(|name| tree.child(name));
    agent.wait_for(&names);
    let [one, other] = two_cpus();
    let switches = scaled(2_000_000).to_string();
    let talk = ["pingpong", "--switches", &switches, "--cpu", &one];
    let fight = ["spin", "--threads", "3", "--seconds", "4", "--cpu", &other];
    let mut talk = Workload::start(WORKLOAD, &talkers, &talk);
    let mut fight = Workload::start(WORKLOAD, &crowd, &fight);

    let state = |cgroup: &Cgroup, metrics: &Exposition, name: &str| {
        (
            Accounts::settled(cgroup),
            cgroup.cpu_usage(),
            Counted::of(name, metrics),
        )
    };
    let both = || {
        // Blocked first and sampled afterwards, so that the sample has all of it.
        for cgroup in [&talkers, &crowd] {
            Accounts::settled(cgroup);
        }
        let metrics = agent.fresh_metrics();
        [
            state(&talkers, &metrics, names[0]),
            state(&crowd, &metrics, names[1]),
        ]
    };
    let before = both();
    talk.go();
    fight.go();
    talk.finish();
    fight.finish();
    let after = both();

    let mut wrong = Vec::new();
    for ((name, before), after) in names.iter().zip(before).zip(after) {
        let truth = after.0.since(&before.0);
        let usage = after.1.checked_sub(before.1).unwrap().as_secs_f64();
        let counted = after.2.since(&before.2);
        eprintln!("{task_state}, {name}:");
        if *name == names[0] {
            let least = scaled(1_000_000);
            assert!(truth.runs >= least, "only {} switches", truth.runs);
        }
        wrong.extend(
            [
                compare("  waits", counted.waits, truth.runs as f64),
                compare(
                    "  seconds of waiting",
                    counted.wait_seconds,
                    seconds(truth.wait_ns),
                ),
                compare(
                    "  CPU seconds (schedstat)",
                    counted.cpu_seconds,
                    seconds(truth.cpu_ns),
                ),
                compare("  CPU seconds (cpu.stat)", counted.cpu_seconds, usage),
                compare(
                    "  voluntary switches",
                    counted.voluntary,
                    truth.voluntary as f64,
                ),
                compare(
                    "  involuntary switches",
                    counted.involuntary,
                    truth.involuntary as f64,
                ),
            ]
            .into_iter()
            .flatten()
            .map(|line| format!("{name}: {}", line.trim())),
        );
    }
    assert!(
        wrong.is_empty(),
        "more than 1 % apart:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn counts_agree_with_the_kernel_over_a_million_switches_with_the_pid_array() {
    counts_agree_with_the_kernel("pid-array");
}

#[test]
fn counts_agree_with_the_kernel_over_a_million_switches_with_task_storage() {
    if !capability::task_storage() {
        return;
    }
    counts_agree_with_the_kernel("task-storage");
}

/// Involuntary switches of a session, and those by `self`, `session` and `system`.
fn preemptions(metrics: &Exposition, session: &str) -> (u64, [u64; 3]) {
    let switches = Switches::of(session, metrics);
    eprintln!("{session}: {switches:?}");
    (switches.involuntary(), switches.preempted)
}

/// At least so many in a hundred involuntary switches are due to who shares the CPU.
const DOMINATES: u64 = 80;
/// A second of two threads on one CPU has at least so many switches, one of interruptions far more.
const SWITCHES: u64 = 1000;

/// Two threads of the same priority that take turns when their slices end.
const TURNS: [&[&str]; 2] = [&["spin"], &["spin"]];
/// One that is preempted by another at any moment and so often that whatever else the machine does on
/// that CPU is little beside it.
const INTERRUPTIONS: [&[&str]; 2] = [
    &["spin", "--real-time", "1"],
    &["interrupt", "--real-time", "2"],
];

/// Lets one workload run in each of two cgroups, at the same time and on one CPU.
fn fight(cgroups: [&Cgroup; 2], work: [&[&str]; 2]) {
    let [_, cpu] = two_cpus();
    let mut workloads: Vec<_> = cgroups
        .into_iter()
        .zip(work)
        .map(|(cgroup, work)| {
            let arguments = [work, &["--seconds", "1.5", "--cpu", &cpu]].concat();
            Workload::start(WORKLOAD, cgroup, &arguments)
        })
        .collect();
    for workload in &mut workloads {
        workload.go();
    }
    for workload in &mut workloads {
        workload.finish();
    }
}

#[test]
fn two_sessions_that_share_a_cpu_are_preempted_by_each_other() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let names = ["left", "right"];
    let [left, right] = &names.map(|name| tree.child(name));
    agent.wait_for(&names);
    fight([left, right], TURNS);
    fight([left, right], INTERRUPTIONS);
    fight([right, left], INTERRUPTIONS);
    let metrics = agent.fresh_metrics();
    for (name, other) in [(names[0], names[1]), (names[1], names[0])] {
        let (involuntary, by) = preemptions(&metrics, name);
        assert!(
            involuntary > scaled(SWITCHES),
            "{name} had only {involuntary} involuntary switches"
        );
        assert_eq!(by.iter().sum::<u64>(), involuntary, "{name}");
        assert!(
            100 * by[1] >= DOMINATES * involuntary,
            "{name}: {} of {involuntary}",
            by[1]
        );
        let session = agent.session(name).unwrap();
        let preemptors = session["preempted_by"].as_array().unwrap();
        assert_eq!(preemptors[0]["session"], other, "{preemptors:?}");
        // One CPU, so no two first switches of a pair can race: the names are exact too.
        let named: u64 = preemptors
            .iter()
            .map(|one| one["count"].as_u64().unwrap())
            .sum();
        assert_eq!(named, by[1], "{name}: {preemptors:?}");
    }
}

#[test]
fn two_threads_of_one_session_that_share_a_cpu_are_preempted_by_the_session_itself() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let alone = tree.child("alone");
    agent.wait_for(&["alone"]);
    fight([&alone, &alone], TURNS);
    fight([&alone, &alone], INTERRUPTIONS);
    let (involuntary, by) = preemptions(&agent.fresh_metrics(), "alone");
    assert!(
        involuntary > scaled(SWITCHES),
        "only {involuntary} involuntary switches"
    );
    assert_eq!(by.iter().sum::<u64>(), involuntary);
    assert!(
        100 * by[0] >= DOMINATES * involuntary,
        "by self {} of {involuntary}",
        by[0]
    );
    let session = agent.session("alone").unwrap();
    assert_eq!(session["preempted_by"], serde_json::json!([]));
}

/// What the agent has said of a running thread, and what the kernel had of it at the moment of the sample:
/// between two readings.
struct Moment {
    at: [Instant; 2],
    said: f64,
    truth: [f64; 2],
}

/// Reads the kernel's account all the time, asks the agent after `rest`, and finds the readings around the
/// moment of the sample that it answered with.
fn moment(agent: &Agent, cgroup: &Cgroup, rest: Duration) -> Moment {
    let mut readings = Vec::new();
    let mut read = || {
        let before = Instant::now();
        let cpu = seconds(Accounts::now(cgroup).cpu_ns);
        readings.push((before, Instant::now(), cpu));
    };
    let began = Instant::now();
    while began.elapsed() < rest {
        read();
        thread::sleep(Duration::from_millis(5));
    }
    let asked = Instant::now();
    let metrics = agent.metrics();
    let answered = Instant::now();
    read();
    let age = metrics.value("vdi_agent_sample_age_seconds", &[]);
    let back = |from: Instant| from.checked_sub(Duration::from_secs_f64(age)).unwrap();
    let at = [back(asked), back(answered)];
    let earlier = readings.iter().rfind(|(_, end, _)| *end <= at[0]);
    let later = readings.iter().find(|(start, _, _)| *start >= at[1]);
    let (Some((_, _, least)), Some((_, _, most))) = (earlier, later) else {
        panic!("the sample is older than {rest:?}")
    };
    Moment {
        at,
        said: metrics.value("vdi_session_cpu_seconds_total", &[("session", "spinner")]),
        truth: [*least, *most],
    }
}

#[test]
fn cpu_seconds_grow_though_the_thread_is_hardly_ever_switched() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let cgroup = tree.child("spinner");
    agent.wait_for(&["spinner"]);
    let [_, cpu] = two_cpus();
    // Of real-time priority, so that nothing that the machine does beside it has it switched. Killed at
    // the end of the test.
    let spin = [
        "spin",
        "--real-time",
        "1",
        "--seconds",
        "600",
        "--cpu",
        &cpu,
    ];
    let mut spin = Workload::start(WORKLOAD, &cgroup, &spin);
    spin.go();
    thread::sleep(Duration::from_millis(500));
    let moments: Vec<_> = (0..4)
        .map(|_| moment(&agent, &cgroup, Duration::from_secs(2)))
        .collect();
    for pair in moments.windows(2) {
        let [one, other] = pair else { unreachable!() };
        let said = other.said - one.said;
        let truth = [other.truth[0] - one.truth[1], other.truth[1] - one.truth[0]];
        let passed = [
            other.at[0].duration_since(one.at[1]).as_secs_f64(),
            other.at[1].duration_since(one.at[0]).as_secs_f64(),
        ];
        eprintln!("{passed:.3?} s: {said:.4} s where the kernel has {truth:.4?} s");
        // The kernel brings a running thread's time up to date once a tick, 10 ms at most.
        assert!(
            truth[0] - 0.04 < said && said < truth[1] + 0.04,
            "{said} s where the kernel has {truth:?} s"
        );
        // Ordinary threads have a twentieth of the CPU if they want it.
        assert!(
            0.9 * passed[0] <= said && said <= 1.1 * passed[1],
            "{said} s of {passed:?} s"
        );
    }
}

/// The agent compares itself with the kernel, and says what comes out.
#[test]
fn the_agent_finds_no_difference_to_the_kernels_own_accounts() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let (desk, _other) = (tree.child("desk"), tree.child("other"));
    agent.wait_for(&["desk", "other"]);
    let said = |metrics: &Exposition| {
        metrics.find("vdi_agent_audit_discrepancy_ratio", &[("account", "cpu")])
    };
    assert_eq!(said(&agent.fresh_metrics()), None, "nothing to compare yet");
    let [cpu, _] = two_cpus();
    let spin = ["spin", "--threads", "2", "--seconds", "60", "--cpu", &cpu];
    let mut spin = Workload::start(WORKLOAD, &desk, &spin);
    spin.go();
    // Each of the two has its turn every other second.
    let found = wait::until("a comparison", Duration::from_secs(30), || {
        said(&agent.metrics())
    });
    eprintln!("{:+.4} % off the kernel's", found * 100.0);
    assert!(found < 0.02, "{found}");
}
