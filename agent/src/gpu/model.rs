//! What the GPU side reports: plain values. A reading that the device does not have is `None`.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Instant, SystemTime},
};

use agent_common::histogram::Histogram;

/// A part of a GPU that the driver accounts for by process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    /// The multiprocessors: compute and graphics.
    Sm,
    /// The memory controller: the share of time in which memory was read or written.
    Memory,
    /// Video encoders.
    Encoder,
    /// Video decoders.
    Decoder,
}

impl Engine {
    /// Every engine, in the order of arrays indexed by it.
    pub const ALL: [Self; 4] = [Self::Sm, Self::Memory, Self::Encoder, Self::Decoder];

    /// The label value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sm => "sm",
            Self::Memory => "memory",
            Self::Encoder => "encoder",
            Self::Decoder => "decoder",
        }
    }
}

/// One value for each [`Engine`], in the order of [`Engine::ALL`].
pub type PerEngine<T> = [T; Engine::ALL.len()];

/// A billion is all of an engine, as a second is in a histogram of time.
pub const WHOLE: u64 = 1_000_000_000;

/// What does not change about a device while the driver runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Position in the driver's enumeration, by PCI address: the label `gpu`.
    pub index: u32,
    /// `GPU-…`.
    pub uuid: String,
    /// Product name.
    pub name: String,
    /// PCI address as the kernel writes it: `0000:3b:00.0`.
    pub pci_address: String,
    /// N of `/dev/nvidiaN`.
    pub minor: Option<u32>,
    /// Whether the device is cut into MIG instances; `None` for one that cannot be.
    pub mig: Option<bool>,
    /// `none`, `passthrough`, `vgpu`, `vgpu_host` or `vsga_host`.
    pub virtualization: Option<&'static str>,
}

/// What a device measures of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    /// Share of time in which an engine was busy, 0 to 1.
    pub utilization: PerEngine<Option<f64>>,
    /// Frame buffer, bytes.
    pub memory: Option<Memory>,
    /// Of the die, degrees Celsius.
    pub temperature: Option<f64>,
    /// Of the memory, degrees Celsius.
    pub memory_temperature: Option<f64>,
    /// Draw of the board, watts.
    pub power: Option<f64>,
    /// Enforced limit of the draw, watts.
    pub power_limit: Option<f64>,
    /// Since the driver was loaded, joules.
    pub energy: Option<f64>,
    /// Hertz by domain.
    pub clocks: Vec<(&'static str, f64)>,
    /// Highest clocks, hertz by domain.
    pub max_clocks: Vec<(&'static str, f64)>,
    /// 0 (busiest) to 15.
    pub performance_state: Option<u32>,
    /// Why the clocks are below what was wanted: each reason, and whether it holds now.
    pub throttled: Vec<(&'static str, bool)>,
    /// The time that clocks were held down, seconds by policy.
    pub throttled_seconds: Vec<(&'static str, f64)>,
    /// Memory errors since the driver was loaded: corrected and uncorrected.
    pub ecc_errors: Vec<(&'static str, u64)>,
    /// PCI Express packets sent again.
    pub pcie_replays: Option<u64>,
    /// Bytes per second that the device sent and received, over the driver's 20 ms.
    pub pcie_throughput: Vec<(&'static str, f64)>,
    /// Share of the highest speed, 0 to 1.
    pub fan_speed: Option<f64>,
}

/// Frame buffer in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// Allocated.
    pub used: u64,
    /// Kept by driver and firmware; `None` from a driver that counts it as used.
    pub reserved: Option<u64>,
}

/// A GPU instance of MIG with its compute instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// GPU instance.
    pub gpu_instance: u32,
    /// Compute instance within it.
    pub compute_instance: u32,
    /// `MIG-…`.
    pub uuid: String,
    /// Such as `1g.10gb`.
    pub profile: String,
    /// Its frame buffer.
    pub memory: Option<Memory>,
}

/// A process that has a context on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Process, in the agent's pid namespace.
    pub pid: u32,
    /// Frame buffer in use, bytes; `None` where the driver cannot tell.
    pub memory: Option<u64>,
    /// GPU instance under MIG.
    pub gpu_instance: Option<u32>,
    /// It is a client of the multi-process service: what it uses is in the samples of the server.
    pub mps: bool,
}

/// What a process used of a device since the round before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessUse {
    /// Process, in the agent's pid namespace.
    pub pid: u32,
    /// Utilisation multiplied by the time it covers, nanoseconds.
    pub busy_ns: PerEngine<u64>,
    /// Mean utilisation over that time, in parts of [`WHOLE`].
    pub share: PerEngine<u64>,
    /// When its first sample was taken, microseconds since 1970.
    pub first_us: u64,
}

/// What the processes of a device used since the round before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Those with a sample.
    pub processes: Vec<ProcessUse>,
    /// Those that have none yet but had one a moment ago: the driver's next may be on its way.
    pub pending: Vec<u32>,
}

