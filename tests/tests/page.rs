//! The status page in a real browser: sessions that really run, keys, the mouse, hostile names, and what it asks for.

use std::{fs, process::Command, thread, time::Duration};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::Tree,
    drawing::{prepared, run},
    sockets::inside,
    target_directory,
    workload::{Workload, two_cpus},
};
use serde_json::Value;

/// A session whose name would be a picture that runs a script.
const HOSTILE: &str = "<img src=x onerror=alert(1)>";
const BUSY: &str = "busy-desktop";

#[test]
fn sessions_are_seen_sorted_found_entered_and_left_and_nothing_leaves_the_host() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let sessions = [HOSTILE, BUSY, "quiet"].map(|name| tree.child(name));
    let agent = Agent::start(&Configuration::of(&tree).set("sessions.linger", "\"1s\""));
    agent.wait_for(&[HOSTILE, BUSY, "quiet"]);
    let left = tree.child("left");
    agent.wait_for(&["left"]);
    let ends = inside(&left, || Command::new("sh").args(["-c", "exit 3"]).status());
    assert_eq!(ends.expect("sh").code(), Some(3));
    agent.session_that("left", "has had a process", |session| {
        session["process"]["exits"]["error"] == 1
    });
    drop(left);
    let [cpu, _] = two_cpus();
    let arguments = ["spin", "--cpu", &cpu, "--threads", "3", "--seconds", "85"];
    let mut work = Workload::start(env!("CARGO_BIN_EXE_workload"), &sessions[1], &arguments);
    work.go();
    // Three steps of a history.
    thread::sleep(Duration::from_secs(15));
    let pictures = target_directory().join("status-page");
    let said = run(Command::new("node")
        .arg("status.mjs")
        .args(["--url", &format!("http://{}/", agent.address())])
        .args([
            "--agent",
            &agent.pid().to_string(),
            "--session",
            BUSY,
            "--out",
        ])
        .arg(&pictures)
        .current_dir(prepared()));
    eprintln!("{said}");
    let seen: Value = serde_json::from_str(said.trim()).expect("JSON");
    let names = |key: &str| -> Vec<&str> {
        let all = seen[key].as_array().expect("a list");
        all.iter()
            .map(|one| one.as_str().expect("a text"))
            .collect()
    };
    // As it is called, and nothing of it was done.
    assert!(names("names").contains(&HOSTILE), "{seen:#}");
    assert_eq!(seen["images"], 0);
    assert_eq!(names("names")[0], BUSY, "it waits longest");
    let node = seen["node"].as_str().expect("a line");
    assert!(node.starts_with("3 sessions: "), "{node}");
    assert_eq!(names("byName"), [HOSTILE, BUSY, "quiet"]);
    assert_eq!(names("byNameReversed"), ["quiet", BUSY, HOSTILE]);
    assert_eq!(seen["ariaSort"], "descending");
    assert_eq!(names("found"), [BUSY]);
    assert_eq!(seen["count"], "1 of 3 sessions");
    // Its page, by keys.
    assert_eq!(
        (&seen["title"], &seen["focus"]),
        (&BUSY.into(), &"main".into())
    );
    assert!(names("plots").contains(&"CPUs"), "{seen:#}");
    // For who does not see it: what the plot has last, which is a part of a CPU beside other tests.
    let label = names("labels")[0]
        .strip_prefix("CPUs: in use ")
        .expect("words");
    let used = label
        .split(',')
        .next()
        .and_then(|used| used.parse::<f64>().ok());
    assert!(
        used.is_some_and(|used| (0.02..1.2).contains(&used)),
        "{label}"
    );
    assert!(!names("findings").is_empty());
    assert_eq!(names("processes"), ["workload"]);
    let ended = names("ended");
    assert!(
        ended.len() == 1 && ended[0].starts_with("left | tests / child | "),
        "{ended:?}"
    );
    assert!(
        ended[0].contains("error: the last of its processes to end returned 3"),
        "{ended:?}"
    );
    let crosses = names("crosses");
    assert!(
        crosses
            .iter()
            .all(|cross| *cross == crosses[0] && cross.starts_with("visible ")),
        "{crosses:?}"
    );
    assert!(names("programs").contains(&"sched_switch"), "{seen:#}");
    // Away, and back by itself; what was searched for still is.
    let away = seen["away"].as_str().expect("a sentence");
    assert!(away.contains("The agent does not answer"), "{away}");
    assert_eq!(
        (&seen["rowsWhileAway"], &seen["loads"]),
        (&1.into(), &1.into())
    );
    // Nothing is wider than the screen, nothing went wrong but the questions while it was away, nobody else was asked.
    for (view, wider) in seen["wider"].as_object().expect("views") {
        assert_eq!(*wider, 0, "{view}");
    }
    let errors = names("errors");
    let unexpected: Vec<_> = errors
        .iter()
        .filter(|error| !error.contains("ERR_INTERNET_DISCONNECTED"))
        .collect();
    assert_eq!(unexpected, [&""; 0]);
    assert_eq!(names("hosts"), [agent.address().to_string()]);
    // What axe-core finds serious; how long frames take is for a person to read, above.
    let faults = names("faults");
    let serious: Vec<_> = faults
        .iter()
        .filter(|fault| fault.starts_with("serious") || fault.starts_with("critical"))
        .collect();
    assert_eq!(serious, [&""; 0]);
    assert_eq!(
        (&seen["crowd"]["rows"], &seen["crowd"]["found"]),
        (&1000.into(), &11.into())
    );
    let policy = seen["policy"].as_str().expect("a policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'"),
        "{policy}"
    );
    for picture in [
        "list",
        "list-narrow",
        "session",
        "session-dark",
        "session-narrow",
        "agent",
    ] {
        let picture = pictures.join(format!("{picture}.png"));
        assert!(
            fs::metadata(&picture).is_ok_and(|picture| picture.len() > 5_000),
            "{picture:?}"
        );
    }
}
