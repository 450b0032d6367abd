//! Where one Prometheus is not enough: the arithmetic of `docs/scaling.md`, and the configurations of
//! `deploy/scaling/`, each read by the program that it is for and run with real ends, at which series are counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::{Cgroup, Tree},
    documents::document,
    gpu::{Gpus, device},
    operations::{faster_rules, files, mentioned, panels, recordings, rule_files},
    prometheus::{self, Prometheus, newer, promtool},
    repository,
    victoria_metrics::{self, VictoriaMetrics},
    wait::patient,
    workload::{Workload, two_cpus},
};
use regex::Regex;
use serde_yaml_ng::Value;
use tempfile::TempDir;

#[path = "scaling/arithmetic.rs"]
mod arithmetic;
#[path = "scaling/ends.rs"]
mod ends;

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
const PAGE: &str = "docs/scaling.md";
const FEDERATION: &str = "deploy/scaling/federation/prometheus.yml";
const AGENT_MODE: &str = "deploy/scaling/agent-mode/prometheus.yml";
const COLLECTOR: &str = "deploy/scaling/otlp/collector.yaml";
const OTLP: &str = "deploy/scaling/otlp/prometheus.yml";
const REMOTE_WRITE: [&str; 3] = ["mimir", "thanos", "victoriametrics"];
/// A minute is a second.
const FASTER: u64 = 60;
const LIMIT: Duration = Duration::from_mins(1);
const ALL: &str = "{__name__=~\".+\"}";
/// What promtool is told of a configuration's server.
const SERVER: &[&str] = &[];
const AGENT: &[&str] = &["--agent"];

type Labels = BTreeMap<String, String>;

fn yaml(text: &str) -> Value {
    serde_yaml_ng::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn text(value: &Value) -> String {
    serde_yaml_ng::to_string(value).expect("a configuration can be written")
}

fn remote_write(end: &str) -> Value {
    yaml(&document(&format!("deploy/scaling/remote-write/{end}.yml")))
}

/// Prometheus of both majors.
fn both_majors() -> [PathBuf; 2] {
    let installed = prometheus::installed("prometheus").expect("`cargo xtask setup` installs it");
    [
        installed,
        newer::binary().unwrap_or_else(|error| panic!("{error:#}")),
    ]
}

/// Whether a promtool takes a configuration.
fn takes(mut promtool: Command, flags: &[&str], configuration: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, configuration).expect("a file can be written");
    let command = promtool.args(["check", "config"]).args(flags).arg(&file);
    let output = command.output().expect("promtool starts");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() {
        Ok(())
    } else {
        Err(said)
    }
}

fn newer_promtool() -> Command {
    Command::new(newer::promtool().unwrap_or_else(|error| panic!("{error:#}")))
}

/// The scrape jobs of the collector, as a configuration of Prometheus.
fn of_the_collector() -> Value {
    let collector = yaml(&document(COLLECTOR));
    let jobs = text(&collector["receivers"]["prometheus"]["config"]);
    yaml(
        &jobs
            .replace("${env:NODE_NAME}", "node-1")
            .replace("$$", "$"),
    )
}

#[test]
fn promtool_takes_each_configuration_and_refuses_a_wrong_one() {
    let mut all = vec![document(FEDERATION), document(OTLP)];
    all.extend(REMOTE_WRITE.map(|end| text(&remote_write(end))));
    for configuration in &all {
        for promtool in [promtool, newer_promtool] {
            takes(promtool(), SERVER, configuration)
                .unwrap_or_else(|said| panic!("{said}: {configuration}"));
            let wrong = format!("{configuration}\nscrape_confgs: []\n");
            assert!(
                takes(promtool(), SERVER, &wrong).is_err(),
                "{configuration}"
            );
        }
    }
    // Debian has built its 2.42 without the discovery of Kubernetes.
    let on_nodes = document(AGENT_MODE);
    takes(newer_promtool(), AGENT, &on_nodes).unwrap_or_else(|said| panic!("{said}"));
    // Rules are not evaluated in agent mode: a file with some would start nothing.
    let with_rules = format!("{on_nodes}\nrule_files: [x.yml]\n");
    assert!(takes(newer_promtool(), AGENT, &with_rules).is_err());
    // The collector's scraper is that of Prometheus 3.
    let jobs = of_the_collector();
    takes(newer_promtool(), &[], &text(&jobs)).unwrap_or_else(|said| panic!("{said}"));
    let wrong = text(&jobs).replace("PrometheusText0.0.4", "PrometheusText0.0.5");
    assert!(takes(newer_promtool(), &[], &wrong).is_err());
}

#[test]
fn victoria_metrics_takes_the_scrape_jobs_and_refuses_wrong_ones() {
    if let Err(reason) = victoria_metrics::binary() {
        capability::skip(&format!("no VictoriaMetrics: {reason:#}"));
        return;
    }
    let said = victoria_metrics::check(&repository().join(AGENT_MODE));
    assert_eq!(said, "");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("wrong.yml");
    let wrong = document(AGENT_MODE).replace("action: keep", "action: keeep");
    fs::write(&file, wrong).expect("a file can be written");
    assert_ne!(victoria_metrics::check(&file), "");
}

