//! How a session starts: the kernel's stamps against a script that is known to the millisecond.

use std::{
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::Tree,
    exposition::Exposition,
    sockets::inside,
    wait::{self, patient},
    workload::Workload,
};

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
const STARTUP: &str = "vdi_session_startup_seconds";
/// How far a stamp may be from what it stamps.
const PROMISE: Duration = Duration::from_millis(20);

/// Between two samples, and how much later one may be.
const SAMPLE: Duration = Duration::from_secs(1);
const SLACK: Duration = Duration::from_millis(500);
const SETTLED: [(&str, &str); 2] = [("template", "child"), ("milestone", "settled")];

/// When a milestone was reached, of the one session of the template that has reached it.
fn at(metrics: &Exposition, milestone: &str) -> Duration {
    let labels = [("template", "child"), ("milestone", milestone)];
    assert_eq!(
        metrics.count(&format!("{STARTUP}_count"), &labels),
        1,
        "{milestone}"
    );
    Duration::from_secs_f64(metrics.value(&format!("{STARTUP}_sum"), &labels))
}

#[test]
fn the_milestones_of_a_scripted_session_are_where_the_script_has_them() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let before = Instant::now();
    let desk = tree.child("desk");
    let made = Instant::now();
    agent.wait_for(&["desk"]);
    let until = |passed: Duration| thread::sleep(passed.saturating_sub(made.elapsed()));
    // What is done, and from when to when after the making of the cgroup it was.
    let step = |after: Duration| {
        until(after);
        made.elapsed()
    };
    let began = step(Duration::from_millis(500));
    let _process = Workload::start(WORKLOAD, &desk, &["idle"]);
    let process = [began, made.elapsed()];
    let began = step(Duration::from_secs(1));
    let listener = inside(&desk, || TcpListener::bind(("127.0.0.1", 0)).unwrap());
    let listening = [began, made.elapsed()];
    let began = step(Duration::from_secs(2));
    // A client from outside of any session.
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let client = [began, made.elapsed()];
    // Later ones change nothing.
    let _second = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let metrics = agent.fresh_metrics();
    let burn = ["burn", "--cpu", "0", "--seconds", "600"];
    let mut busy = Workload::start(WORKLOAD, &desk, &burn);
    busy.go();
    // The cgroup was made between `before` and `made`.
    let making = made.duration_since(before);
    for (milestone, [from, to]) in [
        ("first_process", process),
        ("first_listener", listening),
        ("first_client", client),
    ] {
        let said = at(&metrics, milestone);
        eprintln!("{milestone}: {said:?}, done between {from:?} and {to:?}");
        assert!(
            said + PROMISE >= from,
            "{milestone}: {said:?}, not before {from:?}"
        );
        assert!(
            said <= to + making + PROMISE,
            "{milestone}: {said:?}, not after {to:?}"
        );
    } // It works for more than a sample, and then no more.
    thread::sleep(Duration::from_secs(2));
    assert_eq!(
        agent
            .fresh_metrics()
            .find(&format!("{STARTUP}_count"), &SETTLED),
        Some(0.0)
    );
    drop(busy);
    let calm = made.elapsed();
    let metrics = wait::until("it has settled", patient(Duration::from_secs(15)), || {
        let metrics = agent.fresh_metrics();
        let settled = metrics.find(&format!("{STARTUP}_count"), &SETTLED);
        (settled == Some(1.0)).then_some(metrics)
    });
    let said = at(&metrics, "settled");
    eprintln!("settled: {said:?}, calm from {calm:?} on");
    // Known to the sample, a tenth of which may have been used by one that is calm.
    assert!(said + SAMPLE / 10 + PROMISE >= calm, "{said:?}, {calm:?}");
    assert!(said <= calm + making + SAMPLE + SLACK, "{said:?}, {calm:?}");
}
