//! A rollout of the agent's pods, as a Prometheus sees it that scrapes them by the shipped `ServiceMonitor`.

use std::{fs, net::SocketAddr, path::Path, thread, time::Duration};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::Tree,
    documents::document,
    gpu::{Gpus, device},
    prometheus::{self, Prometheus},
    repository, wait,
    workload::Workload,
};
use serde_json::json;
use serde_yaml_ng::Value;

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
const SOON: Duration = Duration::from_secs(30);

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
    let mut gpus = Gpus::new(vec![device(0), device(1)]);
    gpus.change(|scenario| scenario.devices[1].temperature_celsius = Some(90));
    let start = || gpus.start(&Configuration::of(&tree));
    let agent = start();
    agent.wait_for(&["left", "right"]);
    let _work = sessions
        .each_ref()
        .map(|session| Workload::start(WORKLOAD, session, &["idle"]));

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
