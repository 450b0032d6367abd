//! Figures from the text that the agent answers a scrape with.

use anyhow::{Context, Result};

/// The value of a metric that has one series.
pub(crate) fn metric(text: &str, name: &str) -> Result<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
        .with_context(|| format!("the agent's /metrics has no {name}"))
}

/// The sum of a metric's series whose labels contain all of these, `None` where there is none.
pub(crate) fn sum(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let series = text.lines().filter_map(|line| {
        let (present, value) = line
            .strip_prefix(name)?
            .strip_prefix('{')?
            .split_once("} ")?;
        let wanted = labels.iter().all(|label| present.contains(label));
        wanted.then(|| value.parse::<f64>().ok())?
    });
    series.reduce(|sum, value| sum + value)
}

/// The values of a metric's series by one of their labels.
pub(crate) fn by_label<'a>(text: &'a str, name: &str, label: &str) -> Vec<(&'a str, f64)> {
    let begin = format!("{label}=\"");
    let series = text.lines().filter_map(|line| {
        let (present, value) = line
            .strip_prefix(name)?
            .strip_prefix('{')?
            .split_once("} ")?;
        let mut labels = present.split(',');
        let of_label = labels.find_map(|label| label.strip_prefix(&begin)?.strip_suffix('"'))?;
        Some((of_label, value.parse().ok()?))
    });
    series.collect()
}

/// How many series of a text are wanted.
pub(crate) fn count(text: &str, wanted: impl Fn(&str) -> bool) -> u64 {
    let series = text.lines().filter(|line| !line.starts_with('#'));
    series.filter(|line| wanted(line)).count() as u64
}

#[cfg(test)]
mod tests {
    use super::{by_label, count, metric, sum};

    const TEXT: &str = "# TYPE a gauge\na_b 1\na 2.5\n\
                        c{x=\"1\",y=\"2\"} 3\nc{x=\"1\",y=\"3\"} 4\nc{x=\"2\",y=\"3\"} 5\n";

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        assert!((metric(TEXT, "a").unwrap() - 2.5).abs() < f64::EPSILON);
        assert!(metric(TEXT, "b").is_err());
    }

    #[test]
    fn comments_are_no_series() {
        assert_eq!(count(TEXT, |line| line.starts_with('c')), 3);
        assert_eq!(count(TEXT, |_| true), 5);
    }

    #[test]
    fn series_are_summed_by_their_labels() {
        assert_eq!(sum(TEXT, "c", &["x=\"1\""]), Some(7.0));
        assert_eq!(sum(TEXT, "c", &["x=\"1\"", "y=\"3\""]), Some(4.0));
        assert_eq!(sum(TEXT, "c", &["x=\"3\""]), None);
        assert_eq!(sum(TEXT, "a", &[]), None);
    }

    #[test]
    fn series_are_told_apart_by_a_label() {
        assert_eq!(
            by_label(TEXT, "c", "y"),
            [("2", 3.0), ("3", 4.0), ("3", 5.0)]
        );
        assert_eq!(by_label(TEXT, "c", "z"), []);
    }
}
