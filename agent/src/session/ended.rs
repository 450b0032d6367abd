//! Sessions that have ended: how many, why, and how long they were.

use std::{collections::BTreeMap, time::Duration};

use crate::discover::platform::EndReason;

/// namespace, template, reason.
pub type EndedKey = (String, String, EndReason);

/// Upper bounds of durations, seconds: 1 minute to 8 hours, the bounds that operators of desktops ask for.
pub const DURATION_BOUNDS: [f64; 7] = [60.0, 300.0, 900.0, 1800.0, 3600.0, 14400.0, 28800.0];

/// Sessions of one kind that ended for one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ended {
    /// How many.
    pub count: u64,
    /// Those whose beginning is known, by bound of their duration; the last is of those above all bounds.
    pub durations: [u64; DURATION_BOUNDS.len() + 1],
    /// Sum of those durations, seconds.
    pub seconds: f64,
}

impl Ended {
    /// Counts one.
    pub fn add(&mut self, duration: Option<Duration>) {
        self.count += 1;
        let Some(seconds) = duration.map(|d| d.as_secs_f64()) else {
            return;
        };
        let bucket = DURATION_BOUNDS.partition_point(|&bound| bound < seconds);
        self.durations[bucket] += 1;
        self.seconds += seconds;
    }
}

/// All that have ended since the agent started.
pub type AllEnded = BTreeMap<EndedKey, Ended>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_at_a_bound_is_below_it_and_one_without_a_beginning_is_only_counted() {
        let mut ended = Ended::default();
        ended.add(Some(Duration::from_mins(1)));
        ended.add(Some(Duration::from_secs(61)));
        ended.add(Some(Duration::from_hours(9)));
        ended.add(None);
        assert_eq!(
            (ended.count, ended.durations),
            (4, [1, 1, 0, 0, 0, 0, 0, 1])
        );
        assert!((ended.seconds - (60.0 + 61.0 + 32400.0)).abs() < 1e-9);
    }
}
