//! Forks, execs and ends of processes are counted exactly, not nearly: a crash that is missing is the one
//! that somebody asks about.

use std::{
    ffi::OsString,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use integration_tests::{
    agent::{Agent, Configuration, SHOW_LIMIT},
    capability,
    cgroup::{Cgroup, Tree},
    exposition::Exposition,
    process, wait,
    workload::{Workload, scaled, two_cpus},
};
use serde_json::{Value, json};

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
const SESSION: &str = "script";
/// Until all threads of a machine have been walked: some thousands in a ninehundredth of the time.
const WALK_LIMIT: Duration = Duration::from_secs(15);

/// The counters of the session, in the form of the workload's own report.
fn counted(metrics: &Exposition) -> Value {
    let value = |name: &str| metrics.count(name, &[("session", SESSION)]);
    let exits = |reason: &str| {
        let labels = [("session", SESSION), ("reason", reason)];
        metrics.count_if_any("vdi_session_process_exits_total", &labels)
    };
    json!({
        "forks": value("vdi_session_process_forks_total"),
        "execs": value("vdi_session_process_execs_total"),
        "success": exits("success"),
        "error": exits("error"),
        "signal": exits("signal"),
        "oom_killed": exits("oom_killed"),
    })
}

/// What the agent must have counted for what a script says it did; `killed` of the ends by a signal were
/// for want of memory.
fn expected(script: &Value, killed: u64) -> Value {
    json!({
        "forks": script["forks"],
        "execs": script["execs"],
        "success": script["success"],
        "error": script["error"],
        "signal": script["signal"].as_u64().unwrap() - killed,
        "oom_killed": killed,
    })
}

/// What a script reports that did what it was told; each process executed once.
fn told(processes: u64, success: u64, error: u64, signal: u64) -> Value {
    json!({
        "forks": processes,
        "execs": processes,
        "success": success,
        "error": error,
        "signal": signal,
    })
}

/// Runs a script in a session; returns its report and the agent's counters.
fn run(arguments: &[&str]) -> (Value, Value) {
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let cgroup = tree.child(SESSION);
    agent.wait_for(&[SESSION]);
    let mut script = Workload::start(WORKLOAD, &cgroup, &[&["script"], arguments].concat());
    let report = script.run();
    let metrics = agent.fresh_metrics();
    assert_eq!(
        metrics.count("vdi_session_processes", &[("session", SESSION)]),
        1
    );
    (report, counted(&metrics))
}

#[test]
fn ten_thousand_short_processes_are_counted_exactly() {
    if !capability::kernel() {
        return;
    }
    let hundred = scaled(100);
    let of = |kind: &str, hundreds: u64| format!("{kind}{}", hundreds * hundred);
    let (report, counted) = run(&[
        "--success",
        &of("", 80),
        "--exit-code",
        &of("1:", 5),
        "--exit-code",
        &of("3:", 4),
        "--exit-code",
        &of("42:", 3),
        "--signal",
        &of("SEGV:", 3),
        "--signal",
        &of("ABRT:", 3),
        "--signal",
        &of("KILL:", 2),
    ]);
    let told = told(100 * hundred, 80 * hundred, 12 * hundred, 8 * hundred);
    assert_eq!(report, told, "the script did not do what it was told");
    assert_eq!(counted, expected(&report, 0));
}

#[test]
fn processes_whose_threads_end_together_are_counted_once_each() {
    if !capability::kernel() {
        return;
    }
    let count = scaled(500);
    let (report, counted) = run(&[
        "--threads",
        &format!("exit-group:{count}"),
        "--threads",
        &format!("killed:{count}"),
        "--threads",
        &format!("each:{}", 2 * count),
    ]);
    let told = told(4 * count, 3 * count, 0, count);
    assert_eq!(report, told, "the script did not do what it was told");
    assert_eq!(counted, expected(&report, 0));
}

#[test]
fn a_thread_that_executes_a_program_ends_the_others_but_not_the_process() {
    if !capability::kernel() {
        return;
    }
    let count = scaled(500);
    let (report, counted) = run(&["--threads", &format!("exec:{count}")]);
    let mut told = told(count, count, 0, 0);
    told["execs"] = json!(2 * count);
    assert_eq!(report, told, "the script did not do what it was told");
    assert_eq!(counted, expected(&report, 0));
}

#[test]
fn the_reason_is_the_one_that_the_parent_is_told_when_threads_end_with_different_codes() {
    if !capability::kernel() {
        return;
    }
    // Which code counts depends on who is last, and on the kernel: the parent's view is the truth.
    let (report, counted) = run(&["--threads", &format!("apart:{}", scaled(1000))]);
    eprintln!("{report}");
    assert_eq!(counted, expected(&report, 0));
}

#[test]
fn a_process_killed_for_want_of_memory_is_counted_as_that_and_once() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let cgroup = tree.child(SESSION);
    agent.wait_for(&[SESSION]);
    let limited = tree.limit_memory(&cgroup, 32 << 20);
    let arguments = [
        "script",
        "--hungry",
        "3",
        "--signal",
        "KILL:2",
        "--success",
        "1",
    ];
    let mut arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
    arguments.extend(["--memory-cgroup".into(), limited.path().into()]);
    let mut script = Workload::start_with(WORKLOAD, &cgroup, arguments);
    let report = script.run();
    let told = told(6, 1, 0, 5);
    assert_eq!(report, told, "the script did not do what it was told");
    let metrics = agent.fresh_metrics();
    assert_eq!(counted(&metrics), expected(&report, 3));
    let kills = metrics.count("vdi_session_oom_kills_total", &[("session", SESSION)]);
    assert_eq!(kills, 3);
    // Why the session ended, should it end now.
    let session = agent.session(SESSION).unwrap();
    assert_eq!(session["last_oom_kill"]["command"], "exe", "{session}");
}

