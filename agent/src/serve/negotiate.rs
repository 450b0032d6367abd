//! Which exposition format a scraper wants, from its `Accept` header.
//!
//! Prometheus sends what it can read with weights, protobuf first when native histograms are on:
//! `application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,…`

use crate::metrics::encode::Format;

/// The acceptable format of greatest weight; of equal ones the first. Text 0.0.4 when nothing else is
/// asked for, as every client library does.
pub(super) fn format(accept: &str) -> Format {
    let mut best: Option<(f64, Format)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameters: Vec<(String, String)> = parts
            .filter_map(|p| p.split_once('='))
            .map(|(k, v)| {
                (
                    k.trim().to_ascii_lowercase(),
                    v.trim().trim_matches('"').to_owned(),
                )
            })
            .collect();
        let parameter = |name: &str| {
            parameters
                .iter()
                .find(|(k, _)| k == name)
                .map(|(_, v)| v.as_str())
        };
        let format = match media.as_str() {
            "application/vnd.google.protobuf"
                if parameter("proto") == Some("io.prometheus.client.MetricFamily")
                    && parameter("encoding") == Some("delimited") =>
            {
                Format::Protobuf
            }
            "application/openmetrics-text"
                if matches!(parameter("version"), None | Some("1.0.0" | "0.0.1")) =>
            {
                Format::OpenMetrics
            }
            "text/plain" if matches!(parameter("version"), None | Some("0.0.4")) => Format::Text,
            "*/*" | "text/*" => Format::Text,
            _ => continue,
        };
        let weight = parameter("q").and_then(|q| q.parse().ok()).unwrap_or(1.0);
        if weight > 0.0 && best.is_none_or(|(w, _)| weight > w) {
            best = Some((weight, format));
        }
    }
    best.map_or(Format::Text, |(_, format)| format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_readable_format_wins() {
        // Prometheus 2.42 and 3.5, without and with native histograms.
        let classic = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(format(classic), Format::OpenMetrics);
        let native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(format(native), Format::Protobuf);
    }

    #[test]
    fn without_a_wish_or_with_a_strange_one_it_is_text() {
        assert_eq!(format(""), Format::Text);
        assert_eq!(format("*/*"), Format::Text);
        assert_eq!(
            format("application/vnd.google.protobuf;proto=other;encoding=text"),
            Format::Text
        );
        assert_eq!(
            format("application/openmetrics-text;version=2.0.0,text/plain"),
            Format::Text
        );
        assert_eq!(format("text/plain;q=0"), Format::Text);
    }
}
