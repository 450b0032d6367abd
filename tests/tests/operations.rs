//! Rules, dashboards and documents: that they name only what there is, that promtool's tests of the rules
//! pass, and that a real Prometheus that scrapes the agent has an answer to each of their queries. And the systemd
//! unit: that the agent goes on whatever happens, and that what the unit allows it is enough.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    agent::{self, Agent, Configuration, SHOW_LIMIT},
    capability,
    cgroup::{Cgroup, Tree, v2_mount},
    documents::{document, has_test, numbered_rows, tests_named},
    drawing::draw,
    empty_panels::EMPTY_PANELS,
    gpu::{EncoderSession, Event, GIB, Gpus, Sample, Utilization, busy, compute, device, memory},
    operations::{faster_rules, files, known, mentioned, panels, promql, recordings, rule_files},
    process,
    prometheus::{self, Prometheus},
    repository,
    sockets::{inside, listen},
    systemd, wait,
    workload::{Workload, two_cpus},
};
use regex::Regex;
use sessionscope::{
    error::EXIT_CODES,
    kernel::programs::{Hook, PROGRAMS},
};

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
/// Some scrapes and evaluations, on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_mins(1);

/// What asks for metrics: pages about alerts are the business of `alerts.rs`.
const ASKS: [&str; 6] = [
    "rules/recordings",
    "rules/alerts",
    "rules/platform",
    "rules/compat",
    "dashboards",
    "deploy",
];

#[test]
fn every_metric_that_is_named_exists() {
    let known = known();
    let mut unknown = Vec::new();
    for folder in ASKS {
        let files = files(folder);
        assert!(!files.is_empty(), "{folder} is empty");
        for (path, text) in &files {
            let names = mentioned(text).into_iter();
            let missing = names.filter(|name| !known.contains(*name));
            unknown.extend(missing.map(|name| format!("{}: {name}", path.display())));
        }
    }
    assert!(
        unknown.is_empty(),
        "no such metric:\n{}",
        unknown.join("\n")
    );
}

/// What promises something, and the letter before the number of a promise.
const PROMISES: [(&str, char); 2] = [("SPECIFICATION.md", 'S'), ("docs/security.md", 'T')];

#[test]
fn every_test_that_a_promise_names_exists() {
    for (page, _) in PROMISES {
        let text = document(page);
        let mut missing = Vec::new();
        for (path, name) in tests_named(&text) {
            // A file that is not there has no test.
            let source = fs::read_to_string(repository().join(path)).unwrap_or_default();
            if !has_test(&source, name) {
                missing.push(format!("{path}: {name}"));
            }
        }
        assert!(
            missing.is_empty(),
            "{page} names tests that are not there:\n{}",
            missing.join("\n")
        );
    }
}

#[test]
fn every_promise_has_a_number_of_its_own_and_says_what_holds_it() {
    for (page, letter) in PROMISES {
        let text = document(page);
        let mut numbers = BTreeSet::new();
        for (number, row) in numbered_rows(&text, letter) {
            assert!(numbers.insert(number), "{page}: {letter}{number} twice");
            let is_held = tests_named(row).next().is_some()
                || row.contains("`cargo xtask ")
                || row.contains("no test yet");
            assert!(
                is_held,
                "{page}: {letter}{number} names neither a test nor a command; say \"no test yet\""
            );
        }
        assert!(!numbers.is_empty(), "{page} has no row {letter}1");
    }
}

#[test]
fn no_alert_asks_for_a_program_that_may_be_off() {
    let waits = |hook| matches!(hook, Hook::DriverTracepoint { .. });
    let mut off: BTreeSet<&str> = BTreeSet::new();
    for program in PROGRAMS {
        off.extend(program.stands_in_for);
        if program.stands_in_for.is_some() || waits(program.hook) {
            off.insert(program.name);
        }
    }
    let (_, text) = rule_files()
        .into_iter()
        .find(|(path, _)| path.ends_with("alerts/agent.yml"))
        .expect("the agent's rules");
    let (_, list) = text
        .split_once("probe!~\"")
        .expect("programs that are not asked of");
    let list = list.split('"').next().unwrap_or_default();
    assert_eq!(list.split('|').collect::<BTreeSet<_>>(), off);
}

