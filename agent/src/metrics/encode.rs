//! The exposition: a snapshot and the catalogue become text 0.0.4, OpenMetrics 1.0 or protobuf.
//!
//! prometheus-client writes OpenMetrics and protobuf. It has no writer for text 0.0.4, which differs from
//! its OpenMetrics only in the comment lines, so that one is made from the other line by line.
//!
//! Histograms keep the kernel's buckets: classic ones at the powers of two that the family names, and with
//! protobuf the native ones of schema 2, both exact.

use std::{
    fmt::{self, Write},
    sync::Arc,
};

use agent_common::histogram::{Histogram, MIN_OCTAVE, PER_OCTAVE, native_index};
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, MetricEncoder, NativeHistogram, NativeHistogramBuckets, NoLabelSet,
        prometheus_protobuf, text,
    },
    metrics::MetricType,
    registry::{Registry, Unit as ClientUnit},
};

use super::{
    catalog::FAMILIES,
    family::{Buckets, Family, Kind, Out, Samples, State, Unit},
    process::OwnProcess,
};
use crate::{config::ClassicBuckets, snapshot::Snapshot};

/// An exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0 text.
    OpenMetrics,
    /// Length-delimited protobuf, with native histograms.
    Protobuf,
}

impl Format {
    /// The `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

/// Writes the exposition of a snapshot.
pub fn encode(
    snapshot: Arc<Snapshot>,
    scrapes: Histogram,
    format: Format,
    classic: ClassicBuckets,
) -> Result<Vec<u8>, String> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposition {
        snapshot,
        scrapes,
        classic,
        process: OwnProcess::read(),
    }));
    if format == Format::Protobuf {
        return prometheus_protobuf::encode_to_vec(&registry).map_err(|e| e.to_string());
    }
    let mut open_metrics = String::new();
    text::encode(&mut open_metrics, &registry).map_err(|e| e.to_string())?;
    Ok(if format == Format::OpenMetrics {
        open_metrics.into_bytes()
    } else {
        to_text_format(&open_metrics).into_bytes()
    })
}

/// Text 0.0.4 of an OpenMetrics text: a counter's comments carry the name of its samples, and there are
/// no units and no end mark.
fn to_text_format(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        let Some(help) = line.strip_prefix("# HELP ") else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        // prometheus-client writes HELP and then TYPE.
        let kind = lines.next().unwrap_or_default();
        let (name, help) = help.split_once(' ').unwrap_or((help, ""));
        let suffix = if kind.ends_with(" counter") {
            "_total"
        } else {
            ""
        };
        let kind = kind.rsplit(' ').next().unwrap_or_default();
        let _infallible = write!(
            out,
            "# HELP {name}{suffix} {help}
# TYPE {name}{suffix} {kind}
"
        );
    }
    out
}

struct Exposition {
    snapshot: Arc<Snapshot>,
    scrapes: Histogram,
    classic: ClassicBuckets,
    process: Option<OwnProcess>,
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exposition").finish_non_exhaustive()
    }
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut series = 0;
        for family in FAMILIES.iter().filter(|f| f.exists_in(&self.snapshot)) {
            let samples = self.samples(family, series);
            // A family without samples is absent, comments and all.
            if samples.is_empty() {
                continue;
            }
            let unit = client_unit(family.unit);
            let mut metric = encoder.encode_descriptor(
                family.stem,
                family.help,
                unit.as_ref(),
                match family.kind {
                    Kind::Counter => MetricType::Counter,
                    Kind::Gauge => MetricType::Gauge,
                    Kind::Histogram(_) => MetricType::Histogram,
                },
            )?;
            for sample in &samples {
                series += sample.write(&mut metric, family.kind, self.classic)?;
            }
        }
        Ok(())
    }
}

impl Exposition {
    fn samples(&self, family: &Family, series: u64) -> Vec<Sample<'_>> {
        let mut out = Collected {
            scope: Vec::new(),
            samples: Vec::new(),
        };
        match family.samples {
            Samples::PerSession(read) | Samples::Occasional(read) => {
                for session in &self.snapshot.sessions {
                    let identity = &session.identity;
                    out.scope = vec![
                        ("session", &identity.session),
                        ("namespace", &identity.namespace),
                        ("template", &identity.template),
                    ];
                    read(session, &mut out);
                }
            }
            Samples::Node(read) => read(
                &State {
                    snapshot: &self.snapshot,
                    process: self.process.as_ref(),
                    scrapes: &self.scrapes,
                    series,
                },
                &mut out,
            ),
        }
        out.samples
    }
}

fn client_unit(unit: Unit) -> Option<ClientUnit> {
    match unit {
        Unit::None => None,
        Unit::Seconds => Some(ClientUnit::Seconds),
        Unit::Bytes => Some(ClientUnit::Bytes),
        // The client's own unit would append "ratios".
        Unit::Ratio => Some(ClientUnit::Other("ratio".to_owned())),
    }
}

struct Collected<'a> {
    scope: Vec<(&'a str, &'a str)>,
    samples: Vec<Sample<'a>>,
}

