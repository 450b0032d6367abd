use super::*;
use crate::api::Report;

/// See the tests of the table.
const RECORDED: &str = include_str!("../recorded.json");
const NOW: f64 = 1_763_742_342.0;

/// The page on a session, without colours.
fn page_on(name: &str) -> String {
    let report: Report = serde_json::from_str(RECORDED).unwrap();
    let session = report.sessions.iter().find(|s| s.session == name);
    let page = page(session.unwrap(), &report.gpus, NOW);
    anstream::adapter::strip_str(&page).to_string()
}

#[test]
fn the_page_says_who_it_is_and_where_that_comes_from() {
    let page = page_on("desk");
    assert!(page.starts_with("SESSION desk\n"));
    let identity = "
Identity
  session           desk
  namespace         vdi
  template          desktop
  found by          the rule \"desktops\" on the path of its cgroup
  cgroup            /rec-test/desk
";
    assert!(page.contains(identity), "{page}");
}

#[test]
fn the_start_is_a_time_line() {
    let start = "
Start
  first process          1 s  ████████████
  first listener       2.7 s  ············████████████████████
  first client         3.4 s  ································████████
";
    let page = page_on("desk");
    assert!(page.contains(start), "{page}");
}

#[test]
fn every_judgement_names_its_limit() {
    let page = page_on("desk");
    let judgements: Vec<&str> = page
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("! "))
        .collect();
    assert_eq!(
        judgements,
        [
            "over 20 ms, longer than a frame at 60 Hz: it may stutter; see who preempts it",
            "over 5 %: the CPU limit of its cgroup (cpu.max) holds it back",
            "anonymous memory over 90 % of the limit: the out-of-memory killer is near",
            "over 95 % of the GPU's memory is in use: the next allocation may fail",
            "over 17 ms a frame: it cannot keep up with 60 frames a second",
            "any is too much: its meaning is in NVIDIA's list of Xid errors",
        ]
    );
}

#[test]
fn what_is_within_its_limits_is_not_judged() {
    let page = page_on("cpu-hog");
    let judged = page.lines().filter(|line| line.contains(" ! ")).count();
    assert_eq!(judged, 1, "{page}");
    assert!(page.contains("none seen"), "{page}");
}

#[test]
fn of_one_that_ended_there_is_how_and_the_last_oom_kill() {
    let page = page_on("build-7");
    for said in [
        "42 s ago: the out-of-memory killer killed a process of it",
        "1 killed for want of memory",
        "ld\u{fffd}[2J (pid 4242), 2025-11-21T16:24:59Z, 43 s ago",
        "in use            20 min in all",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    assert!(!page.contains("10 s  "), "{page}");
}

#[test]
fn the_last_minute_is_put_beside_its_own_hour() {
    let mut report: Report = serde_json::from_str(RECORDED).unwrap();
    let session = report
        .sessions
        .iter_mut()
        .find(|s| s.session == "desk")
        .unwrap();
    let window = |p99, seconds| {
        let mut window = session.runqueue_wait.recent.unwrap();
        (window.waits.p99, window.window_seconds) = (Some(p99), seconds);
        Some(window)
    };
    (session.runqueue_wait.minute, session.runqueue_wait.hour) =
        (window(0.012, 62.0), window(0.003, 3_700.0));
    let page = page(session, &report.gpus, NOW);
    let page = anstream::adapter::strip_str(&page).to_string();
    assert!(page.contains("wait p99, minute  12 ms"), "{page}");
    assert!(page.contains("; 4.0 times that of its hour"), "{page}");
    assert!(page.contains("wait p99, hour    3 ms"), "{page}");
}

#[test]
fn names_of_a_platform_say_what_they_are_from() {
    let mut report: Report = serde_json::from_str(RECORDED).unwrap();
    let session = report
        .sessions
        .iter_mut()
        .find(|s| s.session == "desk")
        .unwrap();
    session.source = "kubernetes".to_owned();
    session.origins.session = Some("label vdi.kasm.io/session".to_owned());
    session.origins.user = Some("label vdi.kasm.io/user".to_owned());
    session
        .details
        .insert("restarts".to_owned(), "2".to_owned());
    let page = page(session, &report.gpus, NOW);
    let page = anstream::adapter::strip_str(&page).to_string();
    for said in [
        "session           desk  (from the label vdi.kasm.io/session)",
        "user              not told: sessions.user is off",
        "on the path of its cgroup, named by kubernetes",
        "restarts          2",
    ] {
        assert!(page.contains(said), "{page}");
    }
}
