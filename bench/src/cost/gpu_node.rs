//! A node with GPUs where there is none: the scenario library in the driver's place, and what it says.
//!
//! Every reading is there, because each is a call that a GPU without it is asked only once.

use std::path::PathBuf;

use anyhow::{Context, Result};
use nvml_scenario::scenario::{
    CaptureSession, Clocks, Device, Ecc, ErrorCounts, Kind, Memory, PcieThroughput, Process,
    Sample, Utilization, Violations,
};
use nvml_scenario::{CALLS, SCENARIO, Scenario, library, scenario::EncoderSession};

use lab::programs::{SCENARIO_LIBRARY, released};
use tempfile::TempDir;

/// Processes on each GPU, encoder sessions and capture sessions.
pub(super) const PROCESSES: usize = 8;
pub(super) const ENCODERS: usize = 2;
pub(super) const CAPTURES: usize = 1;

const MIB: u64 = 1 << 20;

/// The GPUs; dropping it removes the scenario.
pub(super) struct Node {
    gpus: usize,
    folder: TempDir,
}

impl Node {
    /// So many GPUs without a process.
    pub(super) fn create(gpus: usize) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        if gpus > 0 {
            let built = released(SCENARIO_LIBRARY);
            library::copy(&built, folder.path())
                .with_context(|| format!("cannot copy {}", built.display()))?;
        }
        let node = Self { gpus, folder };
        node.occupy(&[])?;
        Ok(node)
    }

    /// Puts processes on the GPUs: the first on the first, and so on.
    pub(super) fn occupy(&self, pids: &[u32]) -> Result<()> {
        let mut of_each = pids.chunks(PROCESSES);
        let devices = (0..self.gpus).map(|number| device(number, of_each.next().unwrap_or(&[])));
        let scenario = Scenario {
            devices: devices.collect(),
            ..Scenario::default()
        };
        let path = self.scenario();
        scenario
            .write(&path)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// What a program that loads the library needs to know.
    pub(super) fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [(SCENARIO, self.scenario()), (CALLS, self.calls())]
    }

    /// The agent's configuration; without a GPU it does not look for any.
    pub(super) fn configuration(&self) -> String {
        format!(
            "[gpu]\nenabled = {}\nlibrary = \"{}\"\n",
            self.gpus > 0,
            self.folder.path().join(library::NAME).display()
        )
    }

    /// The table of calls that the library writes.
    pub(super) fn calls(&self) -> PathBuf {
        self.folder.path().join("calls")
    }

    fn scenario(&self) -> PathBuf {
        self.folder.path().join("scenario.toml")
    }
}

fn device(number: usize, pids: &[u32]) -> Device {
    let clocks = Clocks {
        graphics: Some(2040),
        sm: Some(2040),
        memory: Some(6251),
        video: Some(1770),
    };
    let used = pids.len() as u64 * 512 * MIB;
    Device {
        uuid: format!("GPU-{number:08}-0000-0000-0000-000000000000"),
        name: "NVIDIA L4".to_owned(),
        pci_bus_id: format!("00000000:{:02X}:00.0", number + 1),
        minor_number: Some(number as u32),
        utilization: Some(Utilization {
            gpu: 45,
            memory: 12,
        }),
        encoder_utilization: Some(20),
        decoder_utilization: Some(0),
        memory: Some(Memory {
            total: 23_034 * MIB,
            used,
            free: 22_588 * MIB - used,
            reserved: 446 * MIB,
        }),
        temperature_celsius: Some(54),
        memory_temperature_celsius: Some(60),
        fan_speed: Some(30),
        power_milliwatts: Some(41_000),
        power_limit_milliwatts: Some(72_000),
        energy_millijoules: Some(900_000),
        energy_millijoules_per_second: 41_000.0,
        clocks_mhz: clocks,
        max_clocks_mhz: clocks,
        performance_state: Some(0),
        clocks_event_reasons: Some(4),
        violation_nanoseconds: Violations {
            power: Some(0),
            thermal: Some(0),
            sync_boost: Some(0),
            board_limit: Some(0),
            low_utilization: Some(0),
            reliability: Some(0),
            total_app_clocks: Some(0),
            total_base_clocks: Some(0),
        },
        ecc: Some(Ecc {
            enabled: true,
            volatile: ErrorCounts::default(),
            aggregate: ErrorCounts::default(),
        }),
        pcie_throughput: Some(PcieThroughput {
            transmitted: 2000,
            received: 3000,
        }),
        pcie_replays: Some(0),
        pcie_link: Some((4, 16)),
        virtualization_mode: Some(0),
        mig_enabled: Some(false),
        processes: pids.iter().map(|&pid| process(pid)).collect(),
        samples: pids.iter().enumerate().map(sample).collect(),
        encoder_sessions: pids
            .iter()
            .take(ENCODERS)
            .map(|&pid| encoder(pid))
            .collect(),
        capture_sessions: pids
            .iter()
            .take(CAPTURES)
            .map(|&pid| capture(pid))
            .collect(),
        ..Device::default()
    }
}

fn process(pid: u32) -> Process {
    Process {
        pid,
        memory_bytes: Some(512 * MIB),
        kinds: vec![Kind::Graphics, Kind::Compute],
        ..Process::default()
    }
}

fn sample((number, &pid): (usize, &u32)) -> Sample {
    Sample {
        pid,
        every_ms: 1000,
        sm: 5,
        memory: 1,
        encoder: if number < ENCODERS { 10 } else { 0 },
        ..Sample::default()
    }
}

fn encoder(pid: u32) -> EncoderSession {
    EncoderSession {
        id: pid,
        pid,
        width: 1920,
        height: 1080,
        fps: 60,
        latency_us: 4500,
        ..EncoderSession::default()
    }
}

fn capture(pid: u32) -> CaptureSession {
    CaptureSession {
        id: pid,
        pid,
        kind: 1,
        width: 1920,
        height: 1080,
        fps: 60,
        latency_us: 800,
        ..CaptureSession::default()
    }
}
