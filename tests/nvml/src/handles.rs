//! Handles: what an `nvmlDevice_t` stands for, and for how long.

use crate::{Code, Scenario};

/// What a handle was given out for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Handle {
    generation: u64,
    uuid: String,
}

/// Every handle ever given out; the value of one is its place, counted from 1.
pub(crate) struct Handles(Vec<Handle>);

/// Where in the scenario a handle's device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index of the GPU.
    pub(crate) device: usize,
    /// Position of the MIG device in its list, if the handle is one's.
    pub(crate) mig: Option<usize>,
}

impl Place {
    /// The UUIDs that a fault can name this place by.
    pub(crate) fn uuids(self, scenario: &Scenario) -> Vec<&str> {
        let device = &scenario.devices[self.device];
        let mig = self
            .mig
            .map(|position| device.mig_devices[position].uuid.as_str());
        [device.uuid.as_str()].into_iter().chain(mig).collect()
    }

    /// Looks a UUID up.
    pub(crate) fn find(scenario: &Scenario, uuid: &str) -> Option<Self> {
        scenario
            .devices
            .iter()
            .enumerate()
            .find_map(|(device, candidate)| {
                if candidate.uuid == uuid {
                    return Some(Self { device, mig: None });
                }
                let position = candidate
                    .mig_devices
                    .iter()
                    .position(|mig| mig.uuid == uuid)?;
                Some(Self {
                    device,
                    mig: Some(position),
                })
            })
    }
}

impl Handles {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The handle of a device, the same one each time.
    pub(crate) fn give(&mut self, generation: u64, uuid: &str) -> usize {
        let handle = Handle {
            generation,
            uuid: uuid.to_owned(),
        };
        if let Some(position) = self.0.iter().position(|known| *known == handle) {
            return position + 1;
        }
        self.0.push(handle);
        self.0.len()
    }

    /// What a handle stands for now. One from before the driver was loaded again is `UNINITIALIZED`;
    /// one of a device that is no longer there is `GPU_IS_LOST`.
    pub(crate) fn find(
        &self,
        generation: u64,
        handle: usize,
        scenario: &Scenario,
    ) -> Result<Place, Code> {
        let position = handle.checked_sub(1).ok_or(Code::INVALID_ARGUMENT)?;
        let handle = self.0.get(position).ok_or(Code::INVALID_ARGUMENT)?;
        if handle.generation != generation {
            return Err(Code::UNINITIALIZED);
        }
        Place::find(scenario, &handle.uuid).ok_or(Code::GPU_IS_LOST)
    }
}
