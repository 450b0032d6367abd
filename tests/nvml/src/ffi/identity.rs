//! What a device is: names, numbers, and its place on the bus.

#![expect(unsafe_code, reason = "the C interface")]

use std::ffi::{c_char, c_int, c_uint};

use nvml_wrapper_sys::bindings::{nvmlDevice_t, nvmlPciInfo_t, nvmlReturn_t};

use super::output::{Out, field, put, put_text, supported};
use crate::{
    Code,
    call::{View, on_device},
};

macro_rules! texts {
    ($($name:ident = |$view:ident| $text:expr;)*) => {$(
        /// # Safety
        ///
        /// `buffer` is null or good for `length` writes.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(
            device: nvmlDevice_t,
            buffer: *mut c_char,
            length: c_uint,
        ) -> nvmlReturn_t {
            on_device(stringify!($name), device, |$view: &mut View<'_>| {
                // SAFETY: the same promise.
                unsafe { put_text($text, buffer, length) }
            })
        }
    )*};
}

texts! {
    nvmlDeviceGetUUID = |view| view.mig().map_or(&view.gpu().uuid, |mig| &mig.uuid);
    nvmlDeviceGetName = |view| view.mig().map_or(&view.gpu().name, |mig| &mig.name);
    nvmlDeviceGetSerial = |view| supported(view.whole()?.serial.as_ref())?;
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetIndex(device: nvmlDevice_t, index: Out<'_, c_uint>) -> nvmlReturn_t {
    on_device("nvmlDeviceGetIndex", device, |view| {
        put(
            index,
            view.mig()
                .map_or(view.place.device as c_uint, |mig| mig.index),
        )
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetCudaComputeCapability(
    device: nvmlDevice_t,
    major: Out<'_, c_int>,
    minor: Out<'_, c_int>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetCudaComputeCapability", device, |view| {
        let capability = supported(view.gpu().cuda_capability)?;
        put(major, capability.0)?;
        put(minor, capability.1)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetPciInfo_v3(
    device: nvmlDevice_t,
    info: Out<'_, nvmlPciInfo_t>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetPciInfo_v3", device, |view| {
        let gpu = view.whole()?;
        let [domain, bus, slot] = place_on_bus(&gpu.pci_bus_id).ok_or(Code::UNKNOWN)?;
        put(
            info,
            nvmlPciInfo_t {
                // With four digits, as it was before domains had more.
                busIdLegacy: field(gpu.pci_bus_id.get(4..).unwrap_or_default()),
                domain,
                bus,
                device: slot,
                pciDeviceId: gpu.pci_device_id,
                pciSubSystemId: gpu.pci_device_id,
                busId: field(&gpu.pci_bus_id),
            },
        )
    })
}

/// Domain, bus and device of `domain:bus:device.function`.
fn place_on_bus(bus_id: &str) -> Option<[c_uint; 3]> {
    let mut numbers = bus_id
        .split([':', '.'])
        .map(|digits| c_uint::from_str_radix(digits, 16).ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_id_is_hexadecimal() {
        assert_eq!(place_on_bus("00000000:3B:00.0"), Some([0, 0x3b, 0]));
        assert_eq!(place_on_bus("3B"), None);
    }
}
