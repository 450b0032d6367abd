//! Whatever cgroups are called, every format parses and gives the names back; and what is exposed is
//! exactly what the catalogue promises.
//!
//! Who starts a container chooses its name, so a name is input from strangers.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io::Read,
    net::TcpStream,
    os::unix::ffi::OsStrExt,
    process::Command,
};

use flate2::read::GzDecoder;
use integration_tests::{
    accounts::stolen_seconds,
    agent::{Agent, Configuration, SHOW_LIMIT, binary, command},
    capability,
    cgroup::{Cgroup, Tree},
    exposition::{Exposition, Format},
    prometheus, sockets, wait,
    workload::Workload,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";
const PROTOBUF: &str = "application/vnd.google.protobuf; \
                        proto=io.prometheus.client.MetricFamily; encoding=delimited";
const TEXT: &str = "text/plain; version=0.0.4";

/// Names as the kernel takes them, and the sessions' names that they become.
fn hostile() -> Vec<(Vec<u8>, String)> {
    let same = |name: &str| (name.as_bytes().to_vec(), name.to_owned());
    vec![
        same("quo\"te"),
        same("\"} 1"),
        same("back\\slash"),
        same("ends in a backslash\\"),
        same("\\n"),
        same("tab\there"),
        same("return\r"),
        same("control\u{1}\u{7f}"),
        same("\u{2028}line"),
        same("# EOF"),
        same("# TYPE x counter"),
        same("{}"),
        same("a=\"b\",c=\"d\""),
        same(" spaces "),
        same("..."),
        same("café ☃ 🖥"),
        same("<img onerror=alert(1)>"),
        same(&"x".repeat(200)),
        (b"latin \xe9 1".to_vec(), "latin \\xe9 1".to_owned()),
        (b"\xff\xfe".to_vec(), "\\xff\\xfe".to_owned()),
        (b"cut \xe2\x98".to_vec(), "cut \\xe2\\x98".to_owned()),
    ]
}

/// An agent with a session of each hostile name.
fn with_hostile_sessions() -> (Tree, Vec<Cgroup>, Agent) {
    let tree = Tree::new();
    let names = hostile();
    let (early, late) = names.split_at(names.len() / 2);
    let make = |(name, _): &(Vec<u8>, String)| tree.child(OsStr::from_bytes(name));
    // Half of them are found by the scan, half by the kernel's events.
    let mut cgroups: Vec<Cgroup> = early.iter().map(make).collect();
    let agent = Agent::start(&Configuration::of(&tree));
    cgroups.extend(late.iter().map(make));
    for (_, session) in &names {
        agent.wait_for(&[session]);
    }
    (tree, cgroups, agent)
}

fn names() -> BTreeSet<String> {
    hostile().into_iter().map(|(_, session)| session).collect()
}

fn parsed(text: &str, format: Format) -> Exposition {
    Exposition::parse(text, format).unwrap_or_else(|error| panic!("{format:?}: {error}"))
}

#[test]
fn hostile_names_come_back_from_every_format() {
    if !capability::kernel() {
        return;
    }
    let (_tree, _cgroups, agent) = with_hostile_sessions();
    let text = agent.get("/metrics", &[("Accept", TEXT)]).text();
    let open_metrics = agent.get("/metrics", &[("Accept", OPEN_METRICS)]).text();
    for exposition in [
        parsed(&text, Format::Text),
        parsed(&open_metrics, Format::OpenMetrics),
    ] {
        assert_eq!(exposition.values_of("vdi_session_info", "session"), names());
        let counts = "vdi_session_runqueue_wait_seconds_count";
        assert_eq!(exposition.values_of(counts, "session"), names());
    }
    let report = agent.report();
    let sessions = report["sessions"].as_array().unwrap().iter();
    let reported: BTreeSet<_> = sessions
        .map(|session| session["session"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(reported, names());
    assert_eq!(prometheus::check_metrics(text.as_bytes()), "");
}

/// Asserts that cgroups of two names are two sessions.
fn assert_distinct(pair: [&[u8]; 2]) {
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let _cgroups = pair.map(|name| tree.child(OsStr::from_bytes(name)));
    let metrics = agent.fresh_metrics();
    let sessions = metrics.values_of("vdi_session_info", "session");
    let tracked = metrics.count("vdi_agent_sessions_tracked", &[]);
    assert_eq!((sessions.len(), tracked), (2, 2), "{sessions:?}");
}

#[test]
fn names_that_differ_where_they_are_not_shown_are_different_sessions() {
    if !capability::kernel() {
        return;
    }
    assert_distinct([b"\xff", b"\xfe"]);
    // Longer than a label may be, and different only at the end.
    let long = |end: &str| [&[b'x'; 240], end.as_bytes()].concat();
    assert_distinct([&long("one"), &long("two")]);
}

#[test]
fn a_name_spelt_as_the_bytes_of_another_are_shown_is_a_different_session() {
    if !capability::kernel() {
        return;
    }
    assert_distinct([b"a\xffb", b"a\\xffb"]);
}

/// The list that `sessionscope metrics` prints.
fn catalogue() -> Vec<Value> {
    let output = command(&binary())
        .args(["metrics", "--format", "json"])
        .output()
        .unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn what_is_exposed_is_what_the_catalogue_lists() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let cgroup = tree.child("desk");
    agent.wait_for(&["desk"]);
    let mut workload = Workload::start(WORKLOAD, &cgroup, &["script", "--success", "5"]);
    workload.run();
    // A connection within the session: one of each side.
    let listener = sockets::listen(&cgroup);
    let near = sockets::connect(&cgroup, &listener);
    let far = listener.accept().unwrap();
    let exposition = agent.fresh_metrics();
    drop((near, far));

    let catalogue = catalogue();
    let by_name: BTreeMap<&str, &Value> = catalogue
        .iter()
        .map(|family| (family["name"].as_str().unwrap(), family))
        .collect();
    assert_eq!(by_name.len(), catalogue.len(), "a name twice");
    for (family, kind) in &exposition.types {
        let listed = by_name.get(family.as_str());
        let listed = listed.unwrap_or_else(|| panic!("{family} is not in the catalogue"));
        assert_eq!(listed["type"], **kind, "{family}");
    }
    for sample in &exposition.samples {
        let listed = by_name[sample.family.as_str()];
        let own = listed["labels"]
            .as_array()
            .unwrap()
            .iter()
            .map(|label| label.as_str().unwrap());
        let scope: &[&str] = match listed["scope"].as_str() {
            Some("session") => &["session", "namespace", "template"],
            _ => &[],
        };
        let bucket = sample.name.ends_with("_bucket").then_some("le");
        let wanted: BTreeSet<_> = own.chain(scope.iter().copied()).chain(bucket).collect();
        let labels: BTreeSet<_> = sample.labels.keys().map(String::as_str).collect();
        assert_eq!(labels, wanted, "{}", sample.name);
    }

    let up = |program: &str| {
        exposition.count("vdi_agent_probe_up", &[("probe", program), ("reason", "")]) == 1
    };
    let mut of_sessions = 0;
    for family in catalogue
        .iter()
        .filter(|family| family["scope"] == "session" && family["occasional"] == false)
    {
        let name = family["name"].as_str().unwrap();
        assert!(
            family["program"].as_str().is_none_or(up),
            "{name} has no program that runs"
        );
        let mut samples = exposition
            .samples
            .iter()
            .filter(|sample| sample.family == name);
        let live = |labels: &BTreeMap<String, String>| labels["session"] == "desk";
        assert!(
            samples.any(|sample| live(&sample.labels)),
            "{name} is absent"
        );
        of_sessions += 1;
    }
    assert!(
        of_sessions > 5,
        "only {of_sessions} families are of sessions"
    );
    let series = exposition.count("vdi_agent_series", &[]);
    assert_eq!(series, exposition.samples.len() as u64, "vdi_agent_series");
}

#[test]
fn the_format_is_the_one_that_is_asked_for() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let _session = tree.child("desk");
    let agent = Agent::start(&Configuration::of(&tree));
    agent.wait_for(&["desk"]);
    for (accept, content_type) in [
        (None, "text/plain; version=0.0.4; charset=utf-8"),
        (Some("*/*"), "text/plain; version=0.0.4; charset=utf-8"),
        (Some(TEXT), "text/plain; version=0.0.4; charset=utf-8"),
        (
            Some(OPEN_METRICS),
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (Some(PROTOBUF), PROTOBUF),
    ] {
        let headers: Vec<_> = accept.iter().map(|accept| ("Accept", *accept)).collect();
        let response = agent.get("/metrics", &headers);
        assert_eq!(response.status, 200);
        assert_eq!(
            response.header("content-type"),
            Some(content_type),
            "{accept:?}"
        );
        assert!(response.header("content-encoding").is_none());
    }
    let open_metrics = agent.get("/metrics", &[("Accept", OPEN_METRICS)]).text();
    assert!(open_metrics.ends_with("\n# EOF\n"));
    parsed(&open_metrics, Format::OpenMetrics);
    assert_eq!(
        agent.get("/api/v1/sessions", &[]).header("content-type"),
        Some("application/json")
    );
}

#[test]
fn it_is_compressed_when_asked() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let _session = tree.child("desk");
    let agent = Agent::start(&Configuration::of(&tree));
    agent.wait_for(&["desk"]);
    let plain = agent.get("/metrics", &[]);
    let headers = [("Accept-Encoding", "gzip"), ("Accept", OPEN_METRICS)];
    let response = agent.get("/metrics", &headers);
    assert_eq!(response.header("content-encoding"), Some("gzip"));
    assert!(
        response.body.len() * 2 < plain.body.len(),
        "hardly compressed"
    );
    let mut text = String::new();
    GzDecoder::new(&*response.body)
        .read_to_string(&mut text)
        .unwrap();
    let exposition = parsed(&text, Format::OpenMetrics);
    assert_eq!(exposition.values_of("vdi_session_info", "session").len(), 1);
}

/// As anybody on the node can make them.
#[test]
fn clients_that_stay_silent_keep_no_scrape_out_and_end_no_session() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let _session = tree.child("desk");
    let agent = Agent::start(&Configuration::of(&tree));
    agent.wait_for(&["desk"]);
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.extend((0..100).map(|_| TcpStream::connect(agent.address()).unwrap()));
        assert_eq!(agent.get("/healthz", &[]).status, 200);
    }
    let metrics = agent.fresh_metrics();
    assert_eq!(metrics.values_of("vdi_session_info", "session").len(), 1);
    let open = metrics.value("process_open_fds", &[]);
    assert!(open < 300.0, "{open} descriptors");
    // Those beyond the share of one address soon leave.
    wait::until("few descriptors are open", SHOW_LIMIT, || {
        let open = agent.metrics().value("process_open_fds", &[]);
        (open < 180.0).then_some(())
    });
    drop(silent);
}

