//! The driver's utilisation samples of processes become busy time.
//!
//! A sample says how busy an engine was with a process up to its time stamp. It covers the time since the
//! process's sample before it; when that is not recent, since the agent last asked, because the process
//! was idle then. The driver samples every 1/6 to 1 s, and keeps 72 samples for all processes together
//! (`NV2080_CTRL_PERF_GPUMON_SAMPLE_COUNT_PERFMON_UTIL`, open kernel modules 595), so the agent asks
//! every second, always for what is newer than the newest that it has of **this** device.

use std::{collections::HashMap, time::Duration};

use super::model::{Engine, PerEngine, ProcessUse, Usage, WHOLE};

/// The slowest driver samples once a second; half as long again is late.
const LATE: Duration = Duration::from_millis(1500);
/// A sample from farther in the future than this is garbage: driver and agent read the same clock.
const SKEW_US: u64 = 5_000_000;

/// A sample as the driver hands it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) pid: u32,
    /// Microseconds since 1970.
    pub(super) at_us: u64,
    pub(super) percent: PerEngine<u32>,
}

impl Sample {
    /// Drivers hand out entries with values like 2147483632 now and then.
    fn is_garbage(&self, now_us: u64) -> bool {
        self.percent.iter().any(|&percent| percent > 100) || self.at_us > now_us + SKEW_US
    }
}

/// Of one device.
#[derive(Debug)]
pub(super) struct Integral {
    /// Newest sample of any process.
    last_seen_us: u64,
    /// When the driver was asked before.
    asked_us: u64,
    /// Newest sample of each process that had one lately.
    newest: HashMap<u32, u64>,
    late_us: u64,
}

impl Integral {
    /// Begins now: what is in the driver's ring already is older, and of nobody knows how long ago.
    pub(super) fn new(now_us: u64, period: Duration) -> Self {
        Self {
            last_seen_us: now_us,
            asked_us: now_us,
            newest: HashMap::new(),
            late_us: LATE.max(period * 3 / 2).as_micros() as u64,
        }
    }

    /// What to ask the driver for: samples newer than this, microseconds since 1970.
    pub(super) fn last_seen_us(&self) -> u64 {
        self.last_seen_us
    }

    /// Takes what the driver answered at `now_us`.
    pub(super) fn take(&mut self, mut samples: Vec<Sample>, now_us: u64) -> Usage {
        if now_us < self.asked_us {
            // The clock was set back: by it, everything seen so far lies in the future.
            *self = Self {
                late_us: self.late_us,
                ..Self::new(now_us, Duration::ZERO)
            };
            return Usage::default();
        }
        samples.retain(|s| !s.is_garbage(now_us) && s.at_us > self.last_seen_us);
        samples.sort_by_key(|s| (s.pid, s.at_us));
        samples.dedup_by_key(|s| (s.pid, s.at_us));
        let mut usage = Usage::default();
        for of_process in samples.chunk_by(|a, b| a.pid == b.pid) {
            usage.processes.push(self.process_use(of_process));
        }
        // Only after the whole batch: samples of another process may be older than this one's.
        for sample in &samples {
            self.last_seen_us = self.last_seen_us.max(sample.at_us);
            self.newest.insert(sample.pid, sample.at_us);
        }
        let late_us = self.late_us;
        self.newest.retain(|_, at_us| now_us < *at_us + late_us);
        let has_sample = |pid: &u32| usage.processes.iter().any(|p| p.pid == *pid);
        usage.pending = self
            .newest
            .keys()
            .copied()
            .filter(|pid| !has_sample(pid))
            .collect();
        self.asked_us = now_us;
        usage
    }

