//! Which processes belong to which session: what decides whether a figure is about the person that it
//! says it is about.

use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

use integration_tests::{
    accounts::Accounts,
    agent::{Agent, Configuration, SHOW_LIMIT},
    capability,
    cgroup::{Cgroup, Tree},
    exposition::Exposition,
    wait,
    workload::{Workload, scaled, two_cpus},
};
use nix::sys::signal::Signal;
use serde_json::Value;
use sessionscope::telemetry::Event;

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
/// What the agent may take to hear of a thread that moves, of which a guest has a multiple.
const MOMENT: Duration = Duration::from_millis(5);

/// The counters of a session that must not change once nothing of it runs any more.
fn counters(metrics: &Exposition, session: &str) -> BTreeMap<String, u64> {
    let of_session = metrics.samples.iter().filter(|sample| {
        let counts = sample.name.ends_with("_total") || sample.family.ends_with("wait_seconds");
        counts
            && sample
                .labels
                .get("session")
                .is_some_and(|name| name == session)
    });
    // Nanoseconds, so that they can be compared for equality.
    of_session
        .map(|sample| {
            let name = format!("{}{:?}", sample.name, sample.labels);
            (name, (sample.value * 1e9).round() as u64)
        })
        .collect()
}

fn cpu_seconds(metrics: &Exposition, session: &str) -> f64 {
    metrics.value("vdi_session_cpu_seconds_total", &[("session", session)])
}

fn switches(metrics: &Exposition, session: &str) -> u64 {
    metrics.count(
        "vdi_session_runqueue_wait_seconds_count",
        &[("session", session)],
    )
}

#[test]
fn a_process_that_moves_is_charged_to_its_new_session_from_then_on() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let [cpu, _] = two_cpus();
    let agent = Agent::start(&Configuration::of(&tree));
    let [old, new] = ["old", "new"].map(|name| tree.child(name));
    agent.wait_for(&["old", "new"]);
    // One that switches all the time, and one that the kernel hardly ever has a reason to switch.
    let talk = ["pingpong", "--switches", "1000000000", "--cpu", &cpu];
    let mut talk = Workload::start(WORKLOAD, &old, &talk);
    talk.go();
    thread::sleep(Duration::from_secs(1));
    for pid in old.processes() {
        new.take(pid);
    }
    let moved = agent.fresh_metrics();
    thread::sleep(Duration::from_secs(1));
    let later = agent.fresh_metrics();
    let many = scaled(10_000);
    assert!(
        switches(&moved, "old") > many,
        "the old session had hardly any switches"
    );
    assert_eq!(
        counters(&later, "old"),
        counters(&moved, "old"),
        "the old session goes on"
    );
    assert!(switches(&later, "new") > switches(&moved, "new") + many);
    assert_eq!(
        later.count("vdi_session_processes", &[("session", "old")]),
        0
    );
    assert_eq!(
        later.count("vdi_session_processes", &[("session", "new")]),
        2
    );
}

#[test]
fn the_cpu_time_of_a_thread_that_nothing_switches_is_divided_where_it_moved() {
    if !capability::kernel() {
        return;
    }
    // In a guest the agent hears of the move when its host lets it: of three moves one is heard in time.
    let moves = if wait::patient(MOMENT) > MOMENT { 3 } else { 1 };
    assert!(
        (0..moves).any(|_| is_divided_where_it_moved()),
        "see the figures above"
    );
}

/// Moves a thread that runs from one session to another; whether each has what it ran there.
fn is_divided_where_it_moved() -> bool {
    let [_, cpu] = two_cpus();
    // Of real-time priority, so that it keeps its CPU for most of a second at a time: as a thread does
    // that has a CPU to itself.
    let spin = ["spin", "--real-time", "1", "--seconds", "4", "--cpu", &cpu];
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let [old, new] = ["old", "new"].map(|name| tree.child(name));
    agent.wait_for(&["old", "new"]);
    let mut spin = Workload::start(WORKLOAD, &old, &spin);
    let start = Accounts::settled(&old);
    // What it took to get ready, which the session has too.
    let ready = cpu_seconds(&agent.fresh_metrics(), "old");
    spin.go();
    // In the middle of one of the stretches of 950 ms that the kernel allows real-time threads.
    thread::sleep(Duration::from_millis(2500));
    let moved = moved(&old, &new, &spin, &start);
    spin.finish();
    let whole = Accounts::settled(&new).since(&start).cpu_ns as f64 / 1e9;
    let metrics = agent.fresh_metrics();
    let charged = [
        cpu_seconds(&metrics, "old") - ready,
        cpu_seconds(&metrics, "new"),
    ];
    eprintln!("{moved:?} s of {whole} s before the move; charged: {charged:?}");
    let sum = charged[0] + charged[1];
    assert!(
        (sum - whole).abs() <= 0.01 * whole,
        "together {sum} s where the kernel has {whole} s"
    );
    // Until the agent has heard of the move, where all takes longer.
    let unheard = wait::patient(MOMENT).saturating_sub(MOMENT).as_secs_f64();
    are_divided(charged, moved, whole, 0.01 * whole + unheard)
}