struct Sample<'a> {
    scope: Vec<(&'a str, &'a str)>,
    labels: Vec<(String, String)>,
    value: Value,
}

enum Value {
    Number(f64),
    Histogram(Box<Histogram>),
}

impl Collected<'_> {
    fn push(&mut self, labels: &[(&str, &str)], value: Value) {
        let labels = labels
            .iter()
            .map(|&(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        self.samples.push(Sample {
            scope: self.scope.clone(),
            labels,
            value,
        });
    }
}

impl Out for Collected<'_> {
    fn number(&mut self, labels: &[(&str, &str)], value: f64) {
        self.push(labels, Value::Number(value));
    }

    fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) {
        self.push(labels, Value::Histogram(Box::new(*histogram)));
    }
}

impl Sample<'_> {
    /// Writes the sample and returns the number of its classic series.
    fn write(
        &self,
        metric: &mut MetricEncoder<'_>,
        kind: Kind,
        classic: ClassicBuckets,
    ) -> Result<u64, fmt::Error> {
        let mut labels: Vec<(&str, &str)> = self.scope.clone();
        labels.extend(self.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        if labels.is_empty() {
            self.write_value(metric, kind, classic)
        } else {
            self.write_value(&mut metric.encode_family(&labels)?, kind, classic)
        }
    }

    fn write_value(
        &self,
        metric: &mut MetricEncoder<'_>,
        kind: Kind,
        classic: ClassicBuckets,
    ) -> Result<u64, fmt::Error> {
        match (&self.value, kind) {
            (Value::Number(value), Kind::Counter) => {
                metric.encode_counter::<NoLabelSet, _, f64>(value, None)?;
                Ok(1)
            }
            (Value::Number(value), _) => {
                metric.encode_gauge(value)?;
                Ok(1)
            }
            (Value::Histogram(histogram), Kind::Histogram(buckets)) => {
                write_histogram(metric, histogram, buckets, classic)
            }
            // A row of the catalogue with the wrong type; a test reads every row.
            (Value::Histogram(_), _) => Err(fmt::Error),
        }
    }
}

fn write_histogram(
    metric: &mut MetricEncoder<'_>,
    histogram: &Histogram,
    buckets: Buckets,
    classic: ClassicBuckets,
) -> Result<u64, fmt::Error> {
    let classic = classic_buckets(histogram, buckets.shift, &buckets.classic(classic));
    let (spans, deltas) = native_buckets(histogram, buckets.shift);
    metric.encode_histogram_with_native::<NoLabelSet>(
        histogram.sum_ns as f64 / 1e9,
        histogram.count(),
        &classic,
        None,
        NativeHistogram {
            schema: 2,
            zero_threshold: f64::exp2(f64::from(MIN_OCTAVE + buckets.shift)),
            zero_count: histogram.buckets[0],
            negative: NativeHistogramBuckets {
                spans: &[],
                deltas: &[],
            },
            positive: NativeHistogramBuckets {
                spans: &spans,
                deltas: &deltas,
            },
            created: None,
        },
    )?;
    Ok(classic.len() as u64 + 2)
}

/// Non-cumulative classic buckets with upper bounds at these powers of two, ascending, and a last one
/// without an upper bound.
fn classic_buckets(histogram: &Histogram, shift: i32, octaves: &[i32]) -> Vec<(f64, u64)> {
    let mut rest = &histogram.buckets[..];
    let mut taken = 0;
    let mut out = Vec::with_capacity(octaves.len() + 1);
    for &octave in octaves {
        // Buckets up to and with the one that ends at the octave.
        let up_to = (octave - shift - MIN_OCTAVE) as usize * PER_OCTAVE as usize + 1;
        let (below, above) = rest.split_at(up_to - taken);
        out.push((f64::exp2(f64::from(octave)), below.iter().sum()));
        (rest, taken) = (above, up_to);
    }
    out.push((f64::INFINITY, rest.iter().sum()));
    out
}

/// Spans and deltas of the occupied native buckets. A gap of up to two empty buckets is cheaper inside a
/// span than between two.
fn native_buckets(histogram: &Histogram, shift: i32) -> (Vec<(i32, u32)>, Vec<i64>) {
    let mut spans: Vec<(i32, u32)> = Vec::new();
    let mut deltas = Vec::new();
    let mut previous = 0i64;
    let mut next_index = None;
    for (bucket, &count) in histogram.buckets.iter().enumerate().skip(1) {
        if count == 0 {
            continue;
        }
        let index = native_index(bucket) + shift * PER_OCTAVE as i32;
        let gap = next_index.map_or(index, |next: i32| index - next);
        match spans.last_mut() {
            Some(span) if gap <= 2 => {
                for _ in 0..gap {
                    deltas.push(-previous);
                    previous = 0;
                }
                span.1 += gap as u32 + 1;
            }
            _ => spans.push((gap, 1)),
        }
        deltas.push(count as i64 - previous);
        previous = count as i64;
        next_index = Some(index + 1);
    }
    (spans, deltas)
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
