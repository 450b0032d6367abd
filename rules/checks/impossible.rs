//! What pint calls `promql/impossible`, and of `promql/vector_matching` what can be told without series: parts of an
//! expression that never have a result, or take away what is not there.

use std::collections::BTreeSet;

use promql_parser::parser::{
    AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality,
};

use crate::labels::{Known, May, Names, of};
use crate::rule::{Rule, World};
use crate::walk::{all, bare, is_vector, number, text};

/// Labels that are taken away, matched or read although they cannot be there, and comparisons that never hold.
pub(crate) fn impossible(world: &World, rule: &Rule) -> Vec<String> {
    let mut faults = Vec::new();
    for expr in all(&rule.expr) {
        match expr {
            Expr::Aggregate(aggregate) => of_aggregate(world, aggregate, &mut faults),
            Expr::Call(call) => of_call(world, call, &mut faults),
            Expr::Binary(binary) => {
                if is_vector(&binary.lhs) && is_vector(&binary.rhs) {
                    of_match(world, binary, &mut faults);
                } else {
                    faults.extend(never(binary));
                }
            }
            _ => {}
        }
    }
    faults
}

fn of_aggregate(world: &World, aggregate: &AggregateExpr, faults: &mut Vec<String>) {
    let known = of(world, &aggregate.expr);
    let Some(modifier) = &aggregate.modifier else {
        return;
    };
    let word = if modifier.is_include() {
        "by"
    } else {
        "without"
    };
    for label in &modifier.labels().labels {
        if !known.may.has(label) {
            let inner = &aggregate.expr;
            faults.push(format!(
                "`{word} ({label})`: `{inner}` does not have that label"
            ));
        }
    }
}

fn of_call(world: &World, call: &Call, faults: &mut Vec<String>) {
    let arguments = &call.args.args;
    let read = match call.func.name {
        "label_replace" => arguments.get(3).and_then(|one| text(one)),
        "histogram_quantile" => Some("le"),
        _ => None,
    };
    let series = arguments.iter().find(|argument| is_vector(argument));
    let (Some(read), Some(series)) = (read.filter(|read| !read.is_empty()), series) else {
        return;
    };
    if !of(world, series).may.has(read) {
        let name = call.func.name;
        faults.push(format!(
            "`{name}` reads `{read}`, which `{series}` does not have"
        ));
    }
}

fn of_match(world: &World, binary: &BinaryExpr, faults: &mut Vec<String>) {
    let (left, right) = (of(world, &binary.lhs), of(world, &binary.rhs));
    let word = binary.op.to_string();
    let modifier = binary.modifier.as_ref();
    let matching = modifier.and_then(|modifier| modifier.matching.as_ref());
    if word == "or" && matching.is_none() {
        // `vector` is there always, and has no label by which the other could differ.
        let is_always = matches!(bare(&binary.lhs), Expr::Call(call) if call.func.name == "vector");
        let empty = |known: &Known| known.may == May::Only(Names::new());
        if is_always && empty(&right) {
            faults.push(format!("`{}` after `or` is never taken", binary.rhs));
        }
        return;
    }
    for label in matching
        .into_iter()
        .flat_map(|matching| &matching.labels().labels)
    {
        if !left.may.has(label) && !right.may.has(label) {
            let how = match matching {
                Some(LabelModifier::Include(_)) => "on",
                _ => "ignoring",
            };
            faults.push(format!(
                "`{word} {how} ({label})`: neither side has that label"
            ));
        }
    }
    if word != "or" {
        let compared = |label: &String| match matching {
            Some(LabelModifier::Include(on)) => on.labels.contains(label),
            Some(LabelModifier::Exclude(ignoring)) => !ignoring.labels.contains(label),
            None => true,
        };
        for (has, lacks, side) in [(&left, &right, &binary.rhs), (&right, &left, &binary.lhs)] {
            // These two a site has or not; where it has them, one side alone does not match.
            let of_site = ["cluster", "environment"].map(str::to_owned);
            let is_aggregated = matches!(has.may, May::Only(_));
            let of_site = of_site
                .iter()
                .filter(|label| is_aggregated && has.may.has(label));
            let labels: BTreeSet<&str> = of_site
                .chain(&has.surely)
                .filter(|label| compared(label) && !lacks.may.has(label))
                .map(String::as_str)
                .collect();
            if !labels.is_empty() {
                let labels = Vec::from_iter(labels).join(", ");
                faults.push(format!(
                    "`{word}` never matches: `{side}` does not have {labels}"
                ));
            }
        }
    }
    let (taken, one, side) = match modifier.map(|modifier| &modifier.card) {
        Some(VectorMatchCardinality::ManyToOne(taken)) => (taken, &right, &binary.rhs),
        Some(VectorMatchCardinality::OneToMany(taken)) => (taken, &left, &binary.lhs),
        _ => return,
    };
    for label in taken.labels.iter().filter(|label| !one.may.has(label)) {
        faults.push(format!(
            "`{word}` takes `{label}` from `{side}`, which does not have it"
        ));
    }
}

