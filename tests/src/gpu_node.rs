//! A node with GPUs of a scenario, a session, an agent, and a Prometheus that scrapes it each second, so
//! that a test can say what the series were at every moment and how long each scrape took.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::{
    agent::{Agent, Configuration},
    cgroup::{Cgroup, Tree},
    exposition::Exposition,
    gpu::Gpus,
    process,
    prometheus::{self, Prometheus},
    stalls::Stalls,
    wait,
    workload::Workload,
};

/// Name of the session.
pub const SESSION: &str = "desk";
/// No scrape may take longer, whatever the driver does.
const SCRAPE_LIMIT: f64 = 0.1;
/// An answer that took longer is in the agent's own account of slow ones: the boundary next below the limit.
const SLOW_ANSWER: &str = "0.0625";
/// A CPU that stood still for so long makes an answer slow, of each of the two that ask.
const SLOWING: f64 = 0.03;
/// What is between 0 and 1.
const SHARES: [&str; 5] = [
    "utilization",
    "memory_controller_utilization",
    "encoder_utilization",
    "decoder_utilization",
    "unattributed_utilization",
];

/// See the module.
#[derive(Debug)]
pub struct Node {
    prometheus: Prometheus,
    /// Since when everything is looked at.
    began: Instant,
    /// What the machine itself did in that time.
    stalls: Stalls,
    /// The agent.
    pub agent: Agent,
    /// The driver.
    pub gpus: Gpus,
    _process: Workload,
    _cgroup: Cgroup,
    _tree: Tree,
}

/// A session with one process, before the agent starts.
#[derive(Debug)]
pub struct Desk {
    tree: Tree,
    cgroup: Cgroup,
    process: Workload,
}

impl Desk {
    /// Makes it; `workload` is the program.
    pub fn new(workload: &str) -> Self {
        let tree = Tree::new();
        let cgroup = tree.child(SESSION);
        Self {
            process: Workload::start(workload, &cgroup, &["idle"]),
            cgroup,
            tree,
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Starts the agent on these GPUs, with keys of its configuration, and the Prometheus.
    pub fn start(self, gpus: Gpus, keys: &[(&str, &str)]) -> Node {
        let configuration = keys
            .iter()
            .fold(Configuration::of(&self.tree), |all, (key, value)| {
                all.set(key, value)
            });
        let agent = gpus.start(&configuration);
        let binary: Option<PathBuf> = prometheus::installed("prometheus");
        let binary = binary.expect("`cargo xtask setup` installs it");
        let prometheus = Prometheus::start(&binary, &[], "", agent.address());
        // The limit of a scrape is not one for what else the machine does.
        process::favour(agent.pid());
        process::favour(prometheus.pid());
        prometheus.wait_for("up", 1.0);
        agent.wait_for(&[SESSION]);
        Node {
            prometheus,
            began: Instant::now(),
            stalls: Stalls::watch(),
            agent,
            gpus,
            _process: self.process,
            _cgroup: self.cgroup,
            _tree: self.tree,
        }
    }
}

impl Node {
    /// Waits until an exposition is as wanted, and returns it.
    pub fn until(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Exposition) -> bool,
    ) -> Exposition {
        wait::until(what, limit, || {
            let metrics = self.agent.metrics();
            if wanted(&metrics) {
                return Some(metrics);
            }
            thread::sleep(Duration::from_millis(50));
            None
        })
    }

    /// Waits until the GPU side is up or, with a reason, is not.
    pub fn until_up_is(&self, reason: &str, limit: Duration) -> Exposition {
        let up = f64::from(u8::from(reason.is_empty()));
        self.until(&format!("the reason {reason:?}"), limit, |metrics| {
            metrics.find("vdi_agent_gpu_up", &[("reason", reason)]) == Some(up)
        })
    }

    /// Lets Prometheus see how things are.
    pub fn scrapes(&self, count: u64) {
        thread::sleep(Duration::from_secs(count));
    }

    /// The value of a query with one result.
    pub fn query(&self, expression: &str) -> Option<f64> {
        self.prometheus.value(expression)
    }

    /// The range that is all of it.
    pub fn since(&self) -> String {
        format!("{}ms", self.began.elapsed().as_millis())
    }

    /// Whenever the series was there, it had this value; and it was there.
    pub fn assert_always(&self, series: &str, value: f64) {
        let since = self.since();
        for function in ["min_over_time", "max_over_time"] {
            let found = self.query(&format!("{function}({series}[{since}])"));
            assert_eq!(found, Some(value), "{function} of {series}");
        }
    }

    /// No scrape failed or took long, neither for Prometheus nor for the agent, and nothing that is a share
    /// was ever outside 0 to 1.
    pub fn assert_scrapes_were_prompt_and_right(&self) {
        let since = self.since();
        let all = |function: &str, series: &str| {
            let outer = if function == "min" { "min" } else { "max" };
            let expression = format!("{outer}({function}_over_time({series}[{since}]))");
            self.query(&expression)
                .unwrap_or_else(|| panic!("{expression} has no result"))
        };
        let scrapes = self.prometheus.values("scrape_duration_seconds", &since);
        let slowest = scrapes.iter().map(|(_, took)| *took).fold(0.0, f64::max);
        eprintln!("{} scrapes, the slowest took {slowest} s", scrapes.len());
        assert!(all("min", "up") > 0.0, "a scrape failed");
        // A scrape's time is when it began.
        let own = |(at, took): &(f64, f64)| took - self.stalls.within(*at, at + took);
        let slow: Vec<_> = scrapes
            .iter()
            .filter(|scrape| own(scrape) >= SCRAPE_LIMIT)
            .collect();
        assert!(slow.is_empty(), "scrapes were slow: {slow:?}");
        let metrics = self.agent.metrics();
        let scrape = "vdi_agent_scrape_duration_seconds";
        let prompt = metrics.count(&format!("{scrape}_bucket"), &[("le", SLOW_ANSWER)]);
        let total = metrics.count(&format!("{scrape}_count"), &[]);
        let slow = total - prompt;
        let stalls = self.stalls.longer_than(SLOWING) as u64;
        eprintln!("{slow} of {total} answers were slow, a CPU stood still {stalls} times");
        assert!(slow <= 2 * stalls, "the agent was slow");
        for name in SHARES {
            let series = format!("vdi_gpu_{name}_ratio");
            let known = self.query(&format!("count(count_over_time({series}[{since}]))"));
            if known.is_some() {
                let (lowest, highest) = (all("min", &series), all("max", &series));
                assert!(lowest >= 0.0 && highest <= 1.0, "{series}: {highest}");
            }
        }
        let busy = "vdi_session_gpu_busy_seconds_total";
        let resets = self.query(&format!("sum(resets({busy}[{since}]))"));
        assert!(resets.is_none_or(|resets| resets == 0.0), "{resets:?}");
    }
}

/// Busy time of the session on a device, seconds; 0 before the first.
pub fn busy_seconds(metrics: &Exposition, gpu: &str) -> f64 {
    let labels = [("gpu", gpu), ("engine", "sm"), ("session", SESSION)];
    let busy = metrics.find("vdi_session_gpu_busy_seconds_total", &labels);
    busy.unwrap_or(0.0)
}
