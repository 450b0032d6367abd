//! Readings of one number, and those of a few that are chosen by an argument.

#![expect(unsafe_code, reason = "the C interface")]

use std::{
    ffi::{c_uint, c_ulonglong},
    thread,
    time::Duration,
};

use nvml_wrapper_sys::bindings::{
    nvmlClockType_t, nvmlConfComputeMemSizeInfo_t, nvmlDevice_t, nvmlMemory_t, nvmlMemory_v2_t,
    nvmlPcieUtilCounter_t, nvmlPstates_t, nvmlReturn_t, nvmlTemperatureSensors_t,
    nvmlTemperatureThresholds_t, nvmlUtilization_t,
};

use super::output::{Out, put, supported};
use crate::{
    Code,
    call::{View, on_device},
    scenario::{Clocks, Memory},
};

/// What the encoder and decoder readings say they were measured over.
const SAMPLING_PERIOD_US: c_uint = 167_000;

/// For how long the driver measures one direction of the bus.
const PCIE_INTERVAL: Duration = Duration::from_millis(20);

macro_rules! readings {
    ($($name:ident: $type:ty = |$view:ident| $reading:expr;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name(device: nvmlDevice_t, value: Out<'_, $type>) -> nvmlReturn_t {
            on_device(stringify!($name), device, |$view: &mut View<'_>| {
                put(value, supported($reading)?)
            })
        }
    )*};
}

readings! {
    nvmlDeviceGetMinorNumber: c_uint = |view| view.whole()?.minor_number;
    nvmlDeviceGetArchitecture: c_uint = |view| view.gpu().architecture;
    nvmlDeviceGetUtilizationRates: nvmlUtilization_t = |view| {
        let utilization = view.undivided()?.utilization;
        utilization.map(|busy| nvmlUtilization_t { gpu: busy.gpu, memory: busy.memory })
    };
    nvmlDeviceGetConfComputeMemSizeInfo: nvmlConfComputeMemSizeInfo_t = |view| {
        let sizes = view.whole()?.confidential_memory_kib;
        sizes.map(|(protected, unprotected)| nvmlConfComputeMemSizeInfo_t {
            protectedMemSizeKib: protected,
            unprotectedMemSizeKib: unprotected,
        })
    };
    nvmlDeviceGetPowerUsage: c_uint = |view| view.whole()?.power_milliwatts;
    nvmlDeviceGetEnforcedPowerLimit: c_uint = |view| view.whole()?.power_limit_milliwatts;
    nvmlDeviceGetPowerManagementLimit: c_uint = |view| view.whole()?.power_limit_milliwatts;
    nvmlDeviceGetTotalEnergyConsumption: c_ulonglong = |view| {
        view.whole()?;
        energy(view)
    };
    nvmlDeviceGetPerformanceState: nvmlPstates_t = |view| view.whole()?.performance_state;
    nvmlDeviceGetCurrentClocksThrottleReasons: c_ulonglong = |view| {
        view.whole()?.clocks_event_reasons
    };
    nvmlDeviceGetCurrentClocksEventReasons: c_ulonglong = |view| {
        view.whole()?.clocks_event_reasons
    };
    nvmlDeviceGetSupportedClocksThrottleReasons: c_ulonglong = |view| {
        view.whole()?.clocks_event_reasons.map(|reasons| reasons | 0x1ff)
    };
    nvmlDeviceGetSupportedClocksEventReasons: c_ulonglong = |view| {
        view.whole()?.clocks_event_reasons.map(|reasons| reasons | 0x1ff)
    };
    nvmlDeviceGetPcieReplayCounter: c_uint = |view| view.whole()?.pcie_replays;
    nvmlDeviceGetCurrPcieLinkGeneration: c_uint = |view| {
        view.whole()?.pcie_link.map(|(generation, _)| generation)
    };
    nvmlDeviceGetCurrPcieLinkWidth: c_uint = |view| view.whole()?.pcie_link.map(|(_, width)| width);
    nvmlDeviceGetVirtualizationMode: c_uint = |view| view.whole()?.virtualization_mode;
    nvmlDeviceGetMemoryInfo: nvmlMemory_t = |view| {
        memory(view).map(|memory| nvmlMemory_t {
            total: memory.total,
            free: memory.free,
            used: memory.used + memory.reserved,
        })
    };
}

