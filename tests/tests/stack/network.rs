//! Services, who may reach them, and who is scraped.

use regex::Regex;

use super::*;

const PROMETHEUS: &str = "deploy/stack/prometheus/scrape/kubernetes.yml";

/// Names of the ports of a pod's containers.
fn ports(workload: &Value) -> BTreeSet<&str> {
    let ports = containers(workload).flat_map(|container| list(&container["ports"]));
    ports.map(|port| text(&port["name"])).collect()
}

/// Whether labels fit a selector as policies have it.
fn selects(selector: &Value, labels: &Value) -> bool {
    let alike = entries(&selector["matchLabels"]).all(|(key, value)| labels[key] == *value);
    let fits = |expression: &Value| {
        assert_eq!(expression["operator"], "In", "{expression}");
        let label = &labels[text(&expression["key"])];
        list(&expression["values"]).any(|value| value == label)
    };
    alike && list(&selector["matchExpressions"]).all(fits)
}

fn labels(workload: &Value) -> &Value {
    &workload["spec"]["template"]["metadata"]["labels"]
}

/// The policies that are about a workload.
fn policies<'a>(objects: &'a [Value], workload: &'a Value) -> impl Iterator<Item = &'a Value> {
    of_kind(objects, "NetworkPolicy")
        .filter(move |policy| selects(&policy["spec"]["podSelector"], labels(workload)))
}

/// The service that leads to a workload.
fn service<'a>(objects: &'a [Value], workload: &Value) -> &'a Value {
    let mut services = of_kind(objects, "Service").filter(|service| {
        entries(&service["spec"]["selector"]).all(|(key, value)| labels(workload)[key] == *value)
    });
    let which = helm::name(workload);
    let one = services.next().unwrap_or_else(|| panic!("{which:?}"));
    assert!(services.next().is_none(), "{which:?} has two services");
    one
}

#[test]
fn each_workload_has_a_service_that_asks_to_be_scraped_and_leads_to_its_ports() {
    let Some(builds) = builds() else { return };
    for (name, workload, objects) in all_workloads(builds) {
        let service = service(objects, workload);
        let labels = &service["metadata"]["labels"];
        assert_eq!(labels["monitoring"], "enabled", "{name}");
        assert_eq!(labels["app.kubernetes.io/name"], name);
        let ports = ports(workload);
        for port in list(&service["spec"]["ports"]) {
            assert!(ports.contains(text(&port["targetPort"])), "{name}: {port}");
        }
        if workload["kind"] == "StatefulSet" {
            assert_eq!(workload["spec"]["serviceName"], name);
        }
    }
}

#[test]
fn probes_ask_ports_that_are_there() {
    let Some(builds) = builds() else { return };
    for (name, workload, _) in all_workloads(builds) {
        let ports = ports(workload);
        for container in containers(workload) {
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                let probe = &container[probe];
                let asked = [&probe["httpGet"]["port"], &probe["tcpSocket"]["port"]];
                for port in asked.into_iter().filter_map(Value::as_str) {
                    assert!(ports.contains(port), "{name}: {port}");
                }
            }
        }
    }
}

/// Whether a policy lets some pods through to a port.
fn lets_through(policy: &Value, from: &Value, port: &str) -> bool {
    list(&policy["spec"]["ingress"]).any(|rule| {
        list(&rule["ports"]).any(|one| one["port"] == port)
            && list(&rule["from"])
                .map(|peer| &peer["podSelector"])
                .any(|pods| pods.is_object() && selects(pods, from))
    })
}

