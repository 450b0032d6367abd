//! The kernel's clock and ours.
//!
//! Moments are kept in nanoseconds since boot and lengths are differences of those: the time of day may be set at
//! any moment. It is made at the edge, where somebody reads it.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_getres, clock_gettime};

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

/// Nanoseconds from one of the kernel's ticks to the next, 1 / `CONFIG_HZ`: what the clock that only ticks move can tell
/// (kernel/time/posix-timers.c, `posix_get_coarse_res`).
pub fn tick_ns() -> u32 {
    let tick = clock_getres(ClockId::MonotonicCoarse);
    u32::try_from(tick.tv_nsec).unwrap_or(0)
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

/// Microseconds of the monotonic clock, as systemd and logind date what happens.
pub fn monotonic_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

/// Nanoseconds since boot of a moment of the monotonic clock, which stands while the machine sleeps; `None` of 0, which
/// stands for never. A sleep between the moment and this call makes it later by that sleep, so a moment is converted
/// soon after it, and once.
pub fn boot_of_monotonic(micros: u64) -> Option<u64> {
    let asleep_ns = boot_ns().saturating_sub(monotonic_us() * 1000);
    let ns = micros.checked_mul(1000)?.checked_add(asleep_ns)?;
    (micros > 0).then_some(ns)
}

/// Nanoseconds since boot of a number of the kernel's ticks since then, as `/proc/PID/stat` has the start of a process in
/// its field 22: up to one tick, 10 ms, before the moment itself.
pub fn boot_of_ticks(ticks: u64, a_second: u64) -> u64 {
    let ns = u128::from(ticks) * 1_000_000_000 / u128::from(a_second.max(1));
    u64::try_from(ns).unwrap_or(u64::MAX)
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
    fn a_tick_is_that_of_a_rate_that_kernels_are_built_with() {
        let rate = 1_000_000_000 / tick_ns();
        // `CONFIG_HZ` of x86-64 and arm64 (kernel/Kconfig.hz).
        assert!([100, 250, 300, 1000].contains(&rate), "{rate} a second");
    }

    #[test]
    fn a_moment_that_is_shown_twice_is_the_same() {
        let ns = boot_ns();
        let shown = wall_of_boot(ns).unwrap();
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(wall_of_boot(ns), Some(shown));
        assert_eq!(boot_of_wall(shown), ns);
    }

    #[test]
    fn the_monotonic_clock_is_the_same_moment_and_never_is_none() {
        let apart = boot_of_monotonic(monotonic_us()).unwrap();
        let apart = apart.abs_diff(boot_ns());
        assert!(apart < 50_000_000, "{apart} ns");
        assert_eq!(boot_of_monotonic(0), None);
        assert_eq!(boot_of_monotonic(u64::MAX), None);
    }

    #[test]
    fn ticks_are_hundredths_of_a_second_or_what_the_kernel_says() {
        assert_eq!(boot_of_ticks(1234, 100), 12_340_000_000);
        assert_eq!(boot_of_ticks(1234, 1000), 1_234_000_000);
        // A machine that has been up for years is not beyond what is computed with.
        assert_eq!(boot_of_ticks(1 << 40, 100), 10_995_116_277_760_000_000);
        assert_eq!(boot_of_ticks(u64::MAX, 100), u64::MAX);
    }

    #[test]
    fn a_process_started_between_two_looks_at_the_clock() {
        let before = boot_ns();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let after = boot_ns();
        let stat = procfs::process::Process::new(child.id() as i32).and_then(|p| p.stat());
        let a_second = procfs::ticks_per_second();
        let started = boot_of_ticks(stat.unwrap().starttime, a_second);
        child.wait().unwrap();
        let tick = 1_000_000_000 / a_second;
        assert!(
            started + tick >= before && started <= after,
            "{before} {started} {after}"
        );
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