#[test]
fn the_number_of_processes_is_exact_while_they_sleep_and_after() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let cgroup = tree.child(SESSION);
    agent.wait_for(&[SESSION]);
    let alive = || {
        let metrics = agent.fresh_metrics();
        let value = |name: &str| metrics.count(name, &[("session", SESSION)]);
        (value("vdi_session_processes"), value("vdi_session_threads"))
    };
    assert_eq!(alive(), (0, 0));
    let mut sleepers = Workload::start(WORKLOAD, &cgroup, &["sleepers", "--count", "137"]);
    assert_eq!(alive(), (138, 138));
    sleepers.run();
    assert_eq!(alive(), (1, 1));
    drop(sleepers);
    assert_eq!(alive(), (0, 0));
}

#[test]
fn threads_are_counted_beside_processes_and_not_as_forks() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let [cpu, _] = two_cpus();
    let agent = Agent::start(&Configuration::of(&tree));
    let cgroup = tree.child(SESSION);
    agent.wait_for(&[SESSION]);
    let spin = ["spin", "--threads", "5", "--seconds", "0.1", "--cpu", &cpu];
    let mut spin = Workload::start(WORKLOAD, &cgroup, &spin);
    spin.run();
    let metrics = agent.fresh_metrics();
    let value = |name: &str| metrics.count(name, &[("session", SESSION)]);
    assert_eq!(
        (value("vdi_session_processes"), value("vdi_session_threads")),
        (1, 6)
    );
    assert_eq!(counted(&metrics)["forks"], 0);
}

/// So many threads that the agent walks over them only every few seconds.
const CROWD: u64 = 6_000;

#[test]
fn between_two_walks_over_the_threads_who_comes_goes_and_moves_is_counted() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let [cpu, _] = two_cpus();
    let agent = Agent::start(&Configuration::of(&tree));
    let [crowd, first, second] = ["crowd", "first", "second"].map(|name| tree.child(name));
    agent.wait_for(&["crowd", "first", "second"]);
    let threads = scaled(CROWD).to_string();
    // They sleep until they are told to go, which they are not.
    let spin = [
        "spin",
        "--threads",
        &threads,
        "--seconds",
        "1",
        "--cpu",
        &cpu,
    ];
    let _crowd = Workload::start(WORKLOAD, &crowd, &spin);
    let alive = |name: &str| {
        let metrics = agent.fresh_metrics();
        let value = |family: &str| metrics.count(family, &[("session", name)]);
        (value("vdi_session_processes"), value("vdi_session_threads"))
    };
    assert_eq!(alive("crowd"), (1, scaled(CROWD) + 1));
    // Often enough that most of it is between two walks.
    for _ in 0..3 {
        let mut sleepers = Workload::start(WORKLOAD, &first, &["sleepers", "--count", "20"]);
        assert_eq!(alive("first"), (21, 21));
        // The one that started them, and one of them.
        second.take(sleepers.pid());
        let one = first.processes()[0];
        second.take(one);
        assert_eq!(alive("first"), (19, 19));
        assert_eq!(alive("second"), (2, 2));
        sleepers.run();
        assert_eq!(alive("first"), (0, 0));
        assert_eq!(alive("second"), (1, 1));
        drop(sleepers);
        assert_eq!(alive("second"), (0, 0));
    }
    // What has several threads is counted by a walk, which is taken soon.
    let spin = ["spin", "--threads", "5", "--seconds", "1", "--cpu", &cpu];
    let several = Workload::start(WORKLOAD, &first, &spin);
    assert_eq!(alive("first"), (1, 6));
    second.take(several.pid());
    agent.session_that("second", "has the threads", |session| {
        session["threads"] == 6
    });
    assert_eq!(alive("first"), (0, 0));
    drop(several);
    assert_eq!(alive("second"), (0, 0));
    assert_eq!(alive("crowd"), (1, scaled(CROWD) + 1));
}