#[test]
fn promtool_reports_nothing() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree).set("kernel.statistics", "true"));
    let cgroup = tree.child("desk");
    agent.wait_for(&["desk"]);
    let mut workload = Workload::start(WORKLOAD, &cgroup, &["script", "--exit-code", "3:5"]);
    workload.run();
    agent.fresh_metrics();
    let text = agent.get("/metrics", &[]).body;
    assert_eq!(prometheus::check_metrics(&text), "");
}

#[test]
fn the_list_of_metrics_needs_no_privilege() {
    let mut command: Command = command(&binary());
    let output = command.arg("metrics").output().unwrap();
    assert!(output.status.success());
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("vdi_session_runqueue_wait_seconds")
    );
}

#[test]
fn what_the_hypervisor_takes_is_that_of_the_kernel() {
    if !capability::kernel() {
        return;
    }
    let agent = Agent::start(&Configuration::of(&Tree::new()));
    let before = stolen_seconds();
    let said = agent
        .metrics()
        .value("vdi_node_cpu_steal_seconds_total", &[]);
    let after = stolen_seconds();
    assert!(
        (before - 0.005..=after + 0.005).contains(&said),
        "{before}, {said}, {after}"
    );
}

#[test]
fn what_waits_for_the_agent_in_the_ring_is_told() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let agent = Agent::start(&Configuration::of(&tree));
    let ring = |metrics: &Exposition| metrics.value("vdi_agent_ring_bytes", &[]);
    let limit = agent
        .fresh_metrics()
        .count("vdi_agent_ring_limit_bytes", &[]);
    assert_eq!(limit, 1 << 20);
    let pid = Pid::from_raw(agent.pid() as i32);
    kill(pid, Signal::SIGSTOP).expect("the agent can be stopped");
    let cgroups: Vec<Cgroup> = (0..100).map(|n| tree.child(format!("s{n}"))).collect();
    kill(pid, Signal::SIGCONT).expect("and goes on");
    // Each with its name and the header of the ring. It may have read some of them before it stood still.
    let most = f64::from(50 * (288 + 8));
    wait::until("what has waited", SHOW_LIMIT, || {
        (ring(&agent.metrics()) >= most).then_some(())
    });
    wait::until("nothing that waits", SHOW_LIMIT, || {
        (ring(&agent.metrics()) < most).then_some(())
    });
    drop(cgroups);
}
