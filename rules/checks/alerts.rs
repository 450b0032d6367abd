//! What pint calls `alerts/comparison`, `alerts/absent`, `alerts/for` and `alerts/annotation`.

use std::time::Duration;

use promql_parser::parser::{BinaryExpr, Expr};

use crate::SCRAPE;
use crate::rule::{Rule, World, duration};
use crate::walk::{all, children};

/// `alerts/comparison`: an alert fires for each series that its expression has, whatever its value. So there must be
/// a condition, or it fires for all of them, at 0 too.
pub(crate) fn comparison(_: &World, rule: &Rule) -> Vec<String> {
    if !rule.is_alert || is_conditional(&rule.expr) {
        return Vec::new();
    }
    vec!["fires whatever the value is: compare it, without `bool`".to_owned()]
}

fn is_conditional(expr: &Expr) -> bool {
    match expr {
        Expr::Binary(binary) => is_conditional_binary(binary),
        Expr::Call(call) if call.func.name.starts_with("absent") => true,
        other => children(other).into_iter().any(is_conditional),
    }
}

fn is_conditional_binary(binary: &BinaryExpr) -> bool {
    let sides = [&binary.lhs, &binary.rhs];
    if binary.op.is_comparison_operator() {
        // With `bool` it is a number of each series.
        return !binary.return_bool();
    }
    match binary.op.to_string().as_str() {
        "unless" => true,
        // What one of the sides has always, all of it has always.
        "or" => sides.into_iter().all(|side| is_conditional(side)),
        _ => sides.into_iter().any(|side| is_conditional(side)),
    }
}

/// `alerts/absent`: after a start of Prometheus nothing is there, until the first scrape of each target.
pub(crate) fn absent(_: &World, rule: &Rule) -> Vec<String> {
    let asks = |expr: &&Expr| matches!(expr, Expr::Call(call) if call.func.name == "absent");
    let is_too_soon = rule.is_alert && rule.waits() < 2 * SCRAPE;
    if is_too_soon && all(&rule.expr).iter().any(asks) {
        return vec!["asks absent() without `for`: wait for two scrapes at least".to_owned()];
    }
    Vec::new()
}

/// `alerts/for`: durations are durations, and what says nothing is left out.
pub(crate) fn pending(_: &World, rule: &Rule) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, value) in [
        ("for", &rule.pending),
        ("keep_firing_for", &rule.keep_firing_for),
    ] {
        let Some(value) = value else { continue };
        match duration(value) {
            None => faults.push(format!("`{name}: {value}` is no duration: write `5m`")),
            Some(Duration::ZERO) => faults.push(format!("`{name}: {value}`: leave it out")),
            Some(_) if !rule.is_alert => faults.push(format!("a recording has no `{name}`")),
            Some(_) => {}
        }
    }
    faults
}

/// `alerts/annotation`: what is wrong in a sentence, the same of what it fires for, and where to read on.
pub(crate) fn annotation(_: &World, rule: &Rule) -> Vec<String> {
    if !rule.is_alert {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for name in ["summary", "description", "runbook_url"] {
        let value = rule.annotations.get(name).map_or("", |value| value.trim());
        if value.is_empty() {
            faults.push(format!("has no annotation `{name}`"));
        } else if name == "runbook_url" && !value.ends_with(&format!("/{}", rule.name)) {
            faults.push(format!("`runbook_url` {value} is not that of the alert"));
        } else if name == "summary" && value.contains("{{") {
            // Alertmanager groups alerts, and shows one summary of all.
            faults.push("`summary` has a variable: that is for `description`".to_owned());
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{faults, of_recording, tells_apart, world};

    #[test]
    fn an_alert_without_a_condition_is_found() {
        tells_apart(
            comparison,
            &[
                "vdi_a > 1",
                "absent(vdi_a)",
                "sum by (job) (vdi_a > 1) / 2",
                "vdi_a and vdi_b > 1",
                "vdi_a unless vdi_b",
                "vdi_a > 1 or vdi_b < 1",
            ],
            &[
                ("vdi_a", "whatever"),
                ("rate(vdi_a_total[5m]) / 2", "whatever"),
                ("vdi_a > bool 1", "bool"),
                ("vdi_a > 1 or vdi_b", "whatever"),
                ("vdi_a and vdi_b", "whatever"),
            ],
        );
        assert!(of_recording(comparison, "vdi_a").is_empty());
    }

    #[test]
    fn absent_at_once_is_found() {
        let rule = |pending| {
            let rule = format!("  - alert: A\n    expr: absent(up)\n    for: {pending}\n");
            faults(absent, &world(&rule))
        };
        assert!(rule("30s").is_empty());
        assert!(rule("15s")[0].contains("two scrapes"));
    }

    #[test]
    fn durations_that_are_none_or_say_nothing_are_found() {
        let rule = |text: &str| {
            let rule = format!("  - alert: A\n    expr: b > 1\n{text}");
            faults(pending, &world(&rule))
        };
        assert!(rule("    for: 1h30m\n    keep_firing_for: 1d\n").is_empty());
        assert!(rule("    for: soon\n")[0].contains("no duration"));
        assert!(rule("    for: 0s\n")[0].contains("leave it out"));
        assert!(rule("    keep_firing_for: 0m\n")[0].contains("leave it out"));
    }

    #[test]
    fn annotations_that_are_missing_or_of_another_are_found() {
        let rule = |summary: &str, url: &str| {
            let rule = format!(
                "  - alert: VdiA\n    expr: b > 1\n    annotations:\n      summary: \"{summary}\"\n      description: d\n      runbook_url: {url}\n"
            );
            faults(annotation, &world(&rule))
        };
        assert!(rule("A.", "https://b/VdiA").is_empty());
        assert!(rule("", "https://b/VdiA")[0].contains("no annotation"));
        assert!(rule("A {{ $value }}.", "https://b/VdiA")[0].contains("variable"));
        assert!(rule("A.", "https://b/VdiB")[0].contains("not that of"));
    }
}
