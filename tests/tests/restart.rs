//! The agent is killed and started again in the midst of sessions: beginnings, ends and durations are right,
//! and nothing is counted twice.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use integration_tests::{
    agent::{Agent, Configuration, SHOW_LIMIT},
    capability,
    cgroup::{Cgroup, Tree},
    exposition::Exposition,
    process, wait,
};
use nix::sys::signal::Signal;
use sessionscope::telemetry::Event;

const SESSIONS: usize = 50;
const ENDED: &str = "vdi_session_ended_total";
const START: &str = "vdi_session_start_time_seconds";

/// A session with a process that ends well when its standard input is closed.
struct Desk {
    name: String,
    process: Child,
    // Dropped last: a cgroup with processes stays.
    _cgroup: Cgroup,
}

impl Desk {
    fn open(tree: &Tree, number: usize) -> Self {
        let name = format!("desk-{number}");
        let cgroup = tree.child(&name);
        let process = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("a process starts");
        cgroup.take(process.id());
        Self {
            name,
            process,
            _cgroup: cgroup,
        }
    }

    fn close(mut self) {
        drop(self.process.stdin.take());
        process::wait(&mut self.process, Duration::from_secs(5)).expect("it ends");
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}

fn starts(metrics: &Exposition) -> BTreeMap<String, f64> {
    let samples = metrics.matching(START, &[]);
    samples
        .map(|sample| (sample.labels["session"].clone(), sample.value))
        .collect()
}

fn ended(metrics: &Exposition, reason: &str) -> u64 {
    metrics.count_if_any(ENDED, &[("template", "child"), ("reason", reason)])
}

#[test]
fn nothing_is_lost_or_counted_twice_over_a_kill_in_the_midst_of_sessions() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let folder = tempfile::tempdir().unwrap();
    let state: [(&str, PathBuf); 1] = [(
        "SESSIONSCOPE_SESSIONS_STATE",
        folder.path().join("sessions.json"),
    )];
    let configuration = Configuration::of(&tree);
    let mut first = Agent::start_with(&configuration, &state);
    let mut desks: Vec<Desk> = (0..SESSIONS).map(|n| Desk::open(&tree, n)).collect();
    let names: Vec<String> = desks.iter().map(|desk| desk.name.clone()).collect();
    first.wait_for(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let before = starts(&first.fresh_metrics());
    assert_eq!(before.len(), SESSIONS);
    first.signal(Signal::SIGKILL);
    first.ended(SHOW_LIMIT).expect("it is dead");

    // While it is away, ten end and two begin.
    desks.drain(..10).for_each(Desk::close);
    desks.extend((SESSIONS..SESSIONS + 2).map(|n| Desk::open(&tree, n)));
    thread::sleep(Duration::from_secs(1));
    let second = Agent::start_with(&configuration, &state);
    let metrics = second.fresh_metrics();
    let after = starts(&metrics);
    assert_eq!(after.len(), SESSIONS - 10 + 2);
    for (name, began) in &after {
        if let Some(before) = before.get(name) {
            assert!((began - before).abs() < 0.001, "{name}: {before}, {began}");
        }
    }
    assert_eq!(ended(&metrics, "unknown"), 10);
    let all = metrics.matching(ENDED, &[]).map(|s| s.value).sum::<f64>();
    assert!((all - 10.0).abs() < 0.5, "{all}");
    // How long those lasted that nobody saw end is not known.
    let durations = "vdi_session_duration_seconds_count";
    let mut known = metrics.matching(durations, &[]).map(|s| s.value);
    assert!(known.all(|count| count < 0.5));

    desks.drain(..5).for_each(Desk::close);
    wait::until("five more have ended", SHOW_LIMIT * 2, || {
        (ended(&second.metrics(), "completed") == 5).then_some(())
    });
    let metrics = second.fresh_metrics();
    let labels = [("template", "child"), ("reason", "completed")];
    assert_eq!(metrics.count(durations, &labels), 5);
    let lasted = metrics.value("vdi_session_duration_seconds_sum", &labels) / 5.0;
    // From before the kill, which the second agent has not seen.
    assert!((1.0..60.0).contains(&lasted), "{lasted} s");
    assert_eq!(ended(&metrics, "unknown"), 10);

    // An orderly restart with nothing in between.
    drop(second);
    let third = Agent::start_with(&configuration, &state);
    let metrics = third.fresh_metrics();
    assert_eq!(starts(&metrics).len(), SESSIONS - 10 + 2 - 5);
    let mut again = metrics.matching(ENDED, &[]).map(|s| s.value);
    assert!(again.all(|count| count < 0.5));
}

/// Where an agent is told to keep its sessions.
fn kept_in(path: &Path) -> [(&'static str, PathBuf); 1] {
    [("SESSIONSCOPE_SESSIONS_STATE", path.to_owned())]
}

#[test]
fn a_state_that_cannot_be_written_is_tried_again_until_it_can() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let _desk = tree.child("desk");
    let folder = tempfile::tempdir().unwrap();
    // No folder can be made there.
    let blocker = folder.path().join("state");
    fs::write(&blocker, "").unwrap();
    let state = blocker.join("sessions.json");
    let agent = Agent::start_with(&Configuration::of(&tree), &kept_in(&state));
    agent.wait_for(&["desk"]);
    let warned = || {
        let records = agent.log();
        records.matches("sessions.state not written").count()
    };
    wait::until("it is said", SHOW_LIMIT, || (warned() > 0).then_some(()));
    // Some samples, which have nothing new to keep.
    thread::sleep(Duration::from_secs(1));
    assert_eq!(warned(), 1);
    fs::remove_file(&blocker).unwrap();
    wait::until("the state is written", SHOW_LIMIT, || {
        fs::read_to_string(&state)
            .ok()?
            .contains("desk")
            .then_some(())
    });
    wait::until("that is said too", SHOW_LIMIT, || {
        (agent.logged(Event::StateWritten).len() == 1).then_some(())
    });
    let permissions = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((permissions(&blocker), permissions(&state)), (0o700, 0o600));
}

#[test]
fn a_state_that_another_user_may_have_written_is_not_counted() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let desk = tree.child("desk");
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("sessions.json");
    let configuration = Configuration::of(&tree);
    let first = Agent::start_with(&configuration, &kept_in(&state));
    first.wait_for(&["desk"]);
    wait::until("the state is written", SHOW_LIMIT, || {
        fs::read_to_string(&state)
            .ok()?
            .contains("desk")
            .then_some(())
    });
    drop(first);
    drop(desk);
    chown(&state, Some(1000), None).unwrap();
    let second = Agent::start_with(&configuration, &kept_in(&state));
    let metrics = second.fresh_metrics();
    assert_eq!(ended(&metrics, "unknown"), 0);
    let log = second.log();
    assert!(
        log.contains("others may have written it (owner 1000"),
        "{log}"
    );
}
