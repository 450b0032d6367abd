use super::*;
use crate::api::{Disconnects, Report};

/// An answer of an agent with two sessions that fought for a CPU; the GPU, the limits of "desk" and "build-7"
/// were added by hand.
const RECORDED: &str = include_str!("../recorded.json");
const NOW: f64 = 1_763_742_342.0;

fn without_colours(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn drawn(wide: bool) -> String {
    let report: Report = serde_json::from_str(RECORDED).unwrap();
    table(report.sessions.iter(), wide, NOW)
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
    let drawn = without_colours(&table([gone(4000, 100)].iter(), true, NOW));
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
    let drawn = without_colours(&table([session].iter(), false, NOW));
    let line = drawn.lines().nth(1).unwrap();
    assert!(
        line.starts_with(&format!("机{}n", " ".repeat(7))),
        "{line:?}"
    );
}
