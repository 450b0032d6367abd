//! A real `VictoriaMetrics`, which takes what a Prometheus sends.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    http, process,
    prometheus::free_address,
    tools::{self, Package},
    wait,
};

const PACKAGE: Package<'_> = Package {
    name: "victoria-metrics",
    suite: "sid",
    component: "main",
};
const START: Duration = Duration::from_secs(30);

/// The binary, fetched on first use; an error says why it cannot be had.
pub fn binary() -> anyhow::Result<PathBuf> {
    tools::file("victoria-metrics", &PACKAGE, "usr/bin/victoria-metrics")
}

/// What it says against the scrape jobs of a configuration of Prometheus; empty when nothing is wrong. Other parts of
/// the configuration are passed over.
///
/// # Panics
///
/// When it cannot be had or started.
pub fn check(configuration: &Path) -> String {
    let binary = binary().unwrap_or_else(|error| panic!("{error:#}"));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let output = Command::new(binary)
        .args(["-dryRun", "-promscrape.config.strictParse=false"])
        .arg(format!("-promscrape.config={}", configuration.display()))
        .arg(format!("-storageDataPath={}", folder.path().display()))
        .output()
        .expect("VictoriaMetrics starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    if !output.status.success() {
        return said.into_owned();
    }
    // It skips a job that it does not take, says so, and ends as if nothing were wrong.
    let errors = said.lines().filter(|line| line.contains("\terror\t"));
    errors.collect()
}

/// A running one. Dropping it ends it and removes what it stored.
#[derive(Debug)]
pub struct VictoriaMetrics {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl VictoriaMetrics {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn start(binary: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let log = File::create(folder.path().join("log")).expect("the log can be made");
        let address = free_address();
        let data = folder.path().join("data");
        let child = Command::new(binary)
            .arg(format!("-storageDataPath={}", data.display()))
            .arg(format!("-httpListenAddr={address}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log can be shared"))
            .stderr(log)
            .spawn()
            .expect("VictoriaMetrics can be started");
        let server = Self {
            child,
            address,
            _folder: folder,
        };
        wait::until("VictoriaMetrics answers", START, || {
            let response = http::get(address, "/health", &[]).ok()?;
            (response.status == 200).then_some(())
        });
        server
    }

    /// Where it takes what a Prometheus sends.
    pub fn url(&self) -> String {
        format!("http://{}/api/v1/write", self.address)
    }

    fn get(&self, path: &str) -> String {
        let response = http::get(self.address, path, &[]).expect("VictoriaMetrics answers");
        let response = response.success().unwrap_or_else(|said| panic!("{said}"));
        response.text()
    }

    /// The labels of all series that it has.
    pub fn series(&self) -> BTreeSet<BTreeMap<String, String>> {
        // What has come within the last second is not to be read before.
        self.get("/internal/force_flush");
        let lines = self.get("/api/v1/export?match[]=%7B__name__%21%3D%22%22%7D");
        let labels = |line: &str| {
            let series: Value = serde_json::from_str(line).expect("a line is an object");
            serde_json::from_value(series["metric"].clone()).expect("labels")
        };
        lines.lines().map(labels).collect()
    }

    /// How many samples a Prometheus has sent, as it counts itself.
    pub fn samples(&self) -> f64 {
        let counter = "vm_rows_inserted_total{type=\"promremotewrite\"} ";
        let metrics = self.get("/metrics");
        let mut values = metrics
            .lines()
            .filter_map(|line| line.strip_prefix(counter));
        let value = values.next().and_then(|value| value.parse().ok());
        value.unwrap_or(0.0)
    }
}

impl Drop for VictoriaMetrics {
    fn drop(&mut self) {
        process::end(&mut self.child, START);
    }
}
