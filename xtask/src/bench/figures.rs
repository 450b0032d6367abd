//! Figures from the text that the agent answers a scrape with.

use anyhow::{Context, Result};

/// The namespace that the benchmarks' sessions are in.
pub(super) const NAMESPACE: &str = "namespace=\"bench\"";

/// The value of a metric that has one series.
pub(super) fn metric(text: &str, name: &str) -> Result<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
        .with_context(|| format!("the agent's /metrics has no {name}"))
}

/// The sum of a metric's series whose labels contain all of these, `None` where there is none.
pub(super) fn sum(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
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

#[cfg(test)]
mod tests {
    use super::{metric, sum};

    const TEXT: &str = "# TYPE a gauge\na_b 1\na 2.5\n\
                        c{x=\"1\",y=\"2\"} 3\nc{x=\"1\",y=\"3\"} 4\nc{x=\"2\",y=\"3\"} 5\n";

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        assert!((metric(TEXT, "a").unwrap() - 2.5).abs() < f64::EPSILON);
        assert!(metric(TEXT, "b").is_err());
    }

    #[test]
    fn series_are_summed_by_their_labels() {
        assert_eq!(sum(TEXT, "c", &["x=\"1\""]), Some(7.0));
        assert_eq!(sum(TEXT, "c", &["x=\"1\"", "y=\"3\""]), Some(4.0));
        assert_eq!(sum(TEXT, "c", &["x=\"3\""]), None);
        assert_eq!(sum(TEXT, "a", &[]), None);
    }
}
