//! MIG: whether it is on, the handles of MIG devices, and what these are.

#![expect(unsafe_code, reason = "the C interface")]

use std::ffi::c_uint;

use nvml_wrapper_sys::bindings::{nvmlDevice_t, nvmlDeviceAttributes_t, nvmlReturn_t};

use super::{
    devices::put_handle,
    output::{Out, put, supported},
};
use crate::{Code, call::on_device};

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMigMode(
    device: nvmlDevice_t,
    current: Out<'_, c_uint>,
    pending: Out<'_, c_uint>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetMigMode", device, |view| {
        let enabled = c_uint::from(supported(view.whole()?.mig_enabled)?);
        put(current, enabled)?;
        put(pending, enabled)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMaxMigDeviceCount(
    device: nvmlDevice_t,
    count: Out<'_, c_uint>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetMaxMigDeviceCount", device, |view| {
        put(count, view.whole()?.max_mig_devices)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    device: nvmlDevice_t,
    index: c_uint,
    mig_device: Out<'_, nvmlDevice_t>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetMigDeviceHandleByIndex", device, |view| {
        let gpu = view.whole()?;
        if index >= gpu.max_mig_devices {
            return Err(Code::INVALID_ARGUMENT);
        }
        let found = gpu.mig_devices.iter().find(|mig| mig.index == index);
        let uuid = found
            .filter(|_| gpu.mig_enabled == Some(true))
            .ok_or(Code::NOT_FOUND)?;
        let uuid = uuid.uuid.clone();
        put_handle(view.state, &uuid, mig_device)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetDeviceHandleFromMigDeviceHandle(
    mig_device: nvmlDevice_t,
    device: Out<'_, nvmlDevice_t>,
) -> nvmlReturn_t {
    on_device(
        "nvmlDeviceGetDeviceHandleFromMigDeviceHandle",
        mig_device,
        |view| {
            view.mig().ok_or(Code::INVALID_ARGUMENT)?;
            let uuid = view.gpu().uuid.clone();
            put_handle(view.state, &uuid, device)
        },
    )
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceIsMigDeviceHandle(
    device: nvmlDevice_t,
    is_mig: Out<'_, c_uint>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceIsMigDeviceHandle", device, |view| {
        put(is_mig, c_uint::from(view.mig().is_some()))
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetGpuInstanceId(
    device: nvmlDevice_t,
    id: Out<'_, c_uint>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetGpuInstanceId", device, |view| {
        put(id, supported(view.mig())?.gpu_instance)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetComputeInstanceId(
    device: nvmlDevice_t,
    id: Out<'_, c_uint>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetComputeInstanceId", device, |view| {
        put(id, supported(view.mig())?.compute_instance)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetAttributes_v2(
    device: nvmlDevice_t,
    attributes: Out<'_, nvmlDeviceAttributes_t>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetAttributes_v2", device, |view| {
        let profile = supported(supported(view.mig())?.attributes)?;
        put(
            attributes,
            nvmlDeviceAttributes_t {
                multiprocessorCount: profile.multiprocessors,
                sharedCopyEngineCount: profile.copy_engines,
                sharedDecoderCount: profile.decoders,
                sharedEncoderCount: profile.encoders,
                sharedJpegCount: profile.jpeg_engines,
                sharedOfaCount: profile.ofa_engines,
                gpuInstanceSliceCount: profile.gpu_instance_slices,
                computeInstanceSliceCount: profile.compute_instance_slices,
                memorySizeMB: profile.memory_mib,
            },
        )
    })
}
