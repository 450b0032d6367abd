//! The agent beside the exporters of its platform: what joins them, the rules that need them, and the queries of others'
//! dashboards, word for word, each asked of both majors of Prometheus.

use std::{
    collections::BTreeMap, fmt::Write as _, fs, net::SocketAddr, path::Path, time::Duration,
};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::Tree,
    documents::document,
    exporters::{NodeExporter, Recorded},
    gpu::{GIB, Gpus, busy, compute, device},
    kubernetes::{InCluster, Pod, Sandbox, Server},
    operations::{ALL_RULES, faster_rules_of},
    prometheus::{self, Prometheus, newer},
    wait::{self, patient},
};

/// A quarter of an hour is fifteen seconds.
const FASTER: u64 = 60;
const LIMIT: Duration = Duration::from_mins(2);

/// The name by which Kubernetes, node_exporter and the agent know this node.
fn node() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("/proc is mounted");
    name.trim().to_owned()
}

/// Pods of its own tree alone: beside it runs a test whose agent asks by the built-in rules, and ignores `desks`.
fn start(server: &Server, gpus: &Gpus, node: &str, tree: &Tree) -> Agent {
    let InCluster { keys, environment } = server.in_cluster(node);
    let pattern = format!(r"^{}/.*-pod(?<pod>[0-9a-f_]{{36}})\.slice$", tree.path());
    let rule = "session = 'pod-$pod'\nruntime = 'kubernetes'\ndecode = 'pod-uid'";
    let configuration = Configuration::without_rules()
        .rule("pods", &pattern, rule)
        .set("logind.watch", "'off'")
        .set("libvirt.watch", "'off'")
        .set("containers.watch", "'off'");
    let configuration = keys
        .iter()
        .fold(configuration, |all, (key, value)| all.set(key, value));
    let environment: Vec<_> = environment.into_iter().chain(gpus.environment()).collect();
    Agent::start_with(&gpus.configure(configuration), &environment)
}

/// A Prometheus with rules that scrapes jobs of one node, as the operator's monitors would.
fn scraping(binary: &Path, rules: &Path, node: &str, jobs: &[(&str, SocketAddr)]) -> Prometheus {
    let mut configuration = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
         rule_files: ['{}/*.yml']\nscrape_configs:\n",
        rules.display()
    );
    for (job, address) in jobs {
        write!(
            configuration,
            "- job_name: {job}\n  honor_labels: true\n  static_configs:\n  - targets: ['{address}']\n    labels: \
             {{instance: '{node}', cluster: east, environment: prod}}\n"
        )
        .expect("a string takes all");
    }
    Prometheus::start_configured(binary, &[], &configuration)
}

/// The queries in the second column of the tables of a section.
fn queries(page: &str, heading: &str) -> Vec<String> {
    let (_, section) = page.split_once(heading).expect("the heading is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let query = |row: &str| {
        let (_, rest) = row.split_once(" | `")?;
        rest.split_once('`').map(|(query, _)| query.to_owned())
    };
    rows.filter_map(query).collect()
}

/// Waits until one of the values of a query is right; of a template that nobody uses a quantile is not a number.
fn until(prometheus: &Prometheus, query: &str, is_right: impl Fn(f64) -> bool) {
    wait::until(&format!("{query} is right"), patient(LIMIT), || {
        let values = prometheus.query(query);
        let mut values = values.iter().map(|(_, value)| *value);
        values.any(&is_right).then_some(())
    });
}

/// Of a count.
fn is(count: f64) -> impl Fn(f64) -> bool {
    move |value| (value - count).abs() < 0.5
}

/// The labels of the alerts of one name that fire.
fn firing(prometheus: &Prometheus, name: &str) -> Vec<BTreeMap<String, String>> {
    let alerts = prometheus.alerts().into_iter();
    let alerts = alerts.filter(|alert| {
        alert["state"] == "firing" && alert["labels"]["alertname"].as_str() == Some(name)
    });
    let labels = alerts.map(|alert| serde_json::from_value(alert["labels"].clone()));
    labels.map(|labels| labels.expect("labels")).collect()
}

/// What is asked of a dashboard of an operator, with the numbers that are right here.
fn the_operators_queries_are_answered(prometheus: &Prometheus, page: &str) {
    let asked = queries(page, "## An operator of virtual desktops");
    let [running, by_template, share, duration] = &asked[..] else {
        panic!("{asked:?}")
    };
    // Three ran, and one of them has ended.
    until(prometheus, running, is(2.0));
    until(prometheus, by_template, |sessions| {
        (2.0..=3.0).contains(&sessions)
    });
    until(prometheus, share, |percent| {
        (38.0..=42.0).contains(&percent)
    });
    until(prometheus, duration, |seconds| seconds > 0.0);
    let asked = queries(page, "## Other agents and operators");
    assert_eq!(asked.len(), 8, "{asked:?}");
    for query in &asked {
        until(prometheus, query, f64::is_finite);
    }
    let of_phases = asked.last().expect("eight");
    let all = format!("sum({of_phases})");
    until(prometheus, &all, is(2.0));
}