#[test]
fn each_workload_has_a_policy_of_its_own_ports() {
    let Some(builds) = builds() else { return };
    for (name, workload, objects) in all_workloads(builds) {
        let ports = ports(workload);
        let policies: Vec<&Value> = policies(objects, workload).collect();
        assert_eq!(policies.len(), 1, "{name}");
        assert_eq!(policies[0]["spec"]["policyTypes"], json!(["Ingress"]));
        for rule in list(&policies[0]["spec"]["ingress"]) {
            // Without these a rule is about everybody, or about every port.
            assert!(rule["from"][0].is_object(), "{name}: {rule}");
            assert!(rule["ports"][0].is_object(), "{name}: {rule}");
            for port in list(&rule["ports"]) {
                assert!(ports.contains(text(&port["port"])), "{name}: {port}");
            }
        }
    }
    let objects = &builds["deploy/kubernetes/overlays/prod"];
    let agent = named(objects, "DaemonSet", "sessionscope");
    let policy = named(objects, "NetworkPolicy", "sessionscope");
    assert!(selects(&policy["spec"]["podSelector"], labels(agent)));
    let prometheus = labels(named(objects, "StatefulSet", "prometheus"));
    assert!(lets_through(policy, prometheus, "metrics"));
    assert!(ports(agent).contains("metrics"));
}

#[test]
fn who_asks_whom_inside_the_stack_is_let_through() {
    let Some(builds) = builds() else { return };
    let objects = &builds[STACK];
    let of = |name: &str| workloads(objects).find(|one| helm::name(one).1 == name);
    for (from, to, port) in [
        ("grafana", "prometheus", "http"),
        ("grafana", "loki", "http"),
        ("grafana", "jaeger", "query"),
        ("grafana", "alertmanager", "http"),
        ("prometheus", "alertmanager", "http"),
        ("alertmanager", "alloy", "alerts"),
        ("alloy", "loki", "http"),
    ] {
        let [asks, asked] = [from, to].map(|name| of(name).expect(name));
        let mut policies = policies(objects, asked);
        let is_let = policies.any(|policy| lets_through(policy, labels(asks), port));
        assert!(is_let, "{from} to {to}: {port}");
        let stranger = json!({"app.kubernetes.io/name": "desktop"});
        let policy = named(objects, "NetworkPolicy", to);
        assert!(!lets_through(policy, &stranger, port), "{to}: {port}");
    }
}

/// A condition of a job: the label that it reads, what it has to be, and whether that keeps or drops a target.
struct Condition {
    source: String,
    pattern: Regex,
    keeps: bool,
}

/// The conditions of each job by which Prometheus chooses among all services.
fn jobs() -> Vec<(String, Vec<Condition>)> {
    let scrape: Value = serde_yaml_ng::from_str(&document(PROMETHEUS)).expect("YAML");
    let conditions = |job: &Value| -> Vec<Condition> {
        list(&job["relabel_configs"])
            .filter(|rule| rule["action"].is_string())
            .map(|rule| Condition {
                source: text(&rule["source_labels"][0]).to_owned(),
                pattern: Regex::new(&format!("^(?:{})$", text(&rule["regex"]))).expect("a pattern"),
                keeps: match text(&rule["action"]) {
                    "keep" => true,
                    "drop" => false,
                    action => panic!("{action}"),
                },
            })
            .collect()
    };
    list(&scrape["scrape_configs"])
        .map(|job| (text(&job["job_name"]).to_owned(), conditions(job)))
        .collect()
}

/// What Prometheus knows of a port of a service.
fn target(service: &Value, port: &Value) -> BTreeMap<String, String> {
    let labels = entries(&service["metadata"]["labels"]);
    let labels = labels.map(|(key, value)| {
        let key = key.replace(|one: char| !one.is_ascii_alphanumeric(), "_");
        let key = format!("__meta_kubernetes_service_label_{key}");
        (key, text(value).to_owned())
    });
    let name = "__meta_kubernetes_endpointslice_port_name";
    labels
        .chain([(name.to_owned(), text(&port["name"]).to_owned())])
        .collect()
}

fn is_kept(target: &BTreeMap<String, String>, conditions: &[Condition]) -> bool {
    conditions.iter().all(|condition| {
        let value = target.get(&condition.source).map_or("", String::as_str);
        condition.pattern.is_match(value) == condition.keeps
    })
}

