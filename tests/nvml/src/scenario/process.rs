//! Processes on a GPU, and the samples of what they used of it.

use serde::{Deserialize, Serialize};

/// A process with a context on the GPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    /// As the caller's pid namespace has it.
    pub pid: u32,
    /// Frame buffer in use; absent is `NVML_VALUE_NOT_AVAILABLE`, as under WDDM or in a container.
    pub memory_bytes: Option<u64>,
    /// The lists that it is in; a process may be in several.
    pub kinds: Vec<Kind>,
    /// GPU instance; absent is 0xFFFFFFFF, which is what the driver says without MIG.
    pub gpu_instance: Option<u32>,
    /// Compute instance, likewise.
    pub compute_instance: Option<u32>,
}

/// A list of running processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `nvmlDeviceGetComputeRunningProcesses`.
    Compute,
    /// `nvmlDeviceGetGraphicsRunningProcesses`.
    Graphics,
    /// `nvmlDeviceGetMPSComputeRunningProcesses`.
    Mps,
}

/// What a process used: once, or over and over.
///
/// The library keeps the samples of a device in a ring, as the driver does, across changes of the
/// scenario: a sample that was taken stays until the ring is full or the driver is loaded again. A
/// repeated sample is taken from the moment its scenario was written until the next one is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sample {
    /// Process; need not be in the list of processes, nor alive.
    pub pid: u32,
    /// Once, at this time (microseconds since 1970); visible from then on.
    pub timestamp_us: Option<u64>,
    /// Otherwise at every multiple of this many milliseconds of the clock; 0 is never.
    pub every_ms: u64,
    /// Percent; above 100 is handed out as it stands.
    pub sm: u32,
    /// Percent of the time in which memory was read or written.
    pub memory: u32,
    /// Percent of the encoders.
    pub encoder: u32,
    /// Percent of the decoders.
    pub decoder: u32,
    /// Percent of the JPEG engines, by `nvmlDeviceGetProcessesUtilizationInfo` only.
    pub jpeg: u32,
    /// Percent of the optical-flow engines, likewise.
    pub ofa: u32,
}
