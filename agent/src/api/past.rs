//! Sessions of before.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Exits, Finding, OomKill};

/// What `GET /api/v1/ended` answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Ended {
    /// The last 200 that have ended while the agent ran, the latest first.
    pub sessions: Vec<PastSession>,
}

/// A session that has ended. Times are seconds since the epoch, counters since its adoption.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct PastSession {
    /// The id that it had.
    pub id: String,
    /// Its name.
    pub session: String,
    /// Its namespace; may be empty.
    pub namespace: String,
    /// What it was made from; may be empty.
    pub template: String,
    /// Path of its first cgroup.
    pub cgroup: String,
    /// What told the agent of it.
    pub source: String,
    /// Who used it, as far as `sessions.user` lets that be told.
    pub user: Option<String>,
    /// When it began.
    pub start_time: Option<f64>,
    /// When its last cgroup went.
    pub end_time: Option<f64>,
    /// How long it was; null where its beginning is not known.
    pub duration_seconds: Option<f64>,
    /// How it ended: a label value of `vdi_session_ended_total`.
    pub end_reason: String,
    /// What more is known of that, in words.
    pub why: Option<String>,
    /// The last process that the out-of-memory killer killed.
    pub last_oom_kill: Option<OomKill>,
    /// CPU time.
    pub cpu_seconds: f64,
    /// Median of what its threads waited for a CPU, seconds.
    pub runqueue_wait_p50: Option<f64>,
    /// What 99 in 100 of these waits stayed below, seconds.
    pub runqueue_wait_p99: Option<f64>,
    /// Time in which its own CPU limit did not let it run; null where that is not known.
    pub cpu_throttled_seconds: Option<f64>,
    /// Most memory of a step of its history, bytes; null where that is not known.
    pub memory_most_bytes: Option<f64>,
    /// Data bytes of TCP that it sent; null where they are not measured.
    pub tcp_transmit_bytes: Option<u64>,
    /// And that it received.
    pub tcp_receive_bytes: Option<u64>,
    /// Median of its clients' round trips, seconds.
    pub rtt_p50: Option<f64>,
    /// What 95 in 100 of them stayed below, seconds.
    pub rtt_p95: Option<f64>,
    /// How its processes ended.
    pub exits: Exits,
    /// What held it back in its last minute and its last hour, the heaviest first; null where no history was kept.
    pub findings: Option<Vec<Finding>>,
}
