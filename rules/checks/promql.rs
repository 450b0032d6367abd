//! What pint calls `promql/aggregate`, `promql/fragile`, `promql/nan`, `promql/performance` and `promql/features`.

use promql_parser::parser::{BinaryExpr, Expr, VectorMatchCardinality};

use crate::SCRAPE;
use crate::labels::of;
use crate::rule::{Rule, World};
use crate::walk::{all, bare, children, is_vector, number};

/// What tells the clusters of one Prometheus apart. An alert is routed by them, and a recording without them adds up
/// what is of different clusters.
const KEPT: [&str; 2] = ["cluster", "environment"];

/// `promql/aggregate`: labels that each result has to have.
pub(crate) fn aggregate(world: &World, rule: &Rule) -> Vec<String> {
    let known = of(world, &rule.expr);
    let lost = KEPT.into_iter().filter(|label| !known.may.has(label));
    let lost: Vec<&str> = lost.collect();
    if lost.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "its series have no {}: keep it in `by`",
        lost.join(" and no ")
    )]
}

/// Aggregations that choose some series.
const CHOOSE: [&str; 4] = ["topk", "bottomk", "limitk", "limit_ratio"];

/// `promql/fragile`: alerts that begin anew because their labels change, and ratios of what is not scraped yet.
pub(crate) fn fragile(_: &World, rule: &Rule) -> Vec<String> {
    if !rule.is_alert {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for chosen in shown(&rule.expr) {
        let word = chosen.to_string();
        let word = word.split(['(', ' ']).next().unwrap_or_default().to_owned();
        faults.push(format!(
            "`{word}` chooses others each time, and each is an alert of its own"
        ));
    }
    // Prometheus spreads the first scrapes over an interval, and evaluates rules meanwhile.
    if rule.waits() < SCRAPE && all(&rule.expr).into_iter().any(is_ratio_of_sums) {
        faults.push("compares two sums without `for`: after a start one is of few targets".into());
    }
    faults
}

/// Aggregations that choose series whose labels the expression has.
fn shown(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Aggregate(one) if CHOOSE.contains(&one.op.to_string().as_str()) => vec![expr],
        // What is left is by labels that do not depend on the choice, as a rule.
        Expr::Aggregate(_) => Vec::new(),
        Expr::Binary(one) => match (one.op.to_string().as_str(), &one.modifier) {
            ("and" | "unless", _) => shown(&one.lhs),
            // Labels come from the other side only where it is asked for some.
            (_, Some(modifier)) if one.op.to_string() != "or" => match &modifier.card {
                VectorMatchCardinality::ManyToOne(taken) if taken.is_empty() => shown(&one.lhs),
                VectorMatchCardinality::OneToMany(taken) if taken.is_empty() => shown(&one.rhs),
                _ => [shown(&one.lhs), shown(&one.rhs)].concat(),
            },
            _ => [shown(&one.lhs), shown(&one.rhs)].concat(),
        },
        other => children(other).into_iter().flat_map(shown).collect(),
    }
}

fn is_ratio_of_sums(expr: &Expr) -> bool {
    let Expr::Binary(binary) = expr else {
        return false;
    };
    let is_sum = |side: &Expr| {
        all(side)
            .iter()
            .any(|one| matches!(one, Expr::Aggregate(_)))
    };
    !binary.op.is_set_operator() && is_sum(&binary.lhs) && is_sum(&binary.rhs)
}

/// Aggregations that are not a number when one of their series is none.
const SPOILT: [&str; 4] = ["sum", "avg", "stddev", "stdvar"];

/// `promql/nan`: one division by 0 makes the whole sum no number.
pub(crate) fn nan(_: &World, rule: &Rule) -> Vec<String> {
    let mut faults = Vec::new();
    for expr in all(&rule.expr) {
        if let Expr::Aggregate(one) = expr
            && SPOILT.contains(&one.op.to_string().as_str())
        {
            for division in divisions(&one.expr) {
                let divisor = &division.rhs;
                let word = one.op;
                faults.push(format!(
                    "`{word}` of a division by `{divisor}`, which may be 0: `> 0`"
                ));
            }
        }
    }
    faults
}

/// Divisions whose results the expression has, by what may be 0.
fn divisions(expr: &Expr) -> Vec<&BinaryExpr> {
    match expr {
        // Those of an aggregation within are found with it, or do no harm there.
        Expr::Aggregate(_) => Vec::new(),
        Expr::Binary(one) => {
            let word = one.op.to_string();
            let mut found = divisions(&one.lhs);
            if !["and", "unless"].contains(&word.as_str()) {
                found.extend(divisions(&one.rhs));
            }
            // A comparison that holds leaves numbers only.
            if one.op.is_comparison_operator() && !one.return_bool() {
                found.clear();
            }
            if ["/", "%"].contains(&word.as_str()) && is_vector(&one.rhs) && !is_never_0(&one.rhs) {
                found.push(one);
            }
            found
        }
        other => children(other).into_iter().flat_map(divisions).collect(),
    }
}