#[test]
fn each_service_is_scraped_once_by_a_port_to_which_prometheus_is_let_through() {
    let Some(builds) = builds() else { return };
    let jobs = jobs();
    assert_eq!(jobs.len(), 4);
    let prometheus = labels(named(&builds[STACK], "StatefulSet", "prometheus"));
    for folder in [AGENT, STACK, PROMTAIL] {
        let objects = &builds[folder];
        for workload in workloads(objects) {
            let name = helm::name(workload).1;
            let service = service(objects, workload);
            let mut kept = Vec::new();
            for port in list(&service["spec"]["ports"]) {
                let target = target(service, port);
                let of = jobs.iter().filter(|(_, all)| is_kept(&target, all));
                kept.extend(of.map(|(job, _)| (job.as_str(), port)));
            }
            let [(job, port)] = kept[..] else {
                panic!("{name}: {kept:?}");
            };
            let is_own = matches!(
                name,
                "sessionscope" | "kube-state-metrics" | "node-exporter"
            );
            assert_eq!(job, if is_own { name } else { "monitoring-enabled" });
            if folder == AGENT {
                continue;
            }
            let port = text(&port["targetPort"]);
            let mut policies = policies(objects, workload);
            let is_let = policies.any(|policy| lets_through(policy, prometheus, port));
            assert!(is_let, "{name}: {port}");
        }
    }
}

/// What rules read, of each source, and what anybody may say.
const BELIEVED: [&str; 6] = [
    "vdi_session_cpu_seconds_total",
    "kube_node_status_condition",
    "node_filesystem_avail_bytes",
    "DCGM_FI_DEV_GPU_UTIL",
    "ALERTS",
    "cluster:vdi_sessions:sum",
];
const OF_ANYBODY: [&str; 3] = [
    "prometheus_build_info",
    "loki_ingester_memory_streams",
    "jaeger_storage_errors",
];

/// Whether a relabelling drops what rules read, and nothing else.
fn drops_what_is_believed(relabelling: &Value) {
    assert_eq!(relabelling["action"], "drop", "{relabelling}");
    let pattern = format!("^(?:{})$", text(&relabelling["regex"]));
    let pattern = Regex::new(&pattern).expect("a pattern");
    for name in BELIEVED {
        assert!(pattern.is_match(name), "{name}");
    }
    for name in OF_ANYBODY {
        assert!(!pattern.is_match(name), "{name}");
    }
}

#[test]
fn who_may_make_a_service_speaks_for_no_agent_and_no_exporter() {
    let file = &helm::objects(&document(PROMETHEUS))[0];
    let mut believed = BTreeMap::new();
    for job in list(&file["scrape_configs"]) {
        let namespaces = &job["kubernetes_sd_configs"][0]["namespaces"]["names"];
        let namespaces: Vec<&str> = list(namespaces).map(text).collect();
        if namespaces.is_empty() {
            drops_what_is_believed(&job["metric_relabel_configs"][0]);
            assert!(job["honor_labels"].is_null(), "{job}");
        } else {
            believed.insert(text(&job["job_name"]), namespaces);
        }
    }
    let expected = BTreeMap::from([
        ("sessionscope", vec!["sessionscope"]),
        ("kube-state-metrics", vec!["sessionscope-monitoring"]),
        ("node-exporter", vec!["sessionscope-monitoring"]),
    ]);
    assert_eq!(believed, expected);
    let monitor = document("deploy/kubernetes/stack/servicemonitor/servicemonitor.yaml");
    let endpoint = &helm::objects(&monitor)[0]["spec"]["endpoints"][0];
    drops_what_is_believed(&endpoint["metricRelabelings"][0]);
    assert_eq!(endpoint["relabelings"][0]["targetLabel"], "job");
}
