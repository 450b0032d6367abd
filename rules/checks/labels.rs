//! Which labels the series of an expression have: those that may be there and those that surely are. Both are bounds;
//! what lies between depends on the series that there are, which only Prometheus knows.

mod known;

use promql_parser::{
    label::{MatchOp, Matcher},
    parser::{
        AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality,
        VectorSelector,
    },
};

use crate::catalogue::OF_TARGETS;
use crate::rule::World;
use crate::walk::{bare, is_vector, text};

pub(crate) use self::known::{Known, May, Names};

/// The labels of an expression's series.
pub(crate) fn of(world: &World, expr: &Expr) -> Known {
    of_expression(world, expr, &mut Vec::new())
}

/// The labels of the series of a selector before its matchers choose among them.
pub(crate) fn of_metric(world: &World, selector: &VectorSelector) -> Known {
    of_name(world, selector, &mut Vec::new())
}

fn of_expression<'a>(world: &'a World, expr: &'a Expr, within: &mut Vec<&'a str>) -> Known {
    match expr {
        Expr::Paren(one) => of_expression(world, &one.expr, within),
        Expr::Unary(one) => of_expression(world, &one.expr, within),
        Expr::Subquery(one) => of_expression(world, &one.expr, within),
        Expr::VectorSelector(one) => with_matchers(of_name(world, one, within), one),
        Expr::MatrixSelector(one) => with_matchers(of_name(world, &one.vs, within), &one.vs),
        Expr::Aggregate(one) => of_aggregate(one, of_expression(world, &one.expr, within)),
        Expr::Call(one) => of_call(world, one, within),
        Expr::Binary(one) => of_binary(world, one, within),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => Known::none(),
    }
}

fn of_name<'a>(world: &'a World, selector: &'a VectorSelector, within: &mut Vec<&'a str>) -> Known {
    let Some(name) = selector.name.as_deref() else {
        return Known::open();
    };
    let of_targets = |known: &mut Known| {
        for label in OF_TARGETS {
            known.may.set(label, true);
        }
        // Each target has these two; the others are of Prometheus's configuration.
        known.add("job");
        known.add("instance");
    };
    if let Some(sample) = world.metrics.get(name) {
        let mut known = Known::none();
        of_targets(&mut known);
        for (name, label) in &sample.labels {
            known.may.set(name, true);
            if !label.may_be_empty {
                known.surely.insert(name.clone());
            }
        }
        // What is recorded under the name of one of them besides is others' (rules/compat).
        return known;
    }
    if name == "up" {
        let mut known = Known::none();
        of_targets(&mut known);
        return known;
    }
    // A recording that reads itself would have no end.
    if within.contains(&name) {
        return Known::open();
    }
    within.push(name);
    let recorded = world.recordings(name).map(|rule| {
        let mut known = of_expression(world, &rule.expr, within);
        for (name, value) in &rule.labels {
            if value.is_empty() {
                known.remove(name);
            } else {
                known.add(name);
            }
        }
        known
    });
    let known = recorded.reduce(Known::or).unwrap_or_else(Known::open);
    within.pop();
    known
}

/// Whether a matcher is of series that have its label, or of those that do not; `None` where it is of both.
pub(crate) fn wants(matcher: &Matcher) -> Option<bool> {
    match &matcher.op {
        MatchOp::Equal if matcher.value.is_empty() => Some(false),
        _ => (!matcher.is_match("")).then_some(true),
    }
}

fn with_matchers(mut known: Known, selector: &VectorSelector) -> Known {
    for matcher in &selector.matchers.matchers {
        match wants(matcher) {
            Some(true) => known.add(&matcher.name),
            Some(false) => known.remove(&matcher.name),
            None => {}
        }
    }
    known
}

