//! How a device is: temperature, power, clocks and what holds them down, errors.

use nvml_wrapper::{
    bitmasks::device::ThrottleReasons,
    enum_wrappers::device::{
        Clock, EccCounter, MemoryError, PerformancePolicy, TemperatureSensor, TemperatureThreshold,
    },
    enums::device::SampleValue,
    error::NvmlError,
    structs::device::FieldId,
    sys_exports::field_id::{NVML_FI_DEV_GET_GPU_RECOVERY_ACTION, NVML_FI_DEV_MEMORY_TEMP},
};

use super::{
    model::{
        ClockDomain, EccError, Readings, RecoveryAction, TemperatureLimit, ThrottlePolicy,
        ThrottleReason,
    },
    nvml::{Failure, Handle},
};

impl ClockDomain {
    fn of_nvml(self) -> Clock {
        match self {
            Self::Graphics => Clock::Graphics,
            Self::Sm => Clock::SM,
            Self::Memory => Clock::Memory,
            Self::Video => Clock::Video,
        }
    }
}

impl ThrottleReason {
    fn of_nvml(self) -> ThrottleReasons {
        match self {
            Self::ApplicationsClocksSetting => ThrottleReasons::APPLICATIONS_CLOCKS_SETTING,
            Self::SwPowerCap => ThrottleReasons::SW_POWER_CAP,
            Self::HwSlowdown => ThrottleReasons::HW_SLOWDOWN,
            Self::SyncBoost => ThrottleReasons::SYNC_BOOST,
            Self::SwThermalSlowdown => ThrottleReasons::SW_THERMAL_SLOWDOWN,
            Self::HwThermalSlowdown => ThrottleReasons::HW_THERMAL_SLOWDOWN,
            Self::HwPowerBrakeSlowdown => ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN,
            Self::DisplayClockSetting => ThrottleReasons::DISPLAY_CLOCK_SETTING,
        }
    }
}

impl ThrottlePolicy {
    fn of_nvml(self) -> PerformancePolicy {
        match self {
            Self::Power => PerformancePolicy::Power,
            Self::Thermal => PerformancePolicy::Thermal,
            Self::SyncBoost => PerformancePolicy::SyncBoost,
            Self::BoardLimit => PerformancePolicy::BoardLimit,
            Self::LowUtilization => PerformancePolicy::LowUtilization,
            Self::Reliability => PerformancePolicy::Reliability,
            Self::ApplicationClocks => PerformancePolicy::TotalAppClocks,
            Self::BaseClocks => PerformancePolicy::TotalBaseClocks,
        }
    }
}

impl TemperatureLimit {
    fn of_nvml(self) -> TemperatureThreshold {
        match self {
            Self::Shutdown => TemperatureThreshold::Shutdown,
            Self::Slowdown => TemperatureThreshold::Slowdown,
            Self::MemoryMax => TemperatureThreshold::MemoryMax,
            Self::GpuMax => TemperatureThreshold::GpuMax,
        }
    }
}

impl EccError {
    fn of_nvml(self) -> MemoryError {
        match self {
            Self::Corrected => MemoryError::Corrected,
            Self::Uncorrected => MemoryError::Uncorrected,
        }
    }
}

/// Reads all of it.
pub(super) fn read(handle: &Handle<'_>, readings: &mut Readings) -> Result<(), Failure> {
    let number = |value: Option<u32>, factor: f64| value.map(|v| f64::from(v) * factor);
    readings.temperature = number(
        handle.ask("nvmlDeviceGetTemperature", |d| {
            d.temperature(TemperatureSensor::Gpu)
        })?,
        1.0,
    );
    readings.memory_temperature = handle.ask("nvmlDeviceGetFieldValues", |d| {
        field(d, NVML_FI_DEV_MEMORY_TEMP)
    })?;
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
    for error in EccError::ALL {
        let of_nvml = error.of_nvml();
        let count = handle.ask_of("nvmlDeviceGetTotalEccErrors", of_nvml.as_c(), |d| {
            d.total_ecc_errors(error.of_nvml(), EccCounter::Volatile)
        })?;
        readings.ecc_errors.extend(count.map(|n| (error, n)));
    }
    readings.remapped_rows = handle.remapped_rows()?;
    let action = NVML_FI_DEV_GET_GPU_RECOVERY_ACTION;
    let action = handle.ask_of("nvmlDeviceGetFieldValues", action, |d| field(d, action))?;
    // A later driver may want what this agent does not know.
    let known = |action: f64| RecoveryAction::ALL.get(action as usize).copied();
    readings.recovery_action = action.and_then(known);
    temperature_limits(handle, readings)
}

/// They do not change: asked once.
fn temperature_limits(handle: &Handle<'_>, readings: &mut Readings) -> Result<(), Failure> {
    if !readings.temperature_limits.is_empty() {
        return Ok(());
    }
    for limit in TemperatureLimit::ALL {
        let number = limit.of_nvml().as_c();
        let celsius = handle.ask_of("nvmlDeviceGetTemperatureThreshold", number, |d| {
            d.temperature_threshold(limit.of_nvml())
        })?;
        let celsius = celsius.map(|celsius| (limit, f64::from(celsius)));
        readings.temperature_limits.extend(celsius);
    }
    Ok(())
}

fn clocks(handle: &Handle<'_>, readings: &mut Readings) -> Result<(), Failure> {
    let hertz = |domain, mhz: u32| (domain, f64::from(mhz) * 1e6);
    readings.clocks.clear();
    // They change with the board's power management only: asked once.
    let highest = readings.max_clocks.is_empty();
    for domain in ClockDomain::ALL {
        let number = domain.of_nvml().as_c();
        let now = handle.ask_of("nvmlDeviceGetClockInfo", number, |d| {
            d.clock_info(domain.of_nvml())
        })?;
        readings.clocks.extend(now.map(|mhz| hertz(domain, mhz)));
        if highest {
            let most = handle.ask_of("nvmlDeviceGetMaxClockInfo", number, |d| {
                d.max_clock_info(domain.of_nvml())
            })?;
            readings
                .max_clocks
                .extend(most.map(|mhz| hertz(domain, mhz)));
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
        let holds = |reason: ThrottleReason| (reason, reasons.contains(reason.of_nvml()));
        readings.throttled.extend(ThrottleReason::ALL.map(holds));
    }
    readings.throttled_seconds.clear();
    for policy in ThrottlePolicy::ALL {
        let number = policy.of_nvml().as_c();
        let violation = handle.ask_of("nvmlDeviceGetViolationStatus", number, |d| {
            d.violation_status(policy.of_nvml())
        })?;
        let seconds = violation.map(|v| (policy, v.violation_time as f64 / 1e9));
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

/// One of the values that have a number instead of a function.
fn field(device: &nvml_wrapper::Device<'_>, number: u32) -> Result<f64, NvmlError> {
    let values = device.field_values_for(&[FieldId(number)])?;
    let value = values.into_iter().next().ok_or(NvmlError::NoData)??.value?;
    Ok(match value {
        SampleValue::U32(value) => f64::from(value),
        SampleValue::U64(value) => value as f64,
        SampleValue::I64(value) => value as f64,
        SampleValue::F64(value) => value,
    })
}
