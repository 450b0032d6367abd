//! A Prometheus with the rules as they are shipped, for `bench rules`, and what it says of their evaluation.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::sync::mpsc::Receiver;

use anyhow::{Context, Result, ensure};
use lab::programs::repository;
use lab::{command, http};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::inside::{self, Place, Running};
use super::rules_fleet::Fleet;
use crate::waiting::wait_until;

const PROGRAM: &str = "prometheus";
/// As the agent is scraped where nobody says otherwise.
const SCRAPES: &str = "15s";

/// A running one; dropping it ends it, and removes what it stored.
pub(super) struct Prometheus {
    running: Running,
    address: SocketAddr,
    _folder: TempDir,
}

/// A group of rules, as it was evaluated last.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: String,
    /// In `rules/`.
    pub(super) file: String,
    /// In seconds, as all times here.
    pub(super) interval: f64,
    /// What `prometheus_rule_group_last_duration_seconds` has.
    pub(super) seconds: f64,
    /// When it was, in Prometheus's words.
    pub(super) evaluated: String,
    pub(super) rules: Vec<Rule>,
}

/// One of its rules.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    /// Empty without one.
    pub(super) last_error: String,
    pub(super) seconds: f64,
    /// The longest time that its expression looks back.
    pub(super) window: u64,
}

impl Prometheus {
    /// Starts one that scrapes so many nodes, and waits until it is ready.
    pub(super) fn start(nodes: usize, fleet: &Fleet, interrupted: &Receiver<()>) -> Result<Self> {
        let program = command::find_program(PROGRAM)
            .with_context(|| format!("there is no program `{PROGRAM}`"))?;
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let address = free_address()?;
        let configuration = folder.path().join("prometheus.yml");
        // JSON is YAML.
        let text = configured(nodes, fleet.address, address).to_string();
        fs::write(&configuration, text)
            .with_context(|| format!("cannot write {}", configuration.display()))?;
        let log_file = folder.path().join("log");
        let log = File::create(&log_file)
            .with_context(|| format!("cannot write {}", log_file.display()))?;
        let data = folder.path().join("data");
        let arguments = [
            format!("--config.file={}", configuration.display()),
            format!("--storage.tsdb.path={}", data.display()),
            format!("--web.listen-address={address}"),
        ];
        let arguments = arguments.each_ref().map(String::as_str);
        let place = Place::default();
        let mut running =
            inside::start(place, &program, &arguments, Stdio::null(), Stdio::from(log))?;
        wait_until("Prometheus is ready", interrupted, || {
            let ended = running
                .0
                .try_wait()
                .context("cannot ask after Prometheus")?;
            let log = || fs::read_to_string(&log_file).unwrap_or_default();
            ensure!(ended.is_none(), "Prometheus has ended:\n{}", log());
            let answer = http::get(address, "/-/ready", &[]);
            Ok(answer.is_ok_and(|answer| answer.status == 200))
        })?;
        Ok(Self {
            running,
            address,
            _folder: folder,
        })
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.running.0.id()
    }

    /// Which one it is.
    pub(super) fn version(&self) -> Result<String> {
        let answer = self.ask("status/buildinfo")?;
        Ok(text(&answer["version"]))
    }

    /// The value of a query, all of whose characters may stand in an address; `None` without a result.
    pub(super) fn value(&self, query: &str) -> Result<Option<f64>> {
        let answer = self.ask(&format!("query?query={query}"))?;
        Ok(answer["result"]
            .as_array()
            .and_then(|all| number(all.first()?)))
    }

    /// How many samples an evaluation of each group makes, by its name.
    pub(super) fn samples_of_groups(&self) -> Result<BTreeMap<String, f64>> {
        let answer = self.ask("query?query=prometheus_rule_group_last_evaluation_samples")?;
        let all = answer["result"].as_array().context("it has no result")?;
        let one = |result: &Value| {
            // The file stands before it.
            let group = result["metric"]["rule_group"].as_str()?;
            let (_, name) = group.rsplit_once(';')?;
            Some((name.to_owned(), number(result)?))
        };
        Ok(all.iter().filter_map(one).collect())
    }

    /// All groups.
    pub(super) fn groups(&self) -> Result<Vec<Group>> {
        let answer = self.ask("rules")?;
        let groups = answer["groups"].as_array();
        let groups = groups.context("Prometheus's rules have no groups")?;
        Ok(groups.iter().map(group).collect())
    }

    fn ask(&self, path: &str) -> Result<Value> {
        let path = format!("/api/v1/{path}");
        let cannot = || format!("Prometheus does not answer {path}");
        let answer = http::get(self.address, &path, &[]).with_context(cannot)?;
        let answer = answer.success().with_context(cannot)?.text();
        let mut answer: Value = serde_json::from_str(&answer).with_context(cannot)?;
        Ok(answer["data"].take())
    }
}

