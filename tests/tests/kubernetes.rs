//! Sessions as Kubernetes knows them: a cluster's node with real processes in real cgroups, and an API server
//! that tells of its pods, until it does not.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    agent::{Agent, Configuration, SHOW_LIMIT},
    capability,
    cgroup::Tree,
    exposition::Exposition,
    gpu::{GIB, Gpus, busy, compute, device},
    kubernetes::{Fault, InCluster, Pod, Sandbox, Server, service},
    wait,
};

const NODE: &str = "gpu-node-7";
const ENDED: &str = "vdi_session_ended_total";
const INFO: &str = "vdi_session_info";
/// Pods of the cluster itself on the node, and sessions; together as many as a kubelet allows.
const SERVICES: usize = 50;
const SESSIONS: usize = 60;
/// After this long without a failure the next one is a first one again.
const STEADY: Duration = Duration::from_millis(3200);
/// A platform is given 30 s to say how a session ended; here it says so at once.
const END_LIMIT: Duration = Duration::from_secs(15);

/// The agent's configuration as a pod of the cluster: built-in rules, and what the manifest sets.
fn configuration(server: &Server) -> (Configuration, Vec<(&'static str, std::path::PathBuf)>) {
    let InCluster { keys, environment } = server.in_cluster(NODE);
    let configuration = Configuration::without_rules()
        // Built-in rules would take containers of tests beside this one.
        .rule(
            "others",
            "/(desks|libpod|machine|qemu|docker)",
            "ignore = true",
        )
        .set("sessions.builtin_rules", "true")
        .set("logind.watch", "'off'")
        .set("libvirt.watch", "'off'")
        .set("containers.watch", "'off'");
    let configuration = keys
        .iter()
        .fold(configuration, |all, (key, value)| all.set(key, value));
    (configuration, environment)
}

fn start(server: &Server) -> Agent {
    let (configuration, environment) = configuration(server);
    Agent::start_with(&configuration, &environment)
}

/// Live sessions by phase, over all templates.
fn phases(metrics: &Exposition) -> BTreeMap<String, u64> {
    let mut phases = BTreeMap::new();
    for sample in metrics.matching("vdi_sessions", &[]) {
        *phases.entry(sample.labels["phase"].clone()).or_default() += sample.value as u64;
    }
    phases
}

fn ended(metrics: &Exposition, reason: &str) -> u64 {
    let samples = metrics.matching(ENDED, &[]);
    let of_reason = samples.filter(|sample| sample.labels["reason"] == reason);
    of_reason.map(|sample| sample.value as u64).sum()
}

fn until(
    agent: &Agent,
    what: &str,
    limit: Duration,
    wanted: impl Fn(&Exposition) -> bool,
) -> Exposition {
    wait::until(what, limit, || {
        let metrics = agent.metrics();
        wanted(&metrics).then_some(metrics)
    })
}

/// Sessions of each kind, in turn.
fn session(number: usize) -> Pod {
    match number % 4 {
        0 => Pod::notebook(NODE, &format!("user-{number}")),
        1 => Pod::desktop(
            NODE,
            &format!("s-{number}"),
            "chrome",
            &format!("user-{number}"),
        ),
        2 => Pod::machine(NODE, &format!("win-{number}")),
        _ => Pod::stream(NODE, &format!("stream-{number}")),
    }
}

fn info<'m>(metrics: &'m Exposition, session: &str) -> Option<&'m BTreeMap<String, String>> {
    let mut samples = metrics.samples.iter();
    let found = samples.find(|s| s.name == INFO && s.labels["session"] == session)?;
    Some(&found.labels)
}

