//! The whole way of an alert: real causes, agents, Prometheus of both majors with the shipped rules, Alertmanager with the
//! shipped configuration, and whoever is told. Durations are shorter by a factor, so that it takes minutes.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use integration_tests::{
    agent::{Agent, Configuration},
    alertmanager::{Alertmanager, Sink, Told},
    capability,
    cgroup::{Cgroup, Tree},
    documents::document,
    gpu::{Code, Event, GIB, Gpus, Utilization, compute, device, refusal},
    operations::faster_rules,
    prometheus::{self, Prometheus, newer},
    repository,
    sockets::{inside, listen},
    wait::{self, patient},
    workload::{Workload, two_cpus},
};
use nix::sys::signal::Signal;
use serde_json::json;
use serde_yaml_ng::Value;

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
/// A quarter of an hour is fifteen seconds.
const FASTER: u64 = 60;
/// For an alert: its windows, its `for`, and some rounds of everybody on the way.
const LIMIT: Duration = Duration::from_mins(2);
const SOON: Duration = Duration::from_secs(30);

/// The shipped configuration, with a webhook in the place of each receiver, and groups that do not wait.
fn configuration(sink: SocketAddr) -> String {
    let mut configuration: Value =
        serde_yaml_ng::from_str(&document("deploy/alertmanager/alertmanager.yml")).expect("YAML");
    for receiver in configuration["receivers"]
        .as_sequence_mut()
        .expect("receivers")
    {
        let name = receiver["name"].as_str().expect("a name").to_owned();
        let url = format!("http://{sink}/{name}");
        let webhook = json!({"name": name, "webhook_configs": [{"url": url}]});
        *receiver = serde_yaml_ng::to_value(webhook).expect("YAML");
    }
    let globals = configuration["global"].as_mapping_mut().expect("globals");
    globals.retain(|key, _| {
        key.as_str()
            .is_some_and(|key| !key.contains("smtp") && !key.contains("slack"))
    });
    hurry(&mut configuration["route"]);
    serde_yaml_ng::to_string(&configuration).expect("YAML")
}

fn hurry(route: &mut Value) {
    for (key, time) in [
        ("group_wait", "0s"),
        ("group_interval", "1s"),
        ("repeat_interval", "1h"),
    ] {
        route[key] = time.into();
    }
    for route in route["routes"].as_sequence_mut().into_iter().flatten() {
        hurry(route);
    }
}

/// Who is scraped, under which name.
fn write_targets(file: &Path, targets: &[(&str, SocketAddr)]) {
    let targets: Vec<_> = targets
        .iter()
        .map(|(node, address)| {
            json!({
                "targets": [address.to_string()],
                "labels": {"instance": node, "cluster": "east", "environment": "prod"},
            })
        })
        .collect();
    // Never read in the middle.
    let new = file.with_extension("new");
    fs::write(&new, json!(targets).to_string()).expect("a file can be written");
    fs::rename(new, file).expect("a file can be renamed");
}

fn prometheus(
    binary: &Path,
    name: &str,
    rules: &Path,
    targets: &Path,
    to: SocketAddr,
) -> Prometheus {
    let configuration = format!(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 1s\n  \
         external_labels: {{prometheus: '{name}'}}\nrule_files: ['{}/*.yml']\nalerting:\n  alertmanagers:\n  - \
         static_configs: [{{targets: ['{to}']}}]\nscrape_configs:\n- job_name: sessionscope\n  honor_labels: true\n  \
         file_sd_configs: [{{files: ['{}'], refresh_interval: 1s}}]\n",
        rules.display(),
        targets.display()
    );
    // An alert that is not sent again for a moment is not over.
    Prometheus::start_configured(binary, &["--rules.alert.resend-delay=1s"], &configuration)
}

/// What is waited for.
struct Wanted {
    receiver: &'static str,
    labels: Vec<(&'static str, &'static str)>,
}

fn wanted<const N: usize>(
    receiver: &'static str,
    alert: &'static str,
    more: [(&'static str, &'static str); N],
) -> Wanted {
    let mut labels = vec![("alertname", alert)];
    labels.extend(more);
    Wanted { receiver, labels }
}

