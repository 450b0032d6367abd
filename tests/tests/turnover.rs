//! Sessions come and go while slots, names and the cap stay: what an ended session leaves behind must
//! neither be lost too early nor be taken for the next one's.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    accounts::Accounts,
    agent::{Agent, Configuration},
    capability,
    cgroup::Tree,
    exposition::Exposition,
    sockets::{connect, listen},
    wait,
    workload::{Workload, two_cpus},
};
use serde_json::{Value, json};
use sessionscope::telemetry::Event;

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
/// What joining a session and being killed in it may take of a CPU.
const SLACK: Duration = Duration::from_millis(20);

#[test]
fn sessions_that_use_the_same_slot_one_after_the_other_share_nothing() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let [cpu, _] = two_cpus();
    let configuration = Configuration::of(&tree).set("sessions.max_sessions", "2");
    let agent = Agent::start(&configuration.set("sessions.linger", "\"5m\""));
    // One that stays, and has been preempted by one that goes.
    let [witness, rival] = ["witness", "rival"].map(|name| tree.child(name));
    agent.wait_for(&["witness", "rival"]);
    let spin = ["spin", "--real-time", "1", "--seconds", "1", "--cpu", &cpu];
    let mut watching = Workload::start(WORKLOAD, &witness, &spin);
    let interrupt = [
        "interrupt",
        "--real-time",
        "2",
        "--seconds",
        "1",
        "--cpu",
        &cpu,
    ];
    let mut interrupting = Workload::start(WORKLOAD, &rival, &interrupt);
    watching.go();
    interrupting.run();
    watching.finish();
    let rivals_account = Accounts::settled(&rival);
    agent.session_that("witness", "names its rival", |session| {
        session["preempted_by"][0]["session"] == "rival"
    });
    // It has been a client of itself, too.
    let listener = listen(&rival);
    let near = connect(&rival, &listener);
    drop((near, listener.accept(), listener));
    drop(interrupting);
    rival.remove();

    let found = |agent: &Agent, name: &str| {
        agent
            .logged(Event::SessionFound)
            .into_iter()
            .find(|record| record["session"] == name)
    };
    let slack = wait::patient(SLACK).as_secs_f64();
    let runs = 90;
    // Another number than that of the run before in the same slot, some sixty runs ago.
    let processes = |run: usize| 1 + run % 7;
    let mut usages = Vec::new();
    for run in 0..runs {
        let name = format!("run-{run}");
        let cgroup = tree.child(&name);
        wait::until(
            &format!("{name} has a slot"),
            Duration::from_secs(10),
            || found(&agent, &name),
        );
        let count = processes(run).to_string();
        let mut script = Workload::start(WORKLOAD, &cgroup, &["script", "--success", &count]);
        script.run();
        usages.push(cgroup.cpu_usage());
    }
    // The last look at an ended session is 2 s after its end.
    thread::sleep(Duration::from_secs(3));
    let report = agent.report();
    let sessions = report["sessions"].as_array().unwrap();
    let session = |name: &str| {
        let mut found = sessions.iter().filter(|session| session["session"] == name);
        found
            .next()
            .unwrap_or_else(|| panic!("{name} is gone"))
            .clone()
    };

    let mut users = BTreeMap::<u64, Vec<String>>::new();
    for record in agent.logged(Event::SessionFound) {
        let name = record["session"].as_str().unwrap().to_owned();
        users
            .entry(record["slot"].as_u64().unwrap())
            .or_default()
            .push(name);
    }
    let shared = users.values().filter(|names| names.len() > 1).count();
    assert!(
        shared >= 10,
        "only {shared} slots were used twice: {users:?}"
    );
    let rivals = users
        .values()
        .find(|names| names.contains(&"rival".to_owned()))
        .unwrap();
    assert!(
        rivals.len() > 1,
        "the rival's slot was not used again: {users:?}"
    );

    for (run, usage) in usages.iter().enumerate() {
        let name = format!("run-{run}");
        let session = session(&name);
        // The workload itself, which did not begin there, ended there.
        let expected = json!({
            "forks": processes(run),
            "execs": processes(run),
            "exits": { "success": processes(run), "error": 0, "signal": 1, "oom_killed": 0 },
        });
        assert_eq!(session["process"], expected, "{name}");
        assert!(session["ended"].as_bool().unwrap(), "{name}");
        let (cpu, had) = (
            session["cpu_seconds"].as_f64().unwrap(),
            usage.as_secs_f64(),
        );
        assert!(
            (cpu - had).abs() < slack,
            "{name}: {cpu} s where the kernel had {had} s"
        );
    }
    let metrics = agent.metrics();
    let opened = |session: &str| {
        let labels = [("session", session)];
        let sides = metrics.matching("vdi_session_tcp_connections_opened_total", &labels);
        sides.map(|side| side.value as u64).sum::<u64>()
    };
    assert_eq!(opened("rival"), 2);
    for heir in rivals.iter().filter(|name| *name != "rival") {
        assert_eq!(opened(heir), 0, "{heir} has connections of the rival's");
    }
    let rival = session("rival");
    // What it had when it was killed, and the kill; but not what it had before it joined, which the
    // kernel's account of the process has and the session's must not.
    let (cpu, had) = (
        rival["cpu_seconds"].as_f64().unwrap(),
        rivals_account.cpu_ns as f64 / 1e9,
    );
    assert!(
        (cpu - had).abs() < slack,
        "{cpu} s where the kernel had {had} s"
    );
    // The rival's name must not pass to who has its slot now.
    let preemptors = session("witness")["preempted_by"]
        .as_array()
        .unwrap()
        .clone();
    let others = preemptors
        .iter()
        .filter(|one| one["session"] != "rival")
        .count();
    assert_eq!(others, 0, "{preemptors:?}");
    let overflowed = agent
        .metrics()
        .count("vdi_agent_sessions_overflowed_total", &[]);
    assert_eq!(
        overflowed, 0,
        "sessions that followed each other were over the cap"
    );
}

