use super::*;
use crate::api::{
    CpuPeriods, Disconnects, Distribution, Finding, Input, Latency, MemoryEvents, Report,
    UnresponsiveApplication,
};

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
fn what_holds_it_back_comes_first_with_figure_limit_and_advice() {
    let mut report: Report = serde_json::from_str(RECORDED).unwrap();
    let session = report.sessions.iter_mut().find(|s| s.session == "desk");
    let session = session.unwrap();
    let said = |session: &Session| {
        let page = page(session, &Gpus::default(), NOW);
        let page = anstream::adapter::strip_str(&page).to_string();
        let (_, rest) = page.split_once("\nHeld back by\n").unwrap();
        rest.split_once("\n\n").unwrap().0.to_owned()
    };
    session.findings = None;
    assert!(said(session).contains("not known: the agent keeps no history of it"));
    session.findings = Some(Vec::new());
    assert!(said(session).contains("nothing: no figure of the last minute"));
    let contention = Finding {
        cause: "cpu_contention".to_owned(),
        window: "minute".to_owned(),
        said: "others have the CPUs".to_owned(),
        figure: "of its time it waited".to_owned(),
        value: 0.625,
        unit: "share".to_owned(),
        limit: 0.05,
        share_of_time: 1.0,
        advice: "Look who preempts it.".to_owned(),
        ..Finding::default()
    };
    let late = Finding {
        cause: "input_late".to_owned(),
        window: "hour".to_owned(),
        said: "input waits".to_owned(),
        figure: "inputs a second waited".to_owned(),
        value: 0.25,
        unit: "rate".to_owned(),
        limit: 1.0 / 60.0,
        share_of_time: 0.5,
        advice: "Look above.".to_owned(),
        ..Finding::default()
    };
    session.findings = Some(vec![contention, late]);
    let by = &session.preempted_by[0];
    let by = format!("{} ({} times)", by.session, by.count);
    let expected = format!(
        "  the last minute   others have the CPUs: 62 % of its time it waited (much is 5 %), all the time; since the agent found it most often by {by}
                    ! Look who preempts it.
  the last hour     input waits: 0.25 inputs a second waited (much is 0.02), 50 % of the time
                    ! Look above."
    );
    assert_eq!(said(session), expected);
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
        (window.observed.p99, window.window_seconds) = (Some(p99), seconds);
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

#[test]
fn how_clients_went_is_said_once_one_has_gone() {
    let mut report: Report = serde_json::from_str(RECORDED).unwrap();
    let session = &mut report.sessions[0];
    let mut said = |disconnects: Disconnects| {
        session.disconnects = Some(disconnects);
        let page = page(session, &Gpus::default(), NOW);
        anstream::adapter::strip_str(&page).to_string()
    };
    let none = Disconnects {
        reconnects: Some(0),
        disconnected_seconds: Some(0.0),
        ..Disconnects::default()
    };
    assert!(!said(none).contains("disconnect"));
    let back = Disconnects {
        closed: 4,
        reset: 3,
        timed_out: 2,
        idle: 1,
        reconnects: Some(5),
        disconnected_seconds: Some(42.0),
        disconnected_since: None,
    };
    let page = said(back);
    for line in [
        "disconnects       4 closed, 3 reset, 2 timed out, 1 idle",
        "disconnected      42 s in all; clients that came back within 10 min: 5",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    let judgement = "! its client went 1 min 30 s ago without a close, and none has come since";
    assert!(!page.contains(judgement), "{page}");
    let page = said(Disconnects {
        disconnected_since: Some(NOW - 90.0),
        ..back
    });
    assert!(page.contains(judgement), "{page}");
}

#[test]
fn segments_sent_again_are_a_share_of_those_sent_where_these_are_known() {
    let mut report: Report = serde_json::from_str(RECORDED).unwrap();
    let session = &mut report.sessions[0];
    let mut said = |sent: Option<u64>| {
        let inbound = &mut session.tcp.as_mut().unwrap().inbound;
        (inbound.retransmits, inbound.segments) = (12, sent);
        let page = page(session, &Gpus::default(), NOW);
        anstream::adapter::strip_str(&page).to_string()
    };
    let known = said(Some(3_000));
    let clause = ", 12 segments sent again (0.4 % of 3,000), ";
    assert!(known.contains(clause), "{known}");
    // Only connections that were never made.
    for sent in [None, Some(0)] {
        let unknown = said(sent);
        assert!(unknown.contains(", 12 segments sent again, "), "{unknown}");
    }
}

#[test]
fn input_is_what_its_user_feels_and_who_does_not_respond() {
    let mut report: Report = serde_json::from_str(RECORDED).unwrap();
    let session = &mut report.sessions[0];
    let mut said = |input: Option<Input>| {
        session.input = input;
        let page = page(session, &Gpus::default(), NOW);
        anstream::adapter::strip_str(&page).to_string()
    };
    assert!(said(None).contains("not measured on this kernel (from Linux 6.3 on)"));
    let of = |p95: f64| Distribution {
        count: 10,
        p50: Some(0.002),
        p95: Some(p95),
        p99: Some(1.5),
        ..Distribution::default()
    };
    let good = Input {
        application_delay: of(0.09),
        response: of(0.19),
        latency: Latency {
            round_trip: Some(0.03),
            application: Some(0.01),
            work: Some(0.05),
            whole: Some(0.09),
            ..Latency::default()
        },
        ..Input::default()
    };
    let page = said(Some(good.clone()));
    for line in [
        "at applications   p50 2 ms, p95 90 ms, p99 1.5 s",
        "response          p50 2 ms, p95 190 ms, p99 1.5 s",
        "key to picture    90 ms on average: 30 ms to the client and back, 10 ms at applications, 50 ms the work",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    for line in [
        "at the server",
        "unanswered",
        "does not respond",
        "its user feels it",
    ] {
        assert!(!page.contains(line), "{line}: {page}");
    }
    let bad = Input {
        application_delay: of(0.11),
        unanswered: 3,
        unresponsive: Some(vec![UnresponsiveApplication {
            pid: 4711,
            seconds: 12.0,
            command: Some("gimp".to_owned()),
            state: Some("uninterruptible".to_owned()),
            why: Some("blocked".to_owned()),
            waits_in: Some("nfs_wait_bit_killable".to_owned()),
            swapped_bytes: Some(41_000_000),
        }]),
        ..good
    };
    let page = said(Some(bad));
    for line in [
        "! p95 over 100 ms: its user feels it",
        "unanswered        3 inputs, after which nothing was sent for 2 s",
        "does not respond  gimp (pid 4711) for 12 s, blocked, uninterruptible, waits in nfs_wait_bit_killable, 39 MiB in swap",
        "! its user clicks, and nothing happens",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
}

#[test]
fn what_limits_do_to_a_session_is_said_as_far_as_it_is_known() {
    let mut report: Report = serde_json::from_str(RECORDED).unwrap();
    let gpus = report.gpus;
    let session = report.sessions.iter_mut().find(|s| s.session == "desk");
    let session = session.unwrap();
    let said = |session: &Session| {
        let page = page(session, &gpus, NOW);
        anstream::adapter::strip_str(&page).to_string()
    };
    let judgements = [
        "! any at memory.max: memory had to be freed before it got more, or it got none; see pressure and reclaim",
        "! any is too much: its limit (pids.max) was used up, and what it started failed",
    ];
    let unknown = said(session);
    for absent in [
        "throttled periods",
        "in swap",
        "at its limit",
        "that may be",
        "refused",
    ] {
        assert!(!unknown.contains(absent), "{absent}: {unknown}");
    }

    // Nothing has happened yet.
    session.cpu_periods = Some(CpuPeriods::default());
    session.memory_events = Some(MemoryEvents::default());
    session.forks_refused = Some(0);
    assert_eq!(said(session), unknown);

    session.cpu_periods = Some(CpuPeriods {
        all: 300,
        throttled: 12,
    });
    session.memory_bytes.as_mut().unwrap().swap = Some(41_000_000);
    session.memory_events = Some(MemoryEvents {
        high: 1_234,
        max: 0,
    });
    (session.threads, session.processes_limit) = (Some(213), Some(4_096));
    let near = said(session);
    for line in [
        "  throttled periods 12 of 300 (4 %)\n",
        "  in use            1.9 GiB of a limit of 2 GiB, and 39 MiB in swap; 1.8 GiB anonymous, ",
        "  at its limit      memory.high 1,234 times\n",
        "  alive             2 with 213 threads, of 4,096 that may be\n",
    ] {
        assert!(near.contains(line), "{line}: {near}");
    }
    for judgement in judgements {
        assert!(!near.contains(judgement), "{judgement}: {near}");
    }

    session.memory_events = Some(MemoryEvents { high: 0, max: 7 });
    session.forks_refused = Some(5);
    let at = said(session);
    for line in [
        "  at its limit      memory.max 7 times\n",
        "  refused           5 processes and threads\n",
    ]
    .into_iter()
    .chain(judgements)
    {
        assert!(at.contains(line), "{line}: {at}");
    }
}
