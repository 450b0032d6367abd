//! One GPU: identity and readings.

use serde::{Deserialize, Serialize};

use super::{CaptureSession, EncoderSession, Event, MigDevice, Process, Sample};

/// A GPU. Units are those of the C interface, and are in the names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Device {
    /// `GPU-…`; what handles, faults and sample rings belong to across a change of the scenario.
    pub uuid: String,
    /// Product name.
    pub name: String,
    /// `domain:bus:device.function` as the driver writes it, the domain with eight digits.
    pub pci_bus_id: String,
    /// PCI vendor and device id, as the driver packs them (device in the upper half).
    pub pci_device_id: u32,
    /// N of `/dev/nvidiaN`; absent is `NOT_SUPPORTED`.
    pub minor_number: Option<u32>,
    /// Board serial number.
    pub serial: Option<String>,
    /// `nvmlDeviceArchitecture_t`: 7 is Ampere, 8 Ada, 9 Hopper.
    pub architecture: Option<u32>,
    /// Major and minor.
    pub cuda_capability: Option<(i32, i32)>,

    /// Busy percent of the last period; also absent while MIG is on.
    pub utilization: Option<Utilization>,
    /// Busy percent of the encoders.
    pub encoder_utilization: Option<u32>,
    /// Busy percent of the decoders.
    pub decoder_utilization: Option<u32>,
    /// What `nvmlDeviceGetEncoderCapacity` says for every codec, percent.
    pub encoder_capacity: Option<u32>,
    /// Frame buffer.
    pub memory: Option<Memory>,
    /// Protected and unprotected memory of confidential computing; absent where the device has none.
    pub confidential_memory_kib: Option<(u64, u64)>,
    /// Of the GPU die.
    pub temperature_celsius: Option<u32>,
    /// Of the memory, by `nvmlDeviceGetFieldValues` only.
    pub memory_temperature_celsius: Option<u32>,
    /// Percent, of every fan.
    pub fan_speed: Option<u32>,
    /// Draw of the board.
    pub power_milliwatts: Option<u32>,
    /// Enforced limit.
    pub power_limit_milliwatts: Option<u32>,
    /// Energy counter when the file that first had the device was written.
    pub energy_millijoules: Option<u64>,
    /// How fast the energy counter grows; watts are joules per second, so 1000 times the watts.
    pub energy_millijoules_per_second: f64,
    /// Current clocks.
    pub clocks_mhz: Clocks,
    /// Highest clocks.
    pub max_clocks_mhz: Clocks,
    /// P0 (busiest) to P15.
    pub performance_state: Option<u32>,
    /// Bits of `nvmlClocksEventReason*`, unknown ones allowed.
    pub clocks_event_reasons: Option<u64>,
    /// Nanoseconds below the wanted clocks, by policy.
    pub violation_nanoseconds: Violations,
    /// Error correction.
    pub ecc: Option<Ecc>,
    /// Rows of memory that were replaced; absent is memory that cannot.
    pub remapped_rows: Option<RemappedRows>,
    /// `nvmlDeviceGpuRecoveryAction_t`, by `nvmlDeviceGetFieldValues` only.
    pub recovery_action: Option<u32>,
    /// Degrees at which something happens.
    pub temperature_limits_celsius: TemperatureLimits,
    /// KiB per second.
    pub pcie_throughput: Option<PcieThroughput>,
    /// How often a packet on the PCI Express bus was sent again.
    pub pcie_replays: Option<u32>,
    /// Current generation and width of the PCI Express link.
    pub pcie_link: Option<(u32, u32)>,
    /// `nvmlGpuVirtualizationMode_t`: 0 none, 1 pass-through, 2 vGPU guest, 3 host of vGPUs, 4 host
    /// with vSGA.
    pub virtualization_mode: Option<u32>,

    /// Whether MIG is on; absent is a device that does not know MIG.
    pub mig_enabled: Option<bool>,
    /// The most MIG devices it can have; indices from this on are invalid.
    pub max_mig_devices: u32,
    /// Those it has, by index; holes are allowed.
    pub mig_devices: Vec<MigDevice>,

    /// Processes with a context.
    pub processes: Vec<Process>,
    /// Utilisation samples.
    pub samples: Vec<Sample>,
    /// How many samples the driver keeps.
    pub sample_ring: usize,
    /// Only the newest sample of each process is handed out, not all in the ring.
    pub newest_sample_only: bool,
    /// NVENC sessions.
    pub encoder_sessions: Vec<EncoderSession>,
    /// NVFBC sessions.
    pub capture_sessions: Vec<CaptureSession>,
    /// Events, each delivered once per event set.
    pub events: Vec<Event>,
    /// Bits of `nvmlEventType*`.
    pub supported_events: u64,
}

