//! The GPUs of the snapshot: a whole one, one that is cut into instances, and one that has never answered.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{MS, after_epoch, observed};
use crate::{
    gpu::{
        Status,
        model::{
            CallStats, ClockDomain, Device, Direction, EccError, Identity, Instance, Memory,
            Readings, RecoveryAction, RemappedRows, Report, TemperatureLimit, ThrottlePolicy,
            ThrottleReason, Virtualization,
        },
    },
    session::gpu::{Remainder, XidCount},
    snapshot::GpuView,
};

/// Seconds since the last round of the sampler began.
const SAMPLE_AGE: u64 = 60_000;

/// The GPUs as the agent sees them.
pub(super) fn gpus(now: Instant) -> GpuView {
    let taken = now.checked_sub(Duration::from_secs(SAMPLE_AGE));
    let call = |duration, errors: &[(&'static str, u64)]| CallStats {
        duration,
        errors: errors.iter().copied().collect(),
    };
    let xid = |count, last_ms| XidCount {
        count,
        last: after_epoch(last_ms),
    };
    let whole = Remainder {
        share: [Some(0.301), Some(0.302), Some(0.303), Some(0.304)],
        memory: Some(305_000_007),
        busy_ns: [306_500 * MS, 307_500 * MS, 308_500 * MS, 309_500 * MS],
    };
    let cut = Remainder {
        busy_ns: [0, 310_500 * MS, 0, 0],
        ..Remainder::default()
    };
    GpuView {
        status: Status { down: None, taken },
        host_pids: true,
        kernel_log_down: Some("EPERM".to_owned()),
        report: Some(Arc::new(Report {
            taken: taken.unwrap(),
            at: after_epoch(1_700_000_203_500),
            driver_version: "580.159.04".into(),
            devices: vec![whole_device(), cut_device(), lost_device()],
            xids: Vec::new(),
        })),
        remainders: [(3, whole), (8, cut)].into(),
        xids: [
            (("3".to_owned(), 79), xid(311, 1_700_000_312_500)),
            (("0000:5e:00.0".to_owned(), 48), xid(313, 1_700_000_314_500)),
        ]
        .into(),
        calls: [
            (
                "nvmlDeviceGetCount_v2",
                call(
                    observed([(63, MS), (64, 300 * MS)]),
                    &[("NVML_ERROR_UNKNOWN", 315)],
                ),
            ),
            (
                "nvmlDeviceGetPowerUsage",
                call(
                    observed([(65, 2 * MS), (66, 400 * MS)]),
                    &[("NVML_ERROR_TIMEOUT", 316), ("NVML_ERROR_GPU_IS_LOST", 317)],
                ),
            ),
        ]
        .into(),
    }
}

/// A GPU that measures all that there is to measure. Its index is neither its place in the list nor its minor number.
fn whole_device() -> Device {
    Device {
        identity: Arc::new(Identity {
            index: 3,
            uuid: "GPU-3a".to_owned(),
            name: "NVIDIA L40S".to_owned(),
            pci_address: "0000:3b:00.0".to_owned(),
            minor: Some(4),
            mig: Some(false),
            virtualization: Some(Virtualization::Passthrough),
        }),
        readings: Readings {
            utilization: [Some(0.321), Some(0.322), Some(0.323), Some(0.324)],
            memory: Some(Memory {
                total: 326_000_009,
                used: 325_000_008,
                reserved: Some(327_000_010),
            }),
            temperature: Some(32.8),
            memory_temperature: Some(32.9),
            power: Some(330.5),
            power_limit: Some(331.5),
            energy: Some(332_500.5),
            clocks: vec![
                (ClockDomain::Graphics, 333e6),
                (ClockDomain::Sm, 334e6),
                (ClockDomain::Memory, 335e6),
                (ClockDomain::Video, 336e6),
            ],
            max_clocks: vec![
                (ClockDomain::Graphics, 337e6),
                (ClockDomain::Sm, 338e6),
                (ClockDomain::Memory, 339e6),
                (ClockDomain::Video, 340e6),
            ],
            performance_state: Some(12),
            throttled: vec![
                (ThrottleReason::SwPowerCap, true),
                (ThrottleReason::HwSlowdown, false),
            ],
            throttled_seconds: vec![
                (ThrottlePolicy::Power, 341.5),
                (ThrottlePolicy::Thermal, 342.5),
            ],
            ecc_errors: vec![(EccError::Corrected, 343), (EccError::Uncorrected, 344)],
            remapped_rows: Some(RemappedRows {
                corrected: 349,
                uncorrected: 350,
                is_pending: true,
                has_failed: false,
            }),
            recovery_action: Some(RecoveryAction::DrainP2p),
            temperature_limits: vec![
                (TemperatureLimit::Shutdown, 97.5),
                (TemperatureLimit::GpuMax, 87.5),
            ],
            pcie_replays: Some(345),
            pcie_throughput: vec![(Direction::Transmit, 346e3), (Direction::Receive, 347e3)],
            fan_speed: Some(0.348),
        },
        usage_supported: Some(true),
        ..Device::default()
    }
}

/// A GPU that is cut into instances, two of which share their memory.
fn cut_device() -> Device {
    let instance = |gpu_instance, compute_instance, uuid: &str, profile: &str, memory| Instance {
        gpu_instance,
        compute_instance,
        uuid: uuid.to_owned(),
        profile: profile.to_owned(),
        memory: Some(memory),
    };
    let memory = |total, used| Memory {
        total,
        used,
        reserved: None,
    };
    let (shared, own) = (
        memory(354_000_014, 353_000_013),
        memory(356_000_016, 355_000_015),
    );
    Device {
        identity: Arc::new(Identity {
            index: 8,
            uuid: "GPU-8b".to_owned(),
            name: "NVIDIA A100".to_owned(),
            pci_address: "0000:86:00.0".to_owned(),
            minor: Some(6),
            mig: Some(true),
            virtualization: None,
        }),
        readings: Readings {
            memory: Some(memory(352_000_012, 351_000_011)),
            ..Readings::default()
        },
        instances: vec![
            instance(5, 2, "MIG-52", "1c.2g.20gb", shared),
            instance(5, 4, "MIG-54", "1c.2g.20gb", shared),
            instance(7, 9, "MIG-79", "1g.10gb", own),
        ],
        usage_supported: Some(false),
        ..Device::default()
    }
}

/// A GPU that has never answered.
fn lost_device() -> Device {
    Device {
        identity: Arc::new(Identity {
            index: 11,
            ..Identity::default()
        }),
        down: Some("lost"),
        ..Device::default()
    }
}
