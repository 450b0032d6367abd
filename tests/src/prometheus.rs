//! A real Prometheus: Debian's, and once a newer one with native histograms.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

pub use lab::command::find_program as installed;
use serde_json::Value;
use tempfile::TempDir;

use crate::{http, process, wait};

pub mod newer;

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// How long a change may take to be scraped and stored.
const SCRAPE_LIMIT: Duration = Duration::from_secs(15);
const LOG_LINES: usize = 30;

/// A running server that scrapes one address. Dropping it ends it and removes what it stored.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Prometheus {
    /// Starts `binary` with flags and with further lines of the scrape job, and waits until it is ready.
    /// It scrapes `target` each second.
    pub fn start(binary: &Path, flags: &[&str], job: &str, target: SocketAddr) -> Self {
        Self::launch(binary, flags, "", job, target)
    }

    /// Starts `binary` with rules, which it evaluates each second.
    pub fn start_with_rules(binary: &Path, rules: &Path, target: SocketAddr) -> Self {
        let rules = format!("rule_files: ['{}']\n", rules.display());
        Self::launch(binary, &[], &rules, "  honor_labels: true\n", target)
    }

    fn launch(binary: &Path, flags: &[&str], rules: &str, job: &str, target: SocketAddr) -> Self {
        let text = format!(
            "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 1s\n\
             {rules}scrape_configs:\n\
             - job_name: sessionscope\n{job}  static_configs:\n  - targets: ['{target}']\n"
        );
        Self::start_configured(binary, flags, &text)
    }

    /// Starts `binary` with flags and a whole configuration, and waits until it is ready.
    pub fn start_configured(binary: &Path, flags: &[&str], text: &str) -> Self {
        Self::start_storing(binary, "--storage.tsdb.path", flags, text, None)
    }

    /// Starts `binary` with the blocks of a folder, which are its own from then on.
    pub fn start_with_blocks(binary: &Path, blocks: &Path, text: &str) -> Self {
        Self::start_storing(binary, "--storage.tsdb.path", &[], text, Some(blocks))
    }

    /// The same in agent mode, which has a store of another name. The flag for it is among the flags: it changed its name.
    pub fn start_agent(binary: &Path, flags: &[&str], text: &str) -> Self {
        Self::start_storing(binary, "--storage.agent.path", flags, text, None)
    }

    fn start_storing(
        binary: &Path,
        store: &str,
        flags: &[&str],
        text: &str,
        blocks: Option<&Path>,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, text).expect("the configuration can be written");
        if let Some(blocks) = blocks {
            fs::rename(blocks, folder.path().join("data")).expect("both are temporary");
        }
        let log = File::create(folder.path().join("log")).expect("the log can be made");
        let address = free_address();
        let child = Command::new(binary)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("{store}={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(flags)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log can be shared"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", binary.display()));
        let mut prometheus = Self {
            child,
            address,
            folder,
        };
        wait::until("Prometheus is ready", START_LIMIT, || {
            if let Some(status) = prometheus.child.try_wait().expect("it can be waited for") {
                panic!("Prometheus has ended ({status})");
            }
            let response = http::get(address, "/-/ready", &[]).ok()?;
            (response.status == 200).then_some(())
        });
        prometheus
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn api(&self, path: &str) -> Value {
        let answer = self.try_api(path);
        answer.unwrap_or_else(|said| panic!("{path}: {said}"))
    }

    fn try_api(&self, path: &str) -> Result<Value, String> {
        let response = http::get(self.address, path, &[]).expect("Prometheus answers");
        let (status, text) = (response.status, response.text());
        if status != 200 {
            return Err(text);
        }
        Ok(serde_json::from_str(&text).expect("Prometheus answers in JSON"))
    }

    /// How many results an instant query has; what Prometheus says against it, if it cannot be asked.
    pub fn try_query(&self, expression: &str) -> Result<usize, String> {
        let answer = self.try_api(&format!("/api/v1/query?query={}", encode(expression)))?;
        let results = answer["data"]["result"].as_array();
        Ok(results.map_or(0, Vec::len))
    }

    /// An instant query: labels and value of each result.
    pub fn query(&self, expression: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        self.ask(&format!("query={}", encode(expression)))
    }

    /// The same at a moment, seconds since the epoch.
    pub fn query_at(&self, expression: &str, time: f64) -> Vec<(BTreeMap<String, String>, f64)> {
        self.ask(&format!("query={}&time={time}", encode(expression)))
    }

    fn ask(&self, query: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        let answer = self.api(&format!("/api/v1/query?{query}"));
        let results = answer["data"]["result"].as_array().expect("a vector");
        let one = |result: &Value| {
            let labels = result["metric"].as_object().expect("labels").iter();
            let text = |value: &Value| value.as_str().expect("text").to_owned();
            let value = text(&result["value"][1]);
            (
                labels
                    .map(|(name, value)| (name.clone(), text(value)))
                    .collect(),
                value.parse().expect("a number"),
            )
        };
        results.iter().map(one).collect()
    }

    /// Every value of one series over a range such as `60s`, with its time.
    pub fn values(&self, series: &str, range: &str) -> Vec<(f64, f64)> {
        let expression = encode(&format!("{series}[{range}]"));
        let answer = self.api(&format!("/api/v1/query?query={expression}"));
        let results = answer["data"]["result"].as_array().expect("a matrix");
        assert!(results.len() < 2, "{series} is more than one series");
        let pairs = results.iter().filter_map(|one| one["values"].as_array());
        let one = |pair: &Value| {
            let value = pair[1].as_str().and_then(|value| value.parse().ok());
            (pair[0].as_f64().expect("a time"), value.expect("a number"))
        };
        pairs.flatten().map(one).collect()
    }

    /// The value of a query with one result; `None` without any.
    pub fn value(&self, expression: &str) -> Option<f64> {
        let results = self.query(expression);
        assert!(
            results.len() < 2,
            "{expression} has more than one result: {results:?}"
        );
        results.first().map(|(_, value)| *value)
    }

    /// Waits until a query with one result has the value.
    pub fn wait_for(&self, expression: &str, value: f64) {
        wait::until(&format!("{expression} is {value}"), SCRAPE_LIMIT, || {
            (self.value(expression) == Some(value)).then_some(())
        });
    }

    /// The labels of all series of a selector that there have been.
    pub fn series(&self, selector: &str) -> Vec<BTreeMap<String, String>> {
        let answer = self.api(&format!("/api/v1/series?match[]={}", encode(selector)));
        serde_json::from_value(answer["data"].clone()).expect("lists of labels")
    }

    /// What it says of itself at `/metrics`.
    pub fn own_metrics(&self) -> String {
        let response = http::get(self.address, "/metrics", &[]);
        response.expect("Prometheus answers").text()
    }

    /// Every rule, as `/api/v1/rules` has it.
    pub fn rules(&self) -> Vec<Value> {
        let answer = self.api("/api/v1/rules");
        let groups = answer["data"]["groups"].as_array().expect("groups");
        let rules = groups
            .iter()
            .map(|group| group["rules"].as_array().expect("rules"));
        rules.flatten().cloned().collect()
    }

    /// Every alert that waits or fires, as `/api/v1/alerts` has it.
    pub fn alerts(&self) -> Vec<Value> {
        let answer = self.api("/api/v1/alerts");
        answer["data"]["alerts"].as_array().expect("alerts").clone()
    }

    /// What it scrapes, as `/api/v1/targets` has it.
    pub fn targets(&self) -> Vec<Value> {
        let answer = self.api("/api/v1/targets");
        let targets = answer["data"]["activeTargets"].as_array();
        targets.expect("targets").clone()
    }

    /// The error of the last scrape, empty when there was none.
    pub fn last_error(&self) -> String {
        let targets = self.targets();
        assert_eq!(targets.len(), 1, "{targets:?}");
        targets[0]["lastError"].as_str().expect("text").to_owned()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        process::end(&mut self.child, STOP_LIMIT);
        if thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let end = &lines[lines.len().saturating_sub(LOG_LINES)..];
            eprintln!("Prometheus's log ends:\n{}", end.join("\n"));
        }
    }
}

/// A port that was free a moment ago, for a program that does not tell which it got for port 0. It is of an address
/// of loopback that no other process of tests has, which could take the port in between.
pub(crate) fn free_address() -> SocketAddr {
    // A pid has 22 bits; the second byte is never 0, as in the address that agents have.
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, high + 1, middle, low);
    let listener = TcpListener::bind((own, 0)).expect("a port can be had");
    listener.local_addr().expect("a socket has an address")
}

/// Encodes a value of a query.
fn encode(value: &str) -> String {
    value
        .bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// `promtool` as installed.
pub fn promtool() -> Command {
    Command::new(installed("promtool").expect("promtool is installed by `cargo xtask setup`"))
}

/// What `promtool check metrics` says of a text; empty when nothing is wrong.
pub fn check_metrics(text: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("metrics");
    fs::write(&file, text).expect("a file can be written");
    let output = promtool()
        .args(["check", "metrics"])
        .stdin(File::open(file).expect("the file is there"))
        .output()
        .expect("promtool starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() {
        said
    } else {
        format!("{}: {said}", output.status)
    }
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn a_query_is_encoded() {
        assert_eq!(encode("sum(a{b=\"c\"})"), "sum%28a%7Bb%3D%22c%22%7D%29");
    }
}
