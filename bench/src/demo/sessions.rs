//! What the demo reads from `GET /api/v1/sessions`.
//!
//! Only the fields it shows, each of which may be null: a histogram without samples has no
//! quantiles, and a kernel without a program has no numbers of it.

use anyhow::{Context, Result};
use serde::Deserialize;

/// The answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Report {
    pub(super) sessions: Vec<Session>,
}

/// One session.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Session {
    #[serde(rename = "session")]
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) phase: Option<String>,
    pub(super) processes: Option<u64>,
    pub(super) cpu_ratio: Option<f64>,
    pub(super) runqueue_wait: Option<Wait>,
    pub(super) context_switches: Option<Switches>,
    pub(super) preemptions: Option<Preemptions>,
    pub(super) preempted_by: Option<Vec<Preemptor>>,
    pub(super) process: Option<Processes>,
}

/// How long threads that could run waited for a CPU, since the session began and lately.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wait {
    #[serde(flatten)]
    pub(super) total: Quantiles,
    pub(super) recent: Option<Quantiles>,
}

/// Quantiles in seconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Quantiles {
    pub(super) p50: Option<f64>,
    pub(super) p95: Option<f64>,
    pub(super) p99: Option<f64>,
}

/// Context switches by who wanted them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Switches {
    pub(super) voluntary: Option<u64>,
    pub(super) involuntary: Option<u64>,
}

/// Preemptions by the kind of thread that got the CPU instead.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Preemptions {
    #[serde(rename = "self")]
    pub(super) own: Option<u64>,
    pub(super) session: Option<u64>,
    pub(super) system: Option<u64>,
}

/// Another session that got the CPU instead.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Preemptor {
    pub(super) session: String,
    pub(super) count: u64,
}

/// The life of processes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Processes {
    pub(super) forks: Option<u64>,
    pub(super) exits: Option<Exits>,
}

/// Ends of processes by reason.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Exits {
    pub(super) success: Option<u64>,
    pub(super) error: Option<u64>,
    pub(super) signal: Option<u64>,
    pub(super) oom_killed: Option<u64>,
}

impl Report {
    /// Reads the answer and keeps the demo's own sessions.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut report: Self = serde_json::from_str(text)
            .context("the agent's /api/v1/sessions is not the JSON that the demo knows")?;
        report
            .sessions
            .retain(|session| session.namespace.as_deref() == Some("demo"));
        report
            .sessions
            .sort_by(|left, right| left.name.cmp(&right.name));
        Ok(report)
    }

    /// A session by its name.
    pub(super) fn find(&self, name: &str) -> Option<&Session> {
        self.sessions.iter().find(|session| session.name == name)
    }
}

impl Session {
    /// The quantiles of the last seconds, or of all time where there is no window yet.
    pub(super) fn wait(&self) -> Quantiles {
        let Some(wait) = &self.runqueue_wait else {
            return Quantiles::default();
        };
        match wait.recent {
            Some(recent) if recent.p99.is_some() => recent,
            _ => wait.total,
        }
    }
}

#[cfg(test)]
pub(super) const EXAMPLE: &str = r#"{"agent":{"version":"0.1.0","kernel":"6.1","programs":[]},
"sessions":[
 {"session":"someone","namespace":"desktops","phase":"Running"},
 {"session":"latency-desktop","namespace":"demo","template":"demo","phase":"Running",
  "cgroup":"/sessionscope-demo/latency-desktop","source":"cgroup","runtime":null,
  "start_time":1700000000.123,"processes":1,"threads":1,"cpu_seconds":1.2,"cpu_ratio":0.051,
  "runqueue_wait":{"count":9,"sum_seconds":0.1,"p50":0.00002,"p95":0.0012,"p99":0.004,
   "recent":{"window_seconds":10.0,"count":5,"p50":0.000018,"p95":0.0011,"p99":0.0031}},
  "context_switches":{"voluntary":4000,"involuntary":57},
  "preemptions":{"self":0,"session":93,"system":7},
  "preempted_by":[{"session":"cpu-hog","count":93}],
  "process":{"forks":0,"execs":0,"exits":{"success":0,"error":0,"signal":0,"oom_killed":0}}},
 {"session":"crash-loop","namespace":"demo","phase":null,"processes":null,"cpu_ratio":null,
  "runqueue_wait":{"count":0,"sum_seconds":0.0,"p50":null,"p95":null,"p99":null,"recent":null},
  "context_switches":null,"preemptions":null,"preempted_by":[],
  "process":{"forks":210,"execs":210,
   "exits":{"success":100,"error":100,"signal":10,"oom_killed":0}}}]}"#;

#[cfg(test)]
mod tests {
    use super::{EXAMPLE, Report};

    #[test]
    fn the_demo_s_sessions_are_read_and_nulls_are_unknown() {
        let report = Report::parse(EXAMPLE).unwrap();
        let names: Vec<_> = report
            .sessions
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(names, ["crash-loop", "latency-desktop"]);
        assert_eq!(
            report.find("latency-desktop").unwrap().wait().p99,
            Some(0.0031)
        );
        assert_eq!(report.find("crash-loop").unwrap().wait().p99, None);
    }

    #[test]
    fn a_window_without_samples_gives_way_to_the_total() {
        let text = EXAMPLE.replace("\"p99\":0.0031", "\"p99\":null");
        let report = Report::parse(&text).unwrap();
        assert_eq!(
            report.find("latency-desktop").unwrap().wait().p99,
            Some(0.004)
        );
    }
}
