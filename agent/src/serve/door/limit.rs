//! How often may be asked: a bucket of tokens, as the format has it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A bucket, full at first.
#[derive(Debug)]
pub(super) struct Limit {
    burst: u32,
    interval: Duration,
    /// When it would be full if nothing were taken out.
    full_at: Mutex<Instant>,
}

impl Limit {
    /// With room for so many, and one more after each interval.
    pub(super) fn new(burst: u32, interval: Duration) -> Self {
        Self {
            burst,
            interval,
            full_at: Mutex::new(Instant::now()),
        }
    }

    /// The number and the interval.
    pub(super) fn rate(&self) -> (u32, Duration) {
        (self.burst, self.interval)
    }

    /// Takes one out at a time, if there is one.
    pub(super) fn take(&self, now: Instant) -> bool {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let then = (*full_at).max(now) + self.interval;
        let has_one = then <= now + self.interval * self.burst;
        if has_one {
            *full_at = then;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_for_each_interval() {
        let second = Duration::from_secs(1);
        let limit = Limit::new(3, second);
        let begin = Instant::now() + second;
        let taken = |at| (0..10).filter(|_| limit.take(at)).count();
        assert_eq!(taken(begin), 3);
        assert_eq!(taken(begin + second / 2), 0);
        assert_eq!(taken(begin + second), 1);
        assert_eq!(taken(begin + 3 * second), 2);
        // Never more than the burst.
        assert_eq!(taken(begin + 100 * second), 3);
    }
}