/// A video codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Codec {
    /// H.264.
    H264,
    /// HEVC.
    Hevc,
    /// AV1.
    Av1,
    /// One that this agent does not know.
    Unknown,
}

impl Codec {
    /// Of an `nvmlEncoderType_t` (nvml.h of CUDA 13: 0 H.264, 1 HEVC, 2 AV1, 255 unknown).
    pub fn of(number: u32) -> Self {
        match number {
            0 => Self::H264,
            1 => Self::Hevc,
            2 => Self::Av1,
            _ => Self::Unknown,
        }
    }

    /// The label value.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Hevc => "hevc",
            Self::Av1 => "av1",
            Self::Unknown => "unknown",
        }
    }
}

/// An encoder session or a frame-capture session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Process, in the agent's pid namespace; of one in a virtual GPU a number in its guest.
    pub pid: u32,
    /// It is of a guest, whose processes are not the node's (`vgpuInstance`, nvml.h).
    pub is_of_guest: bool,
    /// What it encodes to; `None` for a capture session.
    pub codec: Option<Codec>,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames a second, averaged by the driver.
    pub fps: u32,
    /// From frame to result, averaged by the driver, microseconds.
    pub latency_us: u32,
}

/// An Xid error that the driver delivered as an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XidEvent {
    /// Position of the device in the driver's enumeration.
    pub gpu: u32,
    /// Number of the error.
    pub xid: u32,
}

/// One device in a report.
#[derive(Clone, Debug, Default)]
pub struct Device {
    /// Which it is.
    pub identity: Arc<Identity>,
    /// Why it answers nothing; all the rest is then empty.
    pub down: Option<&'static str>,
    /// What it measures of itself.
    pub readings: Readings,
    /// Its MIG instances.
    pub instances: Vec<Instance>,
    /// Processes with a context, each once for each instance; `None` where the driver does not list them.
    pub contexts: Option<Vec<Context>>,
    /// Whether the driver accounts utilisation by process (under MIG it does not); `None` before it is known.
    pub usage_supported: Option<bool>,
    /// Utilisation by process since the round before; `None` when there was no answer.
    pub usage: Option<Usage>,
    /// Encoder sessions; `None` where the device has no encoder or does not tell.
    pub encoders: Option<Vec<Stream>>,
    /// Frame-capture sessions; `None` where the driver does not tell.
    pub captures: Option<Vec<Stream>>,
}

/// How the calls of one function went.
#[derive(Clone, Debug, Default)]
pub struct CallStats {
    /// How long they took.
    pub duration: Histogram,
    /// How many failed, by error; what a device does not support is asked once and is no error.
    pub errors: BTreeMap<&'static str, u64>,
}

/// Functions of the driver that have been called, by their names in C.
pub type Calls = BTreeMap<&'static str, CallStats>;

/// What the sampler says after a round.
#[derive(Clone, Debug)]
pub struct Report {
    /// When the round began: nothing in it is older than one period of its kind.
    pub taken: Instant,
    /// The same by the time of day.
    pub at: SystemTime,
    /// Version of the driver.
    pub driver_version: Arc<str>,
    /// The devices, by index.
    pub devices: Vec<Device>,
    /// Xid errors since the round before, if the agent has no better source.
    pub xids: Vec<XidEvent>,
}
