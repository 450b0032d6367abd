//! What the unit tests of the checks have in common: a small catalogue, and rules with a fault planted in them.

use crate::Check;
use crate::catalogue::Catalogue;
use crate::rule::{World, parse_file};

/// A gauge, a counter and a histogram.
const METRICS: &str = "\
| `vdi_a` | gauge | `session`, `kind` (x, y), `pod` (its pod; empty without one) | m | s |
| `vdi_a_total` | counter | `session`, `kind` (x, y) | m | s |
| `vdi_h` | histogram | `session` | m | s |
";

/// Rules of one group of the interval of a minute.
pub(crate) fn world(rules: &str) -> World {
    let text = format!("groups:\n- name: g\n  interval: 1m\n  rules:\n{rules}");
    world_of_groups(&text)
}

/// Rules of a file.
pub(crate) fn world_of_groups(text: &str) -> World {
    let metrics = Catalogue::parse(METRICS);
    let rules = parse_file("planted.yml", text).unwrap_or_else(|error| panic!("{error:#}"));
    World { metrics, rules }
}

/// What a check says of all rules.
pub(crate) fn faults(check: Check, world: &World) -> Vec<String> {
    let rules = world.rules.iter();
    rules.flat_map(|rule| check(world, rule)).collect()
}

/// What a check says of an alert with an expression.
pub(crate) fn of_alert(check: Check, expr: &str) -> Vec<String> {
    let rule = format!("  - alert: VdiPlanted\n    expr: >-\n      {expr}\n    for: 5m\n");
    faults(check, &world(&rule))
}

/// What a check says of a recording of an expression.
pub(crate) fn of_recording(check: Check, expr: &str) -> Vec<String> {
    let rule = format!("  - record: cluster:vdi_planted:sum\n    expr: >-\n      {expr}\n");
    faults(check, &world(&rule))
}

/// That a check finds nothing in some expressions of an alert, and one fault in each of some others.
pub(crate) fn tells_apart(check: Check, good: &[&str], bad: &[(&str, &str)]) {
    for expr in good {
        let found = of_alert(check, expr);
        assert!(found.is_empty(), "{expr}: {found:?}");
    }
    for (expr, why) in bad {
        let found = of_alert(check, expr);
        assert_eq!(found.len(), 1, "{expr}: {found:?}");
        assert!(found[0].contains(why), "{expr}: {found:?}");
    }
}
