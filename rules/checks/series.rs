//! Of what pint calls `promql/series` what the agent's catalogue answers without Prometheus: whether a metric, a
//! label and a value of a label exist. A typing error in one of them makes an alert that never fires. And
//! `promql/selector`.

use std::collections::BTreeSet;

use promql_parser::{
    label::{MatchOp, Matcher},
    parser::VectorSelector,
};

use crate::catalogue::Catalogue;
use crate::labels::{of_metric, wants};
use crate::rule::{Rule, World};
use crate::walk::selectors;

/// Names that nothing has.
pub(crate) fn series(world: &World, rule: &Rule) -> Vec<String> {
    let mut faults = BTreeSet::new();
    for selector in selectors(&rule.expr) {
        let Some(name) = selector.name.as_deref() else {
            faults.insert(format!("`{selector}` names no metric"));
            continue;
        };
        let is_known = world.metrics.get(name).is_some() || world.recordings(name).next().is_some();
        if Catalogue::must_have(name) && !is_known {
            faults.insert(format!("there is no metric `{name}` in docs/metrics.md"));
        }
        let known = of_metric(world, selector);
        for matcher in &selector.matchers.matchers {
            let label = &matcher.name;
            if !known.may.has(label) && wants(matcher) != Some(false) {
                faults.insert(format!("`{name}` has no label `{label}`"));
            }
            for value in unknown(world, selector, matcher) {
                faults.insert(format!("`{label}` of `{name}` is never {value:?}"));
            }
        }
    }
    faults.into_iter().collect()
}

/// `promql/selector`: what every exporter has is asked for of a job, or it is of all of them.
pub(crate) fn selector(_: &World, rule: &Rule) -> Vec<String> {
    let mut faults = BTreeSet::new();
    for selector in selectors(&rule.expr) {
        let name = selector.name.as_deref().unwrap_or_default();
        let is_of_all = name == "up" || name.starts_with("process_") || name.starts_with("scrape_");
        let matchers = &selector.matchers.matchers;
        if is_of_all && !matchers.iter().any(|matcher| matcher.name == "job") {
            faults.insert(format!(
                "`{selector}` is of every exporter: ask for its `job`"
            ));
        }
    }
    faults.into_iter().collect()
}

/// What a matcher asks for and a label never is.
fn unknown(world: &World, selector: &VectorSelector, matcher: &Matcher) -> Vec<String> {
    let name = selector.name.as_deref().unwrap_or_default();
    let values = values(world, name, &matcher.name, 0);
    let Some(values) = values.filter(|values| !values.is_empty()) else {
        return Vec::new();
    };
    let asked: Vec<&str> = match matcher.op {
        MatchOp::Equal | MatchOp::NotEqual => vec![&matcher.value],
        MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').collect(),
    };
    // A pattern is not looked into: it is for what is not listed.
    let is_plain = |value: &&str| {
        value
            .chars()
            .all(|one| one.is_alphanumeric() || "_-/".contains(one))
    };
    let asked = asked.into_iter().filter(is_plain);
    let asked = asked.filter(|value| !value.is_empty() && !values.contains(*value));
    asked.map(str::to_owned).collect()
}

/// Recordings of recordings, as deep as anybody would look.
const DEEPEST: usize = 5;

/// All values that a label can have; `None` where they are not listed.
fn values(world: &World, name: &str, label: &str, depth: usize) -> Option<BTreeSet<String>> {
    if let Some(sample) = world.metrics.get(name) {
        return match sample.labels.get(label) {
            Some(label) => label.values.clone(),
            None => Some(BTreeSet::new()),
        };
    }
    if depth > DEEPEST {
        return None;
    }
    let mut all = BTreeSet::new();
    for rule in world.recordings(name) {
        if let Some(value) = rule.labels.get(label) {
            all.insert(value.clone());
            continue;
        }
        for name in crate::walk::names(&rule.expr) {
            all.extend(values(world, name, label, depth + 1)?);
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{faults, tells_apart, world};

    #[test]
    fn names_of_nothing_are_found() {
        tells_apart(
            series,
            &[
                "vdi_a{kind=\"x\", session=~\"a.*\"}",
                "vdi_h_bucket{le=\"1\"}",
                "of_others{any=\"thing\"}",
                "up{job=\"sessionscope\"}",
                "vdi_a{gone=\"\"}",
                "vdi_a{kind!~\"x|y\"}",
            ],
            &[
                ("vdi_b > 1", "no metric `vdi_b`"),
                ("vdi_h_total > 1", "no metric `vdi_h_total`"),
                ("vdi_a{le=\"1\"}", "no label `le`"),
                ("vdi_a{kind=\"z\"}", "never \"z\""),
                ("vdi_a{kind!~\"x|z\"}", "never \"z\""),
                ("{kind=\"x\"}", "names no metric"),
            ],
        );
    }

    #[test]
    fn what_every_exporter_has_is_asked_for_of_a_job() {
        tells_apart(
            selector,
            &["up{job=\"a\"} == 0", "vdi_a > 1"],
            &[
                ("up == 0", "ask for its `job`"),
                (
                    "rate(process_cpu_seconds_total[5m]) > 1",
                    "ask for its `job`",
                ),
            ],
        );
    }

    #[test]
    fn values_of_recordings_are_those_of_what_they_are_made_of() {
        let rules = |kind: &str| {
            let rules = format!(
                "  - record: kind:vdi_a:sum\n    expr: sum by (kind) (vdi_a)\n  - alert: A\n    expr: kind:vdi_a:sum{{kind=\"{kind}\"}} > 1\n"
            );
            faults(series, &world(&rules))
        };
        assert!(rules("x").is_empty());
        assert!(rules("z")[0].contains("never \"z\""));
    }
}