#[test]
fn a_node_of_110_pods_is_measured_through_the_whole_life_of_its_60_sessions() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let server = Server::start();
    // What is there before the agent.
    let mut sandboxes = Vec::new();
    for number in 0..SERVICES {
        let pod = service(NODE, &format!("service-{number}")).since(Duration::from_hours(24));
        server.apply(pod.clone().running(true).object());
        sandboxes.push(Sandbox::run(&tree, &pod));
    }
    server.apply(
        Pod::notebook("another-node", "elsewhere")
            .running(true)
            .object(),
    );
    let before = 40;
    let mut pods: Vec<Pod> = (0..SESSIONS).map(session).collect();
    let mut sessions: Vec<Sandbox> = Vec::new();
    for pod in &mut pods[..before] {
        *pod = pod.clone().since(Duration::from_hours(2)).running(true);
        server.apply(pod.object());
        sessions.push(Sandbox::run(&tree, pod));
    }
    let agent = start(&server);
    let metrics = until(&agent, "40 sessions run", SHOW_LIMIT, |metrics| {
        phases(metrics).get("Running") == Some(&40)
    });
    assert_eq!(metrics.count("vdi_agent_sessions_tracked", &[]), 40);
    names_and_labels(&metrics);
    for sample in metrics.matching("vdi_session_start_time_seconds", &[]) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let age = now.unwrap().as_secs_f64() - sample.value;
        assert!((7195.0..7300.0).contains(&age), "{sample:?} is {age} s old");
    }

    the_rest_starts_while_it_watches(&server, &tree, &agent, &mut pods[before..], &mut sessions);
    let metrics = until(&agent, "60 sessions run", SHOW_LIMIT, |metrics| {
        phases(metrics).get("Running") == Some(&60)
    });
    assert_eq!(metrics.count("vdi_agent_sessions_overflowed_total", &[]), 0);
    assert!(metrics.matching(ENDED, &[]).all(|s| s.value < 0.5));

    one_that_never_starts(&server, &tree, &agent);
    a_restart_is_no_end(&server, &tree, &agent, &pods[5], &mut sessions[5]);
    every_way_to_end(&server, &agent, &pods, sessions);
    assert_eq!(server.violations(), Vec::<String>::new());
    let up = [("source", "kubernetes"), ("reason", "")];
    assert_eq!(agent.metrics().count("vdi_agent_source_up", &up), 1);
}

/// The first of each kind of session.
fn names_and_labels(metrics: &Exposition) {
    for (session, namespace, template) in [
        ("jupyter-user-0", "hub", "pytorch-notebook"),
        ("s-1", "vdi", "chrome"),
        ("win-2", "machines", "windows11-desktop-large"),
        ("stream-3-0", "streams", "egl-desktop"),
    ] {
        let labels = info(metrics, session).unwrap_or_else(|| panic!("{session} is not there"));
        assert_eq!(labels["namespace"], namespace, "{session}");
        assert_eq!(labels["template"], template, "{session}");
        assert_eq!(labels["source"], "kubernetes", "{session}");
        assert_eq!(labels["runtime"], "kubernetes", "{session}");
        assert_eq!(labels["user"], "", "{session}: users are not told");
        assert_eq!(labels["pod_uid"].len(), 36, "{session}");
        assert!(
            labels["pod"].len() < 36 && !labels["pod"].is_empty(),
            "{session}"
        );
    }
}

/// The API server tells of each pod, and the kubelet makes it.
fn the_rest_starts_while_it_watches(
    server: &Server,
    tree: &Tree,
    agent: &Agent,
    pods: &mut [Pod],
    sessions: &mut Vec<Sandbox>,
) {
    for (number, pod) in pods.iter_mut().enumerate() {
        *pod = session(40 + number);
        if number % 5 == 1 {
            *pod = pod.clone().with_sidecar();
        }
        server.apply(pod.object());
    }
    // Announced, and no cgroup yet.
    until(agent, "20 sessions are pending", SHOW_LIMIT, |metrics| {
        phases(metrics).get("Pending") == Some(&20)
    });
    for (number, pod) in pods.iter_mut().enumerate() {
        let mut sandbox = Sandbox::make(tree, pod);
        let initialises = number % 5 == 2;
        if initialises {
            *pod = pod.clone().initialising();
            server.apply(pod.object());
        }
        sandbox.start(tree, pod);
        *pod = pod.clone().running(!initialises);
        server.apply(pod.object());
        sessions.push(sandbox);
    }
    until(agent, "4 sessions are starting", SHOW_LIMIT, |metrics| {
        phases(metrics).get("Starting") == Some(&4)
    });
    for (number, pod) in pods.iter_mut().enumerate() {
        if number % 5 == 2 {
            *pod = pod.clone().running(true);
            server.apply(pod.object());
        }
    }
    // Each of the 20 was scheduled, and had its first process, once.
    until(agent, "20 starts are observed", SHOW_LIMIT, |metrics| {
        ["scheduled", "first_process"].iter().all(|milestone| {
            let name = "vdi_session_startup_seconds_count";
            let labels = [("milestone", *milestone)];
            metrics
                .matching(name, &labels)
                .map(|s| s.value)
                .sum::<f64>()
                >= 20.0
        })
    });
    let metrics = agent.fresh_metrics();
    for milestone in ["scheduled", "first_process"] {
        let labels = [("milestone", milestone)];
        let sum = |part: &str| {
            let name = format!("vdi_session_startup_seconds_{part}");
            metrics
                .matching(&name, &labels)
                .map(|s| s.value)
                .sum::<f64>()
        };
        assert!(
            (sum("count") - 20.0).abs() < 0.5,
            "{milestone}: {}",
            sum("count")
        );
        // The API has whole seconds, so a start seems up to a second longer than it is.
        assert!(sum("sum") / 20.0 < 20.0, "{milestone}: {} s", sum("sum"));
    }
}

