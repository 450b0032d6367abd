//! `bench memory`: what the agent takes of memory, and what a scrape takes, with few and many sessions.
//!
//! Each session is a cgroup with one process that wakes ten times a second, so that its histograms are
//! not empty. A real Prometheus asks for one format only; here formats and compression take turns,
//! so that the memory is that of an agent that has had to produce all of them.

use std::collections::BTreeMap;
use std::fs;
use std::process::Child;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use agent_common::process::ProcessStats;
use agent_common::sched::SchedStats;
use agent_common::task::TaskState;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::conditions::{PARENT, RULES, pause, sessions, wait_until};
use super::machine::Machine;
use crate::agent_process::Agent;
use crate::cgroup::Tree;
use crate::workload::{self, Kind};

/// A few sessions, and nearly as many as the agent measures without being told otherwise.
const SESSIONS: [usize; 2] = [3, 250];
const SCRAPES: usize = 24;
const SCRAPE_PERIOD: Duration = Duration::from_secs(1);

const PROTOBUF: &str = "application/vnd.google.protobuf;\
                        proto=io.prometheus.client.MetricFamily;encoding=delimited";

/// What a scraper asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Exposition {
    Text,
    Protobuf,
    TextGzip,
    ProtobufGzip,
}

impl Exposition {
    /// In the order in which they take turns.
    pub(super) const ALL: [Self; 4] = [
        Self::Text,
        Self::Protobuf,
        Self::TextGzip,
        Self::ProtobufGzip,
    ];

    /// As tables name it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Protobuf => "protobuf with native histograms",
            Self::TextGzip => "text, gzip",
            Self::ProtobufGzip => "protobuf with native histograms, gzip",
        }
    }

    fn is_protobuf(self) -> bool {
        matches!(self, Self::Protobuf | Self::ProtobufGzip)
    }

    fn is_compressed(self) -> bool {
        matches!(self, Self::TextGzip | Self::ProtobufGzip)
    }
}

/// What `bench memory` measures.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measurements {
    pub(super) machine: Machine,
    pub(super) seconds: u64,
    pub(super) sizes: Sizes,
    pub(super) loads: Vec<Load>,
}

/// Bytes that the agent's maps take.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sizes {
    /// Per CPU and session.
    pub(super) sched_stats: usize,
    /// Per session.
    pub(super) process_stats: usize,
    pub(super) net_stats: usize,
    /// Per thread, or per possible pid.
    pub(super) task_state: usize,
}

/// The agent with so many sessions.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Load {
    pub(super) sessions: usize,
    /// Where the kernel programs keep the threads' state.
    pub(super) task_state: String,
    pub(super) resident_bytes: u64,
    pub(super) peak_resident_bytes: u64,
    pub(super) map_bytes: u64,
    pub(super) series: u64,
    /// CPU time of the agent's process over the time it was watched, in CPUs.
    pub(super) cpus: f64,
    pub(super) scrapes: BTreeMap<Exposition, Vec<Scrape>>,
}

/// One scrape.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Scrape {
    pub(super) seconds: f64,
    pub(super) bytes: usize,
}

/// Takes all measurements.
pub(super) fn measure(interrupted: &Receiver<()>) -> Result<Measurements> {
    let mut loads = Vec::new();
    for sessions in SESSIONS {
        eprintln!("{sessions} sessions, {SCRAPES} scrapes");
        loads.push(load(sessions, interrupted)?);
    }
    Ok(Measurements {
        machine: Machine::read()?,
        seconds: SCRAPE_PERIOD.as_secs() * SCRAPES as u64,
        sizes: Sizes {
            sched_stats: size_of::<SchedStats>(),
            process_stats: size_of::<ProcessStats>(),
            net_stats: size_of::<agent_common::net::NetStats>(),
            task_state: size_of::<TaskState>(),
        },
        loads,
    })
}

