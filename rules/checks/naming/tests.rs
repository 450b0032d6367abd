use super::*;
use crate::planted::{faults, world, world_of_groups};

fn named(name_of_it: &str, expr: &str) -> Vec<String> {
    let rule = format!("  - record: {name_of_it}\n    expr: {expr}\n");
    faults(name, &world(&rule))
}

#[test]
fn names_that_do_not_say_what_is_recorded_are_found() {
    for (name, expr) in [
        ("cluster_kind:vdi_a:sum", "sum by (cluster, kind) (vdi_a)"),
        ("session:vdi_a:rate5m", "rate(vdi_a_total[5m])"),
        (
            "cluster:vdi_b:max_1h",
            "max by (cluster) (cluster:vdi_c:sum_1h)",
        ),
    ] {
        let found = named(name, expr);
        assert!(found.is_empty(), "{name}: {found:?}");
    }
    for (name, expr, why) in [
        (
            "vdi_a_sum",
            "sum by (cluster) (vdi_a)",
            "level:metric:operation",
        ),
        (
            "room:vdi_a:sum",
            "sum by (cluster) (of_others)",
            "no level `room`",
        ),
        (
            "cluster:vdi_a:sum",
            "sum by (cluster, session) (vdi_a)",
            "have `session`",
        ),
        (
            "cluster_kind:vdi_a:sum",
            "sum by (cluster) (vdi_a)",
            "for each `kind`",
        ),
        (
            "session:vdi_a_total:rate5m",
            "rate(vdi_a_total[5m])",
            "`_total`",
        ),
        ("session:vdi_a:rate5m", "rate(vdi_a_total[10m])", "no [5m]"),
    ] {
        let found = named(name, expr);
        assert!(
            found.iter().any(|fault| fault.contains(why)),
            "{name}: {found:?}"
        );
    }
    let alert = "  - alert: Other\n    expr: up == 0\n";
    assert!(faults(name, &world(alert))[0].contains("VdiSomething"));
}

#[test]
fn severities_that_nobody_routes_are_found() {
    let alert = |severity: &str| {
        let alert =
            format!("  - alert: A\n    expr: up == 0\n    labels: {{severity: {severity}}}\n");
        faults(label, &world(&alert))
    };
    assert!(alert("warning").is_empty());
    assert!(alert("page")[0].contains("\"page\""));
    assert_eq!(
        faults(label, &world("  - alert: A\n    expr: up == 0\n")).len(),
        1
    );
}

#[test]
fn rules_that_are_there_twice_are_found() {
    let twice = "  - record: a\n    expr: b\n  - record: a\n    expr: c\n";
    assert_eq!(faults(duplicate, &world(twice)).len(), 2);
    let apart = "  - record: a\n    expr: b\n  - record: a\n    expr: c\n    labels: {of: c}\n  - alert: a\n    expr: b\n";
    assert!(faults(duplicate, &world(apart)).is_empty());
}

#[test]
fn recordings_that_are_missing_late_or_elsewhere_are_found() {
    let first = "  - record: a:b:sum\n    expr: b\n";
    let second = "  - record: a:b:max\n    expr: max(a:b:sum)\n";
    assert!(faults(dependency, &world(&format!("{first}{second}"))).is_empty());
    let late = faults(dependency, &world(&format!("{second}{first}")));
    assert!(late.len() == 1 && late[0].contains("after it"), "{late:?}");
    assert!(faults(dependency, &world(second))[0].contains("nobody records"));
    let groups =
        |rule: &str| format!("groups:\n- name: g\n  rules:\n{first}- name: h\n  rules:\n{rule}");
    let elsewhere = faults(dependency, &world_of_groups(&groups(second)));
    assert!(elsewhere[0].contains("an interval old"), "{elsewhere:?}");
    let alert = "  - alert: A\n    expr: a:b:sum > 1\n";
    assert!(faults(dependency, &world_of_groups(&groups(alert))).is_empty());
}

#[test]
fn groups_that_leave_gaps_are_found() {
    let group = |of: &str, rule: &str| {
        let text = format!("groups:\n- name: g\n  interval: {of}\n  rules:\n{rule}");
        faults(interval, &world_of_groups(&text))
    };
    let recording = "  - record: a:b:sum\n    expr: b\n";
    assert!(group("5m", recording).is_empty());
    assert!(group("6m", recording)[0].contains("gaps"));
    assert!(group("often", recording)[0].contains("no duration"));
    let alert = "  - alert: A\n    expr: b > 1\n    keep_firing_for: 10m\n";
    assert!(group("6m", alert).is_empty());
}