impl Wanted {
    fn is(&self, told: &Told) -> bool {
        let has =
            |(name, value): &(&str, &str)| told.labels.get(*name).is_some_and(|one| one == value);
        told.path == format!("/{}", self.receiver) && self.labels.iter().all(has)
    }
}

/// Who is told, by each Prometheus.
struct Chain {
    sink: Sink,
    prometheuses: Vec<(&'static str, Prometheus)>,
    _alertmanager: Alertmanager,
}

impl Chain {
    fn told(&self, wanted: &Wanted, firing: bool) -> bool {
        let told = self.sink.told();
        self.prometheuses.iter().all(|(name, _)| {
            let of_it = |told: &&Told| told.labels.get("prometheus").is_some_and(|one| one == name);
            let mut found = told
                .iter()
                .filter(|told| told.firing == firing && wanted.is(told));
            found.any(|told| of_it(&told))
        })
    }

    fn until(&self, firing: bool, all: &[Wanted]) {
        for wanted in all {
            let Wanted { receiver, labels } = wanted;
            let what = format!("{receiver} is told of {labels:?}, firing: {firing}");
            wait::until(&what, patient(LIMIT), || {
                self.told(wanted, firing).then_some(())
            });
        }
    }

    /// Nobody has said that it is over.
    fn not_over(&self, wanted: &Wanted) {
        let told = self.sink.told();
        let over = told.iter().find(|told| !told.firing && wanted.is(told));
        assert_eq!(over, None);
    }

