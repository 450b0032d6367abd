//! Events: registration, and the wait for the next one.

#![expect(unsafe_code, reason = "the C interface")]

use std::{
    ffi::{c_uint, c_ulonglong},
    ptr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nvml_wrapper_sys::bindings::{nvmlDevice_t, nvmlEventData_t, nvmlEventSet_t, nvmlReturn_t};

use super::{
    lists::NO_INSTANCE,
    output::{Out, put},
};
use crate::{
    Code,
    call::{Needs, enter, guarded, on_device, on_node},
    state::lock,
};

/// How often a wait looks for an event.
const TICK: Duration = Duration::from_millis(10);

#[unsafe(no_mangle)]
extern "C" fn nvmlEventSetCreate(set: Out<'_, nvmlEventSet_t>) -> nvmlReturn_t {
    on_node("nvmlEventSetCreate", Needs::Initialised, |state| {
        put(set, ptr::without_provenance_mut(state.event_sets.create()))
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlEventSetFree(set: nvmlEventSet_t) -> nvmlReturn_t {
    on_node("nvmlEventSetFree", Needs::Initialised, |state| {
        state.event_sets.free(set.addr())
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetSupportedEventTypes(
    device: nvmlDevice_t,
    kinds: Out<'_, c_ulonglong>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetSupportedEventTypes", device, |view| {
        put(kinds, view.whole()?.supported_events)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceRegisterEvents(
    device: nvmlDevice_t,
    kinds: c_ulonglong,
    set: nvmlEventSet_t,
) -> nvmlReturn_t {
    on_device("nvmlDeviceRegisterEvents", device, |view| {
        let gpu = view.whole()?;
        if kinds & !gpu.supported_events != 0 {
            return Err(Code::NOT_SUPPORTED);
        }
        let uuid = gpu.uuid.clone();
        view.state.event_sets.register(set.addr(), &uuid, kinds)
    })
}

/// The lock is free while this waits, as in the driver, and an event that the scenario gains meanwhile
/// is delivered.
#[unsafe(no_mangle)]
extern "C" fn nvmlEventSetWait_v2(
    set: nvmlEventSet_t,
    event: Out<'_, nvmlEventData_t>,
    timeout_ms: c_uint,
) -> nvmlReturn_t {
    guarded(|| {
        let begun = Instant::now();
        let timeout = Duration::from_millis(timeout_ms.into());
        let (mut state, _) = enter("nvmlEventSetWait_v2", None, Needs::Initialised)?;
        loop {
            let scenario = Arc::clone(&state.scenario);
            if let Some((uuid, found)) = state.event_sets.next(set.addr(), &scenario)? {
                let device = ptr::without_provenance_mut(state.handle(&uuid));
                return put(
                    event,
                    nvmlEventData_t {
                        device,
                        eventType: found.kind,
                        eventData: found.value,
                        gpuInstanceId: found.gpu_instance.unwrap_or(NO_INSTANCE),
                        computeInstanceId: found.compute_instance.unwrap_or(NO_INSTANCE),
                    },
                );
            }
            let left = timeout
                .checked_sub(begun.elapsed())
                .filter(|left| !left.is_zero());
            let left = left.ok_or(Code::TIMEOUT)?;
            drop(state);
            thread::sleep(left.min(TICK));
            state = lock();
            state.refresh();
            if state.initialised == 0 {
                return Err(Code::UNINITIALIZED);
            }
        }
    })
}

const _: () = assert!(size_of::<nvmlEventData_t>() == 32);
