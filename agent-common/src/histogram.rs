//! Bucket arithmetic of the latency histograms.
//!
//! A boundary is `2^(k/4)` **seconds**: four buckets per octave, which is schema 2 of Prometheus's
//! native histograms, and every fourth or eighth of them is a classic `le`. Nothing is ever
//! re-bucketed, so classic and native histograms of one series agree exactly.
//!
//! Bucketing works on units of 2^-40 s, so that a bit's position says the octave: one multiply for
//! the whole and one for the fraction of 1099.511627776 units per nanosecond, a leading-zeros count,
//! and three comparisons of the mantissa. Prometheus's upper bounds are inclusive, so the product is
//! rounded down: a value equal to a boundary stays below it. The arithmetic is exact for whole
//! nanoseconds; the test checks the two nanoseconds around each of the 97 boundaries.

/// Octave of the lowest boundary: values up to 2^-20 s (0.95 µs) share the first bucket.
pub const MIN_OCTAVE: i32 = -20;
/// Octave of the highest boundary: values over 2^4 s (16 s) share the last bucket.
pub const MAX_OCTAVE: i32 = 4;
/// Buckets per octave; 4 is native-histogram schema 2.
pub const PER_OCTAVE: u32 = 4;
/// The first bucket, four per octave, and the last one.
pub const BUCKETS: usize = ((MAX_OCTAVE - MIN_OCTAVE) as usize) * PER_OCTAVE as usize + 2;

/// Observations up to this many nanoseconds are bucketed exactly; longer ones are over 2^4 s anyway.
const CLAMP_NS: u64 = 1 << 35;
/// Units of 2^-40 s in a nanosecond: the whole part, and the fraction scaled by 2^29, rounded down so
/// that a value equal to a boundary (a multiple of 2^-9 s) comes out just below it.
const UNITS_PER_NS: u64 = 1099;
const UNITS_FRACTION: u64 = 274_678_070;
const FRACTION_SHIFT: u32 = 29;
/// Mantissas of 2^(1/4), 2^(2/4) and 2^(3/4), normalised to bit 63.
const QUARTERS: [u64; 3] = [
    0x9837_f051_8db8_a970,
    0xb504_f333_f9de_6485,
    0xd744_fcca_d69d_6af5,
];

/// A latency histogram: non-cumulative bucket counts and the exact sum.
///
/// `buckets[0]` counts values up to 2^-20 s, `buckets[i]` those in `(2^((i-81)/4), 2^((i-80)/4)]`
/// seconds, the last one everything over 2^4 s.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Observations per bucket.
    pub buckets: [u64; BUCKETS],
    /// Sum of all observations, nanoseconds.
    pub sum_ns: u64,
}

const _: () = assert!(size_of::<Histogram>() == (BUCKETS + 1) * 8);

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: [0; BUCKETS],
            sum_ns: 0,
        }
    }
}

/// The bucket of an observation of `ns` nanoseconds; always below [`BUCKETS`].
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "a BPF-to-BPF call costs as much as the arithmetic"
)]
pub fn bucket_of(ns: u64) -> usize {
    let ns = if ns > CLAMP_NS { CLAMP_NS } else { ns };
    let units = ns * UNITS_PER_NS + ((ns * UNITS_FRACTION) >> FRACTION_SHIFT);
    // 2^-20 s is 2^20 units.
    if units < 1 << 20 {
        return 0;
    }
    let leading = units.leading_zeros();
    let octave = 63 - leading; // of the unit scale: 20 for 2^-20 s, 44 for 2^4 s
    let mantissa = units << leading;
    let quarter = u32::from(mantissa >= QUARTERS[0])
        + u32::from(mantissa >= QUARTERS[1])
        + u32::from(mantissa >= QUARTERS[2]);
    let index = (octave - 20) * PER_OCTAVE + quarter + 1;
    let last = BUCKETS as u32 - 1;
    (if index > last { last } else { index }) as usize
}

/// The native-histogram index (schema 2) of the upper bound of `bucket`: the bound is
/// `2^(index/4)` seconds. The last bucket has no upper bound of its own and is given the next index.
pub fn native_index(bucket: usize) -> i32 {
    MIN_OCTAVE * PER_OCTAVE as i32 + bucket as i32
}