/// Moves a process. What its threads had run before that, seconds: when they were looked at last before it, and first
/// after it, because a move waits for others for milliseconds, on a busy machine for tens of them.
fn moved(old: &Cgroup, new: &Cgroup, spin: &Workload, start: &Accounts) -> [f64; 2] {
    let ran = |cgroup| Accounts::now(cgroup).since(start).cpu_ns as f64 / 1e9;
    let before = ran(old);
    new.take(spin.pid());
    [before, ran(new)]
}

/// Whether both sessions are charged for what ran in them.
fn are_divided(charged: [f64; 2], [before, after]: [f64; 2], whole: f64, tolerance: f64) -> bool {
    let is_within =
        |said: f64, least: f64, most: f64| said >= least - tolerance && said <= most + tolerance;
    is_within(charged[0], before, after) && is_within(charged[1], whole - after, whole - before)
}

/// Nobody looks at the thread between its move and its next switch: the agent is stopped meanwhile, and the hook of the
/// move has the process's first thread alone.
#[test]
fn a_thread_that_is_switched_before_it_is_looked_at_is_divided_where_it_moved() {
    if !capability::kernel() {
        return;
    }
    let [_, cpu] = two_cpus();
    let spin = ["spin", "--real-time", "1", "--seconds", "3", "--cpu", &cpu];
    let interrupt = ["interrupt", "--real-time", "2", "--seconds", "0.1"];
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let [old, new, rival] = ["old", "new", "rival"].map(|name| tree.child(name));
    agent.wait_for(&["old", "new", "rival"]);
    let mut interrupt = Workload::start(
        WORKLOAD,
        &rival,
        &[&interrupt[..], &["--cpu", &cpu]].concat(),
    );
    let mut spin = Workload::start(WORKLOAD, &old, &spin);
    let start = Accounts::settled(&old);
    let ready = cpu_seconds(&agent.fresh_metrics(), "old");
    spin.go();
    thread::sleep(Duration::from_millis(1200));
    agent.signal(Signal::SIGSTOP);
    thread::sleep(Duration::from_millis(400));
    let moved = moved(&old, &new, &spin, &start);
    thread::sleep(Duration::from_millis(300));
    interrupt.go();
    interrupt.finish();
    agent.signal(Signal::SIGCONT);
    spin.finish();
    let whole = Accounts::settled(&new).since(&start).cpu_ns as f64 / 1e9;
    let metrics = agent.fresh_metrics();
    let charged = [
        cpu_seconds(&metrics, "old") - ready,
        cpu_seconds(&metrics, "new"),
    ];
    let said = format!("{moved:?} s of {whole} s before the move; charged: {charged:?}");
    eprintln!("{said}");
    assert!(are_divided(charged, moved, whole, 0.01 * whole), "{said}");
}

