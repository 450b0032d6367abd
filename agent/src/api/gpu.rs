//! GPUs, and what a session does on them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The node's GPUs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Gpus {
    /// Whether the driver answers.
    pub up: bool,
    /// Why not, as `vdi_agent_gpu_up` has it.
    pub code: Option<String>,
    /// The same in words.
    pub reason: Option<String>,
    /// Version of the driver.
    pub driver_version: Option<String>,
    /// The devices.
    pub devices: Vec<Device>,
}

/// A value for each engine of a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Engines {
    /// Streaming multiprocessors.
    pub sm: Option<f64>,
    /// Memory controller.
    pub memory: Option<f64>,
    /// Encoders.
    pub encoder: Option<f64>,
    /// Decoders.
    pub decoder: Option<f64>,
}

/// A device; of one that does not answer, only that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Device {
    /// Its index: the label `gpu`.
    pub gpu: u32,
    /// Its uuid.
    pub uuid: String,
    /// Its product name.
    pub name: String,
    /// Whether it answers.
    pub up: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Whether it is divided into instances; null where it cannot be.
    pub mig: Option<bool>,
    /// Share of each engine in use, 0 to 1.
    pub utilization: Engines,
    /// Memory in use.
    pub memory_used_bytes: Option<u64>,
    /// All its memory.
    pub memory_total_bytes: Option<u64>,
}

/// A session on a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct OnGpu {
    /// Index of the device.
    pub gpu: u32,
    /// Utilisation integrated over time.
    pub busy_seconds: Engines,
    /// Share of each engine now, 0 to 1; null where it is not known.
    pub utilization: Engines,
    /// Memory now; null where it is not known.
    pub memory_bytes: Option<u64>,
    /// Encoder sessions now, by codec.
    pub encoders: Vec<Encoder>,
    /// Frame-capture sessions now.
    pub capture: Option<Streams>,
}

/// Encoder sessions of one codec.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Encoder {
    /// h264, hevc, av1 or unknown.
    pub codec: String,
    /// Them.
    #[serde(flatten)]
    pub streams: Streams,
}

/// Encoder or capture sessions of one kind, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Streams {
    /// How many.
    pub sessions: u32,
    /// Frames a second of all.
    pub fps: u32,
    /// Of the slowest.
    pub latency_seconds: f64,
    /// Of the largest, pixels.
    pub width: u32,
    /// Of the largest, pixels.
    pub height: u32,
}

/// Xid errors of a device with one number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct XidErrors {
    /// Index or PCI address of the device.
    pub gpu: String,
    /// Number of the error.
    pub xid: u32,
    /// How many.
    pub count: u64,
}
