//! What pint calls `promql/rate`, `promql/counter` and `promql/range_query`. It asks Prometheus for the kinds of
//! metrics and for the interval of scrapes; here the first come from the agent's catalogue, and the second is
//! [`SCRAPE`].

use std::time::Duration;

use promql_parser::parser::{Call, Expr, MatrixSelector, Offset, VectorSelector};

use crate::SCRAPE;
use crate::catalogue::Kind;
use crate::rule::{Rule, World, duration};
use crate::walk::{all, bare, children, selectors};

/// For what only grows: a fall is a new beginning.
const OF_COUNTERS: [&str; 3] = ["rate", "irate", "increase"];
/// For what goes up and down: a counter's new beginning would be a fall.
const OF_GAUGES: [&str; 4] = ["delta", "idelta", "deriv", "predict_linear"];

/// Rates of what has none, and of fewer than two samples.
pub(crate) fn rate(world: &World, rule: &Rule) -> Vec<String> {
    let mut faults = Vec::new();
    for expr in all(&rule.expr) {
        if let Expr::Call(call) = expr {
            faults.extend(of_call(world, call));
        }
    }
    faults
}

fn of_call(world: &World, call: &Call) -> Option<String> {
    let function = call.func.name;
    let is_of_counters = OF_COUNTERS.contains(&function);
    if !is_of_counters && !OF_GAUGES.contains(&function) {
        return None;
    }
    match bare(call.args.args.first()?) {
        Expr::MatrixSelector(selector) => of_series(world, function, selector),
        // What is added up or divided first begins at 0 with one of its parts.
        Expr::Subquery(_) if is_of_counters => Some(format!(
            "`{function}` of a subquery: take the rate of each series first"
        )),
        _ => None,
    }
}

fn of_series(world: &World, function: &str, selector: &MatrixSelector) -> Option<String> {
    let is_of_counters = OF_COUNTERS.contains(&function);
    let name = selector.vs.name.as_deref()?;
    let mut apart = SCRAPE;
    if let Some(recording) = world.recordings(name).next() {
        if is_of_counters {
            return Some(format!(
                "`{function}` of the recording `{name}`, which is no counter"
            ));
        }
        apart = recording
            .interval
            .as_deref()
            .and_then(duration)
            .unwrap_or(apart);
    }
    if selector.range < 2 * apart {
        let range = selector.range.as_secs();
        return Some(format!(
            "`{function}` of `{name}` over {range} s has fewer than two samples"
        ));
    }
    match kind(world, name)? {
        Kind::Gauge if is_of_counters => Some(format!(
            "`{function}` of the gauge `{name}`: use `delta` or `deriv`"
        )),
        Kind::Counter if !is_of_counters => Some(format!(
            "`{function}` of the counter `{name}`: use `rate` or `increase`"
        )),
        _ => None,
    }
}

/// What a metric is; of others' as far as its name says it.
fn kind(world: &World, name: &str) -> Option<Kind> {
    if let Some(sample) = world.metrics.get(name) {
        return Some(sample.kind);
    }
    name.ends_with("_total").then_some(Kind::Counter)
}

/// Functions and aggregations for which the value of a counter is of no importance, or that know of its new
/// beginnings.
const SAFE: [&str; 12] = [
    "rate",
    "irate",
    "increase",
    "resets",
    "changes",
    "absent",
    "absent_over_time",
    "present_over_time",
    "count_over_time",
    "timestamp",
    "count",
    "group",
];

/// `promql/counter`: the value of a counter is of the time since its agent began, which nobody means.
pub(crate) fn counter(world: &World, rule: &Rule) -> Vec<String> {
    let mut faults = Vec::new();
    bare_counters(world, &rule.expr, &mut faults);
    faults.sort();
    faults.dedup();
    faults
}

fn bare_counters(world: &World, expr: &Expr, faults: &mut Vec<String>) {
    let name = selector(expr).and_then(|selector| selector.name.as_deref());
    if let Some(name) = name.filter(|name| kind(world, name) == Some(Kind::Counter))
        && world.recordings(name).next().is_none()
    {
        faults.push(format!(
            "reads the counter `{name}` as it is: take its `increase`"
        ));
    }
    let below = match expr {
        Expr::Call(call) if SAFE.contains(&call.func.name) => unsafe_below(expr),
        Expr::Aggregate(one) if SAFE.contains(&one.op.to_string().as_str()) => unsafe_below(expr),
        // What stands on the right is there or not, unless it is compared.
        Expr::Binary(one) if ["and", "unless"].contains(&one.op.to_string().as_str()) => {
            let mut below = vec![&*one.lhs];
            if all(&one.rhs).into_iter().any(is_comparison) {
                below.push(&one.rhs);
            }
            below
        }
        other => children(other),
    };
    for one in below {
        bare_counters(world, one, faults);
    }
}

