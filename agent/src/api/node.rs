//! The node as a whole.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What `GET /api/v1/node` answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Node {
    /// CPUs that were online when the agent began.
    pub cpus: u32,
    /// Memory that it has; null where that is not known.
    pub memory_total_bytes: Option<u64>,
    /// Memory that can be had without swapping (`MemAvailable`).
    pub memory_available_bytes: Option<u64>,
    /// How much of the last minute was lost for want of each resource, by all that the node runs; null without PSI.
    pub pressure: NodePressure,
}

/// Shares of the last minute: some, in which a thread waited, full, in which all did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NodePressure {
    /// A thread waited for a CPU.
    pub cpu_some: Option<f64>,
    /// A thread waited for memory.
    pub memory_some: Option<f64>,
    /// All did.
    pub memory_full: Option<f64>,
    /// A thread waited for a disk.
    pub io_some: Option<f64>,
    /// All did.
    pub io_full: Option<f64>,
}
