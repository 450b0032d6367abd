//! How a device is: temperature, power, clocks and what holds them down, errors.

use nvml_wrapper::{
    bitmasks::device::ThrottleReasons,
    enum_wrappers::device::{Clock, EccCounter, MemoryError, PerformancePolicy, TemperatureSensor},
    enums::device::SampleValue,
    error::NvmlError,
    structs::device::FieldId,
    sys_exports::field_id::NVML_FI_DEV_MEMORY_TEMP,
};

use super::{
    model::Readings,
    nvml::{Failure, Handle},
};

const CLOCKS: [(Clock, &str); 4] = [
    (Clock::Graphics, "graphics"),
    (Clock::SM, "sm"),
    (Clock::Memory, "memory"),
    (Clock::Video, "video"),
];
/// All but idleness, which holds nothing back.
const THROTTLE_REASONS: [(ThrottleReasons, &str); 8] = [
    (
        ThrottleReasons::APPLICATIONS_CLOCKS_SETTING,
        "applications_clocks_setting",
    ),
    (ThrottleReasons::SW_POWER_CAP, "sw_power_cap"),
    (ThrottleReasons::HW_SLOWDOWN, "hw_slowdown"),
    (ThrottleReasons::SYNC_BOOST, "sync_boost"),
    (ThrottleReasons::SW_THERMAL_SLOWDOWN, "sw_thermal_slowdown"),
    (ThrottleReasons::HW_THERMAL_SLOWDOWN, "hw_thermal_slowdown"),
    (
        ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN,
        "hw_power_brake_slowdown",
    ),
    (
        ThrottleReasons::DISPLAY_CLOCK_SETTING,
        "display_clock_setting",
    ),
];
const POLICIES: [(PerformancePolicy, &str); 8] = [
    (PerformancePolicy::Power, "power"),
    (PerformancePolicy::Thermal, "thermal"),
    (PerformancePolicy::SyncBoost, "sync_boost"),
    (PerformancePolicy::BoardLimit, "board_limit"),
    (PerformancePolicy::LowUtilization, "low_utilization"),
    (PerformancePolicy::Reliability, "reliability"),
    (PerformancePolicy::TotalAppClocks, "application_clocks"),
    (PerformancePolicy::TotalBaseClocks, "base_clocks"),
];
const ECC_ERRORS: [(MemoryError, &str); 2] = [
    (MemoryError::Corrected, "corrected"),
    (MemoryError::Uncorrected, "uncorrected"),
];
/// Reads all of it.
pub(super) fn read(handle: &Handle<'_>, readings: &mut Readings) -> Result<(), Failure> {
    let number = |value: Option<u32>, factor: f64| value.map(|v| f64::from(v) * factor);
    readings.temperature = number(
        handle.ask("nvmlDeviceGetTemperature", |d| {
            d.temperature(TemperatureSensor::Gpu)
        })?,
        1.0,
    );
    readings.memory_temperature = handle.ask("nvmlDeviceGetFieldValues", memory_temperature)?;
    readings.power = number(
        handle.ask("nvmlDeviceGetPowerUsage", nvml_wrapper::Device::power_usage)?,
        1e-3,
    );
    readings.power_limit = number(
        handle.ask("nvmlDeviceGetEnforcedPowerLimit", |d| {
            d.enforced_power_limit()
        })?,
        1e-3,
    );
    let energy_mj = handle.ask("nvmlDeviceGetTotalEnergyConsumption", |d| {
        d.total_energy_consumption()
    })?;
    readings.energy = energy_mj.map(|mj| mj as f64 / 1e3);
    let state = handle.ask(
        "nvmlDeviceGetPerformanceState",
        nvml_wrapper::Device::performance_state,
    )?;
    // 32 is `NVML_PSTATE_UNKNOWN`.
    readings.performance_state = state.map(|state| state.as_c()).filter(|&state| state < 32);
    readings.fan_speed = number(handle.ask("nvmlDeviceGetFanSpeed_v2", fan_speed)?, 0.01);
    let replays = handle.ask("nvmlDeviceGetPcieReplayCounter", |d| {
        d.pcie_replay_counter()
    })?;
    readings.pcie_replays = replays.map(u64::from);
    clocks(handle, readings)?;
    throttling(handle, readings)?;
    readings.ecc_errors.clear();
    for (error, name) in ECC_ERRORS {
        let parameter = error.as_c();
        let count = handle.ask_of("nvmlDeviceGetTotalEccErrors", parameter, |d| {
            d.total_ecc_errors(error, EccCounter::Volatile)
        })?;
        readings.ecc_errors.extend(count.map(|n| (name, n)));
    }
    Ok(())
}

fn clocks(handle: &Handle<'_>, readings: &mut Readings) -> Result<(), Failure> {
    let hertz = |name, mhz: u32| (name, f64::from(mhz) * 1e6);
    readings.clocks.clear();
    // They change with the board's power management only: asked once.
    let highest = readings.max_clocks.is_empty();
    for (clock, name) in CLOCKS {
        let domain = clock.as_c();
        let now = handle.ask_of("nvmlDeviceGetClockInfo", domain, |d| d.clock_info(clock))?;
        readings.clocks.extend(now.map(|mhz| hertz(name, mhz)));
        if highest {
            let most = handle.ask_of("nvmlDeviceGetMaxClockInfo", domain, |d| {
                d.max_clock_info(clock)
            })?;
            readings.max_clocks.extend(most.map(|mhz| hertz(name, mhz)));
        }
    }
    Ok(())
}

fn throttling(handle: &Handle<'_>, readings: &mut Readings) -> Result<(), Failure> {
    let reasons = handle.ask("nvmlDeviceGetCurrentClocksThrottleReasons", |d| {
        d.current_throttle_reasons()
    })?;
    readings.throttled.clear();
    if let Some(reasons) = reasons {
        let holds = |(reason, name)| (name, reasons.contains(reason));
        readings.throttled.extend(THROTTLE_REASONS.map(holds));
    }
    readings.throttled_seconds.clear();
    for (policy, name) in POLICIES {
        let parameter = policy.as_c();
        let violation = handle.ask_of("nvmlDeviceGetViolationStatus", parameter, |d| {
            d.violation_status(policy)
        })?;
        let seconds = violation.map(|v| (name, v.violation_time as f64 / 1e9));
        readings.throttled_seconds.extend(seconds);
    }
    Ok(())
}

/// A board without fans, an H100 with 580.159.04, calls the first of them an invalid argument.
fn fan_speed(device: &nvml_wrapper::Device<'_>) -> Result<u32, NvmlError> {
    device.fan_speed(0).map_err(|error| match error {
        NvmlError::InvalidArg => NvmlError::NotSupported,
        other => other,
    })
}

fn memory_temperature(device: &nvml_wrapper::Device<'_>) -> Result<f64, NvmlError> {
    let values = device.field_values_for(&[FieldId(NVML_FI_DEV_MEMORY_TEMP)])?;
    let value = values.into_iter().next().ok_or(NvmlError::NoData)??.value?;
    match value {
        SampleValue::U32(celsius) => Ok(f64::from(celsius)),
        SampleValue::U64(celsius) => Ok(celsius as f64),
        SampleValue::I64(celsius) => Ok(celsius as f64),
        SampleValue::F64(celsius) => Ok(celsius),
    }
}
