//! The figures of a step, and how they are kept.

use crate::named::named;

named! {
    /// What is kept of a step. A rate is by seconds of the step, whatever it counts.
    pub enum Figure {
        /// CPUs in use; 1 is one CPU all the time.
        Cpus = "cpus",
        /// Threads that waited for a CPU, on average, because others had it: of all that waited, the part of those that others
        /// and not threads of its own preempted.
        Contention = "contention",
        /// Share of the time in which a limit of the session's own kept it from running.
        ThrottledOwn = "throttled_own",
        /// The same for limits of cgroups above.
        ThrottledAbove = "throttled_above",
        /// Waits for a CPU of up to 1 ms, a second.
        WaitsTo1Ms = "waits_to_1ms",
        /// From 1 to 4 ms.
        WaitsTo4Ms = "waits_to_4ms",
        /// From 4 to 16 ms.
        WaitsTo16Ms = "waits_to_16ms",
        /// From 16 to 62 ms.
        WaitsTo62Ms = "waits_to_62ms",
        /// Longer ones.
        WaitsLonger = "waits_longer",
        /// Median of the waits, seconds.
        WaitP50 = "wait_p50",
        /// Their 99th percentile, seconds.
        WaitP99 = "wait_p99",
        /// Median of the clients' round-trip times, seconds.
        RttP50 = "rtt_p50",
        /// Their 95th percentile, seconds.
        RttP95 = "rtt_p95",
        /// Share of the clients' round trips that took more than 125 ms.
        LateRoundTrips = "late_round_trips",
        /// Share of the segments to clients that were sent again.
        Retransmits = "retransmits",
        /// Bytes received a second.
        Received = "received_bytes",
        /// Bytes sent a second.
        Sent = "sent_bytes",
        /// Memory of its cgroups, bytes.
        Memory = "memory_bytes",
        /// Anonymous memory as a share of the limit.
        MemoryShare = "memory_share",
        /// Threads that reclaimed memory themselves, on average.
        ReclaimStall = "reclaim_stall",
        /// Threads that waited for what no signal but a fatal one ends, when all threads were walked last.
        Uninterruptible = "uninterruptible",
        /// Share of the block I/O requests that took more than 62 ms.
        SlowBlockIo = "slow_block_io",
        /// Input that waited for more than half a second until it was read, a second.
        LateInputs = "late_inputs",
        /// Share of the inputs after which nothing was sent for two seconds.
        Unanswered = "unanswered",
        /// Applications that do not read their display.
        Unresponsive = "unresponsive",
        /// GPUs in use; 1 is one GPU all the time.
        Gpus = "gpus",
        /// Share of the time in which a GPU of its own and of other sessions had nothing left.
        GpuFull = "gpu_full",
        /// GPU memory, bytes.
        GpuMemory = "gpu_memory_bytes",
        /// Encoders in use.
        Encoders = "encoders",
        /// Decoders in use.
        Decoders = "decoders",
        /// Frames a second that its encoders deliver.
        Frames = "fps",
        /// Time to encode a frame, of the slowest encoder, seconds.
        EncoderLatency = "encoder_latency",
    }
}

/// A figure as it is kept: the logarithm of a value from a nanosecond on, or of a byte up to 4 TB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept(u16);

impl Kept {
    pub(super) const ABSENT: Self = Self(u16::MAX);
    /// The least exponent of two that is told from 0, and how finely octaves are parted.
    const LEAST: f64 = -30.0;
    const PER_OCTAVE: f64 = 900.0;

    pub(super) fn of(value: Option<f64>) -> Self {
        let Some(value) = value.filter(|value| value.is_finite() && *value >= 0.0) else {
            return Self::ABSENT;
        };
        let code = ((value.log2() - Self::LEAST) * Self::PER_OCTAVE).round();
        if code < 0.0 {
            return Self(0);
        }
        // 1 is the least value, and the last one is for those that are absent.
        Self((code as u64 + 1).min(u64::from(u16::MAX) - 1) as u16)
    }

    pub(super) fn value(self) -> Option<f64> {
        match self.0 {
            0 => Some(0.0),
            u16::MAX => None,
            code => Some(((f64::from(code) - 1.0) / Self::PER_OCTAVE + Self::LEAST).exp2()),
        }
    }
}

/// The figures of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step(pub(super) [Kept; Figure::ALL.len()]);

impl Step {
    pub(super) const ABSENT: Self = Self([Kept::ABSENT; Figure::ALL.len()]);

    /// One of them; `None` where it was not known, or there was nothing to have it of.
    pub fn get(&self, figure: Figure) -> Option<f64> {
        self.0[figure as usize].value()
    }

    /// With a figure at a value, for tests.
    #[cfg(test)]
    #[must_use]
    pub fn with(mut self, figure: Figure, value: f64) -> Self {
        self.0[figure as usize] = Kept::of(Some(value));
        self
    }
}

#[cfg(test)]
impl Default for Step {
    fn default() -> Self {
        Self::ABSENT
    }
}
