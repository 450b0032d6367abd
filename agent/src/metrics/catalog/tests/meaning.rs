//! Whether each family says what its help says: the exposition of a snapshot against a table that is written by hand,
//! so that fields that are swapped or in the wrong unit are found without a kernel and without a GPU.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{expected::EXPECTED, families, snapshot};
use crate::{
    metrics::settings::ClassicBuckets,
    metrics::{
        encode::{Format, Request, Told, encode},
        family::{
            Family,
            Kind::{BoundedHistogram, Counter, Gauge, Histogram},
            Samples,
        },
    },
    snapshot::Snapshot,
    version,
};

/// What is read from the running process and the running node at each exposition, and not from the snapshot: nobody
/// can say here what it must be. The fields of `OwnProcess` are named as the families are.
const LIVE: [&str; 11] = [
    "vdi_agent_allocated_bytes",
    "vdi_agent_memory_limit_bytes",
    "vdi_agent_runtime_tasks",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_threads",
    "process_start_time_seconds",
    "vdi_node_cpu_steal_seconds_total",
];

/// Pairs that show the same field, the second under one value of a label.
const OF_ONE_FIELD: [[&str; 2]; 3] = [
    // Two maps that are equally large.
    ["vdi_agent_map_limit", "vdi_agent_map_limit"],
    [
        "vdi_session_oom_kills_total",
        "vdi_session_process_exits_total",
    ],
    ["vdi_session_clients", "vdi_session_tcp_connections"],
];

/// What the table abbreviates.
const SHORT: [(&str, &str); 8] = [
    (
        "@desktop",
        r#"session="desktop",namespace="studio",template="blender""#,
    ),
    (
        "@terminal",
        r#"session="terminal",namespace="lab",template="shell""#,
    ),
    (
        "@departed",
        r#"session="departed",namespace="studio",template="blender""#,
    ),
    ("@blender", r#"namespace="studio",template="blender""#),
    ("@shell", r#"namespace="lab",template="shell""#),
    ("@old", r#"namespace="archive",template="old""#),
    ("@version", version::VERSION),
    (
        "@commit",
        match version::COMMIT {
            Some(commit) => commit,
            None => "",
        },
    ),
];

/// How long the test may take, seconds.
const PATIENCE: f64 = 1_000.0;

/// A series: its name and its labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
}

impl Series {
    /// Those that a line without its value names: one for each of the values that `|` is between.
    fn of(text: &str) -> Vec<Self> {
        let (name, labels) = text.split_once('{').unwrap_or((text, "}"));
        let labels = labels.strip_suffix('}').unwrap();
        let mut all = vec![Self {
            name: name.to_owned(),
            labels: BTreeMap::new(),
        }];
        for label in labels.split_terminator("\",") {
            let (label, values) = label.split_once("=\"").unwrap();
            let values = values.trim_end_matches('"').split('|');
            let with = |value: &str| all.iter().map(|one| one.with(label, value)).collect();
            all = values.flat_map::<Vec<Self>, _>(with).collect();
        }
        all
    }

    fn with(&self, label: &str, value: &str) -> Self {
        let mut with = self.clone();
        // A bound has as many digits as its writer likes.
        let value = match value.parse::<f64>() {
            Ok(bound) if label == "le" => bound.to_string(),
            _ => value.to_owned(),
        };
        let before = with.labels.insert(label.to_owned(), value);
        assert_eq!(before, None, "{with:?}: {label} is there twice");
        with
    }
}

/// What a series must say.
#[derive(Clone, Copy, Debug)]
enum Meant {
    /// This.
    Is(f64),
    /// So many seconds, and what has passed since.
    Age(f64),
    /// How many series there are.
    Lines,
}

impl Meant {
    fn of(text: &str) -> Self {
        match text.strip_prefix('>') {
            Some(age) => Self::Age(age.parse().unwrap()),
            None if text == "lines" => Self::Lines,
            None => Self::Is(text.parse().unwrap()),
        }
    }

    fn is(self, value: f64, lines: usize) -> bool {
        let near = |meant: f64| (value - meant).abs() <= meant.abs() * 1e-12;
        match self {
            Self::Is(meant) => near(meant),
            Self::Age(age) => value >= age && value < age + PATIENCE,
            Self::Lines => near(lines as f64),
        }
    }
}

/// The table.
fn expected() -> BTreeMap<Series, Meant> {
    let mut expected = BTreeMap::new();
    let lines = EXPECTED.lines();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut whole = line.to_owned();
        for (short, long) in SHORT {
            whole = whole.replace(short, long);
        }
        let (series, meant) = whole.rsplit_once(' ').unwrap();
        for series in Series::of(series) {
            let before = expected.insert(series, Meant::of(meant));
            assert!(before.is_none(), "{line}: is there twice");
        }
    }
    expected
}

/// The exposition of the snapshot.
fn exposition() -> BTreeMap<Series, f64> {
    exposition_of(snapshot::snapshot())
}

/// That of another, with all classic buckets, so that every histogram has bounds between its observations.
fn exposition_of(snapshot: Snapshot) -> BTreeMap<Series, f64> {
    let request = Request {
        snapshot: Arc::new(snapshot),
        scrapes: snapshot::scrapes(),
        http: Arc::new(snapshot::http()),
        format: Format::Text,
        classic: ClassicBuckets::Full,
        max_series: u64::MAX,
    };
    let body = encode(&request, &Told::of_dropped(snapshot::dropped())).unwrap();
    let text = String::from_utf8(body).unwrap();
    let mut exposition = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        for series in Series::of(series) {
            let before = exposition.insert(series, value.parse().unwrap());
            assert_eq!(before, None, "{line}: is there twice");
        }
    }
    exposition
}

