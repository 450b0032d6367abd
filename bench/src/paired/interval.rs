//! What a set of paired differences says: their median, and how sure it is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::numbers::median;

/// Samples drawn with replacement for an interval; more change its ends by less than is printed.
const RESAMPLES: usize = 4_000;

/// A median with intervals around it (bootstrap, percentiles).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    pub(crate) median: f64,
    /// The ends of the 95 % interval, which is what is printed.
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Whether the 99.9 % interval holds 0: then the sides are not told apart. Not the printed one, because a page
    /// of twenty rows would have one that says so wrongly.
    pub(crate) holds_zero: bool,
    /// Pairs that it is made from.
    pub(crate) pairs: usize,
}

impl Interval {
    /// That of these differences; the same differences always give the same.
    pub(crate) fn of(differences: &[f64]) -> Self {
        Self::around(differences, |values| median(values.iter().copied()))
    }

    /// The same around the mean, for what is done in some of the measurements only.
    pub(crate) fn of_mean(values: &[f64]) -> Self {
        Self::around(values, |values| {
            values.iter().sum::<f64>() / values.len() as f64
        })
    }

    fn around(differences: &[f64], middle: impl Fn(&[f64]) -> f64) -> Self {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut drawn = differences.to_vec();
        let mut middles: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                for place in &mut drawn {
                    *place = differences[random.below(differences.len())];
                }
                middle(&drawn)
            })
            .collect();
        middles.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = (share * (RESAMPLES - 1) as f64).round() as usize;
            middles[place]
        };
        Self {
            median: middle(differences),
            low: at(0.025),
            high: at(0.975),
            holds_zero: at(0.000_5) <= 0.0 && at(0.999_5) >= 0.0,
            pairs: differences.len(),
        }
    }

    /// The same in another unit, of which each is so many.
    pub(crate) fn times(self, factor: f64) -> Self {
        Self {
            median: self.median * factor,
            low: self.low * factor,
            high: self.high * factor,
            ..self
        }
    }

    /// As text, of something that is no difference.
    pub(crate) fn plain(self) -> String {
        let Self {
            median, low, high, ..
        } = self;
        format!("{median:.1} ({low:.1} to {high:.1})")
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            median, low, high, ..
        } = *self;
        let largest = [median, low, high]
            .map(f64::abs)
            .into_iter()
            .fold(0.0, f64::max);
        let decimals = usize::from(largest < 10.0);
        write!(
            formatter,
            "{median:+.decimals$} ({low:+.decimals$} to {high:+.decimals$})"
        )?;
        if self.holds_zero {
            formatter.write_str(", not told apart")?;
        }
        Ok(())
    }
}

/// A xorshift: what a bootstrap wants of chance, and the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::{Interval, Random};

    /// Noise around a value, as a busy machine makes it: mostly small, now and then large.
    fn noisy(value: f64, pairs: usize, seed: u64) -> Vec<f64> {
        let mut random = Random(seed);
        (0..pairs)
            .map(|_| {
                let small = random.below(2_001) as f64 / 10.0 - 100.0;
                let large = if random.below(10) == 0 { 5_000.0 } else { 0.0 };
                let sign = if random.below(2) == 0 { 1.0 } else { -1.0 };
                value + small + sign * large
            })
            .collect()
    }

    #[test]
    fn what_is_planted_is_found_and_what_is_not_is_not() {
        for seed in 1..=50 {
            let planted = Interval::of(&noisy(50.0, 300, seed));
            assert!(!planted.holds_zero, "{planted}");
            assert!(
                planted.low < 50.0 && planted.high > 50.0 || (planted.median - 50.0).abs() < 20.0
            );
            let nothing = Interval::of(&noisy(0.0, 300, seed));
            assert!(nothing.holds_zero, "{nothing}");
        }
    }

    #[test]
    fn an_interval_says_when_it_tells_nothing_apart() {
        assert_eq!(Interval::of(&[3.0; 9]).to_string(), "+3.0 (+3.0 to +3.0)");
        let text = Interval::of(&[-20.0, 20.0, 0.0]).to_string();
        assert_eq!(text, "+0 (-20 to +20), not told apart");
    }
}
