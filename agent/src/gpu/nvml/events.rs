//! Xid errors, as the driver's events.

use std::ptr::null_mut;

use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper_sys::bindings::{nvmlDevice_t, nvmlEventData_t, nvmlEventSet_t};

use super::{Driver, Handle, SUCCESS, zeroed};

/// `nvmlEventTypeXidCriticalError` (nvml.h).
const XID_EVENT: u64 = 8;

/// Xid errors of devices, as the driver's events.
pub(in crate::gpu) struct XidEvents<'d> {
    driver: &'d Driver<'d>,
    set: nvmlEventSet_t,
    devices: Vec<(nvmlDevice_t, u32)>,
}

impl<'d> XidEvents<'d> {
    /// Registers the devices that have such events, with their positions.
    pub(in crate::gpu) fn register<'h>(
        driver: &'d Driver<'d>,
        devices: impl Iterator<Item = (&'h Handle<'d>, u32)>,
    ) -> Result<Self, NvmlError>
    where
        'd: 'h,
    {
        let library = driver.nvml.lib();
        let create = nvml_sym(library.nvmlEventSetCreate.as_ref())?;
        let mut set: nvmlEventSet_t = null_mut();
        let created = driver.log.record("nvmlEventSetCreate", || {
            // SAFETY: the function writes one handle.
            unsafe { create(&raw mut set) }
        });
        nvml_try(created)?;
        let mut events = Self {
            driver,
            set,
            devices: Vec::new(),
        };
        for (handle, index) in devices {
            let registered = handle.ask("nvmlDeviceRegisterEvents", |_| {
                let register = nvml_sym(library.nvmlDeviceRegisterEvents.as_ref())?;
                // SAFETY: device and set are of this library.
                nvml_try(unsafe { register(handle.raw(), XID_EVENT, set) })
            });
            if let Ok(Some(())) = registered {
                events.devices.push((handle.raw(), index));
            }
        }
        Ok(events)
    }

    /// The next event that is there already: position of the device, and number of the error.
    pub(in crate::gpu) fn next(&self) -> Option<(u32, u32)> {
        // Without a device the call would return at once anyway, with an error.
        if self.devices.is_empty() {
            return None;
        }
        let wait = self.driver.nvml.lib().nvmlEventSetWait_v2.as_ref().ok()?;
        let mut event: nvmlEventData_t = zeroed();
        let returned = self.driver.log.record("nvmlEventSetWait_v2", || {
            // SAFETY: the set is of this library; the function writes one structure.
            unsafe { wait(self.set, &raw mut event, 0) }
        });
        if returned != SUCCESS || event.eventType != XID_EVENT {
            return None;
        }
        let of = |(raw, _): &&(nvmlDevice_t, u32)| *raw == event.device;
        let (_, index) = self.devices.iter().find(of)?;
        Some((*index, event.eventData as u32))
    }
}

impl Drop for XidEvents<'_> {
    fn drop(&mut self) {
        if let Ok(free) = &self.driver.nvml.lib().nvmlEventSetFree {
            // SAFETY: the set was made by this library and is not used again.
            let _freed = unsafe { free(self.set) };
        }
    }
}
