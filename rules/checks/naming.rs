//! What pint calls `rule/name`, `rule/label`, `rule/duplicate`, `rule/dependency` and `group/interval`.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use promql_parser::parser::Expr;
use regex::Regex;

use crate::labels;
use crate::rule::{Rule, World, duration};
use crate::walk::{all, names};

#[expect(clippy::expect_used, reason = "the pattern stands here")]
static RECORDING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?<level>[a-z_]+):(?<metric>[a-z][a-z0-9_]*):(?<operation>[a-z][a-z0-9_]*)$")
        .expect("a pattern")
});
#[expect(clippy::expect_used, reason = "the pattern stands here")]
static WINDOW: LazyLock<Regex> = LazyLock::new(|| Regex::new("[0-9]+[smhd]$").expect("a pattern"));

/// What a recording of a level is a series for each of, and what it must not have any more.
const LEVELS: [(&str, &[&str]); 5] = [
    ("cluster", &["instance", "template", "session", "gpu"]),
    ("template", &["instance", "session", "gpu"]),
    ("instance", &["template", "session", "gpu"]),
    ("gpu", &["template", "session"]),
    ("session", &[]),
];

/// `rule/name`: `level:metric:operation`. The level says the labels, and the operation the window.
pub(crate) fn name(world: &World, rule: &Rule) -> Vec<String> {
    if rule.is_alert {
        let is_ours = rule.name.starts_with("Vdi") && rule.name.chars().all(char::is_alphanumeric);
        let fault = (!is_ours).then(|| "an alert is named `VdiSomething`".to_owned());
        return fault.into_iter().collect();
    }
    let Some(parts) = RECORDING.captures(&rule.name) else {
        return vec!["a recording is named `level:metric:operation`".to_owned()];
    };
    let mut faults = Vec::new();
    let known = labels::of(world, &rule.expr);
    let mut words = parts["level"].split('_');
    let level = words.next().unwrap_or_default();
    match LEVELS.iter().find(|(name, _)| *name == level) {
        None => faults.push(format!("there is no level `{level}`")),
        Some((_, gone)) => {
            for label in gone.iter().filter(|label| known.may.has(label)) {
                faults.push(format!("of level `{level}`, and its series have `{label}`"));
            }
        }
    }
    for label in words.chain([level]).filter(|label| !known.may.has(label)) {
        faults.push(format!(
            "named for each `{label}`, which its series do not have"
        ));
    }
    if parts["metric"].ends_with("_total") {
        faults.push("`_total` is of the counter: leave it out of the name".to_owned());
    }
    if let Some(window) = WINDOW.find(&parts["operation"]) {
        let is_it = |text: &str| WINDOW.find(text).map(|it| it.as_str()) == Some(window.as_str());
        let asked = duration(window.as_str());
        let is_range =
            |expr: &&Expr| matches!(expr, Expr::MatrixSelector(one) if Some(one.range) == asked);
        let is_read = names(&rule.expr).into_iter().any(is_it);
        if !is_read && !all(&rule.expr).iter().any(is_range) {
            let window = window.as_str();
            faults.push(format!("named for {window}, and asks for no [{window}]"));
        }
    }
    faults
}

/// Who is to look at an alert; `none` is for machines.
const SEVERITIES: [&str; 4] = ["critical", "warning", "info", "none"];

/// `rule/label`: an alert has a severity, by which it is routed.
pub(crate) fn label(_: &World, rule: &Rule) -> Vec<String> {
    let severity = rule.labels.get("severity").map_or("", String::as_str);
    if rule.is_alert && !SEVERITIES.contains(&severity) {
        return vec![format!(
            "its severity is {severity:?}, which is none of {SEVERITIES:?}"
        )];
    }
    Vec::new()
}

/// `rule/duplicate`: Prometheus throws away one of two series with the same labels.
pub(crate) fn duplicate(world: &World, rule: &Rule) -> Vec<String> {
    let is_same = |other: &&Rule| {
        let is_alike = other.is_alert == rule.is_alert && other.name == rule.name;
        is_alike && other.labels == rule.labels && !std::ptr::eq(*other, rule)
    };
    let others = world.rules.iter().filter(is_same);
    let say = |other: &Rule| format!("{} has it too, with the same labels", other.file);
    others.map(say).collect()
}

/// `rule/dependency`: what a rule reads is recorded, and before it: rules of a group run one after the other, and
/// groups side by side, so that what another group records is an interval old. An alert waits longer than that.
pub(crate) fn dependency(world: &World, rule: &Rule) -> Vec<String> {
    let mut faults = Vec::new();
    let place = |rule: &Rule| world.rules.iter().position(|one| std::ptr::eq(one, rule));
    let read: BTreeSet<&str> = names(&rule.expr).into_iter().collect();
    for name in read.into_iter().filter(|name| name.contains(':')) {
        let mut recordings = world.recordings(name).peekable();
        if recordings.peek().is_none() {
            faults.push(format!("reads `{name}`, which nobody records"));
        }
        for recording in recordings.filter(|_| !rule.is_alert) {
            if recording.group != rule.group {
                let group = &recording.group;
                faults.push(format!(
                    "reads `{name}` of the group {group}: that is an interval old"
                ));
            } else if place(recording) >= place(rule) {
                faults.push(format!("reads `{name}`, which is recorded after it"));
            }
        }
    }
    faults
}

/// How far back Prometheus looks for a sample.
const LOOKBACK: Duration = Duration::from_mins(5);

/// `group/interval`: what is recorded more seldom has gaps.
pub(crate) fn interval(_: &World, rule: &Rule) -> Vec<String> {
    let Some(interval) = &rule.interval else {
        return Vec::new();
    };
    let goes_on = rule.keep_firing_for.as_deref().and_then(duration);
    match duration(interval) {
        None => vec![format!(
            "`interval: {interval}` of its group is no duration"
        )],
        Some(length) if length > LOOKBACK && goes_on < Some(length) => {
            vec![format!(
                "`interval: {interval}` of its group leaves gaps: 5m at most"
            )]
        }
        Some(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
