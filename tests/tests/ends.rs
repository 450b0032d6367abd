//! Why sessions end: what became of the last of their processes, counted once each.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use integration_tests::{
    agent::{Agent, Configuration, SHOW_LIMIT},
    capability,
    cgroup::{Cgroup, Tree},
    exposition::Exposition,
    process, wait,
};

const ENDED: &str = "vdi_session_ended_total";
const STARTED: &str = "vdi_sessions_started_total";

/// A shell that ends as it is told, once it is in the cgroup and its standard input is closed.
fn ending(cgroup: &Cgroup, how: &str) -> Child {
    let child = Command::new("sh")
        .args(["-c", &format!("read nothing; {how}")])
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell starts");
    cgroup.take(child.id());
    child
}

#[test]
fn each_end_is_counted_once_by_what_became_of_the_last_process() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    // Not one of those that begin.
    let _old = tree.child("old");
    let agent = Agent::start(&Configuration::of(&tree));
    agent.wait_for(&["old"]);
    let begun = |metrics: &Exposition| metrics.count(STARTED, &[("template", "child")]);
    assert_eq!(begun(&agent.fresh_metrics()), 0);
    let cases = [
        ("fine", "exit 0"),
        ("broken", "exit 3"),
        ("killed", "kill -TERM $$"),
        // The last one to end decides, not the first one.
        ("outlived", "(sleep 0.3; exit 5) & exit 0"),
    ];
    for (name, how) in cases {
        let cgroup = tree.child(name);
        agent.wait_for(&[name]);
        let mut child = ending(&cgroup, how);
        drop(child.stdin.take());
        process::wait(&mut child, Duration::from_secs(5)).expect("the shell ends");
        wait::until("all of it has ended", SHOW_LIMIT, || {
            cgroup.processes().is_empty().then_some(())
        });
    }
    // Nothing was ever in it.
    let empty = tree.child("empty");
    agent.wait_for(&["empty"]);
    drop(empty);
    let metrics = wait::until("all five have ended", SHOW_LIMIT * 2, || {
        let metrics = agent.metrics();
        let ended: f64 = metrics.matching(ENDED, &[]).map(|s| s.value).sum();
        (ended >= 5.0).then_some(metrics)
    });
    let count = |reason| metrics.count_if_any(ENDED, &[("template", "child"), ("reason", reason)]);
    assert_eq!(begun(&metrics), 5);
    let counted = ["completed", "error", "signal", "unknown"].map(count);
    assert_eq!(counted, [1, 2, 1, 1]);
    assert_eq!(count("oom_killed") + count("gpu_error"), 0);
    // Nothing is counted again while the ended ones linger.
    let again = agent.fresh_metrics();
    let ended: f64 = again.matching(ENDED, &[]).map(|s| s.value).sum();
    assert!((ended - 5.0).abs() < 0.5, "{ended}");
    assert_eq!(begun(&again), 5);
}