#[test]
fn the_pipelines_of_the_collector_have_their_parts() {
    let collector = yaml(&document(COLLECTOR));
    let pipelines = collector["service"]["pipelines"].as_mapping();
    let pipelines = pipelines.expect("there are pipelines");
    for kind in ["receivers", "processors", "exporters"] {
        let named = |name: &Value| {
            pipelines.values().any(|one| {
                let parts = one[kind].as_sequence().expect("parts");
                parts.contains(name)
            })
        };
        let defined = collector[kind].as_mapping().expect("parts are defined");
        for name in defined.keys() {
            assert!(named(name), "no pipeline has {name:?} of the {kind}");
        }
        for pipeline in pipelines.values() {
            for name in pipeline[kind].as_sequence().expect("parts") {
                assert!(
                    defined.contains_key(name),
                    "{name:?} of the {kind} is not defined"
                );
            }
        }
    }
}

/// The names that a selector of the federation takes.
fn names_of(selector: &str) -> Option<Regex> {
    let (_, rest) = selector.split_once("__name__=~\"")?;
    let (names, _) = rest.split_once('"').expect("the pattern ends");
    Some(Regex::new(&format!("^(?:{names})$")).expect("a pattern"))
}

fn selectors(federation: &Value) -> Vec<String> {
    let selectors = federation["scrape_configs"][0]["params"]["match[]"].as_sequence();
    let selectors = selectors.expect("what is fetched").iter();
    let text = |one: &Value| one.as_str().expect("a selector").to_owned();
    selectors.map(text).collect()
}

/// The rule by which the page keeps the recordings alone.
fn recordings_alone() -> Value {
    let page = document(PAGE);
    let mut rules = page.lines().filter_map(|line| {
        let rule = line.trim_start().strip_prefix("- ")?;
        rule.starts_with("{source_labels: [__name__]")
            .then(|| yaml(rule))
    });
    let rule = rules.next().expect("the page has the rule");
    assert!(rules.next().is_none(), "the page has it once");
    rule
}

#[test]
fn federation_has_each_recording_above_the_session_and_what_its_dashboards_ask() {
    let patterns: Vec<Regex> = selectors(&yaml(&document(FEDERATION)))
        .iter()
        .filter_map(|selector| names_of(selector))
        .collect();
    let fetched = |name: &str| patterns.iter().any(|pattern| pattern.is_match(name));
    let alone = recordings_alone();
    let alone = alone["regex"].as_str().expect("a pattern");
    let alone = Regex::new(&format!("^(?:{alone})$")).expect("a pattern");
    let recordings = recordings();
    assert!(recordings.len() > 50, "{recordings:?}");
    for name in &recordings {
        let is_of_sessions = name.starts_with("session");
        assert_eq!(fetched(name), !is_of_sessions, "{name}");
        assert_eq!(alone.is_match(name), !is_of_sessions, "{name}");
    }
    let mut asked = 0;
    for (panel, query) in panels() {
        if panel.starts_with("fleet.json") || panel.starts_with("slo.json") {
            for name in mentioned(&query) {
                assert!(fetched(name), "{panel}: {name}");
                asked += 1;
            }
        }
    }
    assert!(asked > 20, "{asked}");
}

/// The rules as the script for shards writes them: who evaluates each file, and its groups.
fn divided() -> Vec<(String, Value)> {
    let script = repository().join("deploy/scaling/operator/rules");
    let output = Command::new(script).output().expect("the script starts");
    assert!(output.status.success(), "{output:?}");
    let written = String::from_utf8(output.stdout).expect("text");
    let objects = written.split("---\n").filter(|object| !object.is_empty());
    let object = |object: &str| {
        let object = yaml(object);
        assert_eq!(object["kind"], "PrometheusRule");
        let by = object["metadata"]["labels"]["sessionscope/evaluated-by"].as_str();
        (
            by.expect("who evaluates it").to_owned(),
            object["spec"]["groups"].clone(),
        )
    };
    objects.map(object).collect()
}

#[test]
fn a_shard_evaluates_what_is_of_one_agent_and_no_rule_is_lost() {
    let divided = divided();
    let shipped: Vec<Value> = ["rules/recordings", "rules/alerts"]
        .into_iter()
        .flat_map(files)
        .map(|(_, text)| yaml(&text)["groups"].clone())
        .collect();
    assert_eq!(divided.len(), shipped.len());
    for groups in &shipped {
        let times = divided.iter().filter(|(_, found)| found == groups);
        assert_eq!(times.count(), 1, "{groups:?}");
    }
    let sums = Regex::new(r"by \(([^)]*)\)").expect("a pattern");
    let mut of_shards = 0;
    for (by, groups) in &divided {
        let rules = groups.as_sequence().into_iter().flatten();
        let rules = rules.flat_map(|group| group["rules"].as_sequence().into_iter().flatten());
        for rule in rules.filter(|_| by == "shard") {
            let expression = rule["expr"].as_str().expect("an expression");
            assert!(rule["alert"].is_null(), "{rule:?}");
            for labels in sums.captures_iter(expression) {
                assert!(labels[1].contains("instance"), "{expression}");
            }
            of_shards += 1;
        }
    }
    assert!(of_shards > 20, "{of_shards}");
}
