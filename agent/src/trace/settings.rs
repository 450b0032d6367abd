//! What can be set of traces.

use std::time::Duration;

use crate::named::named;
use crate::setting::{Field, Key, Table, form};

/// Traces.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where they go; `None` leaves it to `OTEL_EXPORTER_OTLP_ENDPOINT`, and without that there are none.
    pub endpoint: Option<String>,
    /// How they go there; `None` leaves it to `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub protocol: Option<Protocol>,
    /// The part of all traces that is kept, in millionths; `None` leaves it to `OTEL_TRACES_SAMPLER_ARG`.
    pub ratio: Option<u32>,
    /// Spans a second beyond which fewer traces are kept.
    pub spans_a_second: u32,
    /// The environment that the node is in; `None` for none.
    pub environment: Option<String>,
    /// A minute in which one in a hundred waits for a CPU takes longer is an incident.
    pub run_queue_wait: Duration,
}

named! {
    /// A form of OTLP.
    pub enum Protocol {
        /// gRPC.
        Grpc = "grpc",
        /// Protobuf over HTTP/1.1.
        Http = "http/protobuf",
    }
}

/// All of them, in the unit of [`Settings::ratio`].
pub(super) const WHOLE: u32 = 1_000_000;

impl Default for Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: None,
            ratio: None,
            spans_a_second: 100,
            environment: None,
            run_queue_wait: Duration::from_millis(100),
        }
    }
}

/// Reads a part of the whole: `0.25`.
pub(super) fn ratio(text: &str) -> Result<u32, String> {
    let wrong = || format!("expected a number from 0 to 1 such as 0.25, found \"{text}\"");
    let ratio: f64 = text.trim().parse().map_err(|_| wrong())?;
    if !(0.0..=1.0).contains(&ratio) {
        return Err(wrong());
    }
    // In range by what is above.
    Ok((ratio * f64::from(WHOLE)).round() as u32)
}

/// Checks where traces go.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    match rest {
        Some(rest)
            if !rest.is_empty()
                && !rest.starts_with('/')
                && !text.contains(char::is_whitespace) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(format!(
            "expected a URL such as \"http://127.0.0.1:4317\", found \"{text}\""
        )),
    }
}

/// The table `traces`.
pub const TABLE: Table<Settings> = Table {
    name: "traces",
    about: "Traces of sessions and of what the agent does, by OTLP. What a key does not say, OpenTelemetry's own \
            variables do: OTEL_EXPORTER_OTLP_ENDPOINT, _PROTOCOL, _HEADERS, _TIMEOUT and _CERTIFICATE, those of them \
            that have TRACES in their names, OTEL_TRACES_SAMPLER_ARG (also OTEL_SAMPLING_RATE), OTEL_SERVICE_NAME, \
            OTEL_RESOURCE_ATTRIBUTES, OTEL_SDK_DISABLED.",
    keys: &[
        Key {
            name: "endpoint",
            flag: None,
            doc: "Where a collector takes OTLP: with gRPC its address, with HTTP the address that /v1/traces is appended to. Without it, and without the variable, there are no traces.",
            field: Field::Text {
                form: "URL",
                get: |settings| settings.endpoint.clone(),
                set: |settings, text| {
                    settings.endpoint = Some(endpoint(text)?);
                    Ok(())
                },
            },
        },
        Key {
            name: "protocol",
            flag: None,
            doc: "How the collector is spoken to. Without it, and without the variable, grpc.",
            field: Field::Text {
                form: "`grpc` or `http/protobuf`",
                get: |settings| settings.protocol.map(|protocol| protocol.name().to_owned()),
                set: |settings, text| {
                    settings.protocol = Some(form::choose(text)?);
                    Ok(())
                },
            },
        },
        Key {
            name: "ratio",
            flag: None,
            doc: "The part of all traces that is kept, by their ids, so that every agent keeps the same ones. A request that belongs to a trace is kept if that is. Without it, and without the variables, all are.",
            field: Field::Text {
                form: "number from 0 to 1, as a string",
                get: |settings| {
                    settings
                        .ratio
                        .map(|ratio| (f64::from(ratio) / f64::from(WHOLE)).to_string())
                },
                set: |settings, text| {
                    settings.ratio = Some(ratio(text)?);
                    Ok(())
                },
            },
        },
        Key {
            name: "spans_a_second",
            flag: None,
            doc: "Spans a second beyond which the ratio is halved, again and again if need be; it recovers when there are fewer. vdi_agent_trace_sampling_ratio has the one in effect.",
            field: Field::Integer {
                range: 1..=100_000,
                get: |settings| settings.spans_a_second,
                set: |settings, value| settings.spans_a_second = value,
            },
        },
        Key {
            name: "environment",
            flag: None,
            doc: "The environment that the node is in (production, staging), the attribute deployment.environment of every span.",
            field: Field::Text {
                form: "text",
                get: |settings| settings.environment.clone(),
                set: |settings, text| {
                    settings.environment = Some(text.to_owned());
                    Ok(())
                },
            },
        },
        Key {
            name: "run_queue_wait",
            flag: None,
            doc: "A minute of a session in which one in a hundred waits for a CPU takes longer than that is a span of its trace.",
            field: Field::Duration {
                range: Duration::from_millis(1)..=Duration::from_secs(10),
                get: |settings| settings.run_queue_wait,
                set: |settings, value| settings.run_queue_wait = value,
            },
        },
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_a_part_of_the_whole() {
        assert_eq!(ratio("0.25"), Ok(250_000));
        assert_eq!(ratio(" 1 "), Ok(WHOLE));
        assert_eq!(ratio("0"), Ok(0));
        for wrong in ["", "-0.1", "1.1", "NaN", "half", "inf"] {
            assert!(ratio(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_endpoint_is_a_url() {
        for right in [
            "http://127.0.0.1:4317",
            "https://collector.example:4318/otlp",
        ] {
            assert!(endpoint(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "collector:4317",
            "http://",
            "http:///v1",
            "grpc://a",
            "http://a b",
        ] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }
}