/// The names of a family's series.
fn names(family: &Family) -> Vec<String> {
    let name = family.sample_name();
    match family.kind {
        Counter | Gauge => vec![name],
        Histogram(_) | BoundedHistogram(_) => ["count", "sum", "bucket"]
            .map(|part| format!("{name}_{part}"))
            .into(),
    }
}

/// The names of all series that are buckets.
fn buckets() -> BTreeSet<String> {
    let buckets = families().filter_map(|family| names(family).into_iter().nth(2));
    buckets.collect()
}

#[test]
fn families_mean_what_their_help_says() {
    let (expected, exposition, buckets) = (expected(), exposition(), buckets());
    let mut findings = Vec::new();
    for (series, meant) in &expected {
        match exposition.get(series) {
            Some(value) if meant.is(*value, exposition.len()) => {}
            value => findings.push(format!("{series:?} must be {meant:?} and is {value:?}")),
        }
    }
    for (series, value) in &exposition {
        // One bucket of each histogram is enough: that they add up has tests in `metrics::encode`.
        let of_no_interest = LIVE.contains(&&*series.name) || buckets.contains(&series.name);
        if !of_no_interest && !expected.contains_key(series) {
            findings.push(format!("{series:?} must not be there and is {value}"));
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn segments_that_the_kernel_does_not_count_are_absent() {
    let mut snapshot = snapshot::snapshot();
    let nets = snapshot
        .sessions
        .iter_mut()
        .filter_map(|s| s.counts.net.as_mut());
    for net in nets {
        net.counts_segments = false;
    }
    let exposition = exposition_of(snapshot);
    let has = |name: &str| exposition.keys().any(|series| series.name == name);
    assert!(has("vdi_session_tcp_retransmits_total"));
    assert!(!has("vdi_session_tcp_segments_total"));
}

#[test]
fn every_family_has_a_value_that_is_expected() {
    let expected = expected();
    for name in families().flat_map(names) {
        let is_expected = expected.keys().any(|series| series.name == name);
        let is_live = LIVE.contains(&&*name);
        assert!(
            is_expected || is_live,
            "{name} has no line in catalog/tests/expected.rs"
        );
        assert!(!(is_expected && is_live), "{name} is not live");
    }
    for (series, meant) in &expected {
        let Some(name) = series.name.strip_suffix("_count") else {
            continue;
        };
        let is_its_bucket = |bucket: &Series| {
            let mut labels = bucket.labels.clone();
            bucket.name == format!("{name}_bucket")
                && labels.remove("le").is_some()
                && labels == series.labels
        };
        // All of nothing are 0.
        assert!(
            matches!(meant, Meant::Is(0.0)) || expected.keys().any(is_its_bucket),
            "{series:?}: no bucket is expected"
        );
    }
}

#[test]
fn no_two_fields_are_expected_to_have_the_same_value() {
    let buckets = buckets();
    let mut names = BTreeMap::<String, Vec<String>>::new();
    for (series, meant) in expected() {
        let Meant::Is(value) = meant else { continue };
        // 0 and 1 are also what has not happened and what is true, and a bucket has a part of what its histogram has.
        if ![0.0, 1.0].contains(&value) && !buckets.contains(&series.name) {
            let names = names.entry(value.to_string()).or_default();
            names.push(series.name);
        }
    }
    for (value, names) in names {
        let of_one_field = OF_ONE_FIELD.iter().any(|two| names == two);
        assert!(names.len() == 1 || of_one_field, "{names:?}: {value}");
    }
}

#[test]
fn families_have_the_labels_that_they_document() {
    let exposition = exposition();
    for family in families() {
        let mut documented: BTreeSet<&str> = family.labels.iter().map(|label| label.name).collect();
        if !matches!(family.samples, Samples::Node(_)) {
            documented.extend(["session", "namespace", "template"]);
        }
        let names = names(family);
        let of_family = exposition
            .keys()
            .filter(|series| names.contains(&series.name));
        for (label, value) in of_family.clone().flat_map(|series| &series.labels) {
            let declared = family.labels.iter().find(|declared| declared.name == label);
            if let Some(values) = declared.and_then(|declared| declared.values) {
                let is_known = value.is_empty() || values.contains(&value.as_str());
                assert!(is_known, "{}: {label}={value}", names[0]);
            }
        }
        let labels = of_family.flat_map(|series| series.labels.keys().map(String::as_str));
        let labels: BTreeSet<&str> = labels.filter(|label| *label != "le").collect();
        assert_eq!(labels, documented, "{}", names[0]);
    }
}
