//! What pint calls `alerts/template`: what the texts and labels of an alert take from its series.

use std::sync::LazyLock;

use promql_parser::parser::Expr;
use regex::Regex;

use crate::labels;
use crate::rule::{Rule, World};
use crate::walk::all;

static ACTION: LazyLock<Regex> = LazyLock::new(|| pattern(r"\{\{-?\s*(.*?)\s*-?\}\}"));
static LABEL: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?:\$labels|\.Labels)\.(\w+)"));
/// Functions that make a value short.
static SHORT: LazyLock<Regex> = LazyLock::new(|| pattern(r"\|\s*(?:humanize|printf)"));

fn pattern(pattern: &str) -> Regex {
    #[expect(clippy::expect_used, reason = "the patterns stand above")]
    Regex::new(pattern).expect("a pattern")
}

/// Labels that the series do not have, values in labels, long numbers, and blocks without an end.
pub(crate) fn template(world: &World, rule: &Rule) -> Vec<String> {
    if !rule.is_alert {
        return Vec::new();
    }
    let mut faults = Vec::new();
    // What the rule itself adds is not among them: Prometheus fills the texts from the series.
    let known = labels::of(world, &rule.expr);
    let texts = rule.annotations.iter().chain(&rule.labels);
    for (name, text) in texts {
        for found in LABEL.captures_iter(text) {
            if !known.may.has(&found[1]) {
                let label = &found[1];
                faults.push(format!(
                    "`{name}` shows `{label}`, which its series do not have"
                ));
            }
        }
        faults.extend(blocks(text).map(|fault| format!("`{name}` {fault}")));
    }
    let has_value = |text: &String| text.contains("$value") || text.contains(".Value");
    for (name, _) in rule.labels.iter().filter(|(_, text)| has_value(text)) {
        // Each value would be an alert of its own.
        faults.push(format!(
            "label `{name}` has the value in it: say it in `description`"
        ));
    }
    let is_rate =
        |expr: &&Expr| matches!(expr, Expr::Call(call) if RATES.contains(&call.func.name));
    if all(&rule.expr).iter().any(is_rate) {
        let shows_all = |action: &str| {
            let is_condition = action.starts_with("if ") || action.starts_with("else if ");
            action.contains("$value") && !is_condition && !SHORT.is_match(action)
        };
        for (name, text) in &rule.annotations {
            if ACTION.captures_iter(text).any(|found| shows_all(&found[1])) {
                faults.push(format!("`{name}` shows all digits of a rate: humanize it"));
            }
        }
    }
    faults
}

/// Functions whose results have many digits.
const RATES: [&str; 3] = ["rate", "irate", "deriv"];

/// What is wrong with the blocks of a text.
fn blocks(text: &str) -> Option<String> {
    let mut open = 0_usize;
    for found in ACTION.captures_iter(text) {
        if found[1].contains("query ") {
            return Some("asks Prometheus: that belongs into the expression".to_owned());
        }
        let word = found[1].split_whitespace().next().unwrap_or_default();
        match word {
            "if" | "with" | "range" => open += 1,
            "end" => match open.checked_sub(1) {
                Some(rest) => open = rest,
                None => return Some("ends a block that does not begin".to_owned()),
            },
            _ => {}
        }
    }
    let is_odd = ACTION.replace_all(text, "").contains(['{', '}']);
    if open > 0 || is_odd {
        return Some("has a block that does not end".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{faults, world};

    fn found(expr: &str, description: &str) -> Vec<String> {
        let rule = format!(
            "  - alert: A\n    expr: {expr}\n    labels: {{severity: info}}\n    annotations:\n      description: '{description}'\n"
        );
        faults(template, &world(&rule))
    }

    #[test]
    fn labels_that_the_expression_takes_away_are_found() {
        let text = "{{ $labels.session }} on {{ $labels.instance }}{{ if $labels.pod }} x{{ end }}";
        assert!(found("vdi_a > 1", text).is_empty());
        assert!(found("sum by (session, instance, pod) (vdi_a) > 1", text).is_empty());
        let lost = found("sum by (session, pod) (vdi_a) > 1", text);
        assert!(
            lost.len() == 1 && lost[0].contains("`instance`"),
            "{lost:?}"
        );
        let of_the_rule = found("vdi_a > 1", "{{ $labels.severity }}");
        assert!(of_the_rule[0].contains("`severity`"), "{of_the_rule:?}");
    }

    #[test]
    fn values_are_not_in_labels_and_rates_are_short() {
        let rate = "rate(vdi_a_total[5m]) > 1";
        assert!(found(rate, "{{ $value | humanize }}").is_empty());
        assert!(found(rate, "{{ if lt $value 0.0 }}a{{ end }}").is_empty());
        assert!(found("vdi_a > 1", "{{ $value }}").is_empty());
        assert!(found(rate, "{{ $value }}")[0].contains("humanize"));
        let rule = "  - alert: A\n    expr: vdi_a > 1\n    labels: {of: '{{ $value }}'}\n";
        assert!(faults(template, &world(rule))[0].contains("the value in it"));
    }

    #[test]
    fn blocks_that_do_not_fit_are_found() {
        for (text, why) in [
            ("{{ if $labels.pod }}a", "does not end"),
            ("a{{ end }}", "does not begin"),
            ("{{ $labels.pod }", "does not end"),
            ("{{ with query \"up\" }}a{{ end }}", "into the expression"),
        ] {
            let found = found("vdi_a > 1", text);
            assert!(
                found.len() == 1 && found[0].contains(why),
                "{text}: {found:?}"
            );
        }
    }
}
