//! Traces: what a collector gets of sessions and requests, by gRPC and by HTTP, and what becomes of spans while it is away.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    certificates::Authority,
    cgroup::{Cgroup, Tree},
    collector::{Collector, Ports, Span},
    exposition::Exposition,
    tls_front::TlsFront,
    wait,
};
use sessionscope::telemetry::Event;

/// Until a batch is sent: it waits two seconds for more.
const SENT: Duration = Duration::from_secs(30);
/// How long a collector is away.
const AWAY: Duration = Duration::from_mins(1);
/// A trace of somebody else, which is kept.
const THEIRS: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn configuration(tree: &Tree, ports: Ports, protocol: &str) -> Configuration {
    let address = if protocol == "grpc" {
        ports.grpc
    } else {
        ports.http
    };
    Configuration::of(tree)
        .set("traces.endpoint", &format!("'http://{address}'"))
        .set("traces.protocol", &format!("'{protocol}'"))
        .set("traces.environment", "'tests'")
        .set("traces.spans_a_second", "100000")
}

/// Runs a script in a session.
fn run(session: &Cgroup, script: &str) {
    let procs = session.path().join("cgroup.procs");
    let script = format!("echo 0 > {} && {script}", procs.display());
    Command::new("sh")
        .args(["-c", &script])
        .status()
        .expect("sh runs");
}

/// A session that lives a moment, has a process that crashes, and ends by that.
fn live_and_die(tree: &Tree, agent: &Agent, name: &str) {
    let session = tree.child(name);
    agent.wait_for(&[name]);
    run(&session, "sleep 0.5; kill -KILL $$");
    thread::sleep(Duration::from_millis(500));
    session.remove();
}

fn traced(agent: &Agent, path: &str) {
    let parent = format!("00-{THEIRS}-{PARENT}-01");
    assert_eq!(agent.get(path, &[("traceparent", &parent)]).status, 200);
}

fn is_of(span: &Span, session: &str) -> bool {
    span.attributes
        .get("vdi.session")
        .is_some_and(|one| one == session)
}

/// The trace of a session by the line of the log that says that it was found.
fn trace_of(agent: &Agent, session: &str) -> String {
    let found = agent.logged(Event::SessionFound).into_iter();
    let mut found = found.filter(|record| record["session"] == session);
    let record = found.next().expect("it was found");
    record["trace_id"]
        .as_str()
        .expect("it has a trace")
        .to_owned()
}

#[test]
fn a_session_is_a_trace_with_its_milestones_its_incidents_and_its_end() {
    if !capability::kernel() || !capability::collector() {
        return;
    }
    for protocol in ["grpc", "http/protobuf"] {
        let (tree, ports) = (Tree::new(), Ports::free());
        let collector = Collector::start(ports);
        let agent = Agent::start(&configuration(&tree, ports, protocol));
        live_and_die(&tree, &agent, "desk");
        traced(&agent, "/metrics");
        traced(&agent, "/healthz");
        let spans = wait::until("the end of the session is told", SENT, || {
            let spans = collector.spans();
            let ended = |span: &Span| span.name == "session" && is_of(span, "desk");
            let asked = |span: &Span| span.trace == THEIRS;
            (spans.iter().any(ended) && spans.iter().any(asked)).then_some(spans)
        });
        let trace = trace_of(&agent, "desk");
        let of_desk: Vec<&Span> = spans.iter().filter(|span| span.trace == trace).collect();
        let named = |name: &str| -> &Span {
            let mut found = of_desk.iter().filter(|span| span.name == name);
            let first = found
                .next()
                .unwrap_or_else(|| panic!("{protocol}: no {name}: {spans:#?}"));
            assert!(found.next().is_none(), "{protocol}: {name} is there twice");
            first
        };
        let (root, first, crash) = (named("session"), named("first_process"), named("crash"));
        assert_eq!(root.parent, "");
        assert!(root.is_error && crash.is_error && !first.is_error);
        assert_eq!(root.attributes["vdi.end_reason"], "signal");
        assert_eq!(root.attributes["vdi.namespace"], "tests");
        assert_eq!(root.attributes["vdi.template"], "child");
        for child in [first, crash] {
            assert_eq!(child.parent, root.id, "{protocol}: {}", child.name);
            assert!(
                child.start >= root.start && child.end >= child.start,
                "{child:?}"
            );
        }
        assert!(first.end - first.start < 5_000_000_000, "{first:?}");
        assert!(root.end - root.start > 500_000_000, "{root:?}");
        assert_eq!(root.resource["service.name"], "sessionscope");
        assert_eq!(root.resource["deployment.environment"], "tests");
        assert!(root.resource.contains_key("host.name"));
        // What its life says in the log has the same trace.
        for event in [Event::SessionEnded, Event::ProcessKilled] {
            let logged = agent.logged(event);
            assert_eq!(logged.len(), 1, "{}", agent.log());
            assert_eq!(logged[0]["trace_id"], trace.as_str());
        }
        // A request is of its client's trace; health checks are none.
        let theirs: Vec<&Span> = spans.iter().filter(|span| span.trace == THEIRS).collect();
        assert_eq!(theirs.len(), 1, "{theirs:?}");
        assert_eq!(
            (theirs[0].name.as_str(), theirs[0].parent.as_str()),
            ("GET /metrics", PARENT)
        );
        assert_eq!(theirs[0].attributes["http.response.status_code"], "200");
    }
}

