//! The same rules with shorter durations, so that a test of minutes shows what takes hours.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// A duration where one can be: a range, an offset, the time that an alert waits or goes on, the interval of a group. An
/// age in seconds that an expression compares with stays as it is.
static PLACES: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?P<before>\[|\boffset |^ *(?:- )?(?:for|keep_firing_for|interval): |:)(?P<duration>(?:[0-9]+(?:ms|[smhdw]))+)\b";
    #[expect(clippy::expect_used, reason = "the pattern stands here")]
    Regex::new(&format!("(?m){pattern}")).expect("a pattern")
});

/// Divides each duration of a rule file by a factor; none becomes shorter than a second.
pub fn faster(rules: &str, factor: u64) -> String {
    let divided = |found: &Captures<'_>| {
        let milliseconds = milliseconds(&found["duration"]) / factor.max(1);
        format!("{}{}s", &found["before"], (milliseconds / 1000).max(1))
    };
    let lines = rules.lines().map(|line| {
        // The names of recordings have durations in them, which stay.
        if line.trim_start().starts_with('#') {
            line.to_owned()
        } else {
            replace(line, &divided)
        }
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

fn replace(line: &str, divided: &dyn Fn(&Captures<'_>) -> String) -> String {
    PLACES
        .replace_all(line, |found: &Captures<'_>| {
            let is_of_subquery = found["before"].ends_with(':');
            let whole = found.get(0).map_or(0..0, |whole| whole.range());
            // `[1h:5m]`: what stands before the colon belongs to the bracket.
            let before = &line[..whole.start];
            let is_in_brackets = before.rfind('[') > before.rfind(']');
            if is_of_subquery && !is_in_brackets {
                found[0].to_owned()
            } else {
                divided(found)
            }
        })
        .into_owned()
}

fn milliseconds(duration: &str) -> u64 {
    let mut rest = duration;
    let mut sum = 0;
    while let Some(end) = rest.find(|one: char| !one.is_ascii_digit()) {
        let number: u64 = rest[..end].parse().unwrap_or(0);
        let unit = &rest[end..];
        let length = unit
            .find(|one: char| one.is_ascii_digit())
            .unwrap_or(unit.len());
        let of_unit = match &unit[..length] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => 604_800_000,
        };
        sum += number * of_unit;
        rest = &unit[length..];
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_divided_and_names_are_not() {
        let rules = "\
# A comment of [5m].
- name: a
  interval: 1m
  rules:
  - record: session:vdi_a:p99_5m
    expr: rate(a[5m]) + max_over_time(b[1h:1m]) offset 1d30m > 0.5 and session:vdi_a:p99_5m
    for: 15m
    keep_firing_for: 5s
";
        let expected = "\
# A comment of [5m].
- name: a
  interval: 6s
  rules:
  - record: session:vdi_a:p99_5m
    expr: rate(a[30s]) + max_over_time(b[360s:6s]) offset 8820s > 0.5 and session:vdi_a:p99_5m
    for: 90s
    keep_firing_for: 1s
";
        assert_eq!(faster(rules, 10), expected);
    }
}
