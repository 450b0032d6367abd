//! Periods of the sampler.

use std::time::{Duration, Instant};

/// A period that has a next time; zero is never.
#[derive(Debug)]
pub(super) struct Rhythm {
    period: Duration,
    next: Instant,
}

impl Rhythm {
    pub(super) fn new(period: Duration, now: Instant) -> Self {
        Self { period, next: now }
    }

    /// Whether the time has come.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if self.period.is_zero() || now < self.next {
            return false;
        }
        // A round begins some microseconds late, and seldom by as many as the one before: counted from
        // now, the next time would every other time be just after a round.
        let planned = self.next + self.period;
        self.next = if planned > now {
            planned
        } else {
            now + self.period
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_of_zero_is_never_due() {
        let now = Instant::now();
        assert!(!Rhythm::new(Duration::ZERO, now).is_due(now));
        let mut rhythm = Rhythm::new(Duration::from_secs(5), now);
        assert!(rhythm.is_due(now));
        assert!(!rhythm.is_due(now + Duration::from_secs(4)));
        assert!(rhythm.is_due(now + Duration::from_secs(5)));
    }

    #[test]
    fn a_round_that_begins_less_late_than_the_one_before_is_not_too_early() {
        let now = Instant::now();
        let mut rhythm = Rhythm::new(Duration::from_secs(1), now);
        assert!(rhythm.is_due(now + Duration::from_micros(90)));
        assert!(rhythm.is_due(now + Duration::from_micros(1_000_050)));
        // What a hanging driver has made impossible is not made up for.
        assert!(rhythm.is_due(now + Duration::from_mins(1)));
        assert!(!rhythm.is_due(now + Duration::from_millis(60_900)));
    }
}
