//! Which exposition format a scraper wants, from its `Accept` header, and how it is to be compressed, from its
//! `Accept-Encoding`.
//!
//! Prometheus sends what it can read with weights, protobuf first when native histograms are on:
//! `application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,…`

use axum::http::{HeaderMap, HeaderName};

use crate::metrics::encode::Format;

/// How a body is compressed; of equally welcome ones the last is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Encoding {
    /// Not at all.
    Identity,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Encoding {
    /// As headers spell it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// A header whose value is a list, in which it may come more than once.
pub(super) fn list(headers: &HeaderMap, name: HeaderName) -> String {
    let values = headers.get_all(name).iter();
    let texts: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    texts.join(",")
}

/// The acceptable encoding of greatest weight; none when nothing else is asked for.
pub(super) fn encoding(accept: &str) -> Encoding {
    let wished = accept.split(',').filter_map(|wish| {
        let (name, weight) = wish.split_once(';').unwrap_or((wish, "q=1"));
        let encoding = match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Encoding::Gzip,
            "zstd" => Encoding::Zstd,
            "identity" => Encoding::Identity,
            _ => return None,
        };
        let weight: f64 = weight.trim().strip_prefix("q=")?.trim().parse().ok()?;
        (weight > 0.0).then_some((weight, encoding))
    });
    let best = wished.max_by(|(a, first), (b, second)| a.total_cmp(b).then(first.cmp(second)));
    best.map_or(Encoding::Identity, |(_, encoding)| encoding)
}

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

/// What is chosen is named, or what needs no name.
#[cfg(any(test, fuzzing))]
pub(crate) fn must_hold(accept: &str) {
    let accepted = accept.to_ascii_lowercase();
    let named = match format(accept) {
        Format::Text => "",
        Format::OpenMetrics => "application/openmetrics-text",
        Format::Protobuf => "application/vnd.google.protobuf",
    };
    assert!(accepted.contains(named), "{named} for {accept}");
    let named = match encoding(accept) {
        Encoding::Identity => "",
        Encoding::Gzip => "gzip",
        Encoding::Zstd => "zstd",
    };
    assert!(accepted.contains(named), "{named} for {accept}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fuzz::{self, text_like};

    // Prometheus 2.42 and 3.5, without and with native histograms.
    const CLASSIC: &str = "application/openmetrics-text;version=1.0.0,\
        application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    const NATIVE: &str = "application/vnd.google.protobuf;\
        proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
        application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
        text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

    #[test]
    fn the_heaviest_readable_format_wins() {
        assert_eq!(format(CLASSIC), Format::OpenMetrics);
        assert_eq!(format(NATIVE), Format::Protobuf);
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

    #[test]
    fn the_heaviest_encoding_wins_and_of_equal_ones_zstd() {
        // Prometheus, curl --compressed, a browser, and some that are particular.
        assert_eq!(encoding("gzip"), Encoding::Gzip);
        assert_eq!(encoding("deflate, gzip, br, zstd"), Encoding::Zstd);
        assert_eq!(encoding("GZIP;q=0.8, zstd; q=0.5"), Encoding::Gzip);
        assert_eq!(encoding("gzip;q=0.5,identity"), Encoding::Identity);
        for none in ["", "br", "*", "gzip;q=0", "zstd;q=much"] {
            assert_eq!(encoding(none), Encoding::Identity, "{none}");
        }
    }

    proptest! {
        #![proptest_config(fuzz::config())]

        #[test]
        fn whatever_is_accepted_the_format_is_text_or_one_that_is_named(
            accept in text_like(&[CLASSIC, NATIVE])
        ) {
            must_hold(&accept);
        }

        #[test]
        fn whatever_encoding_is_accepted_the_body_is_plain_or_in_one_that_is_named(
            accept in text_like(&["gzip, deflate, br, zstd;q=0.5", "*;q=0.1, identity;q=0"])
        ) {
            must_hold(&accept);
        }
    }
}