    fn never(&self, wanted: &Wanted) {
        let told = self.sink.told();
        let found: Vec<&Told> = told
            .iter()
            .filter(|told| told.firing && wanted.is(told))
            .collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

/// A node with two GPUs.
fn gpus() -> Gpus {
    let mut devices = [device(0), device(1)];
    // A driver that does not say what is to be done: the number of an error does.
    devices[0].recovery_action = None;
    Gpus::new(devices.into())
}

fn idle(session: &Cgroup) -> Workload {
    Workload::start(WORKLOAD, session, &["idle"])
}

/// Three processes that are killed for want of memory. The cgroup may be the session's own, and is removed when it is
/// dropped.
fn run_out_of_memory(tree: &Tree, session: &Cgroup) -> (Cgroup, Workload) {
    let limited = tree.limit_memory(session, 32 << 20);
    let mut arguments: Vec<OsString> = ["script", "--hungry", "3"].iter().map(Into::into).collect();
    arguments.extend(["--memory-cgroup".into(), limited.path().into()]);
    let mut script = Workload::start_with(WORKLOAD, session, arguments);
    script.run();
    (limited, script)
}

/// A session whose only process fails at once.
fn fail(tree: &Tree, agent: &Agent, name: &str) {
    let session = tree.child(name);
    agent.wait_for(&[name]);
    let procs = session.path().join("cgroup.procs");
    let script = format!("echo 0 > {} && sleep 0.1 && exit 3", procs.display());
    let ended = std::process::Command::new("sh")
        .args(["-c", &script])
        .status();
    assert_eq!(ended.expect("sh runs").code(), Some(3));
    session.remove();
}

/// A session that somebody watches, and one that takes its CPU.
struct Neighbours {
    work: Vec<Workload>,
    _sessions: [Cgroup; 2],
    _client: TcpStream,
    _accepted: TcpStream,
}

impl Neighbours {
    fn start(tree: &Tree, agent: &Agent) -> Self {
        let [cpu, _] = two_cpus();
        let sessions = ["victim", "noisy"].map(|name| tree.child(name));
        agent.wait_for(&["victim", "noisy"]);
        // So many that what else runs there takes little of it.
        let work = sessions.iter().zip(["1", "6"]).map(|(session, threads)| {
            let mut arguments = vec!["spin", "--threads", threads, "--cpu", &cpu];
            arguments.extend(["--seconds", "600"]);
            let mut work = Workload::start(WORKLOAD, session, &arguments);
            work.go();
            work
        });
        let work = work.collect();
        let listener = listen(&sessions[0]);
        let address = listener.local_addr().expect("it is bound");
        let client = TcpStream::connect(address).expect("it listens");
        let (accepted, _) = inside(&sessions[0], || listener.accept().expect("a client"));
        Self {
            work,
            _sessions: sessions,
            _client: client,
            _accepted: accepted,
        }
    }

    fn are_told(chain: &Chain) {
        let of_victim = [("instance", "node-a"), ("session", "victim")];
        let told = [
            "VdiSessionPreemptedByNeighbours",
            "VdiSessionRunQueueWaitHigh",
        ];
        chain.until(true, &told.map(|alert| wanted("team", alert, of_victim)));
        // It is no limit of its own, the noisy one is not preempted by others, and nobody is called for one session.
        chain.never(&wanted("team", "VdiSessionThrottledByLimit", of_victim));
        chain.never(&wanted("team", told[0], [("session", "noisy")]));
        chain.never(&wanted("on-call", told[1], []));
    }

    /// The noisy one is quiet.
    fn end(mut self, chain: &Chain) {
        self.work.clear();
        let alert = "VdiSessionPreemptedByNeighbours";
        chain.until(false, &[wanted("team", alert, [("session", "victim")])]);
    }
}

/// Whether all is tried, which takes minutes and a CPU: neighbours, and an agent that was there an hour ago.
fn whole() -> bool {
    std::env::var_os("SESSIONSCOPE_TEST_ON_CALL").is_some()
}

#[test]
fn real_causes_are_told_to_who_is_on_call_and_nobody_else_and_end() {
    if !capability::kernel() {
        return;
    }
    let (tree, other_tree) = (Tree::new(), Tree::new());
    let (mut gpus_of_a, mut gpus_of_b) = (gpus(), gpus());
    let start = |gpus: &Gpus, tree: &Tree| gpus.start(&Configuration::of(tree));
    let (a, mut b) = (start(&gpus_of_a, &tree), start(&gpus_of_b, &other_tree));

    let folder = tempfile::tempdir().expect("a folder");
    let targets: PathBuf = folder.path().join("targets.json");
    write_targets(
        &targets,
        &[("node-a", a.address()), ("node-b", b.address())],
    );
    let rules = faster_rules(FASTER);
    let sink = Sink::start();
    let alertmanager = Alertmanager::start(&configuration(sink.address()));
    let installed = prometheus::installed("prometheus").expect("`cargo xtask setup` installs it");
    let newer = newer::binary().unwrap_or_else(|error| panic!("{error:#}"));
    let prometheuses = [("2", &installed), ("3", &newer)].map(|(name, binary)| {
        (
            name,
            prometheus(binary, name, rules.path(), &targets, alertmanager.address()),
        )
    });
    let chain = Chain {
        sink,
        prometheuses: prometheuses.into(),
        _alertmanager: alertmanager,
    };
    chain.until(true, &[wanted("watchdog", "VdiWatchdog", [])]);

    // Node a: memory that runs out, a GPU that is lost, another with an error of its hardware that is hot, too, and sessions
    // that fail.
    let neighbours = whole().then(|| Neighbours::start(&tree, &a));
    let hungry = tree.child("hungry");
    a.wait_for(&["hungry"]);
    let _killed = run_out_of_memory(&tree, &hungry);
    gpus_of_a.change(|scenario| {
        scenario.devices[0].temperature_celsius = Some(90);
        scenario.devices[0].events = vec![Event {
            sequence: 1,
            value: 79,
            ..Event::default()
        }];
    });
    gpus_of_a.fail(&[refusal("", Some(1), Code::GPU_IS_LOST)]);
    // Node b: a GPU that two sessions share has no time left and is hot.
    let sharing = ["left", "right"].map(|name| other_tree.child(name));
    b.wait_for(&["left", "right"]);
    let sharing_work = sharing.each_ref().map(idle);
    gpus_of_b.change(|scenario| {
        let gpu = &mut scenario.devices[0];
        gpu.temperature_celsius = Some(90);
        gpu.utilization = Some(Utilization {
            gpu: 97,
            memory: 50,
        });
        gpu.processes = sharing_work
            .iter()
            .map(|work| compute(work.pid(), GIB))
            .collect();
    });
    for number in 0..8 {
        fail(&tree, &a, &format!("broken-{number}"));
    }

    let causes = [
        wanted(
            "team",
            "VdiSessionOomKilled",
            [
                ("instance", "node-a"),
                ("session", "hungry"),
                ("severity", "warning"),
            ],
        ),
        wanted(
            "on-call",
            "VdiGpuLost",
            [
                ("instance", "node-a"),
                ("gpu", "1"),
                ("cluster", "east"),
                ("environment", "prod"),
            ],
        ),
        wanted(
            "on-call",
            "VdiGpuXidError",
            [("instance", "node-a"), ("gpu", "0"), ("xid", "79")],
        ),
        wanted(
            "team",
            "VdiGpuTemperatureHigh",
            [
                ("instance", "node-b"),
                ("gpu", "0"),
                ("severity", "warning"),
            ],
        ),
        wanted(
            "team",
            "VdiGpuUtilizationHigh",
            [("instance", "node-b"), ("gpu", "0")],
        ),
        wanted(
            "team",
            "VdiTemplateCrashLoop",
            [("template", "child"), ("namespace", "tests")],
        ),
        wanted(
            "log-sink",
            "VdiGpuTemperatureHigh",
            [("instance", "node-b")],
        ),
    ];
    chain.until(true, &causes);
    if neighbours.is_some() {
        Neighbours::are_told(&chain);
    }
    // The other GPU's heat is explained by its error, and neither it nor the neighbour is told about as something else.
    chain.never(&wanted(
        "team",
        "VdiGpuTemperatureHigh",
        [("instance", "node-a"), ("gpu", "0")],
    ));

    // The agent is started anew: what is lost stays lost, without an end in between.
    drop(a);
    let a = start(&gpus_of_a, &tree);
    write_targets(
        &targets,
        &[("node-a", a.address()), ("node-b", b.address())],
    );
    // Causes go away.
    gpus_of_b.change(|scenario| {
        scenario.devices[0].temperature_celsius = Some(50);
        scenario.devices[0].utilization = Some(Utilization { gpu: 3, memory: 1 });
    });
    let over = [
        wanted(
            "team",
            "VdiGpuTemperatureHigh",
            [("instance", "node-b"), ("gpu", "0")],
        ),
        wanted(
            "team",
            "VdiGpuUtilizationHigh",
            [("instance", "node-b"), ("gpu", "0")],
        ),
    ];
    chain.until(false, &over);
    if let Some(neighbours) = neighbours {
        neighbours.end(&chain);
    }
    let lost = wanted(
        "on-call",
        "VdiGpuLost",
        [("instance", "node-a"), ("gpu", "1")],
    );
    // An agent that has stopped, and one that nobody knows any more.
    b.signal(Signal::SIGTERM);
    b.ended(Duration::from_secs(10)).expect("it ends");
    let down = wanted("team", "VdiAgentDown", [("instance", "node-b")]);
    chain.until(true, &[down]);
    write_targets(&targets, &[("node-a", a.address())]);
    if whole() {
        let gone = wanted("log-sink", "VdiAgentGone", [("instance", "node-b")]);
        chain.until(true, &[gone]);
    }

    for (name, prometheus) in &chain.prometheuses {
        let mut health = BTreeMap::new();
        for rule in prometheus.rules() {
            let of_it = rule["health"].as_str().unwrap_or_default().to_owned();
            *health.entry(of_it).or_insert(0) += 1;
            assert_ne!(rule["health"], "err", "Prometheus {name}: {rule}");
        }
        assert!(
            health.get("ok").is_some_and(|count| *count > 150),
            "{health:?}"
        );
    }
    // The GPU is replaced.
    chain.not_over(&lost);
    gpus_of_a.fail(&[]);
    chain.until(false, &[lost]);
}

/// What the operator makes of the `ServiceMonitor`'s relabelings.
fn relabelings() -> Value {
    let monitor: Value = serde_yaml_ng::from_str(&document(
        "deploy/kubernetes/monitoring/servicemonitor.yaml",
    ))
    .expect("YAML");
    let relabelings = monitor["spec"]["endpoints"][0]["relabelings"].as_sequence();
    let one = |relabeling: &Value| -> Value {
        let keys = relabeling.as_mapping().expect("a mapping").iter();
        let keys = keys.map(|(key, value)| {
            let key = match key.as_str().expect("a name") {
                "sourceLabels" => "source_labels",
                "targetLabel" => "target_label",
                other => other,
            };
            (Value::from(key), value.clone())
        });
        Value::Mapping(keys.collect())
    };
    relabelings.expect("relabelings").iter().map(one).collect()
}

/// The target of an agent as Kubernetes knows it.
fn write_pod(file: &Path, pod: &str, address: SocketAddr) {
    let target = json!([{
        "targets": [address.to_string()],
        "labels": {
            "__meta_kubernetes_pod_node_name": "node-a",
            "pod": pod,
            "container": "sessionscope",
            "endpoint": "metrics",
            "service": "sessionscope",
        },
    }]);
    let new = file.with_extension("new");
    fs::write(&new, target.to_string()).expect("a file can be written");
    fs::rename(new, file).expect("a file can be renamed");
}

#[test]
fn a_rollout_leaves_series_and_pending_alerts_as_they_are() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let sessions = ["left", "right"].map(|name| tree.child(name));
    let mut gpus = gpus();
    gpus.change(|scenario| scenario.devices[1].temperature_celsius = Some(90));
    let start = || gpus.start(&Configuration::of(&tree));
    let agent = start();
    agent.wait_for(&["left", "right"]);
    let _work = sessions.each_ref().map(idle);

    let folder = tempfile::tempdir().expect("a folder");
    let pods = folder.path().join("pods.json");
    write_pod(&pods, "sessionscope-aaaaa", agent.address());
    let relabelings = serde_yaml_ng::to_string(&relabelings()).expect("YAML");
    let configuration = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
         rule_files: ['{}']\nscrape_configs:\n- job_name: sessionscope\n  honor_labels: true\n  \
         file_sd_configs: [{{files: ['{}'], refresh_interval: 1s}}]\n  relabel_configs:\n{}",
        repository().join("rules/alerts/gpu.yml").display(),
        pods.display(),
        indented(&relabelings)
    );
    let installed = prometheus::installed("prometheus").expect("`cargo xtask setup` installs it");
    let prometheus = Prometheus::start_configured(&installed, &[], &configuration);
    // Whatever there has been of the sessions and the GPUs.
    let series = || {
        let ever =
            "count(last_over_time({__name__=~\"vdi_session_.*|vdi_sessions|vdi_gpu_.*\"}[10m]))";
        prometheus.value(ever).unwrap_or_default()
    };
    let waits_since = || {
        let alerts = prometheus.alerts().into_iter();
        let mut hot = alerts.filter(|alert| {
            alert["labels"]["alertname"] == "VdiGpuTemperatureHigh" && alert["state"] == "pending"
        });
        let since = hot.next().map(|alert| alert["activeAt"].clone());
        assert!(hot.next().is_none(), "it waits twice");
        since
    };
    let scraped = |pod: &Agent| {
        let address = pod.address().to_string();
        wait::until("the pod is scraped", SOON, || {
            let targets = prometheus.targets();
            let mut of_it = targets.iter().filter(|target| {
                target["scrapeUrl"]
                    .as_str()
                    .is_some_and(|url| url.contains(&address))
                    && target["health"] == "up"
            });
            of_it.next().map(|_| ())
        });
        // Some scrapes, so that what there is has come.
        thread::sleep(Duration::from_secs(5));
    };
    scraped(&agent);
    let since = wait::until("an alert waits", SOON, waits_since);
    let before = series();
    assert!(before > 100.0, "{before}");

    // The next pod is up before the last one goes, so that no scrape fails in between: that would end an alert that waits,
    // whatever the labels are.
    let next = start();
    next.wait_for(&["left", "right"]);
    write_pod(&pods, "sessionscope-bbbbb", next.address());
    scraped(&next);
    drop(agent);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(series().to_bits(), before.to_bits(), "{} series", series());
    assert_eq!(waits_since(), Some(since));
}

fn indented(yaml: &str) -> String {
    let lines: Vec<String> = yaml.lines().map(|line| format!("  {line}")).collect();
    lines.join("\n") + "\n"
}
