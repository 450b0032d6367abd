use std::collections::BTreeSet;

use super::*;
use crate::api::{Disconnects, Report};

/// An answer of an agent with two sessions that fought for a CPU; the GPU, the limits of "desk" and "build-7"
/// were added by hand.
const RECORDED: &str = include_str!("../recorded.json");
const NOW: f64 = 1_763_742_342.0;

fn without_colours(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn form(wide: bool) -> Form {
    Form {
        wide,
        ..Form::default()
    }
}

fn drawn(wide: bool) -> String {
    let report: Report = serde_json::from_str(RECORDED).unwrap();
    table(report.sessions.iter(), form(wide), NOW)
}

fn drawn_to_fit(fits: usize, key: &str) -> String {
    let mut report: Report = serde_json::from_str(RECORDED).unwrap();
    report.sessions[1].session = "a-desk-of-somebody-with-a-very-long-name".to_owned();
    let form = Form {
        wide: false,
        sort: Sort::from_str(key, false).unwrap(),
        fits: Some(fits),
    };
    without_colours(&table(report.sessions.iter(), form, NOW))
}

#[test]
fn a_narrow_terminal_has_the_name_and_the_key_of_the_order() {
    for fits in [20, 40, 80, 200] {
        for (key, heading) in [
            ("wait-p99", "WAIT P99"),
            ("memory", "MEMORY"),
            ("name", "SESSION"),
        ] {
            let drawn = drawn_to_fit(fits, key);
            let widest = drawn
                .lines()
                .map(|line| line.chars().count())
                .max()
                .unwrap();
            assert!(widest <= fits, "{fits} by {key}: {drawn}");
            let first = drawn.lines().next().unwrap();
            assert!(
                first.starts_with("SESSION") && first.contains(heading),
                "{drawn}"
            );
        }
    }
    assert_eq!(
        drawn_to_fit(40, "wait-p99"),
        "\
SESSION                         WAIT P99
cpu-hog                            31 ms
a-desk-of-somebody-with-a-ver…     28 ms
build-7                                -
"
    );
}

#[test]
fn every_column_has_a_key_of_its_own() {
    let keys = Sort::value_variants()
        .iter()
        .filter_map(Sort::to_possible_value);
    let keys: BTreeSet<String> = keys.map(|key| key.get_name().to_owned()).collect();
    assert_eq!(keys.len(), COLUMNS.len());
}

#[test]
fn figures_are_aligned_and_what_is_not_known_is_a_dash() {
    let expected = "\
SESSION  NAMESPACE  TEMPLATE  PHASE                       AGE  PROCS   CPU  WAIT P99  RTT P50  CLIENTS   GPU  GPU MEM  ENC FPS
cpu-hog  vdi        desktop   Running                    17 s      2  0.21     31 ms        -        0     -        -        -
desk     vdi        desktop   Running                    16 s      2  0.13     28 ms   103 µs        1  45 %  730 MiB       60
build-7  ci         -         Ended (oom_killed)  21 min 40 s      -     -         -        -        -     -        -        -
";
    assert_eq!(without_colours(&drawn(false)), expected);
}

#[test]
fn the_wide_table_has_all_columns() {
    let wide = without_colours(&drawn(true));
    let heading = wide.lines().next().unwrap();
    for column in COLUMNS {
        assert!(heading.contains(column.heading), "{}", column.heading);
    }
    assert!(wide.lines().nth(2).unwrap().ends_with("/rec-test/desk"));
}

#[test]
fn who_closes_is_not_disconnected() {
    let gone = |closed, reset| Session {
        disconnects: Some(Disconnects {
            closed,
            reset,
            timed_out: 20,
            idle: 3,
            ..Disconnects::default()
        }),
        ..Session::default()
    };
    assert_eq!(disconnects(&gone(4000, 100)), Some(123));
    assert_eq!(disconnects(&Session::default()), None);
    let drawn = without_colours(&table([gone(4000, 100)].iter(), form(true), NOW));
    assert!(drawn.contains("123"), "{drawn}");
}

#[test]
fn a_wait_beyond_the_limit_is_coloured() {
    let narrow = drawn(false);
    assert!(narrow.contains(&styled("28 ms", WARNING)), "{narrow:?}");
    let without = |style| styled("103 µs", style);
    assert!(!narrow.contains(&without(WARNING)), "{narrow:?}");
}

#[test]
fn a_wide_character_takes_two_columns() {
    let mut session = Session {
        session: "机".to_owned(),
        ..Session::default()
    };
    session.namespace = "n".to_owned();
    let drawn = without_colours(&table([session].iter(), form(false), NOW));
    let line = drawn.lines().nth(1).unwrap();
    assert!(
        line.starts_with(&format!("机{}n", " ".repeat(7))),
        "{line:?}"
    );
}
