//! Event sets: which devices each listens to, and what it was told already.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Code, Scenario, scenario::Event};

/// One event set.
#[derive(Default)]
struct EventSet {
    /// Kinds of events by UUID of the device.
    registered: BTreeMap<String, u64>,
    /// UUID and sequence number.
    delivered: BTreeSet<(String, u64)>,
}

/// The event sets of this driver by their handles.
pub(crate) struct EventSets {
    sets: BTreeMap<usize, EventSet>,
    last: usize,
}

impl EventSets {
    pub(crate) const fn new() -> Self {
        Self {
            sets: BTreeMap::new(),
            last: 0,
        }
    }

    pub(crate) fn create(&mut self) -> usize {
        self.last += 1;
        self.sets.insert(self.last, EventSet::default());
        self.last
    }

    pub(crate) fn free(&mut self, set: usize) -> Result<(), Code> {
        self.sets
            .remove(&set)
            .map(|_| ())
            .ok_or(Code::INVALID_ARGUMENT)
    }

    pub(crate) fn register(&mut self, set: usize, uuid: &str, kinds: u64) -> Result<(), Code> {
        let set = self.sets.get_mut(&set).ok_or(Code::INVALID_ARGUMENT)?;
        *set.registered.entry(uuid.to_owned()).or_default() |= kinds;
        Ok(())
    }

    /// The next event that the set has not been told, with the UUID of its device.
    pub(crate) fn next(
        &mut self,
        set: usize,
        scenario: &Scenario,
    ) -> Result<Option<(String, Event)>, Code> {
        let set = self.sets.get_mut(&set).ok_or(Code::INVALID_ARGUMENT)?;
        for device in &scenario.devices {
            let Some(kinds) = set.registered.get(&device.uuid) else {
                continue;
            };
            for event in device.events.iter().filter(|event| event.kind & kinds != 0) {
                if set.delivered.insert((device.uuid.clone(), event.sequence)) {
                    return Ok(Some((device.uuid.clone(), event.clone())));
                }
            }
        }
        Ok(None)
    }
}