#[test]
fn a_collector_that_is_away_holds_up_nothing_and_what_is_lost_is_counted() {
    if !capability::kernel() || !capability::collector() {
        return;
    }
    let (tree, ports) = (Tree::new(), Ports::free());
    let agent = Agent::start(&configuration(&tree, ports, "grpc"));
    let began = Instant::now();
    live_and_die(&tree, &agent, "desk");
    wait::until("it is told", SENT, || {
        (!agent.logged(Event::CollectorAway).is_empty()).then_some(())
    });
    // More than there is room for: half of the queue is the sessions' alone.
    let mut slowest = Duration::ZERO;
    for _ in 0..3000 {
        let began = Instant::now();
        traced(&agent, "/");
        slowest = slowest.max(began.elapsed());
    }
    assert!(
        slowest < wait::patient(Duration::from_secs(2)),
        "{slowest:?}"
    );
    let metrics = agent.fresh_metrics();
    let spans = |metrics: &Exposition, result| {
        metrics.count("vdi_agent_trace_spans_total", &[("result", result)])
    };
    let dropped = spans(&metrics, "dropped");
    assert!((300..3000).contains(&dropped), "{dropped}");
    assert_eq!(
        (spans(&metrics, "sent"), spans(&metrics, "over_limit")),
        (0, 0)
    );
    assert!(metrics.count("vdi_agent_trace_export_failures_total", &[]) > 0);
    let waiting = metrics.value("vdi_agent_trace_spans_waiting", &[]);
    assert!((1000.0..=1600.0).contains(&waiting), "{waiting}");
    // It is away for a minute.
    thread::sleep(AWAY.saturating_sub(began.elapsed()));
    assert_eq!(agent.get("/readyz", &[]).status, 200);
    let age = agent.metrics().value("vdi_agent_sample_age_seconds", &[]);
    assert!(
        age < wait::patient(Duration::from_secs(1)).as_secs_f64(),
        "{age}"
    );
    assert_eq!(spans(&agent.metrics(), "sent"), 0);
    // What has waited is not lost, and comes first.
    let collector = Collector::start(ports);
    let got = wait::until("what has waited is sent", SENT, || {
        let got = collector.spans();
        (got.len() as f64 >= waiting).then_some(got)
    });
    let is_root = |span: &Span| span.name == "session" && is_of(span, "desk");
    assert!(got.iter().any(is_root));
    assert!(spans(&agent.fresh_metrics(), "sent") >= waiting as u64);
    assert_eq!(agent.logged(Event::CollectorAway).len(), 1);
    assert_eq!(agent.logged(Event::CollectorAnswers).len(), 1);
}