#[test]
fn a_session_past_the_cap_is_counted_and_adopted_when_there_is_room() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree).set("sessions.max_sessions", "2"));
    let [first, _second] = ["first", "second"].map(|name| tree.child(name));
    agent.wait_for(&["first", "second"]);
    let third = tree.child("third");
    let sleepers = Workload::start(WORKLOAD, &third, &["sleepers", "--count", "3"]);
    let metrics = agent.fresh_metrics();
    let count = |metrics: &Exposition, name: &str| metrics.count(name, &[]);
    assert_eq!(count(&metrics, "vdi_agent_sessions_overflowed_total"), 1);
    assert_eq!(count(&metrics, "vdi_agent_sessions_tracked"), 2);
    assert_eq!(count(&metrics, "vdi_agent_sessions_limit"), 2);
    assert!(
        !metrics
            .values_of("vdi_session_info", "session")
            .contains("third")
    );
    let report = agent.report();
    assert_eq!(report["agent"]["sessions_overflowed"], 1);
    assert_eq!(report["sessions"].as_array().unwrap().len(), 2);
    let log = agent.log();
    assert!(
        log.contains("max_sessions") && log.contains("third"),
        "{log}"
    );

    first.remove();
    let began = Instant::now();
    // Slots rest twice for 2 s: once until the last look at an ended session, once before they are used.
    let third = wait::until(
        "the third session is adopted",
        Duration::from_secs(8),
        || {
            agent
                .session("third")
                .filter(|session| session["processes"] == 4)
        },
    );
    eprintln!("adopted after {:?}", began.elapsed());
    assert_eq!(third["ended"], false);
    let metrics = agent.fresh_metrics();
    assert_eq!(
        count(&metrics, "vdi_agent_sessions_overflowed_total"),
        1,
        "counted twice"
    );
    assert_eq!(count(&metrics, "vdi_agent_sessions_tracked"), 2);
    drop(sleepers);
}

#[test]
fn an_ended_sessions_series_stay_for_the_linger_and_then_vanish() {
    if !capability::kernel() {
        return;
    }
    let linger = Duration::from_secs(3);
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree).set("sessions.linger", "\"3s\""));
    let cgroup = tree.child("desk");
    agent.wait_for(&["desk"]);
    Workload::start(WORKLOAD, &cgroup, &["script", "--exit-code", "3:4"]).run();
    cgroup.remove();
    let ended = Instant::now();
    let session = agent.session_that("desk", "has ended", |session| session["ended"] == true);
    assert_eq!(session["phase"], Value::Null);
    let mut seen_at = ended.elapsed();
    let gone_at = wait::until("the session is gone", 2 * linger, || {
        let metrics = agent.metrics();
        let series = metrics
            .samples
            .iter()
            .filter(|sample| {
                sample
                    .labels
                    .get("session")
                    .is_some_and(|name| name == "desk")
            })
            .count();
        if series == 0 {
            return Some(ended.elapsed());
        }
        seen_at = ended.elapsed();
        let labels = [("session", "desk"), ("reason", "error")];
        assert_eq!(metrics.count("vdi_session_process_exits_total", &labels), 4);
        assert_eq!(metrics.count("vdi_agent_sessions_tracked", &[]), 0);
        None
    });
    eprintln!("last seen after {seen_at:?}, gone after {gone_at:?}");
    let sample = Duration::from_millis(200);
    assert!(
        gone_at >= linger.checked_sub(sample).unwrap(),
        "gone after {gone_at:?}"
    );
    assert!(
        gone_at <= linger + 3 * sample,
        "still there {seen_at:?} after the end"
    );
    assert!(agent.session("desk").is_none());
}

#[test]
fn a_name_used_again_while_it_lingers_is_a_new_session_with_counters_of_its_own() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree).set("sessions.linger", "\"1m\""));
    for forks in [7_u64, 2] {
        let cgroup = tree.child("desk");
        agent.session_that("desk", "is live", |session| session["ended"] == false);
        let count = forks.to_string();
        Workload::start(WORKLOAD, &cgroup, &["script", "--success", &count]).run();
        // Parsing refuses a series that is there twice.
        let metrics = agent.fresh_metrics();
        let counted = metrics.count("vdi_session_process_forks_total", &[("session", "desk")]);
        assert_eq!(counted, forks);
        cgroup.remove();
        agent.session_that("desk", "has ended", |session| session["ended"] == true);
    }
}
