//! The kernel's clock and ours.
//!
//! Moments are kept in nanoseconds since boot and lengths are differences of those: the time of day may be set at
//! any moment. It is made at the edge, where somebody reads it.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};

/// What the two clocks may drift apart before the time of day is taken for set. A moment that is shown twice is
/// the same up to there.
const DRIFT_NS: i64 = 100_000_000;

/// The time of day at boot, nanoseconds since the epoch; 0 before it is asked for the first time.
static BOOTED_NS: AtomicI64 = AtomicI64::new(0);

/// Nanoseconds since boot, time asleep included: what `bpf_ktime_get_boot_ns` returns.
pub fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The time of day of a moment given in nanoseconds since boot.
pub fn wall_of_boot(ns: u64) -> Option<SystemTime> {
    let since_epoch = u64::try_from(booted_ns()).ok()?.checked_add(ns)?;
    UNIX_EPOCH.checked_add(Duration::from_nanos(since_epoch))
}

/// Nanoseconds since boot of a time of day; 0 for one before.
pub fn boot_of_wall(time: SystemTime) -> u64 {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    // What a platform says may be beyond what these count, which is the year 2262.
    let since_epoch = i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX);
    u64::try_from(since_epoch.saturating_sub(booted_ns())).unwrap_or(0)
}

fn booted_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ns = now.unwrap_or_default().as_nanos() as i64;
    let measured = now_ns - boot_ns() as i64;
    let before = BOOTED_NS.load(Ordering::Relaxed);
    if before != 0 && measured.abs_diff(before) <= DRIFT_NS as u64 {
        return before;
    }
    BOOTED_NS.store(measured, Ordering::Relaxed);
    measured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_that_is_shown_twice_is_the_same() {
        let ns = boot_ns();
        let shown = wall_of_boot(ns).unwrap();
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(wall_of_boot(ns), Some(shown));
        assert_eq!(boot_of_wall(shown), ns);
    }

    #[test]
    fn what_was_before_boot_is_at_boot() {
        assert_eq!(boot_of_wall(UNIX_EPOCH), 0);
    }

    #[test]
    fn what_is_further_than_can_be_counted_is_still_to_come() {
        let years = Duration::from_hours(24 * 365);
        for years in [300, 400, 600, 8_000].map(|number| years * number) {
            assert!(boot_of_wall(UNIX_EPOCH + years) > boot_ns());
        }
    }
}