#[test]
fn a_nested_cgroup_belongs_to_its_nearest_session() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let nested = format!("^{}/[^/]+/(?<session>inner-[^/]+)$", tree.path());
    let configuration = Configuration::of(&tree).rule("nested", &nested, "trust = true");
    let path = |when: &str, rest: &str| format!("outer-{when}/{rest}");
    let make = |when: &str| {
        [
            tree.child(path(when, "x/y")),
            tree.child(path(when, &format!("inner-{when}/x"))),
        ]
    };
    // Found by the scan, and found by events.
    let early = make("early");
    let agent = Agent::start(&configuration);
    let late = make("late");
    agent.wait_for(&["outer-early", "inner-early", "outer-late", "inner-late"]);
    for ([outer, inner], when) in [(early, "early"), (late, "late")] {
        let _outer = Workload::start(WORKLOAD, &outer, &["sleepers", "--count", "2"]);
        let _inner = Workload::start(WORKLOAD, &inner, &["sleepers", "--count", "5"]);
        let metrics = agent.fresh_metrics();
        for (place, forks) in [("outer", 2), ("inner", 5)] {
            let session = format!("{place}-{when}");
            let labels = [("session", session.as_str())];
            assert_eq!(
                metrics.count("vdi_session_process_forks_total", &labels),
                forks,
                "{session}"
            );
            assert_eq!(
                metrics.count("vdi_session_processes", &labels),
                forks + 1,
                "{session}"
            );
        }
    }
    assert_eq!(agent.metrics().count("vdi_agent_sessions_tracked", &[]), 4);
}

#[test]
fn the_processes_of_a_session_are_told_with_who_has_the_cpu() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let nested = format!("^{}/[^/]+/(?<session>inner)$", tree.path());
    let configuration = Configuration::of(&tree).rule("nested", &nested, "trust = true");
    let [desk, inner] = ["desk/app", "desk/inner"].map(|path| tree.child(path));
    let agent = Agent::start(&configuration);
    agent.wait_for(&["desk", "inner"]);
    let [cpu, _] = two_cpus();
    let spin = ["burn", "--cpu", &cpu, "--seconds", "60"];
    let mut spinning = Workload::start(WORKLOAD, &desk, &spin);
    let _sleeping = Workload::start(WORKLOAD, &desk, &["sleepers", "--count", "2"]);
    let _another = Workload::start(WORKLOAD, &inner, &["sleepers", "--count", "5"]);
    spinning.go();
    let told = |name: &str| {
        let session = agent.session(name).expect("it lives");
        let id = session["id"].as_str().expect("an id");
        let answer = agent.get(&format!("/api/v1/sessions/{id}/processes"), &[]);
        let answer: Value = serde_json::from_str(&answer.text()).expect("JSON");
        assert_eq!((&answer["id"], &answer["cut"]), (&id.into(), &false.into()));
        answer["processes"].as_array().expect("a list").clone()
    };
    let of_desk = told("desk");
    assert_eq!(of_desk.len(), 4, "{of_desk:#?}");
    // It has a CPU, or waits for it beside other tests.
    let first = &of_desk[0];
    assert_eq!(
        (&first["command"], &first["state"], &first["pid"]),
        (
            &"workload".into(),
            &"runnable".into(),
            &spinning.pid().into()
        )
    );
    let [ran, waited] = ["cpu_ratio", "waiting"].map(|key| first[key].as_f64().expect("known"));
    assert!((0.7..1.1).contains(&(ran + waited)), "{ran} {waited}");
    for other in &of_desk[1..] {
        assert!(other["cpu_ratio"].as_f64() < Some(0.05), "{other:#}");
        assert!(other["memory_bytes"].as_u64() > Some(0), "{other:#}");
    }
    assert_eq!(told("inner").len(), 6);
    let unknown = agent.get(
        &format!("/api/v1/sessions/{}/processes", "0".repeat(32)),
        &[],
    );
    assert_eq!(unknown.status, 404);
}