fn one_that_never_starts(server: &Server, tree: &Tree, agent: &Agent) {
    let pod = Pod::desktop(NODE, "never", "broken-image", "nobody").waiting("ImagePullBackOff");
    server.apply(pod.object());
    let sandbox = Sandbox::make(tree, &pod);
    let pending = [("template", "broken-image"), ("phase", "Pending")];
    until(agent, "it is pending", SHOW_LIMIT, |metrics| {
        metrics.find("vdi_sessions", &pending) == Some(1.0) && info(metrics, "never").is_some()
    });
    thread::sleep(Duration::from_secs(2));
    let metrics = agent.fresh_metrics();
    assert_eq!(metrics.count("vdi_sessions", &pending), 1);
    let session = agent.session("never").expect("it is there");
    assert_eq!(session["details"]["waiting"], "ImagePullBackOff");
    assert_eq!(session["origins"]["template"], "label vdi.kasm.io/template");

    let pod = pod.deleted(Duration::from_secs(30));
    server.apply(pod.object());
    sandbox.remove();
    server.delete(pod.namespace(), pod.name());
    let labels = [("template", "broken-image"), ("reason", "completed")];
    until(agent, "its end is counted", END_LIMIT, |metrics| {
        metrics.find(ENDED, &labels) == Some(1.0)
    });
    // Every phase of a template that is known is there.
    assert_eq!(agent.metrics().count("vdi_sessions", &pending), 0);
}

fn a_restart_is_no_end(
    server: &Server,
    tree: &Tree,
    agent: &Agent,
    pod: &Pod,
    sandbox: &mut Sandbox,
) {
    sandbox.end_main("exit 1");
    sandbox.start(tree, pod);
    server.apply(pod.clone().restarted(137, "OOMKilled").object());
    let name = "s-5";
    let session = agent.session_that(name, "has restarted", |session| {
        session["details"]["restarts"] == "1" && session["process"]["exits"]["error"] == 1
    });
    assert_eq!(session["phase"], "Running");
    assert_eq!(
        session["details"]["last restart"],
        "OOMKilled, exit code 137"
    );
    assert_eq!(session["ended"], false);
}

/// All 60 end, each in its way; what is counted is what the script says.
fn every_way_to_end(server: &Server, agent: &Agent, pods: &[Pod], sessions: Vec<Sandbox>) {
    let before = ended(&agent.metrics(), "completed");
    let began = Instant::now();
    for (number, (pod, mut sandbox)) in pods.iter().zip(sessions).enumerate() {
        let pod = pod.clone();
        let (last, deleted) = match number % 6 {
            0 => {
                sandbox.end_main("exit 0");
                (pod.ended("Succeeded", 0, "Completed"), false)
            }
            1 => {
                sandbox.end_main("exit 3");
                (pod.ended("Failed", 3, "Error"), false)
            }
            2 => {
                sandbox.end_main("ulimit -c 0; kill -SEGV $$");
                (pod.ended("Failed", 139, "Error"), false)
            }
            3 => {
                sandbox.end_main("kill -KILL $$");
                (pod.ended("Failed", 137, "OOMKilled"), false)
            }
            4 => {
                sandbox.end_main("kill -KILL $$");
                (pod.evicted(), false)
            }
            _ => {
                let pod = pod.deleted(Duration::from_secs(30));
                server.apply(pod.object());
                sandbox.end_main("kill -TERM $$");
                (pod.stopped(143), true)
            }
        };
        // Some kubelets remove the cgroups before they have reported.
        if number % 2 == 0 {
            sandbox.remove();
            server.apply(last.object());
        } else {
            server.apply(last.object());
            sandbox.remove();
        }
        if deleted {
            server.delete(last.namespace(), last.name());
        }
    }
    let metrics = until(agent, "all 60 have ended", END_LIMIT, |metrics| {
        metrics
            .matching(ENDED, &[])
            .map(|s| s.value as u64)
            .sum::<u64>()
            >= 61
    });
    for (reason, count) in [
        ("completed", before + 20),
        ("error", 10),
        ("signal", 10),
        ("oom_killed", 10),
        ("evicted", 10),
        ("unknown", 0),
        ("gpu_error", 0),
    ] {
        assert_eq!(ended(&metrics, reason), count, "{reason}");
    }
    // Those that were there before lasted two hours, by their pods' own times.
    let long = metrics
        .matching("vdi_session_duration_seconds_bucket", &[("le", "3600.0")])
        .chain(metrics.matching("vdi_session_duration_seconds_bucket", &[("le", "3600")]));
    let short: f64 = long.map(|sample| sample.value).sum();
    assert!(
        (short - 21.0).abs() < 0.5,
        "{short} of 61 lasted less than an hour"
    );
    assert!(began.elapsed() < Duration::from_mins(1));
    let live: u64 = phases(&metrics).values().sum();
    assert_eq!(live, 0);
    assert_eq!(metrics.count("vdi_agent_sessions_tracked", &[]), 0);
}

