use promql_parser::parser::parse;

use super::*;
use crate::planted::world;

fn known(query: &str) -> Known {
    let world = world(
        "  - record: cluster:vdi_a:sum\n    expr: sum by (cluster, kind) (vdi_a)\n    labels: {of: us}\n",
    );
    of(&world, &parse(query).expect("a query"))
}

/// Those that may be there, with a mark at those that surely are.
fn written(query: &str) -> String {
    let known = known(query);
    let (names, before) = match &known.may {
        May::Only(names) => (names, ""),
        May::AnyBut(names) => (names, "any but "),
    };
    let names = names.iter().map(|name| {
        let mark = if known.surely.contains(name) { "!" } else { "" };
        format!("{name}{mark}")
    });
    format!("{before}{}", names.collect::<Vec<_>>().join(" "))
}

#[test]
fn labels_of_metrics_are_those_of_the_catalogue_and_of_targets() {
    let all = "cluster environment instance! job! kind! pod session!";
    assert_eq!(written("vdi_a"), all);
    assert_eq!(
        written("rate(vdi_a_total[5m])"),
        "cluster environment instance! job! kind! session!"
    );
    assert_eq!(written("up"), "cluster environment instance! job!");
    assert_eq!(written("of_others"), "any but ");
    assert_eq!(written("cluster:vdi_a:sum"), "cluster kind! of!");
}

#[test]
fn aggregations_take_labels_away() {
    assert_eq!(written("sum(vdi_a)"), "");
    assert_eq!(written("sum by (kind, nothing) (vdi_a)"), "kind!");
    assert_eq!(
        written("sum without (kind, pod) (vdi_a)"),
        "cluster environment instance! job! session!"
    );
    assert_eq!(written("topk by (kind) (1, up)"), written("up"));
    assert_eq!(written("sum without (kind) (of_others)"), "any but kind");
}

#[test]
fn matchers_say_that_a_label_is_there_or_not() {
    assert!(known("vdi_a{pod!=\"\"}").surely.contains("pod"));
    assert!(!known("vdi_a{pod=\"\"}").may.has("pod"));
    assert!(!known("vdi_a{pod!=\"x\"}").surely.contains("pod"));
}

#[test]
fn operators_leave_the_labels_of_their_sides() {
    assert_eq!(written("sum by (kind) (vdi_a) / on (kind) vdi_a"), "kind!");
    assert_eq!(
        written("up / ignoring (job) up"),
        "cluster environment instance!"
    );
    assert_eq!(written("up * 2"), written("up"));
    assert_eq!(written("up and on (job) vdi_a"), written("up"));
    assert_eq!(
        written("sum by (job) (up) or sum by (kind) (vdi_a)"),
        "job kind"
    );
    assert_eq!(
        written("sum by (job) (up) * on (job) group_left (kind) vdi_a"),
        "job! kind!"
    );
}

#[test]
fn functions_make_labels() {
    assert_eq!(written("absent(up{job=\"a\", instance=~\"b.*\"})"), "job!");
    assert_eq!(written("vector(1)"), "");
    assert_eq!(
        written("label_replace(sum(up), \"a\", \"b\", \"\", \"\")"),
        "a!"
    );
    assert_eq!(
        written("label_replace(sum(up), \"a\", \"$1\", \"job\", \"(.*)\")"),
        "a"
    );
    assert_eq!(
        written("histogram_quantile(0.9, sum by (le) (rate(vdi_h_bucket[5m])))"),
        ""
    );
}
