//! Tests of the exposition that need no kernel.

use agent_common::histogram::{LONG_SHIFT, bucket_of, long_bucket_of};
use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model;

use super::*;
use crate::metrics::family::Buckets;

fn sample_histogram() -> Histogram {
    let mut h = Histogram::default();
    for ns in [
        100,
        5_000,
        5_100,
        70_000,
        1_000_000,
        1_100_000,
        4_000_000_000,
        60_000_000_000,
    ] {
        h.buckets[bucket_of(ns)] += 1;
        h.sum_ns += ns;
    }
    h
}

#[test]
fn classic_buckets_are_powers_of_four_and_lose_nothing() {
    let h = sample_histogram();
    let classic = classic_buckets(&h, 0, &Buckets::OWN.classic(ClassicBuckets::Full));
    assert_eq!(classic.len(), 14);
    assert_eq!(classic.iter().map(|b| b.1).sum::<u64>(), h.count());
    for pair in classic[..13].windows(2) {
        assert!((pair[1].0 / pair[0].0 - 4.0).abs() < 1e-12);
    }
    assert!((classic[12].0 - 16.0).abs() < 1e-12);
    // 1 ms is above 2^-10 s and at most 2^-8 s.
    let millisecond = classic.iter().find(|b| b.0 > 0.001).unwrap();
    assert!((millisecond.0 - f64::exp2(-8.0)).abs() < 1e-15);
    assert_eq!(millisecond.1, 2);
}

#[test]
fn few_classic_buckets_are_sums_of_the_full_ones() {
    let h = sample_histogram();
    let below = |bound: f64, buckets: &[(f64, u64)]| -> u64 {
        buckets.iter().filter(|b| b.0 <= bound).map(|b| b.1).sum()
    };
    let full = classic_buckets(&h, 0, &Buckets::OWN.classic(ClassicBuckets::Full));
    let few = classic_buckets(&h, 0, &[-14, -10, 0]);
    assert_eq!(few.len(), 4);
    for (bound, _) in &few {
        assert_eq!(below(*bound, &few), below(*bound, &full), "{bound}");
    }
    assert_eq!(classic_buckets(&h, 0, &[]), [(f64::INFINITY, h.count())]);
}

#[test]
fn a_long_histogram_has_its_bounds_where_they_are() {
    let mut h = Histogram::default();
    for ms in [999u64, 60_000, 3_600_000, 100_000_000] {
        h.buckets[long_bucket_of(ms * 1_000_000)] += 1;
    }
    let shift = LONG_SHIFT as i32;
    // 1 s, 64 s, 4096 s, 65,536 s
    let classic = classic_buckets(&h, shift, &[0, 6, 12, 16]);
    let counts: Vec<u64> = classic.iter().map(|b| b.1).collect();
    assert_eq!(counts, [1, 1, 1, 0, 1]);
    let (spans, _) = native_buckets(&h, shift);
    // The bucket that ends at 2^0 s has the native index 0.
    assert_eq!(spans[0].0, 0);
}

#[test]
fn native_spans_and_deltas_give_the_buckets_back() {
    let h = sample_histogram();
    let (spans, deltas) = native_buckets(&h, 0);
    let mut rebuilt = Histogram {
        sum_ns: h.sum_ns,
        ..Histogram::default()
    };
    rebuilt.buckets[0] = h.buckets[0];
    let (mut index, mut count, mut delta) = (0i32, 0i64, deltas.iter());
    for (offset, length) in spans {
        index += offset;
        for _ in 0..length {
            count += delta.next().unwrap();
            rebuilt.buckets[(index - native_index(0)) as usize] = count as u64;
            index += 1;
        }
    }
    assert_eq!(delta.next(), None);
    assert_eq!(rebuilt, h);
}

#[test]
fn text_format_names_counters_by_their_samples() {
    let open_metrics = "# HELP a_seconds Help of a\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                        a_seconds_total 1\n# HELP b Help\n# TYPE b gauge\nb{x=\"# EOF\"} 2\n# EOF\n";
    assert_eq!(
        to_text_format(open_metrics),
        "# HELP a_seconds_total Help of a\n# TYPE a_seconds_total counter\na_seconds_total 1\n\
         # HELP b Help\n# TYPE b gauge\nb{x=\"# EOF\"} 2\n"
    );
}

fn labelled(name: &str, labels: &[(&str, &str)], value: f64) -> MetricFamily {
    let pair = |&(name, value): &(&str, &str)| LabelPair {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    MetricFamily {
        name: name.to_owned(),
        metric: vec![prometheus_data_model::Metric {
            label: labels.iter().map(pair).collect(),
            counter: Some(prometheus_data_model::Counter {
                value,
                ..Default::default()
            }),
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn each_counter_has_the_moment_of_its_own_sample() {
    let at = |second: u64| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second);
    let families = vec![
        labelled("one_total", &[("session", "desk")], 1.0),
        labelled("two_total", &[], 2.0),
        labelled("three_total", &[], 3.0),
    ];
    let since = [vec![Some(at(10))], vec![None], vec![Some(at(30))]];
    let mut asked = Vec::new();
    let body = delimited(families, &since, |family, labels, since| {
        asked.push((family.to_owned(), labels.len()));
        since
    });
    assert_eq!(
        asked,
        [("one_total".to_owned(), 1), ("three_total".to_owned(), 0)]
    );
    let mut rest = &body[..];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let family = MetricFamily::decode_length_delimited(&mut rest).unwrap();
        let counter = family.metric[0].counter.as_ref().unwrap();
        let second = counter.start_timestamp.as_ref().map(|at| at.seconds);
        found.push((counter.value, second));
    }
    assert_eq!(found, [(1.0, Some(10)), (2.0, None), (3.0, Some(30))]);
}

#[test]
fn a_sessions_scope_is_what_tells_it_from_others() {
    let labels = ["session", "namespace", "template", "reason"].map(|name| LabelPair {
        name: name.to_owned(),
        value: "x".to_owned(),
    });
    assert_eq!(scope(&labels).len(), SCOPE);
    assert!(scope(&labels[1..]).is_empty() && scope(&[]).is_empty());
}
