//! The share of the CPUs that a session may use, sampled every second.

use std::time::{Duration, Instant};

use agent_common::histogram::{Histogram, bucket_of};

/// An observation covers at least this; a little less than a second, so that a timer that is early by a
/// millisecond does not halve the number of observations.
const INTERVAL: Duration = Duration::from_millis(950);

/// Histogram of the share. A share of 1 is kept as a second is in a histogram of time: the buckets are the
/// same powers of two.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Utilization {
    /// The observations.
    pub histogram: Histogram,
    last: Option<(Instant, u64)>,
}

impl Utilization {
    /// Takes the CPU time, in nanoseconds, that was used up to now; `cpus` is how many may be used.
    pub fn push(&mut self, now: Instant, cpu_ns: u64, cpus: f64) {
        let Some((then, used_ns)) = self.last else {
            self.last = Some((now, cpu_ns));
            return;
        };
        let passed = now.duration_since(then);
        if passed < INTERVAL {
            return;
        }
        self.last = Some((now, cpu_ns));
        let used = cpu_ns.saturating_sub(used_ns) as f64 / 1e9;
        let share = used / passed.as_secs_f64() / cpus;
        let scaled = (share * 1e9) as u64;
        self.histogram.buckets[bucket_of(scaled)] += 1;
        self.histogram.sum_ns += scaled;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_four_cpus_is_a_quarter_each_second() {
        let mut utilization = Utilization::default();
        let start = Instant::now();
        for tick in 0..=20u32 {
            let passed = Duration::from_millis(200) * tick;
            utilization.push(start + passed, passed.as_nanos() as u64, 4.0);
        }
        assert_eq!(utilization.histogram.count(), 4);
        assert_eq!(utilization.histogram.sum_ns, 1_000_000_000);
        assert_eq!(utilization.histogram.buckets[bucket_of(250_000_000)], 4);
    }
}
