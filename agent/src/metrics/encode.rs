//! The exposition: a snapshot and the catalogue become text 0.0.4, OpenMetrics 1.0 or protobuf.
//!
//! prometheus-client writes OpenMetrics and protobuf. It has no writer for text 0.0.4, which differs from
//! its OpenMetrics only in the comment lines, so that one is made from the other line by line.
//!
//! Histograms keep the kernel's buckets: classic ones at the powers of two that the family names, and with
//! protobuf the native ones of schema 2, both exact.

mod protobuf;

use std::{
    fmt::{self, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
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

use super::settings::ClassicBuckets;
use super::{
    budget::{Cut, Size},
    catalog::families,
    created::Created,
    family::{Dropped, Family, Kind, Out, Samples, Since, State, Unit},
    http::Http,
    label::Pair,
    node::Node,
    process::OwnProcess,
};
use crate::snapshot::Snapshot;

/// An exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// What an exposition is made of.
#[derive(Clone, Debug)]
pub struct Request {
    /// The agent's last sample.
    pub snapshot: Arc<Snapshot>,
    /// How long scrapes took.
    pub scrapes: Histogram,
    /// What the agent has been asked over HTTP.
    pub http: Arc<Http>,
    /// How it is written.
    pub format: Format,
    /// How many classic buckets the sessions' histograms have.
    pub classic: ClassicBuckets,
    /// The most series.
    pub max_series: u64,
}

/// What expositions have told so far, which those to come must go on from.
#[derive(Debug, Default)]
pub struct Told {
    /// Series that the budget has left out.
    dropped: Mutex<Dropped>,
    /// When series were 0.
    created: Mutex<Created>,
}

#[cfg(test)]
impl Told {
    /// After expositions that left these out.
    pub(super) fn of_dropped(dropped: Dropped) -> Self {
        Self {
            dropped: Mutex::new(dropped),
            ..Self::default()
        }
    }
}

/// Writes an exposition. What its budget leaves out is added to what has been left out before, which is in it: added
/// and read in one, so that no exposition tells of less than one that was written before.
pub fn encode(request: &Request, told: &Told) -> Result<Vec<u8>, String> {
    let lock = || told.dropped.lock().unwrap_or_else(PoisonError::into_inner);
    let so_far = lock().clone();
    let (body, series) = Exposition::write(request, so_far, None, told)?;
    if series <= request.max_series {
        return Ok(body);
    }
    // Rare enough to be written twice.
    let sizes = sizes(request);
    // What is left out is told by a series for each family.
    let with_a_series = sizes.iter().filter(|size| !size.of_sessions.is_empty());
    let most = request
        .max_series
        .saturating_sub(with_a_series.count() as u64);
    let cut = Cut::choose(&request.snapshot, &sizes, most);
    let so_far = {
        let mut so_far = lock();
        cut.count(&sizes, &mut so_far);
        so_far.clone()
    };
    Exposition::write(request, so_far, Some(cut), told).map(|(body, _)| body)
}

/// How many series each family has.
fn sizes(request: &Request) -> Vec<Size> {
    let snapshot = &request.snapshot;
    let (process, node) = (OwnProcess::read(), Node::read());
    let state = State {
        snapshot,
        process: process.as_ref(),
        node: node.as_ref(),
        scrapes: &request.scrapes,
        http: &request.http,
        series: 0,
        dropped: &Dropped::new(),
    };
    let size = |family: &'static Family| {
        let count = |read: &dyn Fn(&mut dyn Out)| {
            let mut counted = Counted {
                family,
                classic: request.classic,
                series: 0,
            };
            read(&mut counted);
            counted.series
        };
        let of_sessions: Vec<u64> = match family.samples {
            Samples::PerSession(read) | Samples::Occasional(read) => {
                let sessions = snapshot.sessions.iter();
                sessions.map(|s| count(&|out| read(s, out))).collect()
            }
            Samples::Node(_) => Vec::new(),
        };
        let series = match family.samples {
            Samples::Node(read) => count(&|out| read(&state, out)),
            _ => of_sessions.iter().sum(),
        };
        Size {
            family,
            series,
            of_sessions,
        }
    };
    families()
        .filter(|f| f.exists_in(snapshot))
        .map(size)
        .collect()
}

/// Only counts.
struct Counted {
    family: &'static Family,
    classic: ClassicBuckets,
    series: u64,
}

impl Out for Counted {
    fn number(&mut self, _: &[Pair<'_>], _: f64) {
        self.series += 1;
    }

    fn histogram(&mut self, _: &[Pair<'_>], _: &Histogram) {
        if let Kind::Histogram(buckets) = self.family.kind {
            // The last bucket, the sum and the count.
            self.series += buckets.classic(self.classic).len() as u64 + 3;
        }
    }

    fn bounded_histogram(&mut self, _: &[Pair<'_>], _: &[u64], _: &Histogram, _: f64) {
        if let Kind::BoundedHistogram(bounds) = self.family.kind {
            self.series += bounds.wanted(self.classic).len() as u64 + 3;
        }
    }
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
    request: Request,
    process: Option<OwnProcess>,
    node: Option<Node>,
    dropped: Dropped,
    cut: Cut,
    /// Series written.
    series: Arc<AtomicU64>,
    /// From when on each sample counts, by family, in the order in which they are written.
    since: Arc<Mutex<Vec<Vec<Option<SystemTime>>>>>,
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exposition").finish_non_exhaustive()
    }
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut series = 0;
        let mut since = Vec::new();
        for family in families().filter(|f| f.exists_in(&self.request.snapshot)) {
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
                    Kind::Histogram(_) | Kind::BoundedHistogram(_) => MetricType::Histogram,
                },
            )?;
            for sample in &samples {
                series += sample.write(&mut metric, family.kind, self.request.classic)?;
            }
            since.push(samples.iter().map(|sample| sample.since).collect());
        }
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = since;
        self.series.store(series, Ordering::Relaxed);
        Ok(())
    }
}