#[test]
fn an_api_server_in_trouble_costs_no_session_and_no_scrape() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let mut server = Server::start();
    let pods: Vec<Pod> = (0..4).map(|n| session(n).running(true)).collect();
    let mut sandboxes: Vec<Sandbox> = pods.iter().map(|pod| Sandbox::run(&tree, pod)).collect();
    for pod in &pods {
        server.apply(pod.object());
    }
    let agent = start(&server);
    let running = |agent: &Agent, count: u64| {
        until(agent, "all run", SHOW_LIMIT * 2, |metrics| {
            phases(metrics).get("Running") == Some(&count)
        })
    };
    running(&agent, 4);
    let up = [("source", "kubernetes"), ("reason", "")];
    let is_up = |metrics: &Exposition| metrics.find("vdi_agent_source_up", &up) == Some(1.0);

    // A watch that ends in order goes on from where it was: the last bookmark.
    let lists = server.lists();
    let version = server.bookmark();
    wait::until("the bookmark is heard", SHOW_LIMIT, || {
        server.end_watches();
        thread::sleep(Duration::from_millis(300));
        (server.watched_from().last() == Some(&version)).then_some(())
    });
    assert_eq!(server.lists(), lists, "it has listed again");

    // What is forgotten is listed anew, and that is no error.
    server.expire();
    server.end_watches();
    wait::until("it lists again", SHOW_LIMIT, || {
        (server.lists() > lists).then_some(())
    });
    let result = |metrics: &Exposition, result: &str| {
        let labels = [("source", "kubernetes"), ("result", result)];
        metrics.count("vdi_agent_reconcile_total", &labels)
    };
    until(
        &agent,
        "the request to begin anew is counted",
        SHOW_LIMIT,
        |metrics| result(metrics, "requeue") > 0,
    );

    // Everything that a server or something before it may answer.
    for (fault, kind) in [
        (Fault::Status(429, "TooManyRequests"), "rate_limited"),
        (Fault::Status(500, "InternalError"), "internal"),
        (Fault::Status(503, "ServiceUnavailable"), "unavailable"),
        (Fault::Status(403, "Forbidden"), "forbidden"),
        (Fault::Status(401, "Unauthorized"), "unauthorized"),
        (Fault::Nonsense, "validation"),
        (Fault::HangUp, "unavailable"),
    ] {
        server.fail(&[fault]);
        let labels = [("source", "kubernetes"), ("error_type", kind)];
        wait::until(&format!("{fault:?} has happened"), SHOW_LIMIT * 2, || {
            server.has_failed().then_some(())
        });
        let metrics = until(
            &agent,
            &format!("{fault:?} is counted"),
            SHOW_LIMIT * 2,
            |metrics| metrics.find("vdi_agent_reconcile_errors_total", &labels) >= Some(1.0),
        );
        assert_eq!(phases(&metrics)["Running"], 4, "{fault:?}");
        until(
            &agent,
            &format!("it is up after {fault:?}"),
            SHOW_LIMIT * 4,
            is_up,
        );
        thread::sleep(STEADY);
    }
    // A line that is no event may have hidden a change.
    let lists = server.lists();
    server.say("{\"type\": \"MODIFIED\", \"object\": 7}");
    wait::until("it lists again", SHOW_LIMIT * 2, || {
        (server.lists() > lists).then_some(())
    });
    until(&agent, "it is up after nonsense", SHOW_LIMIT * 4, is_up);

    // It is away: what was known stands, what ends is counted, and what begins waits for its name.
    server.turn_off();
    let down = [("source", "kubernetes"), ("reason", "down")];
    until(&agent, "it is down", SHOW_LIMIT * 2, |metrics| {
        metrics.find("vdi_agent_source_up", &down) == Some(0.0)
    });
    let report = agent.report();
    let reason = report["agent"]["sources"][0]["reason"]
        .as_str()
        .unwrap_or_default();
    assert!(
        reason.contains("refused") || reason.contains("onnect"),
        "{reason:?}"
    );
    let late = session(8);
    let late_sandbox = Sandbox::run(&tree, &late);
    let gone = sandboxes.pop().expect("there are four");
    gone.remove();
    let metrics = running(&agent, 3);
    assert!(info(&metrics, "jupyter-user-8").is_none());
    assert!(info(&metrics, "jupyter-user-0").is_some());
    server.apply(late.clone().running(true).object());
    server.apply(pods[3].clone().ended("Failed", 5, "Error").object());
    server.turn_on();
    let limit = Duration::from_secs(45);
    let metrics = until(&agent, "all is known again", limit, |metrics| {
        is_up(metrics) && info(metrics, "jupyter-user-8").is_some() && ended(metrics, "error") == 1
    });
    assert_eq!(phases(&metrics)["Running"], 4);
    assert_eq!(ended(&metrics, "unknown"), 0);
    assert_eq!(server.violations(), Vec::<String>::new());
    late_sandbox.remove();
}