#[test]
fn a_collector_behind_tls_gets_spans_only_if_its_certificate_is_believed() {
    if !capability::kernel() || !capability::collector() {
        return;
    }
    let (believed, foreign) = (Authority::new("believed"), Authority::new("foreign"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = believed.write(folder.path().join("authorities.pem"));
    let environment = [("OTEL_EXPORTER_OTLP_CERTIFICATE", file)];
    let certificate = |authority: &Authority| authority.issue(&["localhost"], 2090);
    let empty = folder.path().join("key.pem");
    fs::write(&empty, certificate(&believed).key).expect("a file can be written");
    for protocol in ["grpc", "http/protobuf"] {
        let tree = Tree::new();
        let configuration = configuration(&tree, Ports::free(), protocol)
            .set("traces.endpoint", "'https://localhost:1'");
        let environment = [("OTEL_EXPORTER_OTLP_CERTIFICATE", empty.clone())];
        let error = Agent::try_start_with(&configuration, &environment);
        let error = error.expect_err("a key is no certificate");
        let names = empty.display().to_string();
        assert!(
            error.contains(&names) && error.contains("there is none"),
            "{error}"
        );
    }
    let ports = Ports::free();
    let collector = Collector::start(ports);
    for (protocol, behind, alpn) in [
        ("grpc", ports.grpc, "h2"),
        ("http/protobuf", ports.http, "http/1.1"),
    ] {
        let start = |authority: &Authority| {
            let tree = Tree::new();
            let front = TlsFront::start(behind, &certificate(authority), &[alpn]);
            let endpoint = format!("'https://localhost:{}'", front.address().port());
            let configuration = configuration(&tree, ports, protocol);
            let configuration = configuration.set("traces.endpoint", &endpoint);
            let agent = Agent::start_with(&configuration, &environment);
            (tree, front, agent)
        };
        let names = ["right", "wrong"].map(|name| format!("{name}-{}", &protocol[..4]));
        let [right, wrong] = names.each_ref().map(String::as_str);
        let arrived = |name| {
            let spans = collector.spans();
            spans.iter().any(|span| is_of(span, name)).then_some(())
        };
        let (tree, _front, agent) = start(&foreign);
        live_and_die(&tree, &agent, wrong);
        wait::until("the certificate is refused", SENT, || {
            (!agent.logged(Event::CollectorAway).is_empty()).then_some(())
        });
        let said = &agent.logged(Event::CollectorAway)[0];
        assert!(said.to_string().contains("ertificate"), "{said}");
        let (tree, _front, agent) = start(&believed);
        live_and_die(&tree, &agent, right);
        wait::until("the session is told", SENT, || arrived(right));
        assert!(agent.logged(Event::CollectorAway).is_empty());
        assert!(arrived(wrong).is_none());
    }
}

#[test]
fn more_spans_than_the_limit_lower_the_ratio_and_are_counted() {
    if !capability::kernel() || !capability::collector() {
        return;
    }
    let (tree, ports) = (Tree::new(), Ports::free());
    let _collector = Collector::start(ports);
    let limited = configuration(&tree, ports, "grpc").set("traces.spans_a_second", "1");
    let agent = Agent::start(&limited);
    for _ in 0..100 {
        traced(&agent, "/");
    }
    let metrics = agent.fresh_metrics();
    let over = metrics.count("vdi_agent_trace_spans_total", &[("result", "over_limit")]);
    assert!(over >= 80, "{over}");
    // Nothing of it is at the cost of sessions.
    let ratio = |of| metrics.value("vdi_agent_trace_sampling_ratio", &[("of", of)]);
    assert!(ratio("sessions") >= 1.0);
    assert!(ratio("agent") < 1.0);
}

#[test]
fn what_is_wrong_with_a_variable_is_said_at_the_start_and_without_an_endpoint_there_is_nothing() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let configuration = Configuration::of(&tree);
    let wrong = [("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317".into())];
    let environment: Vec<(&str, std::path::PathBuf)> = wrong.to_vec();
    let error = Agent::try_start_with(&configuration, &environment).expect_err("it is no URL");
    assert!(
        error.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && error.contains("collector:4317"),
        "{error}"
    );
    let agent = Agent::start(&configuration);
    let text = agent.get("/metrics", &[]).text();
    assert!(!text.contains("vdi_agent_trace_"), "{text}");
    let tasks = fs::read_dir(format!("/proc/{}/task", agent.pid()))
        .expect("it runs")
        .count();
    assert!(tasks < 20, "{tasks}");
    let session = tree.child("desk");
    agent.wait_for(&["desk"]);
    drop(session);
    let found = agent.logged(Event::SessionFound);
    assert!(
        found.iter().all(|record| record["trace_id"].is_null()),
        "{found:?}"
    );
}
