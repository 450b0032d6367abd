//! GPUs of a scenario: the agent loads a library in the driver's place that answers from a file, and the
//! test rewrites the file while it runs (`tests/nvml/README.md`).
//!
//! A process of the scenario must be a real one, so that it has a cgroup: [`Workload`]s that are ready
//! and not let go are enough.
//!
//! [`Workload`]: crate::workload::Workload

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

pub use nvml_scenario::{
    Code, Scenario,
    library::{MISSING_IN_470, MISSING_IN_535_86},
    scenario::{
        CaptureSession, Clocks, Device, Ecc, EncoderSession, ErrorCounts, Event, Fault, Kind,
        Memory, MigDevice, PcieThroughput, Process, RemappedRows, Sample, TemperatureLimits,
        Utilization, Violations,
    },
};
use tempfile::TempDir;

use crate::agent::{Agent, Configuration};

/// A gibibyte.
pub const GIB: u64 = 1 << 30;

/// A driver with its GPUs, before and while an agent asks it.
#[derive(Debug)]
pub struct Gpus {
    folder: TempDir,
    library: PathBuf,
    scenario: Scenario,
}

impl Gpus {
    /// A driver with these GPUs.
    pub fn new(devices: Vec<Device>) -> Self {
        Self::without(&[], devices)
    }

    /// The same, whose library does not have some functions, as an old one ([`MISSING_IN_470`]).
    pub fn without(functions: &[&str], devices: Vec<Device>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let library = nvml_scenario::library::install(folder.path(), functions);
        let scenario = Scenario {
            devices,
            ..Scenario::default()
        };
        let gpus = Self {
            library: library.expect("the library was built with the tests"),
            folder,
            scenario,
        };
        gpus.write();
        gpus
    }

    /// A driver from 535.43.02 to 535.86, whose version 3 of the process lists has entries of 32 bytes.
    pub fn of_535_86(devices: Vec<Device>) -> Self {
        let mut gpus = Self::without(MISSING_IN_535_86, devices);
        gpus.change(|scenario| {
            "535.54.03".clone_into(&mut scenario.driver_version);
            scenario.version_3_has_protected_memory = true;
        });
        gpus
    }

    /// Starts an agent that takes this driver for the node's.
    pub fn start(&self, configuration: &Configuration) -> Agent {
        let configuration = self.configure(configuration.clone());
        Agent::start_with(&configuration, &self.environment())
    }

    /// The keys that [`Gpus::start`] adds: where the library is, and to list processes and read health each
    /// second, so that tests need not wait long. What the configuration has already stays.
    pub fn configure(&self, configuration: Configuration) -> Configuration {
        let library = self.library.display();
        let configuration = configuration.set("gpu.library", &format!("'{library}'"));
        ["gpu.processes", "gpu.health"]
            .into_iter()
            .fold(configuration, |configuration, key| {
                configuration.set_default(key, "\"1s\"")
            })
    }

    /// Environment variables of a process that loads the library.
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [
            (nvml_scenario::SCENARIO, self.scenario_file()),
            (nvml_scenario::CALLS, self.calls_file()),
        ]
    }

    /// What the driver answers now.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Changes what it answers, from its next call on.
    pub fn change(&mut self, change: impl FnOnce(&mut Scenario)) {
        change(&mut self.scenario);
        self.write();
    }

    /// Lets these things go wrong, and nothing else.
    pub fn fail(&mut self, faults: &[Fault]) {
        self.change(|scenario| scenario.faults = faults.to_vec());
    }

    /// How often each function has been called, up to a second ago.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        nvml_scenario::calls::read(&self.calls_file()).unwrap_or_default()
    }

    /// Where the library is.
    pub fn library(&self) -> &Path {
        &self.library
    }

    fn scenario_file(&self) -> PathBuf {
        self.folder.path().join("scenario.toml")
    }

    fn calls_file(&self) -> PathBuf {
        self.folder.path().join("calls")
    }

    fn write(&self) {
        let file = self.scenario_file();
        let written = self.scenario.write(&file);
        written.unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
    }
}

/// A GPU at a position, with a reading of everything that a server board has. Nothing runs on it.
pub fn device(index: u32) -> Device {
    Device {
        uuid: uuid(index),
        name: "NVIDIA L4".to_owned(),
        pci_bus_id: format!("00000000:{:02X}:00.0", 0x3b + index),
        minor_number: Some(index),
        architecture: Some(8),
        utilization: Some(Utilization { gpu: 0, memory: 0 }),
        encoder_utilization: Some(0),
        decoder_utilization: Some(0),
        encoder_capacity: Some(100),
        memory: Some(memory(GIB)),
        temperature_celsius: Some(54),
        power_milliwatts: Some(41_000),
        power_limit_milliwatts: Some(72_000),
        energy_millijoules: Some(900_000),
        energy_millijoules_per_second: 41_000.0,
        clocks_mhz: clocks(2040),
        max_clocks_mhz: clocks(2040),
        performance_state: Some(0),
        clocks_event_reasons: Some(0),
        violation_nanoseconds: Violations {
            power: Some(0),
            thermal: Some(0),
            ..Violations::default()
        },
        ecc: Some(Ecc {
            enabled: true,
            ..Ecc::default()
        }),
        remapped_rows: Some(RemappedRows::default()),
        recovery_action: Some(0),
        temperature_limits_celsius: TemperatureLimits {
            shutdown: Some(98),
            slowdown: Some(95),
            gpu_max: Some(83),
            ..TemperatureLimits::default()
        },
        pcie_throughput: Some(PcieThroughput::default()),
        pcie_replays: Some(0),
        virtualization_mode: Some(0),
        ..Device::default()
    }
}

/// The UUID of [`device`].
pub fn uuid(index: u32) -> String {
    format!("GPU-11111111-1111-1111-1111-{index:012}")
}

/// The frame buffer of a GPU with 24 GiB, half a gibibyte of them reserved.
pub fn memory(used: u64) -> Memory {
    let (total, reserved) = (24 * GIB, GIB / 2);
    Memory {
        total,
        used,
        free: total - reserved - used,
        reserved,
    }
}

fn clocks(mhz: u32) -> Clocks {
    Clocks {
        graphics: Some(mhz),
        sm: Some(mhz),
        memory: Some(6251),
        video: Some(mhz),
    }
}

/// A process that computes.
pub fn compute(pid: u32, memory_bytes: u64) -> Process {
    Process {
        pid,
        memory_bytes: Some(memory_bytes),
        kinds: vec![Kind::Compute],
        ..Process::default()
    }
}

/// A sample of a process at every whole second, `sm` percent of the multiprocessors.
pub fn busy(pid: u32, sm: u32) -> Sample {
    Sample {
        pid,
        every_ms: 1000,
        sm,
        ..Sample::default()
    }
}

/// A function that returns an error; without a device, on all.
pub fn refusal(function: &str, device: Option<u32>, code: Code) -> Fault {
    Fault {
        function: function.to_owned(),
        device: device.map(uuid),
        returns: Some(code),
        ..Fault::default()
    }
}

/// A function that takes this long, unless the scenario is changed before.
pub fn hang(function: &str, seconds: f64) -> Fault {
    Fault {
        function: function.to_owned(),
        hang_seconds: seconds,
        ..Fault::default()
    }
}
