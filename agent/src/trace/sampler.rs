//! Which traces are kept: a part of them by their ids, and fewer where there are too many spans.

use std::time::{Duration, Instant};

use super::settings::WHOLE;

/// How long there must be room before more are kept again.
const CALM: Duration = Duration::from_secs(10);
/// The least part that is tried: one in a thousand.
const LEAST: f64 = 0.001;

/// See the module.
#[derive(Debug)]
pub(super) struct Sampler {
    /// What is wanted.
    wanted: f64,
    /// What is in effect.
    ratio: f64,
    limit: f64,
    /// Spans that there is room for.
    room: f64,
    /// The most of them.
    burst: f64,
    looked: Instant,
    /// When there was no room, or more was begun with.
    changed: Instant,
}

impl Sampler {
    /// `ratio` in millionths; `burst` is for how many seconds spans may come at once.
    pub(super) fn new(ratio: u32, spans_a_second: u32, burst: u32, now: Instant) -> Self {
        let burst = f64::from(spans_a_second) * f64::from(burst);
        let ratio = f64::from(ratio) / f64::from(WHOLE);
        Self {
            wanted: ratio,
            ratio,
            limit: f64::from(spans_a_second),
            room: burst,
            burst,
            looked: now,
            changed: now,
        }
    }

    /// The part that is kept now.
    pub(super) fn ratio(&self) -> f64 {
        self.ratio
    }

    /// Whether a trace is kept that nobody has decided about. As the specification has it for `TraceIdRatioBased`, so that
    /// every program of a trace decides alike.
    pub(super) fn keeps(&mut self, trace: [u8; 16], now: Instant) -> bool {
        self.recover(now);
        let mut last = [0; 8];
        last.copy_from_slice(&trace[8..]);
        let place = u64::from_be_bytes(last) >> 1;
        // The bound has 63 bits; a float has 53, which is enough for a ratio less than 1.
        self.ratio >= 1.0 || (place as f64) < self.ratio * (1_u64 << 63) as f64
    }

    /// Keeps more again after some calm.
    fn recover(&mut self, now: Instant) {
        if self.ratio < self.wanted && now.saturating_duration_since(self.changed) >= CALM {
            self.ratio = (self.ratio * 2.0).min(self.wanted);
            self.changed = now;
        }
    }

    /// Takes the room for a span; `false` where there is none, which halves the ratio.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.looked).as_secs_f64();
        self.looked = now;
        self.room = (self.room + passed * self.limit).min(self.burst);
        if self.room >= 1.0 {
            self.room -= 1.0;
            self.recover(now);
            return true;
        }
        // Once a second, or a burst would end all.
        if now.saturating_duration_since(self.changed) >= Duration::from_secs(1)
            || self.ratio >= self.wanted
        {
            self.ratio = (self.ratio / 2.0).max(LEAST.min(self.wanted));
            self.changed = now;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(last: u64) -> [u8; 16] {
        let mut trace = [7; 16];
        trace[8..].copy_from_slice(&last.to_be_bytes());
        trace
    }

    #[test]
    fn a_part_is_kept_by_the_id() {
        let now = Instant::now();
        let mut half = Sampler::new(WHOLE / 2, 100, 1, now);
        assert!(half.keeps(trace(0), now));
        assert!(half.keeps(trace(u64::MAX / 2 - 1000), now));
        assert!(!half.keeps(trace(u64::MAX), now));
        let kept = (0..10_000_u64)
            .filter(|n| half.keeps(trace(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)), now))
            .count();
        assert!((4_900..5_100).contains(&kept), "{kept}");
        assert!(!Sampler::new(0, 100, 1, now).keeps(trace(0), now));
        assert!(Sampler::new(WHOLE, 100, 1, now).keeps(trace(u64::MAX), now));
    }

    #[test]
    fn too_many_spans_halve_the_ratio_and_it_recovers() {
        let start = Instant::now();
        let mut sampler = Sampler::new(WHOLE, 10, 1, start);
        let taken = (0..1000).filter(|_| sampler.admit(start)).count();
        assert_eq!(taken, 10);
        assert!((sampler.ratio() - 0.5).abs() < f64::EPSILON);
        // It is halved once a second as long as it is too much.
        let mut now = start;
        for _ in 0..3 {
            now += Duration::from_secs(1);
            let taken = (0..1000).filter(|_| sampler.admit(now)).count();
            assert_eq!(taken, 10);
        }
        assert!((sampler.ratio() - 1.0 / 16.0).abs() < f64::EPSILON);
        for _ in 0..5 {
            now += CALM;
            assert!(sampler.admit(now));
        }
        assert!((sampler.ratio() - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_ratio_never_becomes_nothing_unless_that_is_wanted() {
        let start = Instant::now();
        let mut sampler = Sampler::new(WHOLE, 1, 1, start);
        for second in 0..100 {
            let now = start + Duration::from_secs(second);
            for _ in 0..10 {
                let _taken = sampler.admit(now);
            }
        }
        assert!((sampler.ratio() - LEAST).abs() < f64::EPSILON);
        let mut none = Sampler::new(0, 1, 1, start);
        let _taken = (none.admit(start), none.admit(start));
        assert!(none.ratio() == 0.0);
    }
}