#[test]
fn the_kernels_the_gpus_and_kubernetes_figures_of_a_session_meet_under_its_labels() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let server = Server::start();
    let pod = Pod::desktop(NODE, "s-1", "blender", "ada").running(true);
    let mut sandbox = Sandbox::run(&tree, &pod);
    server.apply(pod.object());
    let mut gpu = device(0);
    gpu.processes = vec![compute(sandbox.pid(), GIB)];
    gpu.samples = vec![busy(sandbox.pid(), 40)];
    let gpus = Gpus::new(vec![gpu]);
    let key = tempfile::tempdir().expect("a temporary folder can be made");
    let key_file = key.path().join("key");
    std::fs::write(&key_file, "0123456789abcdef").expect("a file can be written");
    let (configuration, environment) = configuration(&server);
    // From outside the cluster, this time.
    let configuration = configuration
        .set(
            "kubernetes.kubeconfig",
            &format!("'{}'", server.kubeconfig().display()),
        )
        .set("sessions.user", "'hashed'")
        .set("sessions.user_key", &format!("'{}'", key_file.display()));
    let configuration = gpus.configure(configuration);
    let environment: Vec<_> = environment.into_iter().chain(gpus.environment()).collect();
    let agent = Agent::start_with(&configuration, &environment);

    let labels = [
        ("session", "s-1"),
        ("namespace", "vdi"),
        ("template", "blender"),
    ];
    let wanted = [
        "vdi_session_cpu_seconds_total",
        "vdi_session_runqueue_wait_seconds_count",
        "vdi_session_processes",
        "vdi_session_gpu_busy_seconds_total",
        "vdi_session_gpu_memory_bytes",
        "vdi_session_info",
        "vdi_session_start_time_seconds",
    ];
    let metrics = until(&agent, "all of it is there", SHOW_LIMIT * 2, |metrics| {
        wanted
            .iter()
            .all(|name| metrics.matching(name, &labels).next().is_some())
    });
    let other = metrics.samples.iter().find(|sample| {
        sample.name.starts_with("vdi_session_")
            && sample
                .labels
                .get("session")
                .is_some_and(|session| session != "s-1")
    });
    assert!(other.is_none(), "{other:?}");
    // printf ada | openssl dgst -sha256 -hmac 0123456789abcdef
    assert_eq!(info(&metrics, "s-1").unwrap()["user"], "83eeb38e004a2953");
    sandbox.end_main("exit 0");
}

#[test]
fn ten_thousand_templates_of_a_broken_operator_are_bounded() {
    if !capability::kernel() {
        return;
    }
    let server = Server::start();
    for number in 0..10_000 {
        let pod = Pod::desktop(NODE, &format!("s-{number}"), &format!("t-{number}"), "x");
        server.apply(pod.object());
    }
    let agent = start(&server);
    let metrics = until(&agent, "all are awaited", SHOW_LIMIT * 6, |metrics| {
        phases(metrics).get("Pending") == Some(&10_000)
    });
    let templates = metrics.values_of("vdi_sessions", "template");
    assert_eq!(templates.len(), 201);
    let overflow = [("template", "overflow"), ("phase", "Pending")];
    assert_eq!(metrics.count("vdi_sessions", &overflow), 9_800);
    assert!(metrics.count("vdi_agent_series", &[]) < 3_000);
    let process = metrics.value("process_resident_memory_bytes", &[]);
    eprintln!("{} MiB resident with 10,000 pods", process / 1_048_576.0);
}
