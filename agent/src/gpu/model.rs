//! What the GPU side reports: plain values. A reading that the device does not have is `None`.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Instant, SystemTime},
};

use agent_common::histogram::Histogram;

use crate::named::named;

named! {
    /// A part of a GPU that the driver accounts for by process.
    pub enum Engine {
        /// The multiprocessors: compute and graphics.
        Sm = "sm",
        /// The memory controller: the share of time in which memory was read or written.
        Memory = "memory",
        /// Video encoders.
        Encoder = "encoder",
        /// Video decoders.
        Decoder = "decoder",
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
    /// What of the GPU the node has.
    pub virtualization: Option<Virtualization>,
}

named! {
    /// What of a GPU the machine has on which the agent runs (`nvmlGpuVirtualizationMode_t`).
    pub enum Virtualization {
        /// All of it, itself.
        None = "none",
        /// All of it, passed through to a virtual machine.
        Passthrough = "passthrough",
        /// A part of it, in a virtual machine.
        Vgpu = "vgpu",
        /// It shares it out to virtual machines.
        VgpuHost = "vgpu_host",
        /// It draws for virtual machines (VSGA).
        VsgaHost = "vsga_host",
    }
}

named! {
    /// A part of a GPU with a clock of its own.
    pub enum ClockDomain {
        /// Graphics.
        Graphics = "graphics",
        /// The multiprocessors.
        Sm = "sm",
        /// Memory.
        Memory = "memory",
        /// Encoders and decoders.
        Video = "video",
    }
}

named! {
    /// Why clocks are below what was wanted (`nvmlClocksThrottleReason…`), all but idleness, which holds nothing back.
    pub enum ThrottleReason {
        /// Somebody has set them.
        ApplicationsClocksSetting = "applications_clocks_setting",
        /// The board draws as much power as it may.
        SwPowerCap = "sw_power_cap",
        /// The hardware protects itself.
        HwSlowdown = "hw_slowdown",
        /// Boards go at the pace of the slowest.
        SyncBoost = "sync_boost",
        /// The driver finds it too hot.
        SwThermalSlowdown = "sw_thermal_slowdown",
        /// The hardware does.
        HwThermalSlowdown = "hw_thermal_slowdown",
        /// The power supply asks for it.
        HwPowerBrakeSlowdown = "hw_power_brake_slowdown",
        /// A display needs it.
        DisplayClockSetting = "display_clock_setting",
    }
}

named! {
    /// What holds clocks down (`nvmlPerfPolicyType_t`).
    pub enum ThrottlePolicy {
        /// Power.
        Power = "power",
        /// Heat.
        Thermal = "thermal",
        /// The slowest of several boards.
        SyncBoost = "sync_boost",
        /// A limit of the board.
        BoardLimit = "board_limit",
        /// There is little to do.
        LowUtilization = "low_utilization",
        /// The board's reliability.
        Reliability = "reliability",
        /// Below what applications have set.
        ApplicationClocks = "application_clocks",
        /// Below the base clocks.
        BaseClocks = "base_clocks",
    }
}

named! {
    /// Errors of memory.
    pub enum EccError {
        /// Nobody notices.
        Corrected = "corrected",
        /// Something is lost.
        Uncorrected = "uncorrected",
    }
}

/// Rows of GPU memory that were replaced by spare ones (`nvmlDeviceGetRemappedRows`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemappedRows {
    /// Because of errors that were corrected.
    pub corrected: u64,
    /// Because of errors that were not.
    pub uncorrected: u64,
    /// One is to be replaced at the next reset of the GPU.
    pub is_pending: bool,
    /// One could not be replaced: the board is to be replaced.
    pub has_failed: bool,
}

named! {
    /// What the driver wants done with a GPU (`nvmlDeviceGpuRecoveryAction_t`).
    pub enum RecoveryAction {
        /// Nothing.
        None = "none",
        /// A reset of the GPU.
        GpuReset = "gpu_reset",
        /// A restart of the node.
        NodeReboot = "node_reboot",
        /// No more work that is between GPUs.
        DrainP2p = "drain_p2p",
        /// No more work, and a reset.
        DrainAndReset = "drain_and_reset",
    }
}

named! {
    /// What happens at a temperature (`nvmlTemperatureThresholds_t`).
    pub enum TemperatureLimit {
        /// The GPU shuts down.
        Shutdown = "shutdown",
        /// The hardware holds its clocks down.
        Slowdown = "slowdown",
        /// The driver does, for its memory.
        MemoryMax = "memory_max",
        /// The driver does, below the base clocks.
        GpuMax = "gpu_max",
    }
}

named! {
    /// Which way bytes go.
    pub enum Direction {
        /// Sent.
        Transmit = "transmit",
        /// Received.
        Receive = "receive",
    }
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
    pub clocks: Vec<(ClockDomain, f64)>,
    /// Highest clocks, hertz by domain.
    pub max_clocks: Vec<(ClockDomain, f64)>,
    /// 0 (busiest) to 15.
    pub performance_state: Option<u32>,
    /// Why the clocks are below what was wanted: each reason, and whether it holds now.
    pub throttled: Vec<(ThrottleReason, bool)>,
    /// The time that clocks were held down, seconds by policy.
    pub throttled_seconds: Vec<(ThrottlePolicy, f64)>,
    /// Memory errors since the driver was loaded: corrected and uncorrected.
    pub ecc_errors: Vec<(EccError, u64)>,
    /// Rows of its memory that were replaced; `None` for memory without spare rows (before Ampere).
    pub remapped_rows: Option<RemappedRows>,
    /// What the driver wants done after an error (570 and later).
    pub recovery_action: Option<RecoveryAction>,
    /// Degrees Celsius at which something happens.
    pub temperature_limits: Vec<(TemperatureLimit, f64)>,
    /// PCI Express packets sent again.
    pub pcie_replays: Option<u64>,
    /// Bytes per second that the device sent and received, over the driver's 20 ms.
    pub pcie_throughput: Vec<(Direction, f64)>,
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

named! {
    /// A video codec.
    pub enum Codec {
        /// H.264.
        H264 = "h264",
        /// HEVC.
        Hevc = "hevc",
        /// AV1.
        Av1 = "av1",
        /// One that this agent does not know.
        Unknown = "unknown",
    }
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
