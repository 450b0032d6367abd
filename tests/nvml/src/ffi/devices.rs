//! Enumeration: how a caller comes by the handles of GPUs.

#![expect(unsafe_code, reason = "the C interface")]

use std::{
    ffi::{CStr, c_char, c_uint},
    ptr,
};

use nvml_wrapper_sys::bindings::{nvmlDevice_t, nvmlReturn_t};

use super::output::{Out, put};
use crate::{
    Code,
    call::{Needs, on_node},
    handles::Place,
    state::State,
};

/// Hands out the handle of a device that was looked for, unless that device refuses the call.
fn put_found(
    state: &mut State,
    function: &str,
    uuid: &str,
    device: Out<'_, nvmlDevice_t>,
) -> Result<(), Code> {
    let place = Place::find(&state.scenario, uuid).ok_or(Code::NOT_FOUND)?;
    if let Some(code) = state.refusal(function, Some(place)) {
        return Err(code);
    }
    put_handle(state, uuid, device)
}

/// Hands out the handle of a device, given by its UUID.
pub(super) fn put_handle(
    state: &mut State,
    uuid: &str,
    device: Out<'_, nvmlDevice_t>,
) -> Result<(), Code> {
    put(device, ptr::without_provenance_mut(state.handle(uuid)))
}

/// A text of the caller's.
///
/// # Safety
///
/// `text` is null or a C string that lives as long as the result.
unsafe fn text<'a>(text: *const c_char) -> Result<&'a str, Code> {
    if text.is_null() {
        return Err(Code::INVALID_ARGUMENT);
    }
    // SAFETY: the same promise.
    unsafe { CStr::from_ptr(text) }
        .to_str()
        .map_err(|_| Code::INVALID_ARGUMENT)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetCount_v2(count: Out<'_, c_uint>) -> nvmlReturn_t {
    on_node("nvmlDeviceGetCount_v2", Needs::Initialised, |state| {
        put(count, state.scenario.devices.len() as c_uint)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetHandleByIndex_v2(
    index: c_uint,
    device: Out<'_, nvmlDevice_t>,
) -> nvmlReturn_t {
    on_node(
        "nvmlDeviceGetHandleByIndex_v2",
        Needs::Initialised,
        |state| {
            let found = state.scenario.devices.get(index as usize);
            let uuid = found.ok_or(Code::INVALID_ARGUMENT)?.uuid.clone();
            put_found(state, "nvmlDeviceGetHandleByIndex_v2", &uuid, device)
        },
    )
}

/// # Safety
///
/// `uuid` is null or a C string.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByUUID(
    uuid: *const c_char,
    device: Out<'_, nvmlDevice_t>,
) -> nvmlReturn_t {
    on_node("nvmlDeviceGetHandleByUUID", Needs::Initialised, |state| {
        // SAFETY: the same promise.
        let uuid = unsafe { text(uuid) }?;
        put_found(state, "nvmlDeviceGetHandleByUUID", uuid, device)
    })
}

/// # Safety
///
/// `bus_id` is null or a C string.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByPciBusId_v2(
    bus_id: *const c_char,
    device: Out<'_, nvmlDevice_t>,
) -> nvmlReturn_t {
    on_node(
        "nvmlDeviceGetHandleByPciBusId_v2",
        Needs::Initialised,
        |state| {
            // SAFETY: the same promise.
            let bus_id = unsafe { text(bus_id) }?.to_ascii_lowercase();
            // The kernel writes the domain with four digits, the driver with eight.
            let same = |own: &str| {
                own.to_ascii_lowercase()
                    .trim_start_matches('0')
                    .ends_with(bus_id.trim_start_matches('0'))
            };
            let found = state
                .scenario
                .devices
                .iter()
                .find(|device| same(&device.pci_bus_id));
            let uuid = found.ok_or(Code::NOT_FOUND)?.uuid.clone();
            put_found(state, "nvmlDeviceGetHandleByPciBusId_v2", &uuid, device)
        },
    )
}