    /// Of the new samples of one process, oldest first.
    fn process_use(&self, samples: &[Sample]) -> ProcessUse {
        let first = samples[0];
        let mut from_us = match self.newest.get(&first.pid) {
            Some(&newest) if first.at_us - newest <= self.late_us => newest,
            _ if self.asked_us < first.at_us => self.asked_us,
            // Taken before the agent asked, and handed out after.
            _ => self.last_seen_us,
        };
        let mut used = ProcessUse {
            pid: first.pid,
            busy_ns: [0; Engine::ALL.len()],
            share: [0; Engine::ALL.len()],
            first_us: first.at_us,
        };
        let mut covered_us = 0;
        for sample in samples {
            let interval_us = (sample.at_us - from_us).min(self.late_us);
            covered_us += interval_us;
            for (busy_ns, percent) in used.busy_ns.iter_mut().zip(sample.percent) {
                // percent / 100 × µs × 1000
                *busy_ns += u64::from(percent) * interval_us * 10;
            }
            from_us = sample.at_us;
        }
        for (share, busy_ns) in used.share.iter_mut().zip(used.busy_ns) {
            // busy_ns / 1000 of covered_us; a sample always covers a microsecond at least.
            *share = busy_ns * (WHOLE / 1000) / covered_us;
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn sample(pid: u32, at_us: u64, sm: u32) -> Sample {
        Sample {
            pid,
            at_us,
            percent: [sm, 0, 0, 0],
        }
    }

    fn integral() -> Integral {
        Integral::new(100 * SECOND, Duration::from_secs(1))
    }

    #[test]
    fn a_busy_process_is_charged_the_time_between_its_samples() {
        let mut integral = integral();
        let first = integral.take(vec![sample(1, 100_700_000, 40)], 101 * SECOND);
        // It was not there at 100.0 s, or was idle.
        assert_eq!(first.processes[0].busy_ns[0], 280_000_000);
        assert_eq!(first.processes[0].share[0], WHOLE * 4 / 10);
        let second = integral.take(
            vec![sample(1, 101_700_000, 40), sample(1, 101_200_000, 20)],
            102 * SECOND,
        );
        assert_eq!(second.processes[0].busy_ns[0], 100_000_000 + 200_000_000);
        assert_eq!(second.processes[0].share[0], WHOLE * 3 / 10);
    }

    #[test]
    fn an_idle_time_is_not_charged() {
        let mut integral = integral();
        integral.take(vec![sample(1, 100_500_000, 100)], 101 * SECOND);
        let pending = integral.take(vec![], 101_900_000);
        assert_eq!(pending.pending, [1]);
        let idle = integral.take(vec![], 110 * SECOND);
        assert_eq!(idle, Usage::default());
        let again = integral.take(vec![sample(1, 110_200_000, 100)], 111 * SECOND);
        assert_eq!(again.processes[0].busy_ns[0], 200_000_000);
    }

    #[test]
    fn after_a_hang_no_more_than_a_late_sample_is_charged() {
        let mut integral = integral();
        let usage = integral.take(vec![sample(1, 160 * SECOND, 50)], 161 * SECOND);
        assert_eq!(usage.processes[0].busy_ns[0], 750_000_000);
    }

    #[test]
    fn garbage_and_what_is_stale_are_refused_and_do_not_move_the_mark() {
        let mut integral = integral();
        let garbage = vec![
            sample(1, 100_500_000, 2_147_483_632),
            sample(2, 99_000_000, 50),
            sample(3, 900 * SECOND, 50),
        ];
        assert_eq!(integral.take(garbage, 101 * SECOND), Usage::default());
        assert_eq!(integral.last_seen_us(), 100 * SECOND);
    }

    #[test]
    fn a_process_whose_samples_are_older_than_another_s_loses_nothing() {
        let mut integral = integral();
        let batch = |second: u64| {
            let at_us = (100 + second) * SECOND;
            vec![
                sample(1, at_us + 900_000, 10),
                sample(2, at_us + 100_000, 100),
            ]
        };
        integral.take(batch(0), 101 * SECOND);
        // Handed out late: older than the newest of process 1, so the driver does not hand it out again.
        let usage = integral.take(batch(1), 102 * SECOND);
        let of = |pid| usage.processes.iter().find(|p| p.pid == pid).unwrap();
        assert_eq!(of(1).busy_ns[0], 100_000_000);
        assert_eq!(of(2).busy_ns[0], 1_000_000_000);
    }

    #[test]
    fn a_clock_that_is_set_back_begins_anew() {
        let mut integral = integral();
        assert_eq!(
            integral.take(vec![sample(1, 50 * SECOND, 50)], 50_500_000),
            Usage::default()
        );
        let usage = integral.take(vec![sample(1, 51 * SECOND, 50)], 51_500_000);
        assert_eq!(usage.processes[0].busy_ns[0], 250_000_000);
    }
}