/// Octaves by which a *long* histogram is shifted: its boundaries are 2^12 times those of an ordinary
/// one, 2^-8 s (3.9 ms) to 2^16 s (18 h), for what lasts hours. What is within 4 µs of
/// a boundary may be counted on its other side.
pub const LONG_SHIFT: u32 = 12;

/// The bucket of an observation in a long histogram.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as `bucket_of`")]
pub fn long_bucket_of(ns: u64) -> usize {
    // Rounded up, so that what is over a boundary stays over it; up to 4 µs below it is over, too.
    bucket_of((ns + (1 << LONG_SHIFT) - 1) >> LONG_SHIFT)
}

impl Histogram {
    /// Number of observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds `other` to `self`.
    pub fn add(&mut self, other: &Self) {
        let Self { buckets, sum_ns } = other;
        for (mine, theirs) in self.buckets.iter_mut().zip(buckets) {
            *mine = mine.wrapping_add(*theirs);
        }
        self.sum_ns = self.sum_ns.wrapping_add(*sum_ns);
    }

    /// What was observed since `earlier`, an older state of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut out = *self;
        let Self { buckets, sum_ns } = earlier;
        for (mine, theirs) in out.buckets.iter_mut().zip(buckets) {
            *mine = mine.saturating_sub(*theirs);
        }
        out.sum_ns = out.sum_ns.saturating_sub(*sum_ns);
        out
    }
}

crate::pod!(Histogram);

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    /// floor(2^(k/4) s) in nanoseconds, by exact integer arithmetic: the largest n with
    /// n^4 <= 2^k * 10^36, which has no rounding to argue about.
    fn boundary_ns(k: i32) -> u64 {
        let fits = |n: u64| {
            // n^4 * 2^-k <= 10^36, compared as big integers in base 2^32.
            let mut left = std::vec![1u64];
            let mul = |digits: &mut std::vec::Vec<u64>, by: u64| {
                let mut carry = 0u128;
                for d in digits.iter_mut() {
                    let v = u128::from(*d) * u128::from(by) + carry;
                    *d = (v & 0xffff_ffff) as u64;
                    carry = v >> 32;
                }
                while carry > 0 {
                    digits.push((carry & 0xffff_ffff) as u64);
                    carry >>= 32;
                }
            };
            let mut right = std::vec![1u64];
            for _ in 0..4 {
                mul(&mut left, n);
            }
            for _ in 0..4 {
                mul(&mut right, 1_000_000_000);
            }
            for _ in 0..k.unsigned_abs() {
                mul(if k < 0 { &mut left } else { &mut right }, 2);
            }
            while left.len() < right.len() {
                left.push(0);
            }
            while right.len() < left.len() {
                right.push(0);
            }
            left.iter().rev().le(right.iter().rev())
        };
        let (mut low, mut high) = (0u64, 1 << 36);
        while low + 1 < high {
            let middle = low.midpoint(high);
            if fits(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }

    #[test]
    fn every_boundary_is_exact_to_the_nanosecond_and_inclusive() {
        assert_eq!(boundary_ns(0), 1_000_000_000);
        assert_eq!(boundary_ns(-36), 1_953_125);
        for bucket in 0..BUCKETS - 1 {
            let bound = boundary_ns(native_index(bucket));
            assert_eq!(
                bucket_of(bound),
                bucket,
                "{bound} ns, the last of bucket {bucket}"
            );
            assert_eq!(
                bucket_of(bound + 1),
                bucket + 1,
                "{bound} + 1 ns is in the next bucket"
            );
        }
    }

    #[test]
    fn extremes_have_a_bucket() {
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn the_difference_of_two_states_is_what_came_between() {
        let mut early = Histogram::default();
        early.buckets[3] = 2;
        early.sum_ns = 10;
        let mut late = early;
        late.buckets[3] += 5;
        late.sum_ns += 70;
        let between = late.since(&early);
        assert_eq!((between.count(), between.sum_ns), (5, 70));
    }
}
