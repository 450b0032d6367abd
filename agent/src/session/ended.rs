//! Sessions that have ended: how many, why, and how long they were.

use std::{collections::BTreeMap, time::Duration};

use agent_common::histogram::{BUCKETS, Histogram, bucket_of};

use crate::discover::platform::EndReason;

/// namespace, template, reason.
pub type EndedKey = (String, String, EndReason);

/// Upper bounds of durations, seconds, for which counts are kept: 1 minute to 8 hours, which operators of desktops ask
/// for, and from there to a week.
pub const DURATION_BOUNDS: [u32; 11] = [
    60, 300, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400, 172_800, 604_800,
];
/// Octaves by which the native histogram of durations is shifted: its bounds are 2^-3 s to 2^21 s (24 days).
pub const DURATION_SHIFT: u32 = 17;

/// Sessions of one kind that ended for one reason.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ended {
    /// How many.
    pub count: u64,
    /// Those whose beginning is known, by bound of their duration; the last is of those above all bounds.
    pub durations: [u64; DURATION_BOUNDS.len() + 1],
    /// The same by the native histogram's bounds, [`DURATION_SHIFT`] octaves above the kernel's; its sum is not used.
    pub native: Histogram,
    /// Sum of those durations, seconds.
    pub seconds: f64,
}

impl Ended {
    /// Nobody has.
    pub const NONE: Self = Self {
        count: 0,
        durations: [0; DURATION_BOUNDS.len() + 1],
        native: Histogram {
            buckets: [0; BUCKETS],
            sum_ns: 0,
        },
        seconds: 0.0,
    };

    /// Counts one.
    pub fn add(&mut self, duration: Option<Duration>) {
        self.count += 1;
        let Some(duration) = duration else {
            return;
        };
        let seconds = duration.as_secs_f64();
        let bucket = DURATION_BOUNDS.partition_point(|&bound| f64::from(bound) < seconds);
        self.durations[bucket] += 1;
        // What is up to 131 µs over a bound is counted below it.
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.native.buckets[bucket_of(ns >> DURATION_SHIFT)] += 1;
        self.seconds += seconds;
    }
}

impl Default for Ended {
    fn default() -> Self {
        Self::NONE
    }
}

/// All that have ended since the agent started.
pub type AllEnded = BTreeMap<EndedKey, Ended>;

#[cfg(test)]
mod tests {
    use agent_common::histogram::native_index;

    use super::*;

    #[test]
    fn a_duration_at_a_bound_is_below_it_and_one_without_a_beginning_is_only_counted() {
        let mut ended = Ended::default();
        ended.add(Some(Duration::from_mins(1)));
        ended.add(Some(Duration::from_secs(61)));
        ended.add(Some(Duration::from_hours(9)));
        ended.add(Some(Duration::from_hours(24 * 8)));
        ended.add(None);
        assert_eq!(
            (ended.count, ended.durations),
            (5, [1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1])
        );
        let sum = 60.0 + 61.0 + 32_400.0 + 691_200.0;
        assert!((ended.seconds - sum).abs() < 1e-9);
    }

    #[test]
    fn the_native_bounds_reach_from_a_quarter_of_a_second_to_three_weeks() {
        for (duration, index) in [
            (Duration::from_millis(250), -8),
            (Duration::from_secs(1), 0),
            (Duration::from_millis(1001), 1),
            (Duration::from_secs(64), 24),
            (Duration::from_secs(1 << 20), 80),
            (Duration::from_secs(1_300_000), 82),
        ] {
            let mut ended = Ended::default();
            ended.add(Some(duration));
            let bucket = ended.native.buckets.iter().position(|&n| n == 1);
            let found = bucket.map(|bucket| native_index(bucket) + 4 * DURATION_SHIFT as i32);
            assert_eq!(found, Some(index), "{duration:?}");
        }
    }
}