/// The configuration: nodes labelled as docs/alerts.md says, and all rules that need the agent alone.
fn configured(nodes: usize, fleet: SocketAddr, own: SocketAddr) -> Value {
    let node = |number: usize| {
        json!({
            "targets": [fleet.to_string()],
            "labels": {
                "__metrics_path__": format!("/{number}"),
                "instance": format!("node-{number}"),
                "cluster": "bench",
                "environment": "bench",
            },
        })
    };
    let rules = ["recordings", "alerts"].map(|folder| {
        let files = repository().join("rules").join(folder).join("*.yml");
        files.display().to_string()
    });
    json!({
        // Groups that say no interval of their own have Prometheus's, a minute.
        "global": { "scrape_interval": SCRAPES },
        "rule_files": rules,
        "scrape_configs": [
            {
                "job_name": "sessionscope",
                "honor_labels": true,
                "static_configs": (1..=nodes).map(node).collect::<Vec<_>>(),
            },
            {
                "job_name": "prometheus",
                "static_configs": [{ "targets": [own.to_string()] }],
            },
        ],
    })
}

/// A port that was free a moment ago: Prometheus does not say which it got for port 0.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen on 127.0.0.1")?;
    listener.local_addr().context("cannot read the own address")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The value of a result of an instant query.
fn number(result: &Value) -> Option<f64> {
    result["value"][1].as_str()?.parse().ok()
}

fn group(group: &Value) -> Group {
    let file = text(&group["file"]);
    // Folder and name.
    let cut = file.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    let rule = |rule: &Value| Rule {
        name: text(&rule["name"]),
        last_error: text(&rule["lastError"]),
        seconds: rule["evaluationTime"].as_f64().unwrap_or_default(),
        window: window(rule["query"].as_str().unwrap_or_default()),
    };
    Group {
        name: text(&group["name"]),
        file: file[cut..].to_owned(),
        interval: group["interval"].as_f64().unwrap_or_default(),
        seconds: group["evaluationTime"].as_f64().unwrap_or_default(),
        evaluated: text(&group["lastEvaluation"]),
        rules: group["rules"]
            .as_array()
            .into_iter()
            .flatten()
            .map(rule)
            .collect(),
    }
}

/// The longest time that an expression looks back, of its ranges and offsets each by itself, in seconds.
fn window(query: &str) -> u64 {
    let ranges = query.split('[').skip(1);
    let offsets = query.split("offset ").skip(1);
    let first_word = |text: &str| -> u64 {
        let end = text.find(|one: char| !one.is_ascii_alphanumeric());
        duration(&text[..end.unwrap_or(text.len())]).unwrap_or(0)
    };
    ranges.chain(offsets).map(first_word).max().unwrap_or(0)
}

/// A duration such as `1h30m`, in seconds.
fn duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum = 0;
    while !rest.is_empty() {
        let digits = rest.find(|one: char| !one.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|one: char| one.is_ascii_digit());
        let (unit, after) = after.split_at(unit.unwrap_or(after.len()));
        let seconds = match unit {
            // Less than a second is none.
            "ms" => 0,
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return None,
        };
        sum += number.parse::<u64>().ok()? * seconds;
        rest = after;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{configured, group, number, window};

    #[test]
    fn a_group_is_read_as_prometheus_says_it() {
        let group = group(&json!({
            "name": "a.rules",
            "file": "/somewhere/rules/recordings/a.yml",
            "interval": 60,
            "evaluationTime": 0.25,
            "lastEvaluation": "2026-01-02T03:04:05Z",
            "rules": [
                {"name": "a", "query": "rate(b[5m])", "evaluationTime": 0.2, "health": "ok"},
                {"name": "B", "query": "c", "lastError": "many-to-many", "evaluationTime": 0.05},
            ],
        }));
        assert_eq!(group.file, "recordings/a.yml");
        assert!((group.seconds - 0.25).abs() < f64::EPSILON);
        assert_eq!(group.rules[0].window, 300);
        assert_eq!(group.rules[1].last_error, "many-to-many");
    }

    #[test]
    fn a_window_is_the_longest_range_or_offset() {
        for (query, seconds) in [
            ("a > 1", 0),
            ("rate(a{b=~\"[x-z]+\"}[5m])", 300),
            ("max_over_time(a[1h:1m]) unless b offset 1d", 86_400),
            ("sum_over_time(a[1h30m])", 5_400),
        ] {
            assert_eq!(window(query), seconds, "{query}");
        }
    }

    #[test]
    fn each_node_is_a_target_with_a_path_and_a_name() {
        let address = |port| ([127, 0, 0, 1], port).into();
        let configuration = configured(2, address(1), address(2));
        let nodes = &configuration["scrape_configs"][0]["static_configs"];
        assert_eq!(nodes.as_array().map(Vec::len), Some(2));
        assert_eq!(nodes[1]["labels"]["__metrics_path__"], "/2");
        assert_eq!(nodes[1]["labels"]["instance"], "node-2");
    }

    #[test]
    fn a_value_is_text_in_a_result() {
        assert_eq!(number(&json!({"value": [1.5, "42"]})), Some(42.0));
        assert_eq!(number(&json!({})), None);
    }
}
