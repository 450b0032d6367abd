//! What goes wrong, and for whom.

use serde::{Deserialize, Serialize};

use crate::Code;

/// Something wrong with one function or all, on one device or all.
///
/// A function that is missing altogether, as in an old driver, is no fault of the scenario: the symbol
/// must not resolve, which [`crate::library::install`] sees to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// C symbol; empty or `*` is every one that takes a device if a device is given, otherwise every
    /// one but `nvmlInit_v2`, `nvmlInitWithFlags` and `nvmlShutdown`.
    pub function: String,
    /// UUID of a GPU (its MIG devices included) or of a MIG device; absent is all, and the functions
    /// without a device.
    pub device: Option<String>,
    /// The call returns this and does nothing.
    pub returns: Option<Code>,
    /// The call takes this long before it goes on, but ends at once when a change of the scenario
    /// takes the fault away.
    pub hang_seconds: f64,
    /// The list has grown by so many since the caller asked for its size: a call with a buffer gets
    /// `INSUFFICIENT_SIZE` and the new size. Goes with `times`, or the list never fits.
    pub grows_by: u32,
    /// How many calls it applies to, from the reading of the file on; absent is all.
    pub times: Option<u32>,
}

impl Fault {
    /// Whether it is about this function on this device, given by the UUIDs it answers to.
    pub(crate) fn applies(&self, function: &str, uuids: &[&str]) -> bool {
        let every = self.function.is_empty() || self.function == "*";
        let named = if every {
            self.device.is_some() || !is_life_cycle(function)
        } else {
            self.function == function
        };
        named
            && self
                .device
                .as_ref()
                .is_none_or(|device| uuids.contains(&device.as_str()))
    }
}

/// A scenario in which nothing works but can be initialised is wanted more often than the other one,
/// which can be had by name.
fn is_life_cycle(function: &str) -> bool {
    matches!(
        function,
        "nvmlInit_v2" | "nvmlInitWithFlags" | "nvmlInit" | "nvmlShutdown"
    )
}