fn is_never_0(expr: &Expr) -> bool {
    match bare(expr) {
        Expr::NumberLiteral(number) => number.val != 0.0,
        Expr::Binary(one) => match one.op.to_string().as_str() {
            "or" => is_never_0(&one.lhs) && is_never_0(&one.rhs),
            "and" | "unless" => is_never_0(&one.lhs),
            // `> 0` and the like; what is below 0 is not divided by.
            ">" => !one.return_bool() && number(&one.rhs).is_some_and(|bound| bound >= 0.0),
            ">=" => !one.return_bool() && number(&one.rhs).is_some_and(|bound| bound > 0.0),
            "!=" => !one.return_bool() && number(&one.rhs) == Some(0.0),
            _ => false,
        },
        Expr::Call(call) if call.func.name == "clamp_min" => {
            let least = call.args.args.get(1).and_then(|least| number(least));
            least.is_some_and(|least| least > 0.0)
        }
        // There is no count of nothing.
        Expr::Aggregate(one) => ["count", "group"].contains(&one.op.to_string().as_str()),
        _ => false,
    }
}

/// `promql/performance`: an alert that computes what is recorded. Recordings ask for the agents' own series on
/// purpose: groups run side by side, and what one records another has a minute later.
pub(crate) fn performance(world: &World, rule: &Rule) -> Vec<String> {
    let mut faults = Vec::new();
    for recording in world.rules.iter().filter(|_| rule.is_alert) {
        let is_recorded = |expr: &&Expr| bare(expr) == bare(&recording.expr);
        let is_of_use = !recording.is_alert && recording.labels.is_empty();
        if is_of_use && all(&rule.expr).iter().any(is_recorded) {
            faults.push(format!(
                "computes what `{}` records: read that",
                recording.name
            ));
        }
    }
    faults
}

/// Functions and aggregations that Prometheus has behind a flag only.
const BEHIND_A_FLAG: [&str; 12] = [
    "double_exponential_smoothing",
    "first_over_time",
    "info",
    "limit_ratio",
    "limitk",
    "mad_over_time",
    "max_of",
    "sort_by_label",
    "sort_by_label_desc",
    "ts_of_last_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
];

/// `promql/features`: what needs a flag of Prometheus, as far as its name says so. Rules are for those without flags.
pub(crate) fn features(_: &World, rule: &Rule) -> Vec<String> {
    let mut faults = Vec::new();
    for expr in all(&rule.expr) {
        let name = match expr {
            Expr::Call(call) => call.func.name.to_owned(),
            Expr::Aggregate(one) => one.op.to_string(),
            _ => continue,
        };
        if BEHIND_A_FLAG.contains(&name.as_str()) {
            faults.push(format!(
                "`{name}` needs --enable-feature=promql-experimental-functions"
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{faults, of_recording, tells_apart, world};

    #[test]
    fn a_result_without_its_cluster_is_found() {
        for expr in [
            "sum by (cluster, environment) (up)",
            "sum without (job) (up)",
            "a",
        ] {
            assert!(of_recording(aggregate, expr).is_empty(), "{expr}");
        }
        let lost = of_recording(aggregate, "sum by (cluster) (up)");
        assert!(
            lost.len() == 1 && lost[0].contains("no environment"),
            "{lost:?}"
        );
        assert!(of_recording(aggregate, "vector(1)")[0].contains("no cluster and no environment"));
    }

    #[test]
    fn alerts_that_come_and_go_are_found() {
        let join = "a * on (b) group_left (c) topk by (b) (1, d)";
        tells_apart(
            fragile,
            &[
                "count(topk(3, a)) > 1",
                "a unless topk(3, b)",
                "sum(a) / sum(b) > 1",
            ],
            &[
                ("topk(3, a > 0)", "`topk`"),
                (join, "`topk`"),
                ("a or bottomk(1, b)", "`bottomk`"),
            ],
        );
        assert!(of_recording(fragile, "topk(3, a)").is_empty());
        let at_once = "  - alert: A\n    expr: sum(a) / sum(b) > 1\n";
        assert!(faults(fragile, &world(at_once))[0].contains("without `for`"));
    }

    #[test]
    fn sums_of_what_may_be_no_number_are_found() {
        tells_apart(
            nan,
            &[
                "sum(a / (b > 0))",
                "sum(a / 2)",
                "avg(a / clamp_min(b, 1))",
                "count(a / b)",
                "sum(a) / sum(b)",
                "sum(a / b > 0)",
                "sum(c and a / b)",
            ],
            &[
                ("sum(a / b)", "`sum`"),
                ("avg by (c) (1 - a / (b or c > 0))", "`avg`"),
                ("sum(a / clamp_min(b, 0))", "may be 0"),
                ("sum(a / (b > bool 0))", "may be 0"),
            ],
        );
    }

    #[test]
    fn what_is_recorded_is_read() {
        let rules = |expr: &str| {
            let rules = format!(
                "  - record: job:vdi_a:rate5m\n    expr: sum by (job) (rate(vdi_a_total[5m]))\n  - alert: A\n    expr: {expr} > 1\n"
            );
            faults(performance, &world(&rules))
        };
        assert!(rules("job:vdi_a:rate5m").is_empty());
        assert!(rules("sum by (job) (rate(vdi_a_total[10m]))").is_empty());
        let computed = rules("2 * (sum by (job) (rate(vdi_a_total[5m])))");
        assert!(computed[0].contains("job:vdi_a:rate5m"), "{computed:?}");
    }

    #[test]
    fn functions_behind_a_flag_are_found() {
        tells_apart(
            features,
            &["max_over_time(a[5m])", "topk(1, a)"],
            &[
                ("limitk(1, a)", "limitk"),
                ("mad_over_time(a[5m])", "mad_over_time"),
            ],
        );
    }
}