fn of_aggregate(aggregate: &AggregateExpr, mut known: Known) -> Known {
    let word = aggregate.op.to_string();
    // These choose series and leave them as they are.
    if ["topk", "bottomk", "limitk", "limit_ratio"].contains(&word.as_str()) {
        return known;
    }
    match &aggregate.modifier {
        Some(LabelModifier::Include(by)) => known.keep(&by.labels),
        Some(LabelModifier::Exclude(without)) => {
            for name in &without.labels {
                known.remove(name);
            }
        }
        None => known = Known::none(),
    }
    if word == "count_values"
        && let Some(name) = aggregate.param.as_deref().and_then(text)
    {
        known.add(name);
    }
    known
}

fn of_call<'a>(world: &'a World, call: &'a Call, within: &mut Vec<&'a str>) -> Known {
    let arguments = &call.args.args;
    let Some(series) = arguments.iter().find(|argument| is_vector(argument)) else {
        return Known::none();
    };
    if call.func.name == "scalar" {
        return Known::none();
    }
    if call.func.name.starts_with("absent") {
        return of_absent(series);
    }
    let mut known = of_expression(world, series, within);
    let written = |place: usize| arguments.get(place).and_then(|one| text(one));
    match call.func.name {
        "histogram_quantile" => known.remove("le"),
        "label_replace" | "label_join" => {
            let target = written(1).unwrap_or_default();
            // From nothing, and so always.
            let is_fixed = call.func.name == "label_replace"
                && written(3) == Some("")
                && written(2).is_some_and(|value| !value.is_empty());
            if is_fixed {
                known.add(target);
            } else {
                known.may.set(target, true);
            }
        }
        _ => {}
    }
    known
}

/// The labels that `absent` makes are those that its selector asks for as they are.
fn of_absent(series: &Expr) -> Known {
    let mut known = Known::none();
    let selector = match bare(series) {
        Expr::VectorSelector(selector) => selector,
        Expr::MatrixSelector(selector) => &selector.vs,
        _ => return known,
    };
    for matcher in &selector.matchers.matchers {
        if matcher.op == MatchOp::Equal && !matcher.value.is_empty() {
            known.add(&matcher.name);
        }
    }
    known
}

fn of_binary<'a>(world: &'a World, binary: &'a BinaryExpr, within: &mut Vec<&'a str>) -> Known {
    let mut left = of_expression(world, &binary.lhs, within);
    let mut right = of_expression(world, &binary.rhs, within);
    match (is_vector(&binary.lhs), is_vector(&binary.rhs)) {
        (true, false) => return left,
        (false, true) => return right,
        (false, false) => return Known::none(),
        (true, true) => {}
    }
    let modifier = binary.modifier.as_ref();
    match binary.op.to_string().as_str() {
        "and" | "unless" => return left,
        "or" => return left.or(right),
        _ => {}
    }
    match modifier.map(|modifier| &modifier.card) {
        Some(VectorMatchCardinality::ManyToOne(taken)) => {
            return joined(left, &right, &taken.labels);
        }
        Some(VectorMatchCardinality::OneToMany(taken)) => {
            return joined(right, &left, &taken.labels);
        }
        _ => {}
    }
    match modifier.and_then(|modifier| modifier.matching.as_ref()) {
        Some(LabelModifier::Include(on)) => {
            left.keep(&on.labels);
            right.keep(&on.labels);
        }
        Some(LabelModifier::Exclude(ignoring)) => {
            for name in &ignoring.labels {
                left.remove(name);
                right.remove(name);
            }
        }
        None => {}
    }
    // What one of two series that match has, the other has too.
    Known {
        may: left.may.and(right.may),
        surely: &left.surely | &right.surely,
    }
}

/// The labels of the many, and what `group_left` or `group_right` takes from the one.
fn joined(mut many: Known, one: &Known, taken: &[String]) -> Known {
    for name in taken {
        many.remove(name);
        if one.may.has(name) {
            many.may.set(name, true);
        }
        if one.surely.contains(name) {
            many.add(name);
        }
    }
    many
}

#[cfg(test)]
mod tests;