/// What is below a function for which a counter's value is of no importance, and is not the counter itself.
fn unsafe_below(expr: &Expr) -> Vec<&Expr> {
    let mut below = children(expr);
    below.retain(|one| selector(bare(one)).is_none());
    below
}

fn selector(expr: &Expr) -> Option<&VectorSelector> {
    match expr {
        Expr::VectorSelector(selector) => Some(selector),
        Expr::MatrixSelector(selector) => Some(&selector.vs),
        _ => None,
    }
}

fn is_comparison(expr: &Expr) -> bool {
    matches!(expr, Expr::Binary(one) if one.op.is_comparison_operator())
}

/// What Prometheus keeps by default.
const KEPT: Duration = Duration::from_hours(15 * 24);

/// `promql/range_query` and `promql/offset`: what is asked for must not be thrown away yet.
pub(crate) fn range(_: &World, rule: &Rule) -> Vec<String> {
    let mut faults = Vec::new();
    let back = |selector: &VectorSelector| match &selector.offset {
        Some(Offset::Pos(back)) => *back,
        _ => Duration::ZERO,
    };
    for expr in all(&rule.expr) {
        let asked = match expr {
            Expr::MatrixSelector(one) => one.range + back(&one.vs),
            Expr::VectorSelector(one) => back(one),
            Expr::Subquery(one) => {
                let below = selectors(&one.expr).into_iter().map(back).max();
                one.range + below.unwrap_or_default()
            }
            _ => continue,
        };
        if asked > KEPT {
            faults.push(format!(
                "`{expr}` is older than what Prometheus keeps by default, 15 d"
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{faults, tells_apart, world};

    #[test]
    fn rates_of_what_has_none_are_found() {
        tells_apart(
            rate,
            &[
                "rate(vdi_a_total[30s])",
                "increase(vdi_h_bucket[5m])",
                "deriv(vdi_a[5m])",
                "rate(of_others[5m])",
                "predict_linear(vdi_a[1h], 60)",
            ],
            &[
                ("rate(vdi_a_total[29s])", "fewer than two"),
                ("rate(vdi_a[5m])", "gauge"),
                ("irate(vdi_a[5m])", "gauge"),
                ("deriv(vdi_a_total[5m])", "counter"),
                ("delta(of_others_total[5m])", "counter"),
                ("rate(sum(vdi_a_total)[5m:1m])", "subquery"),
            ],
        );
    }

    #[test]
    fn rates_of_recordings_are_found() {
        let rules = |expr: &str| {
            let rules = format!(
                "  - record: job:vdi_a:rate5m\n    expr: sum by (job) (rate(vdi_a_total[5m]))\n  - alert: A\n    expr: {expr}\n"
            );
            faults(rate, &world(&rules))
        };
        assert!(rules("deriv(job:vdi_a:rate5m[2m]) > 1").is_empty());
        assert!(rules("rate(job:vdi_a:rate5m[5m]) > 1")[0].contains("no counter"));
        assert!(rules("deriv(job:vdi_a:rate5m[1m]) > 1")[0].contains("fewer than two"));
    }

    #[test]
    fn counters_as_they_are_are_found() {
        tells_apart(
            counter,
            &[
                "rate(vdi_a_total[5m]) > 1",
                "count(vdi_a_total) > 1",
                "vdi_a unless vdi_a_total",
                "vdi_a and last_over_time(vdi_a_total[1d])",
                "vdi_a > 1",
            ],
            &[
                ("vdi_a_total > 1", "as it is"),
                ("sum(vdi_a_total) > 1", "as it is"),
                ("vdi_a and vdi_a_total > 1", "as it is"),
                ("count(vdi_a_total > 1)", "as it is"),
                ("histogram_quantile(0.9, vdi_h_bucket)", "as it is"),
                ("max_over_time(vdi_h_count[5m]) > 1", "as it is"),
            ],
        );
    }

    #[test]
    fn what_prometheus_does_not_keep_is_found() {
        tells_apart(
            range,
            &["max_over_time(a[15d])", "a offset 15d"],
            &[
                ("max_over_time(a[16d])", "15 d"),
                ("a offset 16d", "15 d"),
                ("max_over_time(a[8d] offset 8d)", "15 d"),
                ("max_over_time((a > 1)[16d:1h])", "15 d"),
            ],
        );
    }
}