/// Millijoules so far.
pub(super) fn energy(view: &mut View<'_>) -> Option<u64> {
    let device = view.place.device;
    view.state
        .history(device)?
        .energy(&view.scenario.devices[device])
}

/// Of the MIG device or of the GPU.
fn memory(view: &View<'_>) -> Option<Memory> {
    view.mig().map_or(view.gpu().memory, |mig| mig.memory)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMemoryInfo_v2(
    device: nvmlDevice_t,
    info: Option<&mut nvmlMemory_v2_t>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetMemoryInfo_v2", device, |view| {
        let info = info.ok_or(Code::INVALID_ARGUMENT)?;
        if info.version != size_of::<nvmlMemory_v2_t>() as c_uint | 2 << 24 {
            return Err(Code::ARGUMENT_VERSION_MISMATCH);
        }
        let memory = supported(memory(view))?;
        info.total = memory.total;
        info.reserved = memory.reserved;
        info.free = memory.free;
        info.used = memory.used;
        Ok(())
    })
}

macro_rules! engines {
    ($($name:ident = $field:ident;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name(
            device: nvmlDevice_t,
            utilization: Out<'_, c_uint>,
            sampling_period_us: Out<'_, c_uint>,
        ) -> nvmlReturn_t {
            on_device(stringify!($name), device, |view| {
                put(utilization, supported(view.undivided()?.$field)?)?;
                put(sampling_period_us, SAMPLING_PERIOD_US)
            })
        }
    )*};
}

engines! {
    nvmlDeviceGetEncoderUtilization = encoder_utilization;
    nvmlDeviceGetDecoderUtilization = decoder_utilization;
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetTemperature(
    device: nvmlDevice_t,
    sensor: nvmlTemperatureSensors_t,
    celsius: Out<'_, c_uint>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetTemperature", device, |view| match sensor {
        0 => put(celsius, supported(view.whole()?.temperature_celsius)?),
        _ => Err(Code::INVALID_ARGUMENT),
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetTemperatureThreshold(
    device: nvmlDevice_t,
    threshold: nvmlTemperatureThresholds_t,
    celsius: Out<'_, c_uint>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetTemperatureThreshold", device, |view| {
        let limits = view.whole()?.temperature_limits_celsius;
        let limit = match threshold {
            0 => limits.shutdown,
            1 => limits.slowdown,
            2 => limits.memory_max,
            3 => limits.gpu_max,
            _ => return Err(Code::INVALID_ARGUMENT),
        };
        put(celsius, supported(limit)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetFanSpeed_v2(
    device: nvmlDevice_t,
    _fan: c_uint,
    percent: Out<'_, c_uint>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetFanSpeed_v2", device, |view| {
        // So an H100, which has none, answers with 580.159.04.
        let speed = view.whole()?.fan_speed.ok_or(Code::INVALID_ARGUMENT)?;
        put(percent, speed)
    })
}

fn clock(clocks: &Clocks, domain: nvmlClockType_t) -> Result<c_uint, Code> {
    supported(match domain {
        0 => clocks.graphics,
        1 => clocks.sm,
        2 => clocks.memory,
        3 => clocks.video,
        _ => return Err(Code::INVALID_ARGUMENT),
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetClockInfo(
    device: nvmlDevice_t,
    domain: nvmlClockType_t,
    megahertz: Out<'_, c_uint>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetClockInfo", device, |view| {
        put(megahertz, clock(&view.whole()?.clocks_mhz, domain)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMaxClockInfo(
    device: nvmlDevice_t,
    domain: nvmlClockType_t,
    megahertz: Out<'_, c_uint>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetMaxClockInfo", device, |view| {
        put(megahertz, clock(&view.whole()?.max_clocks_mhz, domain)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetPcieThroughput(
    device: nvmlDevice_t,
    direction: nvmlPcieUtilCounter_t,
    kibibytes_per_second: Out<'_, c_uint>,
) -> nvmlReturn_t {
    on_device("nvmlDeviceGetPcieThroughput", device, |view| {
        let throughput = supported(view.whole()?.pcie_throughput)?;
        thread::sleep(PCIE_INTERVAL);
        match direction {
            0 => put(kibibytes_per_second, throughput.transmitted),
            1 => put(kibibytes_per_second, throughput.received),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    })
}
