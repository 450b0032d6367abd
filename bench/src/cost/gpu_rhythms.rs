//! When the GPU sampler calls which function, for the table of its calls.

/// The sampler's periods, as `gpu.period`, `gpu.streams`, `gpu.processes` and `gpu.health` set them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rhythm {
    Round,
    Streams,
    Processes,
    Health,
    Rescan,
}

impl Rhythm {
    pub(super) const ALL: [Self; 5] = [
        Self::Round,
        Self::Streams,
        Self::Processes,
        Self::Health,
        Self::Rescan,
    ];

    /// When the sampler calls a function.
    pub(super) fn of(function: &str) -> Self {
        match function {
            "nvmlDeviceGetProcessUtilization"
            | "nvmlDeviceGetUtilizationRates"
            | "nvmlDeviceGetEncoderUtilization"
            | "nvmlDeviceGetDecoderUtilization"
            | "nvmlDeviceGetMemoryInfo_v2"
            | "nvmlEventSetWait_v2" => Self::Round,
            "nvmlDeviceGetEncoderSessions" | "nvmlDeviceGetFBCSessions" => Self::Streams,
            "nvmlDeviceGetCount_v2" => Self::Rescan,
            lists if lists.contains("RunningProcesses") || lists.contains("Mig") => Self::Processes,
            _ => Self::Health,
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Round => "every round, 1 s: utilisation, of processes too, memory, events",
            Self::Streams => "streams, 1 s: encoder and capture sessions",
            Self::Processes => "processes, 5 s: three lists, MIG mode",
            Self::Health => "health, 5 s: temperature, power, clocks, throttling, errors",
            Self::Rescan => "whether there are other GPUs, 30 s",
        }
    }
}