impl Exposition {
    /// The text or the bytes, and the number of series in it.
    fn write(
        request: &Request,
        dropped: Dropped,
        cut: Option<Cut>,
        told: &Told,
    ) -> Result<(Vec<u8>, u64), String> {
        let cut_nothing = cut.is_none();
        let series = Arc::new(AtomicU64::new(0));
        let since = Arc::new(Mutex::new(Vec::new()));
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Self {
            request: request.clone(),
            process: OwnProcess::read(),
            node: Node::read(),
            dropped,
            cut: cut.unwrap_or_default(),
            series: Arc::clone(&series),
            since: Arc::clone(&since),
        }));
        let body = if request.format == Format::Protobuf {
            let families = prometheus_protobuf::encode(&registry).map_err(|e| e.to_string())?;
            let since = since.lock().unwrap_or_else(PoisonError::into_inner);
            let mut created = told.created.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = SystemTime::now().checked_sub(request.snapshot.taken.elapsed());
            let whole = cut_nothing.then(|| taken.unwrap_or(SystemTime::UNIX_EPOCH));
            protobuf::body(families, &since, &mut created, whole)
        } else {
            let mut open_metrics = String::new();
            text::encode(&mut open_metrics, &registry).map_err(|e| e.to_string())?;
            match request.format {
                Format::Text => to_text_format(&open_metrics).into_bytes(),
                _ => open_metrics.into_bytes(),
            }
        };
        Ok((body, series.load(Ordering::Relaxed)))
    }

    fn samples(&self, family: &Family, series: u64) -> Vec<Sample<'_>> {
        let snapshot = &self.request.snapshot;
        let since = family.since();
        let mut out = Collected {
            scope: Vec::new(),
            since: (since == Since::Start).then_some(snapshot.agent.started),
            samples: Vec::new(),
        };
        match family.samples {
            Samples::PerSession(read) | Samples::Occasional(read) => {
                for (position, session) in snapshot.sessions.iter().enumerate() {
                    if self.cut.leaves_out(family, position) {
                        continue;
                    }
                    let identity = &session.identity;
                    out.scope = vec![
                        ("session", &identity.session),
                        ("namespace", &identity.namespace),
                        ("template", &identity.template),
                    ];
                    out.since = match since {
                        Since::Adoption => Some(session.adopted),
                        Since::Making => session.made,
                        Since::Start | Since::NotTold => None,
                    };
                    read(session, &mut out);
                }
            }
            Samples::Node(read) => read(
                &State {
                    snapshot,
                    process: self.process.as_ref(),
                    node: self.node.as_ref(),
                    scrapes: &self.request.scrapes,
                    http: &self.request.http,
                    series,
                    dropped: &self.dropped,
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
        Unit::Celsius => Some(ClientUnit::Celsius),
        Unit::Joules => Some(ClientUnit::Joules),
        // The client's own unit would append "ratios"; the rest it does not have.
        Unit::Ratio
        | Unit::Watts
        | Unit::Hertz
        | Unit::Pixels
        | Unit::Cores
        | Unit::BytesPerSecond => unit
            .suffix()
            .map(|suffix| ClientUnit::Other(suffix.to_owned())),
    }
}

struct Collected<'a> {
    scope: Vec<(&'a str, &'a str)>,
    since: Option<SystemTime>,
    samples: Vec<Sample<'a>>,
}

