//! Error correction, violation times, and the field values that repeat some readings.

#![expect(unsafe_code, reason = "the C interface")]

use std::{
    ffi::{c_int, c_uint, c_ulonglong},
    slice,
};

use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlEccCounterType_t, nvmlEnableState_t, nvmlFieldValue_t, nvmlMemoryErrorType_t,
    nvmlMemoryLocation_t, nvmlPerfPolicyType_t, nvmlReturn_t, nvmlValue_t, nvmlViolationTime_t,
};

use super::{
    output::{Out, put, supported},
    readings::energy,
};
use crate::{
    Code,
    call::{View, on_device},
    scenario::Device,
    source::now_us,
};

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetEccMode(
    device: nvmlDevice_t,
    current: Out<'_, nvmlEnableState_t>,
    pending: Out<'_, nvmlEnableState_t>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetEccMode", device, |view| {
        let enabled = u32::from(supported(view.whole()?.ecc)?.enabled);
        put(current, enabled)?;
        put(pending, enabled)
    })
}

fn errors(
    device: &Device,
    kind: nvmlMemoryErrorType_t,
    counter: nvmlEccCounterType_t,
) -> Result<u64, Code> {
    let ecc = supported(device.ecc.filter(|ecc| ecc.enabled))?;
    let counts = match counter {
        0 => ecc.volatile,
        1 => ecc.aggregate,
        _ => return Err(Code::INVALID_ARGUMENT),
    };
    match kind {
        0 => Ok(counts.corrected),
        1 => Ok(counts.uncorrected),
        _ => Err(Code::INVALID_ARGUMENT),
    }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetTotalEccErrors(
    device: nvmlDevice_t,
    kind: nvmlMemoryErrorType_t,
    counter: nvmlEccCounterType_t,
    count: Out<'_, c_ulonglong>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetTotalEccErrors", device, |view| {
        put(count, errors(view.whole()?, kind, counter)?)
    })
}

/// All errors are of the device's memory, location 2.
#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMemoryErrorCounter(
    device: nvmlDevice_t,
    kind: nvmlMemoryErrorType_t,
    counter: nvmlEccCounterType_t,
    location: nvmlMemoryLocation_t,
    count: Out<'_, c_ulonglong>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetMemoryErrorCounter", device, |view| {
        let errors = errors(view.whole()?, kind, counter)?;
        put(count, if location == 2 { errors } else { 0 })
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetRemappedRows(
    device: nvmlDevice_t,
    corrected: Out<'_, c_uint>,
    uncorrected: Out<'_, c_uint>,
    pending: Out<'_, c_uint>,
    failed: Out<'_, c_uint>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetRemappedRows", device, |view| {
        let rows = supported(view.whole()?.remapped_rows)?;
        put(corrected, rows.corrected)?;
        put(uncorrected, rows.uncorrected)?;
        put(pending, rows.pending.into())?;
        put(failed, rows.failed.into())
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetViolationStatus(
    device: nvmlDevice_t,
    policy: nvmlPerfPolicyType_t,
    time: Out<'_, nvmlViolationTime_t>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetViolationStatus", device, |view| {
        let violations = view.whole()?.violation_nanoseconds;
        let nanoseconds = supported(match policy {
            0 => violations.power,
            1 => violations.thermal,
            2 => violations.sync_boost,
            3 => violations.board_limit,
            4 => violations.low_utilization,
            5 => violations.reliability,
            10 => violations.total_app_clocks,
            11 => violations.total_base_clocks,
            _ => return Err(Code::INVALID_ARGUMENT),
        })?;
        put(
            time,
            nvmlViolationTime_t {
                referenceTime: now_us(),
                violationTime: nanoseconds,
            },
        )
    })
}

/// A field by its id.
fn value(view: &mut View<'_>, field: c_uint) -> Result<u64, Code> {
    let device = view.whole()?;
    match field {
        3 => errors(device, 0, 0),
        4 => errors(device, 1, 0),
        5 => errors(device, 0, 1),
        6 => errors(device, 1, 1),
        82 => supported(device.memory_temperature_celsius.map(u64::from)),
        83 => supported(energy(view)),
        94 => supported(device.pcie_replays.map(u64::from)),
        230 => supported(device.recovery_action.map(u64::from)),
        185 | 186 => supported(device.power_milliwatts.map(u64::from)),
        _ => Err(Code::NOT_SUPPORTED),
    }
}

/// # Safety
///
/// `values` is null or good for `count` reads and writes.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetFieldValues(
    device: nvmlDevice_t,
    count: c_int,
    values: *mut nvmlFieldValue_t,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetFieldValues", device, |view| {
        if values.is_null() || count <= 0 {
            return Err(Code::INVALID_ARGUMENT);
        }
        // SAFETY: the same promise, and neither null nor negative.
        let values = unsafe { slice::from_raw_parts_mut(values, count as usize) };
        for field in values {
            let answer = value(view, field.fieldId);
            field.timestamp = now_us() as i64;
            field.latencyUsec = 0;
            // NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
            field.valueType = 3;
            field.nvmlReturn = answer.err().unwrap_or(Code::SUCCESS).0;
            field.value = nvmlValue_t {
                ullVal: answer.unwrap_or(0),
            };
        }
        Ok(())
    })
}