#[test]
fn the_unit_starts_the_agent_again_however_often_it_ends() {
    assert_eq!(systemd::values("Unit", "StartLimitIntervalSec"), ["0"]);
    assert_eq!(systemd::values("Service", "Restart"), ["on-failure"]);
    let pause = systemd::values("Service", "RestartSec");
    let pause: Vec<u32> = pause.iter().filter_map(|text| text.parse().ok()).collect();
    assert!(matches!(pause[..], [1..=30]), "{pause:?}");
    // But for what no restart cures, of which a session can bring about nothing: any other error, a port in use,
    // a program that is not loaded for want of memory.
    let for_good = systemd::values("Service", "RestartPreventExitStatus").join(" ");
    for code in for_good.split_ascii_whitespace() {
        let code: u8 = code.parse().expect("a code");
        assert!(EXIT_CODES.iter().any(|(known, _)| *known == code), "{code}");
        assert!(![0, 1, 7, 8].contains(&code), "{code}");
    }
}

#[test]
fn the_capabilities_of_the_unit_are_those_of_the_table() {
    let page = fs::read_to_string(repository().join("docs/install.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `CAP_"));
    let mut of_unit = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        if cells[2] == "yes" {
            let names = cells[1].split(", ").map(|name| name.trim_matches('`'));
            of_unit.extend(names.map(str::to_owned));
        }
    }
    let allowed: BTreeSet<String> = systemd::capabilities().into_iter().collect();
    assert_eq!(of_unit, allowed);
}

/// Leaves a directory to a user who lets nobody else in.
fn close(directory: &Path) {
    chown(directory, Some(1000), Some(1000)).expect("root may");
    fs::set_permissions(directory, Permissions::from_mode(0o700)).expect("root may");
}

#[test]
fn with_the_capabilities_of_the_unit_sessions_that_their_user_has_closed_are_found() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let early = tree.child("early");
    let below = tree.path();
    let parent = v2_mount().expect("it is mounted").join(&below[1..]);
    for directory in [early.path(), &parent] {
        close(directory);
    }
    // Below a directory that is a user's, so only a rule that is trusted is believed.
    let pattern = format!("^{}/(?<session>[^/]+)$", tree.path());
    let configuration = Configuration::without_rules()
        .rule("child", &pattern, "trust = true")
        .set("sampling.rescan", "\"1s\"");
    let command = systemd::command(&agent::binary());
    let agent = Agent::start_by(command, &configuration, &[]);
    agent.wait_for(&["early"]);
    let late = tree.child("late");
    close(late.path());
    agent.wait_for(&["early", "late"]);
    // Over some scans: one that cannot read a directory says so.
    thread::sleep(Duration::from_secs(3));
    agent.wait_for(&["early", "late"]);
    let log = agent.log();
    assert!(!log.contains("cgroups not read"), "{log}");
    assert_eq!(agent.get("/readyz", &[]).status, 200);
}

/// A session that ends as its shell does.
fn ended(agent: &Agent, tree: &Tree, name: &str, how: &str) {
    let cgroup = tree.child(name);
    agent.wait_for(&[name]);
    let mut shell: Child = Command::new("sh")
        .args(["-c", &format!("read nothing; {how}")])
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell starts");
    cgroup.take(shell.id());
    drop(shell.stdin.take());
    process::wait(&mut shell, Duration::from_secs(5)).expect("the shell ends");
    wait::until("all of it has ended", SHOW_LIMIT, || {
        cgroup.processes().is_empty().then_some(())
    });
}

/// One GPU that both sessions use, on which the first one encodes, and which has had an error.
fn use_gpu(gpus: &mut Gpus, desk: u32, lab: u32) {
    let mut gpu = device(0);
    gpu.utilization = Some(Utilization {
        gpu: 60,
        memory: 20,
    });
    gpu.encoder_utilization = Some(30);
    gpu.memory = Some(memory(4 * GIB));
    gpu.processes = vec![compute(desk, GIB), compute(lab, 2 * GIB)];
    gpu.samples = vec![
        Sample {
            encoder: 30,
            ..busy(desk, 20)
        },
        busy(lab, 40),
    ];
    gpu.encoder_sessions = vec![EncoderSession {
        id: 1,
        pid: desk,
        width: 1920,
        height: 1080,
        fps: 60,
        latency_us: 4_500,
        ..EncoderSession::default()
    }];
    // A driver that does not say what is to be done: the number of an error does.
    gpu.recovery_action = None;
    gpu.events = vec![Event {
        sequence: 1,
        value: 79,
        ..Event::default()
    }];
    gpus.change(|scenario| scenario.devices = vec![gpu]);
}

/// What a dashboard shows, drawn.
const DRAWN: Duration = Duration::from_mins(1);

