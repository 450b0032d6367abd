//! The lists of running processes, in the four layouts that they have had.

#![expect(unsafe_code, reason = "the C interface")]

use std::ffi::{c_uint, c_void};

use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlProcessDetail_v1_t, nvmlProcessDetailList_t, nvmlProcessInfo_t,
    nvmlProcessInfo_v1_t, nvmlProcessInfo_v2_t, nvmlReturn_t,
};

use super::output::{Count, Sizing, put_list};
use crate::{
    Code,
    call::{View, on_device},
    scenario::{Kind, Process},
};

/// `NVML_VALUE_NOT_AVAILABLE` of a process's memory.
const MEMORY_NOT_AVAILABLE: u64 = u64::MAX;

/// What the instance ids are without MIG.
pub(super) const NO_INSTANCE: u32 = u32::MAX;

/// The processes of the device or MIG device that are in a list.
fn running<'a>(view: &'a View<'_>, kind: Kind) -> impl Iterator<Item = &'a Process> {
    let mig = view
        .mig()
        .map(|mig| (Some(mig.gpu_instance), Some(mig.compute_instance)));
    view.gpu().processes.iter().filter(move |process| {
        let place = (process.gpu_instance, process.compute_instance);
        process.kinds.contains(&kind) && mig.is_none_or(|mig| mig == place)
    })
}

fn version_1(process: &Process) -> nvmlProcessInfo_v1_t {
    nvmlProcessInfo_v1_t {
        pid: process.pid,
        usedGpuMemory: process.memory_bytes.unwrap_or(MEMORY_NOT_AVAILABLE),
    }
}

/// Also version 3, which has the same layout in all drivers but those from 535.43.02 to 535.86.
fn version_2(process: &Process) -> nvmlProcessInfo_v2_t {
    nvmlProcessInfo_v2_t {
        pid: process.pid,
        usedGpuMemory: process.memory_bytes.unwrap_or(MEMORY_NOT_AVAILABLE),
        gpuInstanceId: process.gpu_instance.unwrap_or(NO_INSTANCE),
        computeInstanceId: process.compute_instance.unwrap_or(NO_INSTANCE),
    }
}

/// Version 3 of the drivers from 535.43.02 to 535.86 (`nvmlProcessInfo_t` of nvidia-nvml-dev 12.2.81), and an
/// entry of the list that has taken its place since.
fn detail(process: &Process) -> nvmlProcessDetail_v1_t {
    nvmlProcessDetail_v1_t {
        pid: process.pid,
        usedGpuMemory: process.memory_bytes.unwrap_or(MEMORY_NOT_AVAILABLE),
        gpuInstanceId: process.gpu_instance.unwrap_or(NO_INSTANCE),
        computeInstanceId: process.compute_instance.unwrap_or(NO_INSTANCE),
        usedGpuCcProtectedMemory: 0,
    }
}

/// Hands out a list.
///
/// # Safety
///
/// `infos` is null or good for `count` writes.
unsafe fn put_running<T: Copy>(
    view: &mut View<'_>,
    kind: Kind,
    layout: impl Fn(&Process) -> T,
    count: Count<'_>,
    infos: *mut T,
) -> Result<(), Code> {
    let entries: Vec<T> = running(view, kind).map(layout).collect();
    let growth = view.growth(count.as_ref().is_some_and(|count| **count > 0));
    // SAFETY: the same promise.
    unsafe { put_list(&entries, growth, Sizing::Insufficient, count, infos) }
}

macro_rules! lists {
    ($($name:ident: $type:ty = $kind:ident, $layout:ident;)*) => {$(
        /// # Safety
        ///
        /// `infos` is null or good for `count` writes.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(
            device: nvmlDevice_t,
            count: Count<'_>,
            infos: *mut $type,
        ) -> nvmlReturn_t {
            on_device(stringify!($name), device, |view| {
                // SAFETY: the same promise.
                unsafe { put_running(view, Kind::$kind, $layout, count, infos) }
            })
        }
    )*};
}

lists! {
    nvmlDeviceGetComputeRunningProcesses: nvmlProcessInfo_v1_t = Compute, version_1;
    nvmlDeviceGetComputeRunningProcesses_v2: nvmlProcessInfo_v2_t = Compute, version_2;
    nvmlDeviceGetGraphicsRunningProcesses: nvmlProcessInfo_v1_t = Graphics, version_1;
    nvmlDeviceGetGraphicsRunningProcesses_v2: nvmlProcessInfo_v2_t = Graphics, version_2;
    nvmlDeviceGetMPSComputeRunningProcesses: nvmlProcessInfo_v1_t = Mps, version_1;
    nvmlDeviceGetMPSComputeRunningProcesses_v2: nvmlProcessInfo_v2_t = Mps, version_2;
}

macro_rules! version_3_lists {
    ($($name:ident = $kind:ident;)*) => {$(
        /// # Safety
        ///
        /// `infos` is null or good for `count` writes of what the scenario's driver takes for an entry.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(
            device: nvmlDevice_t,
            count: Count<'_>,
            infos: *mut c_void,
        ) -> nvmlReturn_t {
            on_device(stringify!($name), device, |view| {
                if view.scenario.version_3_has_protected_memory {
                    let infos = infos.cast::<nvmlProcessDetail_v1_t>();
                    // SAFETY: the same promise, which a caller with another header cannot keep.
                    unsafe { put_running(view, Kind::$kind, detail, count, infos) }
                } else {
                    let infos = infos.cast::<nvmlProcessInfo_t>();
                    // SAFETY: the same promise.
                    unsafe { put_running(view, Kind::$kind, version_2, count, infos) }
                }
            })
        }
    )*};
}

version_3_lists! {
    nvmlDeviceGetComputeRunningProcesses_v3 = Compute;
    nvmlDeviceGetGraphicsRunningProcesses_v3 = Graphics;
    nvmlDeviceGetMPSComputeRunningProcesses_v3 = Mps;
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetRunningProcessDetailList(
    device: nvmlDevice_t,
    request: Option<&mut nvmlProcessDetailList_t>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetRunningProcessDetailList", device, |view| {
        let request = request.ok_or(Code::INVALID_ARGUMENT)?;
        if request.version != size_of::<nvmlProcessDetailList_t>() as c_uint | 1 << 24 {
            return Err(Code::ARGUMENT_VERSION_MISMATCH);
        }
        // `mode` of nvml.h.
        let kind = match request.mode {
            0 => Kind::Compute,
            1 => Kind::Graphics,
            2 => Kind::Mps,
            _ => return Err(Code::INVALID_ARGUMENT),
        };
        let count = Some(&mut request.numProcArrayEntries);
        // SAFETY: the array is good for as many writes as the request says.
        unsafe { put_running(view, kind, detail, count, request.procArray) }
    })
}

const _: () = assert!(size_of::<nvmlProcessDetail_v1_t>() == 32);
const _: () = assert!(size_of::<nvmlProcessInfo_t>() == 24);
const _: () = assert!(size_of::<nvmlProcessInfo_v1_t>() == 16);
const _: () = assert!(size_of::<nvmlProcessInfo_v2_t>() == 24);