impl Default for Device {
    fn default() -> Self {
        Self {
            uuid: String::new(),
            name: "Scenario GPU".to_owned(),
            pci_bus_id: "00000000:01:00.0".to_owned(),
            pci_device_id: 0x2330_10de,
            minor_number: None,
            serial: None,
            architecture: None,
            cuda_capability: None,
            utilization: None,
            encoder_utilization: None,
            decoder_utilization: None,
            encoder_capacity: None,
            memory: None,
            confidential_memory_kib: None,
            temperature_celsius: None,
            memory_temperature_celsius: None,
            fan_speed: None,
            power_milliwatts: None,
            power_limit_milliwatts: None,
            energy_millijoules: None,
            energy_millijoules_per_second: 0.0,
            clocks_mhz: Clocks::default(),
            max_clocks_mhz: Clocks::default(),
            performance_state: None,
            clocks_event_reasons: None,
            violation_nanoseconds: Violations::default(),
            remapped_rows: None,
            recovery_action: None,
            temperature_limits_celsius: TemperatureLimits::default(),
            ecc: None,
            pcie_throughput: None,
            pcie_replays: None,
            pcie_link: None,
            virtualization_mode: None,
            mig_enabled: None,
            max_mig_devices: 0,
            mig_devices: Vec::new(),
            processes: Vec::new(),
            samples: Vec::new(),
            // NV2080_CTRL_PERF_GPUMON_SAMPLE_COUNT_PERFMON_UTIL of the open kernel modules.
            sample_ring: 72,
            newest_sample_only: false,
            encoder_sessions: Vec::new(),
            capture_sessions: Vec::new(),
            events: Vec::new(),
            // Xid, single- and double-bit ECC errors.
            supported_events: 0xb,
        }
    }
}

/// Percent; above 100 is handed out as it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Utilization {
    pub gpu: u32,
    pub memory: u32,
}

/// Bytes. Version 1 of the call counts what is reserved as used, version 2 does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Memory {
    pub total: u64,
    pub used: u64,
    pub free: u64,
    pub reserved: u64,
}

/// MHz by clock domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Clocks {
    pub graphics: Option<u32>,
    pub sm: Option<u32>,
    pub memory: Option<u32>,
    pub video: Option<u32>,
}

/// Nanoseconds by `nvmlPerfPolicyType_t`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Violations {
    pub power: Option<u64>,
    pub thermal: Option<u64>,
    pub sync_boost: Option<u64>,
    pub board_limit: Option<u64>,
    pub low_utilization: Option<u64>,
    pub reliability: Option<u64>,
    pub total_app_clocks: Option<u64>,
    pub total_base_clocks: Option<u64>,
}

/// Rows of memory that were replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct RemappedRows {
    pub corrected: u32,
    pub uncorrected: u32,
    pub pending: bool,
    pub failed: bool,
}

/// Degrees by `nvmlTemperatureThresholds_t`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct TemperatureLimits {
    pub shutdown: Option<u32>,
    pub slowdown: Option<u32>,
    pub memory_max: Option<u32>,
    pub gpu_max: Option<u32>,
}

/// Error correction: whether it is on, and what it counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ecc {
    /// Off makes the counters `NOT_SUPPORTED`.
    pub enabled: bool,
    /// Since the driver was loaded.
    pub volatile: ErrorCounts,
    /// Over the life of the board.
    pub aggregate: ErrorCounts,
}

/// Error counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ErrorCounts {
    pub corrected: u64,
    pub uncorrected: u64,
}

/// KiB per second; each direction takes the 20 ms that the driver measures for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct PcieThroughput {
    pub transmitted: u32,
    pub received: u32,
}