/// How many times shorter durations are than in the rules: five minutes are ten seconds.
const FASTER: u64 = 30;

/// Recordings that have no data here, and why.
const WITHOUT_DATA: [(&str, &str); 15] = [
    ("instance:vdi_session_memory_bytes:sum", NO_MEMORY),
    ("template:vdi_session_memory_bytes:sum", NO_MEMORY),
    (
        "session_stage:vdi_session_input_delay_seconds:above_500ms_rate5m",
        NO_INPUT,
    ),
    (
        "session_stage:vdi_session_input_delay_seconds:mean_5m",
        NO_INPUT,
    ),
    ("session:vdi_session_response_seconds:mean_5m", NO_INPUT),
    ("session:vdi_session_unanswered_inputs:ratio_5m", NO_INPUT),
    ("session_part:vdi_session_experience:score_5m", NO_INPUT),
    ("session:vdi_session_experience:score_5m", NO_INPUT),
    (
        "cluster_stage:vdi_session_input_delay_seconds:mean_5m",
        NO_INPUT,
    ),
    ("cluster:vdi_session_response_seconds:mean_5m", NO_INPUT),
    ("cluster:vdi_session_inputs_late:ratio_5m", NO_INPUT),
    (
        "cluster:vdi_session_unresponsive_applications:sum",
        NO_INPUT,
    ),
    (
        "cluster_how:vdi_session_client_disconnects:rate5m",
        NO_INPUT,
    ),
    ("template:vdi_session_inputs_late:ratio_5m", NO_INPUT),
    ("template_phase:vdi_session_logon_seconds:mean_1h", NO_LOGON),
];
const NO_MEMORY: &str = "where v1 has the memory controller, the v2 hierarchy has no memory";
const NO_INPUT: &str = "no session has a display, and its client sends nothing";
const NO_LOGON: &str = "nobody logs on";

fn may_be_empty(panel: &str) -> bool {
    let mut panels = EMPTY_PANELS.iter().flat_map(|(_, panels)| *panels);
    panels.any(|one| *one == panel)
}

#[test]
fn panels_that_may_be_empty_are_there() {
    let there: BTreeSet<String> = panels().into_iter().map(|(panel, _)| panel).collect();
    for (reason, panels) in EMPTY_PANELS {
        for panel in panels {
            assert!(there.contains(*panel), "{panel}: {reason}");
        }
    }
}

/// Whether a query has a result with a finite value.
fn has_data(prometheus: &Prometheus, query: &str) -> bool {
    let results = prometheus.query(query);
    results.iter().any(|(_, value)| value.is_finite())
}