#[test]
fn sighup_reads_the_rules_again_and_keeps_the_old_ones_when_they_are_wrong() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let _cgroup = tree.child("desk");
    let before = Configuration::of(&tree);
    let agent = Agent::start(&before);
    agent.wait_for(&["desk"]);
    let live = || {
        let report = agent.report();
        let sessions = report["sessions"].as_array().unwrap().clone();
        let live = sessions
            .into_iter()
            .filter(|session| session["ended"] == false);
        live.map(|session| session["namespace"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(live(), ["tests"]);
    // How often the file was in effect when it was read again, how often it was not, and what is in effect.
    let reloads = || {
        let metrics = agent.fresh_metrics();
        let file = agent.configuration_file().display().to_string();
        let count = |result| {
            let labels = [("file", file.as_str()), ("result", result)];
            metrics.count("vdi_agent_reloads_total", &labels)
        };
        let hash = metrics.matching("vdi_agent_config_info", &[]).next();
        let hash = hash.expect("its hash").labels["hash"].clone();
        ([count("success"), count("error")], hash)
    };
    let (counts, first) = reloads();
    assert_eq!(counts, [0, 0]);

    let after = before.set("sampling.rescan", "\"29s\"").text();
    let after = after.replace("namespace = 'tests'", "namespace = 'renamed'");
    fs::write(agent.configuration_file(), &after).unwrap();
    agent.signal(Signal::SIGHUP);
    wait::until("the new rule is in effect", SHOW_LIMIT, || {
        (live() == ["renamed"]).then_some(())
    });
    let (counts, second) = reloads();
    assert_eq!(counts, [1, 0]);
    assert_ne!(second, first);
    let log = agent.log();
    let told = |line: &str| line.contains("sampling.rescan") && line.contains("takes a restart");
    assert!(log.lines().any(told), "{log}");

    fs::write(agent.configuration_file(), after.replace(")$'", "$'")).unwrap();
    agent.signal(Signal::SIGHUP);
    wait::until("the wrong rule is logged", SHOW_LIMIT, || {
        let refused = agent.logged(Event::ConfigurationRefused).into_iter();
        refused
            .map(|record| record["error"].to_string())
            .find(|error| error.contains("rules[0]"))
            .map(drop)
    });
    assert_eq!(reloads(), ([1, 1], second));
    assert_eq!(live(), ["renamed"]);
}

#[test]
fn a_session_made_while_the_agent_runs_is_measured_at_once_and_its_first_process_is_timed() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let old = tree.child("old");
    let agent = Agent::start(&Configuration::of(&tree));
    agent.wait_for(&["old"]);
    let (mut least, mut most) = (Duration::ZERO, Duration::ZERO);
    let sessions = ["one", "two", "three"].map(|name| {
        let began = Instant::now();
        let cgroup = tree.child(name);
        let made = Instant::now();
        agent.session_that(name, "is found", |session| session["phase"] == "Pending");
        let shown = began.elapsed();
        assert!(
            shown < wait::patient(Duration::from_millis(400)),
            "{name} was shown only after {shown:?}"
        );
        thread::sleep(Duration::from_millis(200));
        least += made.elapsed();
        let workload = Workload::start(WORKLOAD, &cgroup, &["idle"]);
        most += began.elapsed();
        agent.session_that(name, "is running", |session| session["phase"] == "Running");
        (cgroup, workload)
    });
    // Not timed, because nobody saw it made.
    let _old = Workload::start(WORKLOAD, &old, &["idle"]);

    let metrics = agent.fresh_metrics();
    let labels = [
        ("milestone", "first_process"),
        ("namespace", "tests"),
        ("template", "child"),
    ];
    let count = metrics.count("vdi_session_startup_seconds_count", &labels);
    let sum = metrics.value("vdi_session_startup_seconds_sum", &labels);
    assert_eq!(count, sessions.len() as u64);
    let bounds = least.as_secs_f64()..=most.as_secs_f64();
    assert!(bounds.contains(&sum), "{sum} s is not within {bounds:?}");
    // From the making of the cgroup until it is measured: the bucket below 100 ms has all of them, or where
    // all takes longer that of a quarter of a second.
    let emulated = wait::patient(Duration::from_secs(1)) > Duration::from_secs(1);
    let bucket = if emulated { "0.25" } else { "0.0625" };
    let adopted = metrics.count("vdi_agent_session_adoption_seconds_count", &[]);
    let quick = metrics.count(
        "vdi_agent_session_adoption_seconds_bucket",
        &[("le", bucket)],
    );
    let seconds = metrics.value("vdi_agent_session_adoption_seconds_sum", &[]);
    eprintln!("{adopted} adopted in {seconds} s");
    assert_eq!((adopted, quick), (3, 3));
}

#[test]
fn events_that_are_lost_are_made_up_for_by_a_scan() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let many = tree.child("many");
    agent.wait_for(&["many"]);
    agent.signal(Signal::SIGSTOP);
    // The ring has room for some 3,400 events of cgroups.
    for number in 0..2500 {
        let inside = many.path().join(number.to_string());
        fs::create_dir(&inside).expect("a cgroup can be made");
        fs::remove_dir(&inside).expect("it can be removed");
    }
    let _late = tree.child("late");
    agent.signal(Signal::SIGCONT);
    agent.wait_for(&["late"]);
    wait::until("the loss is said", SHOW_LIMIT, || {
        (!agent.logged(Event::EventsLost).is_empty()).then_some(())
    });
}