/// As many forks as the machine can do: 20,000 a second and more on two CPUs, for half a minute.
#[test]
fn a_storm_of_forks_loses_no_count() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let cgroup = tree.child(SESSION);
    agent.wait_for(&[SESSION]);
    let forks = scaled(900_000).to_string();
    let mut storm = Workload::start(WORKLOAD, &cgroup, &["storm", "--forks", &forks]);
    let cpu_before = agent.metrics().value("process_cpu_seconds_total", &[]);
    let report = storm.run();
    let metrics = agent.fresh_metrics();
    let cpu = metrics.value("process_cpu_seconds_total", &[]) - cpu_before;
    let lost: f64 = metrics
        .matching("vdi_agent_events_lost_total", &[])
        .map(|sample| sample.value)
        .sum();
    let seconds = report["seconds"].as_f64().unwrap();
    let done = report["forks"].as_u64().unwrap();
    eprintln!(
        "{:.0} forks a second for {seconds:.1} s; the agent used {cpu:.2} s of CPU; {lost} events lost",
        done as f64 / seconds
    );
    let counted = counted(&metrics);
    // Besides, the processes that fork, half of them by failing: an event each.
    assert_eq!(counted["forks"], report["forks"], "{report}");
    assert_eq!(counted["success"], report["success"], "{report}");
    assert_eq!(counted["error"], report["error"], "{report}");
    assert_eq!(counted["signal"], 0);
}

/// A walk over all threads meets those that are being made, and that are not in their cgroup yet.
#[test]
fn forks_amid_walks_over_the_threads_are_counted() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let [cpu, _] = two_cpus();
    let agent = Agent::start(&Configuration::of(&tree));
    let [forks, first, second] = [SESSION, "first", "second"].map(|name| tree.child(name));
    agent.wait_for(&[SESSION, "first", "second"]);
    // Has several threads, so that each of its moves asks for a walk.
    let spin = ["spin", "--threads", "3", "--seconds", "1", "--cpu", &cpu];
    let several = Workload::start(WORKLOAD, &first, &spin);
    let count = scaled(300_000).to_string();
    let mut storm = Workload::start(WORKLOAD, &forks, &["storm", "--forks", &count]);
    let is_over = AtomicBool::new(false);
    let report = thread::scope(|scope| {
        let (several, is_over) = (several.pid(), &is_over);
        scope.spawn(move || {
            for to in [&second, &first].into_iter().cycle() {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                to.take(several);
                thread::sleep(Duration::from_millis(5));
            }
        });
        let report = storm.run();
        is_over.store(true, Ordering::Relaxed);
        report
    });
    let counted = counted(&agent.fresh_metrics());
    assert_eq!(counted["forks"], report["forks"], "{report}");
    assert_eq!(counted["success"], report["success"], "{report}");
    assert_eq!(counted["error"], report["error"], "{report}");
}

/// Threads in each state of a session, as `/proc` has them: runnable, uninterruptible.
fn states_of(cgroup: &Cgroup) -> [usize; 2] {
    let processes = cgroup.processes();
    let states: Vec<char> = processes.into_iter().flat_map(process::states).collect();
    ['R', 'D'].map(|state| states.iter().filter(|one| **one == state).count())
}

#[test]
fn threads_that_run_and_threads_that_no_signal_reaches_are_told_from_those_that_sleep() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let [busy, stuck, asleep] = ["busy", "stuck", "asleep"].map(|name| tree.child(name));
    agent.wait_for(&["busy", "stuck", "asleep"]);
    let [cpu, _] = two_cpus();
    // Two on one CPU: one of them waits for it at any moment.
    let spin = ["spin", "--threads", "2", "--seconds", "60", "--cpu", &cpu];
    let mut spin = Workload::start(WORKLOAD, &busy, &spin);
    let mut held = Workload::start(WORKLOAD, &stuck, &["held", "--count", "3"]);
    let _sleepers = Workload::start(WORKLOAD, &asleep, &["sleepers", "--count", "4"]);
    spin.go();
    held.run();
    let sessions = [(&busy, "busy"), (&stuck, "stuck"), (&asleep, "asleep")];
    let expected = [[2, 0], [0, 3], [0, 0]];
    wait::until("what the kernel has", wait::patient(SHOW_LIMIT), || {
        let truth = sessions.map(|(cgroup, _)| states_of(cgroup));
        (truth == expected).then_some(())
    });
    let said = |metrics: &Exposition, session: &str| {
        ["runnable", "uninterruptible"].map(|state| {
            let labels = [("session", session), ("state", state)];
            metrics.find("vdi_session_threads_by_state", &labels)
        })
    };
    let walked = |expected: [[usize; 2]; 3]| {
        let expected = expected.map(|both| both.map(|threads| Some(threads as f64)));
        wait::until("a walk", wait::patient(WALK_LIMIT), || {
            let metrics = agent.fresh_metrics();
            let all = sessions.map(|(_, name)| said(&metrics, name));
            eprintln!("{all:?}");
            (all == expected).then_some(())
        });
    };
    walked(expected);
    let reported = agent.session("stuck").expect("it is there");
    let by_state = &reported["threads_by_state"];
    assert_eq!(by_state, &json!({ "runnable": 0, "uninterruptible": 3 }));
    // With those who made them the processes go that share their memory.
    drop((spin, held));
    walked([[0; 2]; 3]);
}
