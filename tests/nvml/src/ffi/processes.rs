//! Utilisation samples of processes, in both of the calls that hand them out.

#![expect(unsafe_code, reason = "the C interface")]

use std::ffi::{c_uint, c_ulonglong};

use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlProcessUtilizationInfo_v1_t, nvmlProcessUtilizationSample_t,
    nvmlProcessesUtilizationInfo_t, nvmlReturn_t,
};

use super::output::{Count, Sizing, put_list};
use crate::{
    Code,
    call::{View, on_device},
    history::Taken,
};

/// Newer samples; that there are none is `NOT_FOUND`, which is what an idle device says.
fn newer(view: &mut View<'_>, last_seen_us: u64) -> Result<Vec<Taken>, Code> {
    let newest_only = view.undivided()?.newest_sample_only;
    let history = view
        .state
        .history(view.place.device)
        .ok_or(Code::NOT_FOUND)?;
    let samples = history.newer_than(last_seen_us, newest_only);
    if samples.is_empty() {
        Err(Code::NOT_FOUND)
    } else {
        Ok(samples)
    }
}

fn sample(taken: &Taken) -> nvmlProcessUtilizationSample_t {
    nvmlProcessUtilizationSample_t {
        pid: taken.sample.pid,
        timeStamp: taken.timestamp_us,
        smUtil: taken.sample.sm,
        memUtil: taken.sample.memory,
        encUtil: taken.sample.encoder,
        decUtil: taken.sample.decoder,
    }
}

fn info(taken: &Taken) -> nvmlProcessUtilizationInfo_v1_t {
    nvmlProcessUtilizationInfo_v1_t {
        timeStamp: taken.timestamp_us,
        pid: taken.sample.pid,
        smUtil: taken.sample.sm,
        memUtil: taken.sample.memory,
        encUtil: taken.sample.encoder,
        decUtil: taken.sample.decoder,
        jpgUtil: taken.sample.jpeg,
        ofaUtil: taken.sample.ofa,
    }
}

/// # Safety
///
/// `buffer` is null or good for `count` writes.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetProcessUtilization(
    device: nvmlDevice_t,
    buffer: *mut nvmlProcessUtilizationSample_t,
    count: Count<'_>,
    last_seen_us: c_ulonglong,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetProcessUtilization", device, |view| {
        let entries: Vec<_> = newer(view, last_seen_us)?.iter().map(sample).collect();
        // A null buffer asks for the size whatever the count says.
        let count = count.ok_or(Code::INVALID_ARGUMENT)?;
        if buffer.is_null() {
            *count = 0;
        }
        let growth = view.growth(*count > 0);
        // SAFETY: the same promise.
        unsafe { put_list(&entries, growth, Sizing::Insufficient, Some(count), buffer) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetProcessesUtilizationInfo(
    device: nvmlDevice_t,
    request: Option<&mut nvmlProcessesUtilizationInfo_t>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetProcessesUtilizationInfo", device, |view| {
        let request = request.ok_or(Code::INVALID_ARGUMENT)?;
        if request.version != size_of::<nvmlProcessesUtilizationInfo_t>() as c_uint | 1 << 24 {
            return Err(Code::ARGUMENT_VERSION_MISMATCH);
        }
        let entries: Vec<_> = newer(view, request.lastSeenTimeStamp)?
            .iter()
            .map(info)
            .collect();
        let buffer = request.procUtilArray;
        let count = &mut request.processSamplesCount;
        if buffer.is_null() {
            *count = 0;
        }
        let growth = view.growth(*count > 0);
        // SAFETY: the array is good for as many writes as the request says.
        unsafe { put_list(&entries, growth, Sizing::Insufficient, Some(count), buffer) }
    })
}

const _: () = assert!(size_of::<nvmlProcessUtilizationSample_t>() == 32);
const _: () = assert!(size_of::<nvmlProcessUtilizationInfo_v1_t>() == 40);