struct Sample<'a> {
    scope: Vec<(&'a str, &'a str)>,
    labels: Vec<(&'static str, String)>,
    value: Value,
    /// When it was 0.
    since: Option<SystemTime>,
}

enum Value {
    Number(f64),
    Histogram(Box<Histogram>),
    /// The counts between a family's own bounds, the native histogram, and the sum.
    Bounded(Vec<u64>, Box<Histogram>, f64),
}

impl Collected<'_> {
    fn push(&mut self, labels: &[Pair<'_>], value: Value) {
        let labels = labels
            .iter()
            .map(|pair| pair.parts())
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
        self.samples.push(Sample {
            scope: self.scope.clone(),
            labels,
            value,
            since: self.since,
        });
    }
}

impl Out for Collected<'_> {
    fn number(&mut self, labels: &[Pair<'_>], value: f64) {
        self.push(labels, Value::Number(value));
    }

    fn histogram(&mut self, labels: &[Pair<'_>], histogram: &Histogram) {
        self.push(labels, Value::Histogram(Box::new(*histogram)));
    }

    fn bounded_histogram(
        &mut self,
        labels: &[Pair<'_>],
        counts: &[u64],
        native: &Histogram,
        sum: f64,
    ) {
        let value = Value::Bounded(counts.to_vec(), Box::new(*native), sum);
        self.push(labels, value);
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
        labels.extend(self.labels.iter().map(|(k, v)| (*k, v.as_str())));
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
                let octaves = buckets.classic(classic);
                let classic = classic_buckets(histogram, buckets.shift, &octaves);
                let sum = histogram.sum_ns as f64 / 1e9;
                write_histogram(metric, &classic, histogram, buckets.shift, sum)
            }
            (Value::Bounded(counts, native, sum), Kind::BoundedHistogram(bounds)) => {
                let classic = bounds.classic(counts, classic);
                write_histogram(metric, &classic, native, bounds.shift as i32, *sum)
            }
            // A row of the catalogue with the wrong type; a test reads every row.
            (Value::Histogram(_) | Value::Bounded(..), _) => Err(fmt::Error),
        }
    }
}

/// Writes classic buckets, not cumulative, and the native ones of a histogram that is shifted by so many octaves.
fn write_histogram(
    metric: &mut MetricEncoder<'_>,
    classic: &[(f64, u64)],
    histogram: &Histogram,
    shift: i32,
    sum: f64,
) -> Result<u64, fmt::Error> {
    let (spans, deltas) = native_buckets(histogram, shift);
    metric.encode_histogram_with_native::<NoLabelSet>(
        sum,
        histogram.count(),
        classic,
        None,
        NativeHistogram {
            schema: 2,
            zero_threshold: f64::exp2(f64::from(MIN_OCTAVE + shift)),
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
mod tests;
