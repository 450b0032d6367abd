//! What a device accumulates: the ring of utilisation samples and the energy counter, both of which go
//! on across changes of the scenario.

use std::collections::VecDeque;

use crate::scenario::{Device, Sample};

/// A sample that was taken.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) timestamp_us: u64,
    pub(crate) sample: Sample,
}

/// The past of one device, up to `until_us`.
pub(crate) struct History {
    ring: VecDeque<Taken>,
    until_us: u64,
    energy_grown: f64,
}

impl History {
    /// Begins when the scenario does, with the samples that it has of the time before.
    pub(crate) fn new(device: &Device, since_us: u64) -> Self {
        let mut history = Self {
            ring: VecDeque::new(),
            until_us: since_us,
            energy_grown: 0.0,
        };
        history.adopt(device);
        history
    }

    /// Takes over the samples of a new scenario that lie in the past and are not known yet.
    pub(crate) fn adopt(&mut self, device: &Device) {
        for sample in &device.samples {
            let Some(timestamp_us) = sample.timestamp_us else {
                continue;
            };
            let known = |taken: &Taken| {
                taken.timestamp_us == timestamp_us && taken.sample.pid == sample.pid
            };
            if timestamp_us <= self.until_us && !self.ring.iter().any(known) {
                self.ring.push_back(Taken {
                    timestamp_us,
                    sample: sample.clone(),
                });
            }
        }
        self.settle(device);
    }

    /// Lets the device run, as the scenario has it, until a moment.
    pub(crate) fn advance(&mut self, device: &Device, to_us: u64) {
        if to_us <= self.until_us {
            return;
        }
        let seconds = (to_us - self.until_us) as f64 / 1e6;
        self.energy_grown += device.energy_millijoules_per_second * seconds;
        for sample in &device.samples {
            if let Some(timestamp_us) = sample.timestamp_us {
                if timestamp_us > self.until_us && timestamp_us <= to_us {
                    self.ring.push_back(Taken {
                        timestamp_us,
                        sample: sample.clone(),
                    });
                }
            } else if sample.every_ms > 0 {
                let period = sample.every_ms * 1000;
                let last = to_us / period;
                // More than the ring holds need not be taken.
                let first = (self.until_us / period + 1)
                    .max((last + 1).saturating_sub(device.sample_ring as u64));
                self.ring.extend((first..=last).map(|number| Taken {
                    timestamp_us: number * period,
                    sample: sample.clone(),
                }));
            }
        }
        self.until_us = to_us;
        self.settle(device);
    }

    fn settle(&mut self, device: &Device) {
        self.ring
            .make_contiguous()
            .sort_by_key(|taken| taken.timestamp_us);
        let excess = self.ring.len().saturating_sub(device.sample_ring);
        self.ring.drain(..excess);
    }

    /// Samples newer than the one last seen, oldest first.
    pub(crate) fn newer_than(&self, last_seen_us: u64, newest_only: bool) -> Vec<Taken> {
        let newer = self
            .ring
            .iter()
            .filter(|taken| taken.timestamp_us > last_seen_us);
        if !newest_only {
            return newer.cloned().collect();
        }
        let mut newest: Vec<Taken> = Vec::new();
        for taken in newer {
            newest.retain(|other| other.sample.pid != taken.sample.pid);
            newest.push(taken.clone());
        }
        newest
    }

    /// Millijoules.
    pub(crate) fn energy(&self, device: &Device) -> Option<u64> {
        device
            .energy_millijoules
            .map(|start| start + self.energy_grown as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(samples: Vec<Sample>) -> Device {
        Device {
            samples,
            energy_millijoules: Some(100),
            ..Device::default()
        }
    }

    fn repeated(pid: u32, every_ms: u64) -> Sample {
        Sample {
            pid,
            every_ms,
            ..Sample::default()
        }
    }

    fn times(history: &History, last_seen: u64) -> Vec<(u32, u64)> {
        let newer = history.newer_than(last_seen, false);
        newer
            .iter()
            .map(|taken| (taken.sample.pid, taken.timestamp_us))
            .collect()
    }

    #[test]
    fn repeated_samples_fall_on_multiples_of_their_period() {
        let device = device(vec![repeated(1, 1000), repeated(2, 2000)]);
        let mut history = History::new(&device, 1_500_000);
        history.advance(&device, 4_000_000);
        let expected = [
            (1, 2_000_000),
            (2, 2_000_000),
            (1, 3_000_000),
            (1, 4_000_000),
            (2, 4_000_000),
        ];
        assert_eq!(times(&history, 0), expected);
        assert_eq!(times(&history, 3_000_000), expected[3..]);
        assert_eq!(times(&history, 4_000_000), []);
    }

    #[test]
    fn the_ring_keeps_the_newest_and_outlives_the_process() {
        let mut busy = device(vec![repeated(1, 1000)]);
        busy.sample_ring = 2;
        let mut history = History::new(&busy, 0);
        history.advance(&busy, 9_000_000);
        let mut idle = busy.clone();
        idle.samples.clear();
        history.advance(&idle, 60_000_000);
        assert_eq!(times(&history, 0), [(1, 8_000_000), (1, 9_000_000)]);
    }

    #[test]
    fn a_sample_of_the_past_is_taken_once_and_one_of_the_future_when_it_is_time() {
        let at = |timestamp_us| Sample {
            pid: 1,
            timestamp_us: Some(timestamp_us),
            ..Sample::default()
        };
        let device = device(vec![at(5), at(50)]);
        let mut history = History::new(&device, 10);
        history.adopt(&device);
        assert_eq!(times(&history, 0), [(1, 5)]);
        history.advance(&device, 60);
        assert_eq!(times(&history, 0), [(1, 5), (1, 50)]);
    }

    #[test]
    fn energy_goes_on_from_where_it_was_when_the_rate_changes() {
        let mut device = device(Vec::new());
        device.energy_millijoules_per_second = 1000.0;
        let mut history = History::new(&device, 0);
        history.advance(&device, 2_000_000);
        device.energy_millijoules_per_second = 0.0;
        history.advance(&device, 9_000_000);
        assert_eq!(history.energy(&device), Some(2100));
    }
}
