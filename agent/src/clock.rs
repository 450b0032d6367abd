//! The kernel's clock and ours.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since boot, time asleep included: what `bpf_ktime_get_boot_ns` returns.
pub fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The time of day of a moment given in nanoseconds since boot.
pub fn wall_of_boot(ns: u64) -> Option<SystemTime> {
    SystemTime::now().checked_sub(Duration::from_nanos(boot_ns().saturating_sub(ns)))
}

/// Nanoseconds since boot of a time of day; 0 for one before.
pub fn boot_of_wall(time: SystemTime) -> u64 {
    let ago = SystemTime::now().duration_since(time).unwrap_or_default();
    boot_ns().saturating_sub(ago.as_nanos() as u64)
}