/// Each panel shows what Prometheus has, whole, and says so calmly when there is nothing.
fn drawn_as_they_should_be(prometheus: &Prometheus) {
    let drawn = draw(prometheus.address(), DRAWN);
    // Some have data only for a moment, such as who stutters.
    let queries = panels();
    let has_data = |title: &str| {
        let mut queries = queries.iter().filter(|(panel, _)| panel == title);
        queries.any(|(_, query)| {
            let values = prometheus.query_at(query, drawn.now);
            values.iter().any(|(_, value)| value.is_finite())
        })
    };
    let mut wrong = Vec::new();
    for (name, board) in &drawn.dashboards {
        let errors = board.page_errors.iter().chain(&board.console_errors);
        wrong.extend(errors.map(|error| format!("{name}.json: {error}")));
        let annotations = board.annotations.iter();
        let failed = annotations.filter(|annotation| annotation.state == "error");
        wrong.extend(failed.map(|annotation| format!("{name}.json: {}", annotation.name)));
        for panel in &board.panels {
            let title = format!("{name}.json: {:?}", panel.title);
            let error = panel.error.as_deref().unwrap_or_default();
            match panel.state.as_str() {
                "data" | "logs" | "text" => {}
                "empty" if panel.reds > 0 => wrong.push(format!("{title} is empty, and red")),
                "empty" if may_be_empty(&title) || !has_data(&title) => {}
                state => wrong.push(format!("{title} is {state} {error}")),
            }
            if panel.is_too_wide {
                wrong.push(format!("{title} is too wide"));
            }
            if panel.cut.contains(&panel.title) {
                wrong.push(format!("{title} is cut off"));
            }
        }
    }
    assert_eq!(drawn.dashboards.len(), 12);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_real_prometheus_answers_every_panel_and_every_rule() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let mut gpus = Gpus::new(vec![device(0)]);
    let agent = gpus.start(&Configuration::of(&tree));
    let binary = prometheus::installed("prometheus").expect("`cargo xtask setup` installs it");
    let rules = faster_rules(FASTER);
    let rules = rules.path().join("*.yml");
    let prometheus = Prometheus::start_with_rules(&binary, &rules, agent.address());
    prometheus.wait_for("up", 1.0);

    let [cpu, _] = two_cpus();
    let fight = ["spin", "--threads", "2", "--seconds", "200", "--cpu", &cpu];
    let start = |name| -> (Cgroup, Workload) {
        let session = tree.child(name);
        agent.wait_for(&[name]);
        let mut workload = Workload::start(WORKLOAD, &session, &fight);
        workload.go();
        (session, workload)
    };
    let started = "sum(vdi_session_startup_seconds_count{milestone=\"first_process\"})";
    let (desk, at_desk) = start("desk");
    let listener = listen(&desk);
    let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let _accepted = inside(&desk, || listener.accept().unwrap());
    // A rate takes a start before the last one.
    prometheus.wait_for(started, 1.0);
    let (_lab, at_lab) = start("lab");
    use_gpu(&mut gpus, at_desk.pid(), at_lab.pid());
    // A start that comes when there has been one: the first one's series may begin with it.
    let ready = tree.child("ready");
    agent.wait_for(&["ready"]);
    let _idle = Workload::start(WORKLOAD, &ready, &["idle"]);
    let _listener = listen(&ready);
    for (name, how) in [
        ("fine", "exit 0"),
        ("failing", "exit 3"),
        ("worse", "exit 4"),
    ] {
        ended(&agent, &tree, name, how);
    }
    // The same of ends: their durations have a rate from the second scrape on that has some.
    prometheus.wait_for("sum(vdi_session_duration_seconds_count)", 3.0);
    ended(&agent, &tree, "later", "exit 0");

    let recordings = recordings()
        .into_iter()
        .filter(|name| WITHOUT_DATA.iter().all(|(one, _)| one != name))
        // Some are there only as long as something has just happened.
        .map(|name| (name.clone(), format!("last_over_time({name}[10m])")));
    let queries: Vec<(String, String)> = panels().into_iter().chain(recordings).collect();
    assert!(queries.len() > 25, "{queries:?}");
    let (mut missing, began) = (queries, Instant::now());
    let is_left =
        |missing: &[(String, String)]| missing.iter().any(|(name, _)| !may_be_empty(name));
    while is_left(&missing) && began.elapsed() < wait::patient(ANSWER_LIMIT) {
        missing.retain(|(_, query)| !has_data(&prometheus, query));
        thread::sleep(Duration::from_millis(200));
    }
    // What may be empty can be asked all the same.
    missing.retain(|(panel, query)| {
        let answer = prometheus.try_query(query);
        assert!(answer.is_ok(), "{panel}: {query}: {answer:?}");
        !may_be_empty(panel)
    });
    assert!(missing.is_empty(), "without data: {missing:#?}");
    drawn_as_they_should_be(&prometheus);

    let runbooks = rules::runbooks(repository()).unwrap_or_else(|error| panic!("{error:#}"));
    let rules = prometheus.rules();
    assert!(rules.len() > 150, "{rules:?}");
    for rule in &rules {
        let name = rule["name"].as_str().expect("a rule has a name");
        assert_eq!(rule["health"], "ok", "{name}: {}", rule["lastError"]);
        if rule["type"] == "alerting" {
            for annotation in ["summary", "description"] {
                let text = rule["annotations"][annotation].as_str().unwrap_or_default();
                assert!(text.ends_with(['.', '?']), "{name}: {annotation}: {text:?}");
            }
            let runbook = format!("{runbooks}{name}");
            assert_eq!(rule["annotations"]["runbook_url"], *runbook);
        }
    }
    // The one that waits for nothing, so that it is seen to fire.
    let firing = "ALERTS{alertname=\"VdiGpuXidError\", alertstate=\"firing\", severity=\"critical\", xid=\"79\"}";
    prometheus.wait_for(firing, 1.0);
    // What pages ask can be asked: a placeholder is whatever there is.
    let placeholder = Regex::new("=\"[A-Z]+\"").expect("a pattern");
    for (path, text) in files("docs") {
        for query in promql(&text) {
            let filled = placeholder.replace_all(query, "=~\".*\"");
            let answer = prometheus.try_query(&filled);
            assert!(answer.is_ok(), "{}: {query}: {answer:?}", path.display());
        }
    }
    assert_eq!(prometheus.last_error(), "");
}