/// A comparison with a number that no series can pass.
fn never(binary: &BinaryExpr) -> Option<String> {
    if !binary.op.is_comparison_operator() || binary.return_bool() {
        return None;
    }
    let (side, bound) = (bare(&binary.lhs), number(&binary.rhs)?);
    // All that these have is at least 1, or 1; a group of nothing is not there, rather than 0.
    let (least, most) = match side {
        Expr::Aggregate(one) if one.op.to_string() == "count" => (1.0, f64::INFINITY),
        Expr::Aggregate(one) if one.op.to_string() == "group" => (1.0, 1.0),
        Expr::Call(one) if one.func.name.starts_with("absent") => (1.0, 1.0),
        _ => return None,
    };
    let is_possible = match binary.op.to_string().as_str() {
        ">" => most > bound,
        ">=" => most >= bound,
        "<" => least < bound,
        "<=" => least <= bound,
        "==" => least <= bound && bound <= most,
        _ => true,
    };
    (!is_possible).then(|| format!("`{binary}` never holds: without a series there is no 0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::tells_apart;

    #[test]
    fn labels_that_are_gone_are_found() {
        tells_apart(
            impossible,
            &[
                "sum by (session, cluster) (vdi_a)",
                "sum without (kind) (of_others)",
                "label_replace(vdi_a, \"a\", \"$1\", \"kind\", \"(.*)\")",
                "histogram_quantile(0.9, sum by (le) (rate(vdi_h_bucket[5m])))",
            ],
            &[
                ("group by (job) (sum(vdi_a))", "by (job)"),
                ("sum without (knid) (vdi_a)", "without (knid)"),
                (
                    "label_replace(sum(vdi_a), \"a\", \"$1\", \"kind\", \"(.*)\")",
                    "reads `kind`",
                ),
                ("histogram_quantile(0.9, rate(vdi_h_sum[5m]))", "reads `le`"),
            ],
        );
    }

    #[test]
    fn sides_that_never_match_are_found() {
        tells_apart(
            impossible,
            &[
                "sum by (job, kind) (vdi_a) / on (job) group_left () up",
                "vdi_a and on (job, instance) up",
                "vdi_a_total unless ignoring (pod) vdi_a",
                "vdi_a or up",
                "of_others * on (node) group_left (zone) more_of_others",
                "sum by (cluster) (vdi_a) and sum by (cluster) (up)",
            ],
            &[
                (
                    "vdi_a_total unless sum(vdi_a_total)",
                    "unless` never matches",
                ),
                ("vdi_a_total and on (session) up", "never matches"),
                (
                    "sum by (cluster, environment) (up) > 1 and sum by (cluster) (vdi_a)",
                    "does not have environment",
                ),
                ("sum(vdi_a) / on (cluster) sum(up)", "neither side has"),
                ("sum(vdi_a) / ignoring (kind) sum(up)", "neither side has"),
                (
                    "vdi_a * on (job, instance) group_left (kind) up",
                    "takes `kind`",
                ),
            ],
        );
    }

    #[test]
    fn comparisons_that_never_hold_are_found() {
        tells_apart(
            impossible,
            &[
                "count(vdi_a) >= 1",
                "count(vdi_a) < 3",
                "absent(vdi_a) == 1",
                "vdi_a < 0",
            ],
            &[
                ("count(vdi_a) == 0", "never holds"),
                ("(count(vdi_a)) < 1", "never holds"),
                ("absent(vdi_a) == 0", "never holds"),
                ("vector(1) or sum(vdi_a)", "never taken"),
            ],
        );
    }
}
