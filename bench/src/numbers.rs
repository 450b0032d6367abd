//! What tables say about many values: medians, quartiles, spreads, and how they are printed.

use std::fmt;

use serde::Serialize;

/// What stands for a number that is not known.
pub(crate) const UNKNOWN: &str = "–";

/// The value that a quarter of the values are below.
pub(crate) fn lower_quartile(values: impl IntoIterator<Item = f64>) -> f64 {
    let sorted = sorted(values);
    sorted.get(sorted.len() / 4).copied().unwrap_or(f64::NAN)
}

/// The median, the robust choice where a neighbour on the machine spoils single measurements.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The least of the values that 99 in 100 do not exceed.
pub(crate) fn p99(values: impl IntoIterator<Item = f64>) -> f64 {
    let sorted = sorted(values);
    let rank = (sorted.len() * 99).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// What a value was over all rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) largest: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        Self {
            least: values.iter().copied().fold(f64::NAN, f64::min),
            largest: values.iter().copied().fold(f64::NAN, f64::max),
            median: median(values),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            median,
            least,
            largest,
        } = *self;
        // Four digits are more than any machine repeats.
        let text = |value: f64| match value {
            value if value >= 1000.0 => grouped(value.round() as u64),
            value if value >= 100.0 => format!("{value:.1}"),
            value if value >= 10.0 => format!("{value:.2}"),
            value => format!("{value:.3}"),
        };
        let (median, least, largest) = (text(median), text(least), text(largest));
        write!(formatter, "{median} ({least}–{largest})")
    }
}

/// `met` or `not met`, for lists of expectations.
pub(crate) fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**not met**" }
}

/// A whole number with its thousands apart: `1,000,000`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration with two significant digits and the unit that makes them readable.
pub(crate) fn seconds(duration: Option<f64>) -> String {
    let Some(duration) = duration else {
        return UNKNOWN.into();
    };
    let (value, unit) = if duration < 1e-3 {
        (duration * 1e6, "µs")
    } else if duration < 1.0 {
        (duration * 1e3, "ms")
    } else {
        (duration, "s")
    };
    let decimals = usize::from(value < 9.95);
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::{Spread, grouped, lower_quartile, median, p99, seconds};

    #[test]
    fn the_median_is_the_middle_or_between_the_two() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median([]).is_nan());
    }

    #[test]
    fn a_quarter_is_below_the_lower_quartile() {
        let values = [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0];
        assert!((lower_quartile(values) - 3.0).abs() < f64::EPSILON);
        assert!((lower_quartile([1.0]) - 1.0).abs() < f64::EPSILON);
        assert!(lower_quartile([]).is_nan());
    }

    #[test]
    fn one_in_a_hundred_is_above_the_last_percentile() {
        let values = (1..=100).map(f64::from);
        assert!((p99(values) - 99.0).abs() < f64::EPSILON);
        assert!((p99([2.0, 1.0]) - 2.0).abs() < f64::EPSILON);
        assert!(p99([]).is_nan());
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(123_456), "123,456");
        assert_eq!(grouped(1_000_000), "1,000,000");
    }

    #[test]
    fn a_spread_has_as_many_digits_as_mean_something() {
        let text = Spread::of([20_000.4, 3.25, 111.11]).to_string();
        assert_eq!(text, "111.1 (3.250–20,000)");
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(seconds(Some(0.000_058)), "58 µs");
        assert_eq!(seconds(Some(0.0031)), "3.1 ms");
        assert_eq!(seconds(Some(0.0)), "0.0 µs");
        assert_eq!(seconds(Some(1.25)), "1.2 s");
        assert_eq!(seconds(None), "–");
    }
}
