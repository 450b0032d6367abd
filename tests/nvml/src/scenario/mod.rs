//! The scenario file: what the library answers. An absent key is a reading that the device does not
//! have (`NOT_SUPPORTED`); an absent list is an empty one; an unknown key is an error.

mod device;
mod fault;
mod mig;
mod process;
mod session;

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

pub use self::{
    device::{
        Clocks, Device, Ecc, ErrorCounts, Memory, PcieThroughput, RemappedRows, TemperatureLimits,
        Utilization, Violations,
    },
    fault::Fault,
    mig::{Attributes, MigDevice},
    process::{Kind, Process, Sample},
    session::{CaptureSession, EncoderSession, Event},
};

/// The whole node: a driver, its devices, and what is wrong with them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// What `nvmlSystemGetDriverVersion` says.
    pub driver_version: String,
    /// What `nvmlSystemGetNVMLVersion` says.
    pub nvml_version: String,
    /// 12040 is CUDA 12.4.
    pub cuda_version: i32,
    /// While false, `nvmlInit_v2` fails with `DRIVER_NOT_LOADED` and everything else with
    /// `UNINITIALIZED`, also after it is true again, until the next `nvmlInit_v2`.
    pub driver_loaded: bool,
    /// A change is a driver that was unloaded and loaded between two calls: every handle and every
    /// initialisation from before is void.
    pub driver_generation: u64,
    /// Whether entries of version 3 of the process lists have 32 bytes instead of 24, as in the drivers from
    /// 535.43.02 to 535.86. These lack [`crate::library::MISSING_IN_535_86`].
    pub version_3_has_protected_memory: bool,
    /// In the order of their indices.
    pub devices: Vec<Device>,
    /// Looked through in order; the first that applies decides.
    pub faults: Vec<Fault>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            driver_version: "550.163.01".to_owned(),
            nvml_version: "12.550.163.01".to_owned(),
            cuda_version: 12040,
            driver_loaded: true,
            driver_generation: 0,
            version_3_has_protected_memory: false,
            devices: Vec::new(),
            faults: Vec::new(),
        }
    }
}

impl Scenario {
    /// Reads the text of a scenario file.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Puts the scenario in the place of the file's contents, in one step for whoever reads it.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let beside = path.with_extension("new");
        fs::write(&beside, text)?;
        fs::rename(&beside, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Scenario {
        let readme = include_str!("../../README.md");
        let (_, rest) = readme.split_once("```toml\n").unwrap();
        Scenario::parse(rest.split_once("```").unwrap().0).unwrap()
    }

    #[test]
    fn the_example_of_the_readme_is_a_scenario() {
        let example = example();
        assert_eq!(example.devices.len(), 2);
        assert_eq!(example.faults[2].returns, Some(crate::Code::GPU_IS_LOST));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scenario.toml");
        example().write(&path).unwrap();
        assert_eq!(
            Scenario::parse(&fs::read_to_string(path).unwrap()).unwrap(),
            example()
        );
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        assert!(Scenario::parse("drivers = 1").is_err());
        assert!(Scenario::parse("[[faults]]\nreturns = \"ON_FIRE\"").is_err());
    }
}
