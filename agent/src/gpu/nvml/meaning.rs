//! What the driver's errors mean.

use nvml_wrapper::error::NvmlError;

/// Why a call has no answer, where that is more than the absence of one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gpu) enum Failure {
    /// The device answers nothing any more, until the driver is initialised again.
    Device(&'static str),
    /// The driver does not, and every handle is void.
    Driver(&'static str),
}

/// Why a device is down that says of everything that it does not know, or nothing in time.
pub(in crate::gpu) const SILENT: &str = "the device answers nothing";

/// What an error is to the sampler.
pub(super) enum Meaning {
    /// The device, or this driver, does not have it.
    Unsupported,
    /// There is nothing to tell.
    Nothing,
    /// No answer this time; the name is for the metric.
    NoAnswer(&'static str),
    /// The same, and a device that has no other answer is down.
    Silence(&'static str),
    /// More is lost than this answer.
    Fails(Failure, &'static str),
}

impl Meaning {
    pub(super) fn of(error: &NvmlError) -> Self {
        use Failure::{Device, Driver};
        match error {
            NvmlError::NotSupported
            | NvmlError::FailedToLoadSymbol(_)
            | NvmlError::FunctionNotFound => Self::Unsupported,
            NvmlError::NotFound | NvmlError::NoData => Self::Nothing,
            NvmlError::GpuLost => Self::Fails(Device("the device is lost"), "gpu_is_lost"),
            NvmlError::ResetRequired => {
                Self::Fails(Device("the device needs a reset"), "reset_required")
            }
            NvmlError::Uninitialized | NvmlError::DriverNotLoaded => {
                Self::Fails(Driver("the driver was unloaded"), "uninitialized")
            }
            NvmlError::LibRmVersionMismatch => Self::Fails(
                Driver("library and driver are of different versions"),
                "lib_rm_version_mismatch",
            ),
            NvmlError::NoPermission => Self::NoAnswer("no_permission"),
            NvmlError::InvalidArg => Self::NoAnswer("invalid_argument"),
            NvmlError::InsufficientSize(_) => Self::NoAnswer("insufficient_size"),
            NvmlError::Timeout => Self::Silence("timeout"),
            NvmlError::Unknown => Self::Silence("unknown"),
            _ => Self::NoAnswer("other"),
        }
    }
}

/// What the driver means for the whole node when it cannot be initialised.
pub(in crate::gpu) fn reason(error: &NvmlError) -> &'static str {
    match error {
        NvmlError::DriverNotLoaded => "the NVIDIA driver is not loaded",
        NvmlError::LibRmVersionMismatch => "library and driver are of different versions",
        NvmlError::NoPermission => "no permission to use the NVIDIA driver",
        NvmlError::GpuLost => "a device is lost",
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => {
            "libnvidia-ml.so.1 cannot be loaded"
        }
        NvmlError::FailedToLoadSymbol(_) => "the library is not libnvidia-ml.so.1",
        _ => "the NVIDIA driver cannot be initialised",
    }
}

/// What it means for a device that cannot be opened.
pub(in crate::gpu) fn device_reason(error: &NvmlError) -> &'static str {
    match Meaning::of(error) {
        Meaning::Fails(Failure::Device(reason) | Failure::Driver(reason), _) => reason,
        Meaning::NoAnswer("no_permission") => "no permission to use the device",
        Meaning::Silence(_) => SILENT,
        _ => "the device cannot be opened",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_does_not_know_or_takes_too_long_is_silent_and_one_that_refuses_is_not() {
        for (error, is_silence) in [
            (NvmlError::Unknown, true),
            (NvmlError::Timeout, true),
            (NvmlError::NoPermission, false),
            (NvmlError::NotSupported, false),
            (NvmlError::GpuLost, false),
        ] {
            let meaning = Meaning::of(&error);
            assert_eq!(
                matches!(meaning, Meaning::Silence(_)),
                is_silence,
                "{error:?}"
            );
        }
    }
}
