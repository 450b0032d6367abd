//! Tests of the exposition that need no kernel.

use agent_common::histogram::{LONG_SHIFT, bucket_of, long_bucket_of};

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
