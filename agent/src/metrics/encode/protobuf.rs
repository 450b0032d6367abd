//! Protobuf: each family after its length, with the times at which its counters were 0.

use std::time::SystemTime;

use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::{
    LabelPair, MetricFamily,
};
use prost::Message;
use prost_types::Timestamp;

use super::super::created::Created;

/// Labels of a session's series that come first: session, namespace, template.
const SCOPE: usize = 3;

/// Writes families, whose samples count since the times given, in the same order. Of a whole exposition, `whole` is when
/// its values were taken: what it tells of the beginnings is kept. Of a part, it is asked for.
pub(super) fn body(
    families: Vec<MetricFamily>,
    since: &[Vec<Option<SystemTime>>],
    created: &mut Created,
    whole: Option<SystemTime>,
) -> Vec<u8> {
    let Some(taken) = whole else {
        return delimited(families, since, |family, labels, since| {
            let told = created.told(hashed(scope(labels)), (family, hashed(labels)));
            told.unwrap_or(since)
        });
    };
    let body = delimited(families, since, |family, labels, since| {
        created.of(hashed(scope(labels)), (family, hashed(labels)), since)
    });
    created.made(taken);
    body
}

/// Each family after its length. prometheus-client has no place for when a counter was 0, so that is entered
/// here: a Prometheus that ingests it knows what the first value of a series has grown by.
fn delimited(
    mut families: Vec<MetricFamily>,
    since: &[Vec<Option<SystemTime>>],
    mut zero: impl FnMut(&str, &[LabelPair], SystemTime) -> SystemTime,
) -> Vec<u8> {
    debug_assert_eq!(families.len(), since.len());
    let mut body = Vec::new();
    for (family, since) in families.iter_mut().zip(since) {
        debug_assert_eq!(family.metric.len(), since.len());
        for (metric, since) in family.metric.iter_mut().zip(since) {
            let at = since.map(|since| zero(&family.name, &metric.label, since));
            let at = at.map(Timestamp::from);
            if let Some(counter) = &mut metric.counter {
                counter.start_timestamp = at;
            } else if let Some(histogram) = &mut metric.histogram {
                histogram.start_timestamp = at;
            }
        }
        // A vector has room for everything.
        let _infallible = family.encode_length_delimited(&mut body);
    }
    body
}

/// The labels that tell a session from others; none of the node.
fn scope(labels: &[LabelPair]) -> &[LabelPair] {
    let is_session = labels.first().is_some_and(|first| first.name == "session");
    &labels[..if is_session { SCOPE } else { 0 }]
}

fn hashed(labels: &[LabelPair]) -> Vec<(&str, &str)> {
    let pairs = labels.iter();
    pairs.map(|pair| (&*pair.name, &*pair.value)).collect()
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model;

    use super::*;

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
}
