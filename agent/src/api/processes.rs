//! The processes of a session, now.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What `GET /api/v1/sessions/{id}/processes` answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Processes {
    /// Id of the session.
    pub id: String,
    /// Its name.
    pub session: String,
    /// Over which time shares are.
    pub window_seconds: f64,
    /// Those that used the CPU most first.
    pub processes: Vec<Process>,
    /// There are more, or some have more threads, than are looked at.
    pub cut: bool,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Process {
    /// Process id on the node.
    pub pid: u32,
    /// Command name.
    pub command: String,
    /// What its first thread does: runnable, sleeping, uninterruptible, stopped or dead.
    pub state: String,
    /// Threads.
    pub threads: u64,
    /// CPUs that it used in the window; null of one that came or went in it.
    pub cpu_ratio: Option<f64>,
    /// Threads of it that waited for a CPU, on average; null likewise.
    pub waiting: Option<f64>,
    /// CPU time since it began.
    pub cpu_seconds: f64,
    /// Memory that is resident, what it shares with others included.
    pub memory_bytes: u64,
    /// When it began.
    pub start_time: Option<f64>,
}
