//! What is concluded from a session's last minutes: the cause comes first, and where nothing is wrong nothing is said.
//!
//! Limits and a slow disk are in `limits.rs`, a client that is far away and loses in `netem.rs`, an application that hangs in
//! `input/hangs.rs`, a GPU that is full in `gpu.rs`: what makes the trouble is there.

use std::{
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use integration_tests::{
    agent::{Agent, Configuration, binary},
    capability,
    cgroup::{Cgroup, Tree},
    findings::{causes, first_is},
    wait::{self, patient},
    workload::{Workload, two_cpus},
};
use serde_json::Value;

/// A step of five seconds, and a sample.
const SOON: Duration = Duration::from_secs(10);
const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");

/// An agent, and the sessions of these names.
fn stage<const N: usize>(names: [&str; N]) -> Option<(Tree, Agent, [Cgroup; N])> {
    stage_with(names, |configuration| configuration)
}

fn stage_with<const N: usize>(
    names: [&str; N],
    change: impl FnOnce(Configuration) -> Configuration,
) -> Option<(Tree, Agent, [Cgroup; N])> {
    if !capability::kernel() {
        return None;
    }
    let tree = Tree::new();
    let sessions = names.map(|name| tree.child(name));
    let agent = Agent::start(&change(Configuration::of(&tree)));
    agent.wait_for(&names);
    Some((tree, agent, sessions))
}

fn work(session: &Cgroup, arguments: &[&str]) -> Workload {
    let mut workload = Workload::start(WORKLOAD, session, arguments);
    workload.go();
    workload
}

/// The page on a session, as a person reads it.
fn page(agent: &Agent, session: &str) -> String {
    let output = Command::new(binary())
        .args(["explain", session, "--address"])
        .arg(agent.address().to_string())
        .output()
        .expect("the command starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_noisy_neighbour_is_found_and_named_and_a_quiet_session_has_nothing() {
    let Some((_tree, agent, [victim, neighbour, quiet])) = stage(["victim", "neighbour", "quiet"])
    else {
        return;
    };
    let [cpu, _] = two_cpus();
    let _quiet = work(&quiet, &["idle"]);
    let spin = |session: &Cgroup, threads: &str| {
        let arguments = ["spin", "--cpu", &cpu, "--threads", threads];
        work(session, &[&arguments[..], &["--seconds", "80"]].concat())
    };
    let _work = (spin(&victim, "1"), spin(&neighbour, "9"));
    first_is(&agent, "victim", "cpu_contention");
    let page = page(&agent, "victim");
    let mut lines = page.lines().skip_while(|line| *line != "Held back by");
    let said = lines.nth(1).unwrap_or_default();
    for part in [
        "the last minute   others have the CPUs: ",
        "of the CPU time that it wanted it waited for others (much is 5 %)",
        "since the agent found it most often by neighbour (",
    ] {
        assert!(said.contains(part), "{page}");
    }
    assert_eq!(causes(&agent, "quiet"), [""; 0]);
}

#[test]
fn threads_that_nothing_wakes_are_found() {
    let Some((_tree, agent, [hung])) = stage(["hung"]) else {
        return;
    };
    let _held = work(&hung, &["held", "--count", "2"]);
    first_is(&agent, "hung", "threads_blocked");
}

/// Numbers of a figure, null where there are none.
fn figure(history: &Value, ring: &str, name: &str) -> Vec<Option<f64>> {
    let values = history[ring]["figures"][name].as_array();
    let values = values.unwrap_or_else(|| panic!("{name} of {ring} in {history}"));
    values.iter().map(Value::as_f64).collect()
}

fn history(agent: &Agent, session: &str) -> Value {
    let session = agent.session(session).expect("the session is there");
    let id = session["id"].as_str().expect("an id");
    let answer = agent.get(&format!("/api/v1/sessions/{id}/history"), &[]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let history: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(history["session"], session["session"]);
    history
}

#[test]
fn each_step_of_a_history_says_what_was_done_in_it() {
    let Some((_tree, agent, [desk])) = stage(["desk"]) else {
        return;
    };
    let [cpu, _] = two_cpus();
    let mut burner = work(&desk, &["burn", "--cpu", &cpu, "--seconds", "12"]);
    burner.finish();
    let of_cpus = |history: &Value| figure(history, "minutes", "cpus");
    let before = of_cpus(&history(&agent, "desk")).len();
    // The step in which it ended is over.
    let history = wait::until("another step", patient(SOON), || {
        let history = history(&agent, "desk");
        (of_cpus(&history).len() > before).then_some(history)
    });
    let cpus = of_cpus(&history);
    // Whatever else runs, and wherever the steps begin: together they are the truth.
    let sum: f64 = cpus.iter().flatten().sum::<f64>() * 5.0;
    let truth = agent.session("desk").expect("it is there")["cpu_seconds"].as_f64();
    let truth = truth.expect("a number");
    eprintln!("{cpus:?}: {sum} s of {truth} s");
    assert!((sum - truth).abs() < 0.02 * truth, "{sum} s of {truth} s");
    assert!(cpus.iter().flatten().all(|one| *one < 1.5), "{cpus:?}");
    let length = |ring: &str| history[ring]["step_seconds"].as_f64();
    assert_eq!(["minutes", "day"].map(length), [Some(5.0), Some(300.0)]);
    let end = history["minutes"]["end_time"].as_f64().expect("a time");
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let ago = now.expect("after 1970").as_secs_f64() - end;
    let possible = -0.5..patient(SOON).as_secs_f64();
    assert!(possible.contains(&ago), "{ago} s ago");
    // Nothing of what nobody knows.
    assert_eq!(history["minutes"]["figures"].get("gpus"), None);
    for path in ["/api/v1/sessions/0123", "/api/v1/sessions/0123/history"] {
        let missing = agent.get(path, &[]);
        assert_eq!(missing.status, 404, "{path}");
        let missing: Value = serde_json::from_slice(&missing.body).expect("JSON");
        let said = missing["error"].as_str().expect("a sentence");
        assert!(said.contains("no session has the id \"0123\""), "{said}");
    }
    let id = history["id"].as_str().expect("an id");
    let one = agent.get(&format!("/api/v1/sessions/{id}"), &[]).text();
    let one: Value = serde_json::from_str(&one).expect("JSON");
    assert_eq!((&one["session"], &one["id"]), (&"desk".into(), &id.into()));
}

#[test]
fn without_a_history_nothing_is_concluded() {
    let Some((_tree, agent, [desk])) = stage_with(["desk"], |configuration| {
        configuration.set("sessions.history", "\"off\"")
    }) else {
        return;
    };
    let _idle = work(&desk, &["idle"]);
    let session = agent.session("desk").expect("the session is there");
    assert_eq!(session["findings"], Value::Null);
    let id = session["id"].as_str().expect("an id");
    let answer = agent.get(&format!("/api/v1/sessions/{id}/history"), &[]);
    assert_eq!(answer.status, 404);
    let page = page(&agent, "desk");
    let said = "not known: the agent keeps no history of it";
    assert!(page.contains(said), "{page}");
}