fn load(count: usize, interrupted: &Receiver<()>) -> Result<Load> {
    let names: Vec<String> = (1..=count)
        .map(|number| format!("session-{number}"))
        .collect();
    // Dropped in reverse: processes, agent, cgroups.
    let cgroups = Tree::create(PARENT, &names)?;
    let mut agent = Agent::start("bench", RULES, interrupted)?;
    let _processes = Processes::start(&cgroups, &names)?;
    wait_until("the agent knows all sessions", interrupted, || {
        let known = sessions(&mut agent)?;
        let populated = |session: &&Value| session["processes"].as_u64() == Some(1);
        Ok(known.iter().filter(populated).count() == count)
    })?;

    let cpu_before = metric(&scrape_text(&mut agent)?, "process_cpu_seconds_total")?;
    let begin = Instant::now();
    let mut scrapes: BTreeMap<Exposition, Vec<Scrape>> = BTreeMap::new();
    for number in 0..SCRAPES {
        pause(SCRAPE_PERIOD, interrupted)?;
        let exposition = Exposition::ALL[number % Exposition::ALL.len()];
        let scrape = scrape(&mut agent, exposition)?;
        scrapes.entry(exposition).or_default().push(scrape);
    }
    let watched = begin.elapsed();

    let text = scrape_text(&mut agent)?;
    let report: Value = serde_json::from_str(&agent.get("/api/v1/sessions")?)
        .context("the agent's /api/v1/sessions is not JSON")?;
    Ok(Load {
        sessions: count,
        task_state: report["agent"]["task_state"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        resident_bytes: metric(&text, "process_resident_memory_bytes")? as u64,
        peak_resident_bytes: peak_resident_bytes(agent.pid())?,
        map_bytes: metric(&text, "vdi_agent_map_memory_bytes")? as u64,
        series: metric(&text, "vdi_agent_series")? as u64,
        cpus: (metric(&text, "process_cpu_seconds_total")? - cpu_before) / watched.as_secs_f64(),
        scrapes,
    })
}

fn scrape_text(agent: &mut Agent) -> Result<String> {
    agent.get("/metrics")
}

fn scrape(agent: &mut Agent, exposition: Exposition) -> Result<Scrape> {
    let mut headers = Vec::new();
    if exposition.is_protobuf() {
        headers.push(("Accept", PROTOBUF));
    }
    if exposition.is_compressed() {
        headers.push(("Accept-Encoding", "gzip"));
    }
    let begin = Instant::now();
    let answer = agent.get_with("/metrics", &headers)?;
    let seconds = begin.elapsed().as_secs_f64();

    let content = answer.header("content-type").unwrap_or_default();
    ensure!(
        content.contains("protobuf") == exposition.is_protobuf(),
        "asked for {}, the agent answered with {content}",
        exposition.label()
    );
    let encoding = answer.header("content-encoding").unwrap_or_default();
    ensure!(
        (encoding == "gzip") == exposition.is_compressed(),
        "asked for {}, the agent answered with the encoding `{encoding}`",
        exposition.label()
    );
    Ok(Scrape {
        seconds,
        bytes: answer.body.len(),
    })
}

/// The value of a metric that has one series.
fn metric(text: &str, name: &str) -> Result<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
        .with_context(|| format!("the agent's /metrics has no {name}"))
}

fn peak_resident_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    kibibytes(&status, "VmHWM")
        .map(|kibibytes| kibibytes * 1024)
        .with_context(|| format!("{path} has no VmHWM"))
}

fn kibibytes(status: &str, field: &str) -> Option<u64> {
    status.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == field).then(|| value.trim().strip_suffix(" kB")?.parse().ok())?
    })
}

/// One process in each session; dropping it ends them.
struct Processes(Vec<Child>);

impl Processes {
    fn start(cgroups: &Tree, names: &[String]) -> Result<Self> {
        let mut processes = Self(Vec::new());
        for name in names {
            let child = workload::start(Kind::Idle, &cgroups.child(name), 0)?;
            processes.0.push(child);
        }
        Ok(processes)
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // They hold nothing that an orderly end would save.
            if let Err(error) = child.kill().and_then(|()| child.wait()) {
                eprintln!("warning: cannot end process {}: {error}", child.id());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{kibibytes, metric};

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let text = "# TYPE a gauge\na_b 1\na 2.5\n";
        assert!((metric(text, "a").unwrap() - 2.5).abs() < f64::EPSILON);
        assert!(metric(text, "b").is_err());
    }

    #[test]
    fn the_peak_is_read_from_the_status() {
        let status = "Name:\tx\nVmHWM:\t    9012 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(kibibytes(status, "VmHWM"), Some(9012));
        assert_eq!(kibibytes(status, "VmPeak"), None);
    }
}
