//! A node of one test: a scenario file that the test changes, and a copy of the library that reads it.
//!
//! The tests of a file share one process and so its environment; each tells its own copy of the library
//! where the scenario is.

#![expect(unsafe_code, reason = "hands the library a path")]
#![allow(dead_code, reason = "each file of tests uses a part")]

use std::{
    ffi::{CString, c_char, c_uint},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
};

use nvml_scenario::{
    Scenario, library,
    scenario::{Device, Fault, Kind, Process},
};
use nvml_wrapper::{Nvml, error::NvmlError};
use tempfile::TempDir;

/// UUID of the first device.
pub(crate) const FIRST: &str = "GPU-11111111-1111-1111-1111-111111111111";
/// UUID of the second device.
pub(crate) const SECOND: &str = "GPU-22222222-2222-2222-2222-222222222222";

/// See the module.
pub(crate) struct Node {
    folder: TempDir,
    pub(crate) library: PathBuf,
    pub(crate) scenario: Scenario,
    /// Keeps the copy of the library, and so its state, between two initialisations.
    loaded: libloading::Library,
}

impl Node {
    pub(crate) fn new(scenario: Scenario) -> Self {
        Self::without(scenario, &[])
    }

    /// A node whose driver lacks some functions.
    pub(crate) fn without(scenario: Scenario, missing: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = library::install(folder.path(), missing).unwrap();
        let path = folder.path().join("scenario.toml");
        scenario.write(&path).unwrap();
        let path = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: the symbol has this signature, and the path is a C string.
        let loaded = unsafe {
            let loaded = libloading::Library::new(&library).unwrap();
            let set: libloading::Symbol<'_, unsafe extern "C" fn(*const c_char) -> c_uint> =
                loaded.get(b"sessionscopeNvmlScenario").unwrap();
            assert_eq!(set(path.as_ptr()), 0);
            loaded
        };
        Self {
            folder,
            library,
            scenario,
            loaded,
        }
    }

    pub(crate) fn init(&self) -> Result<Nvml, NvmlError> {
        Nvml::builder().lib_path(self.library.as_os_str()).init()
    }

    /// Whether the loader finds a symbol.
    pub(crate) fn resolves(&self, symbol: &str) -> bool {
        // SAFETY: the symbol is not used.
        unsafe { self.loaded.get::<unsafe extern "C" fn()>(symbol.as_bytes()) }.is_ok()
    }

    pub(crate) fn scenario_path(&self) -> PathBuf {
        self.folder.path().join("scenario.toml")
    }

    /// Changes the scenario while the library is in use.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Scenario)) {
        change(&mut self.scenario);
        self.scenario.write(&self.scenario_path()).unwrap();
    }

    /// Has this go wrong, and nothing else.
    pub(crate) fn fail(&mut self, fault: Fault) {
        self.change(|scenario| scenario.faults = vec![fault]);
    }
}

/// A node's worth of two devices.
pub(crate) fn two_devices() -> Scenario {
    let device = |uuid: &str, bus: &str| Device {
        uuid: uuid.to_owned(),
        pci_bus_id: bus.to_owned(),
        ..Device::default()
    };
    Scenario {
        devices: vec![
            device(FIRST, "00000000:3B:00.0"),
            device(SECOND, "00000000:AF:00.0"),
        ],
        ..Scenario::default()
    }
}

pub(crate) fn computing(pid: u32) -> Process {
    Process {
        pid,
        memory_bytes: Some(u64::from(pid) << 20),
        kinds: vec![Kind::Compute],
        ..Process::default()
    }
}