/// Each by the pod's namespace and name.
fn what_others_know_of_a_pod_joins(prometheus: &Prometheus) {
    let joined = |query: &str| {
        until(prometheus, query, |_| true);
        prometheus.query(query)
    };
    let with_labels = joined(
        "vdi_session_info{pod!=\"\"} * on (cluster, environment, namespace, pod) group_left (label_team) kube_pod_labels",
    );
    let team = |(labels, _): &(BTreeMap<String, String>, f64)| {
        (labels["session"].clone(), labels["label_team"].clone())
    };
    let teams: BTreeMap<String, String> = with_labels.iter().map(team).collect();
    let wanted = [("s-1", "design"), ("s-2", "science")];
    assert_eq!(
        teams,
        wanted.map(|(a, b)| (a.to_owned(), b.to_owned())).into()
    );
    let with_node = joined(
        "vdi_session_info{pod!=\"\"} * on (cluster, environment, namespace, pod) group_left (node) kube_pod_info",
    );
    assert_eq!(with_node.len(), 2);
    assert!(with_node.iter().all(|(labels, _)| labels["node"] == node()));
    let of_device = joined(
        "DCGM_FI_DEV_GPU_UTIL * on (cluster, environment, namespace, pod) group_left (session) vdi_session_info{pod!=\"\"}",
    );
    let [(labels, value)] = &of_device[..] else {
        panic!("{of_device:?}")
    };
    assert_eq!(labels["session"], "s-1");
    assert!(is(43.0)(*value), "{value}");
}

#[test]
fn rules_and_dashboards_of_a_platform_meet_the_agents_sessions() {
    if !capability::kernel() {
        return;
    }
    let node = node();
    let tree = Tree::called("desks");
    let server = Server::start();
    let pods =
        ["s-1", "s-2", "s-3"].map(|name| Pod::desktop(&node, name, "desk", "ada").running(true));
    let run = |pod: &Pod| {
        server.apply(pod.object());
        Sandbox::run(&tree, pod)
    };
    let [used, idle] = [&pods[0], &pods[1]].map(run);
    let mut gpu = device(0);
    gpu.processes = vec![compute(used.pid(), GIB)];
    gpu.samples = vec![busy(used.pid(), 40)];
    let gpus = Gpus::new(vec![gpu]);
    let agent = start(&server, &gpus, &node, &tree);
    agent.wait_for(&["s-1", "s-2"]);

    let exporter = NodeExporter::start();
    let words = [
        ("NODE", &*node),
        ("UID-1", pods[0].uid()),
        ("UID-2", pods[1].uid()),
    ];
    let cluster = Recorded::start("kube-state-metrics.txt", &words);
    let of_gpus = Recorded::start("dcgm-exporter.txt", &words[..1]);
    let jobs = [
        ("sessionscope", agent.address()),
        ("node-exporter", exporter.address()),
        ("kube-state-metrics", cluster.address()),
        ("dcgm-exporter", of_gpus.address()),
    ];
    let [recordings, alerts, platform, compat] = ALL_RULES;
    // The names of others are for where nobody else has them.
    let with_compat = faster_rules_of(&[recordings, alerts, platform, compat], FASTER);
    let without = faster_rules_of(&[recordings, alerts, platform], FASTER);
    let installed = prometheus::installed("prometheus").expect("`cargo xtask setup` installs it");
    let newer = newer::binary().unwrap_or_else(|error| panic!("{error:#}"));
    let older = scraping(&installed, with_compat.path(), &node, &jobs[..3]);
    let newer = scraping(&newer, without.path(), &node, &jobs);

    // One that comes while it is looked at, and ends.
    let known = "count(vdi_session_info{pod!=\"\"})";
    until(&older, known, is(2.0));
    let mut over = run(&pods[2]);
    until(&older, known, is(3.0));
    over.end_main("exit 0");
    server.apply(pods[2].clone().ended("Succeeded", 0, "Completed").object());
    over.remove();
    the_operators_queries_are_answered(&older, &document("rules/compat/README.md"));
    what_others_know_of_a_pod_joins(&newer);

    for prometheus in [&older, &newer] {
        // A container of one pod crashes, and there is a pod that no agent knows.
        let crashing = || firing(prometheus, "VdiSessionPodCrashLooping");
        let unknown = || firing(prometheus, "VdiSessionUnmeasured");
        let [crashing, unknown] = [&crashing as &dyn Fn() -> _, &unknown].map(|alerts| {
            let one = || alerts().into_iter().next();
            wait::until("an alert of the platform fires", patient(LIMIT), one)
        });
        assert_eq!(crashing["pod"], "vdi-s-2");
        assert_eq!(unknown["instance"], node);
        // Node_exporter's figures are found under the name of the node.
        assert!(firing(prometheus, "VdiNodeExporterUnmatched").is_empty());
        for rule in prometheus.rules() {
            assert_ne!(rule["health"], "err", "{rule}");
        }
    }
    // It runs again.
    cluster.leave_out("CrashLoopBackOff");
    for prometheus in [&older, &newer] {
        wait::until("the alert is over", patient(LIMIT), || {
            firing(prometheus, "VdiSessionPodCrashLooping")
                .is_empty()
                .then_some(())
        });
    }
    drop((used, idle));
}
