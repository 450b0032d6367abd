//! Ways through an expression.

use promql_parser::parser::{Expr, VectorSelector, value::ValueType};

/// An expression without the parentheses around it.
pub(crate) fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(inner) => bare(&inner.expr),
        other => other,
    }
}

/// What an expression is made of directly.
pub(crate) fn children(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Aggregate(one) => {
            let parameter = one.param.iter().map(|parameter| &**parameter);
            parameter.chain([&*one.expr]).collect()
        }
        Expr::Binary(one) => vec![&one.lhs, &one.rhs],
        Expr::Unary(one) => vec![&one.expr],
        Expr::Paren(one) => vec![&one.expr],
        Expr::Subquery(one) => vec![&one.expr],
        Expr::Call(one) => one.args.args.iter().map(|argument| &**argument).collect(),
        Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Extension(_) => Vec::new(),
    }
}

/// An expression and all that is below it, what is outside first.
pub(crate) fn all(expr: &Expr) -> Vec<&Expr> {
    let mut found = vec![expr];
    found.extend(children(expr).into_iter().flat_map(all));
    found
}

/// What an expression asks Prometheus for, with a range or without.
pub(crate) fn selectors(expr: &Expr) -> Vec<&VectorSelector> {
    fn of(expr: &Expr) -> Option<&VectorSelector> {
        match expr {
            Expr::VectorSelector(selector) => Some(selector),
            Expr::MatrixSelector(selector) => Some(&selector.vs),
            _ => None,
        }
    }
    all(expr).into_iter().filter_map(of).collect()
}

/// The names that an expression asks for.
pub(crate) fn names(expr: &Expr) -> Vec<&str> {
    let selectors = selectors(expr).into_iter();
    selectors.filter_map(|one| one.name.as_deref()).collect()
}

/// Whether an expression has series.
pub(crate) fn is_vector(expr: &Expr) -> bool {
    matches!(expr.value_type(), ValueType::Vector | ValueType::Matrix)
}

/// A number that is written out, perhaps with a sign.
pub(crate) fn number(expr: &Expr) -> Option<f64> {
    match bare(expr) {
        Expr::NumberLiteral(number) => Some(number.val),
        Expr::Unary(negated) => number(&negated.expr).map(|value| -value),
        _ => None,
    }
}

/// A text that is written out.
pub(crate) fn text(expr: &Expr) -> Option<&str> {
    match bare(expr) {
        Expr::StringLiteral(text) => Some(&text.val),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use promql_parser::parser::parse;

    use super::*;

    #[test]
    fn everything_below_is_found_in_the_order_in_which_it_is_written() {
        let expr = parse("sum(rate(a[5m]) / (b > 1)) or topk(2, c)").expect("a query");
        assert_eq!(names(&expr), ["a", "b", "c"]);
    }

    #[test]
    fn numbers_and_texts_are_read() {
        let expr = parse("-(3)").expect("a query");
        assert_eq!(number(&expr), Some(-3.0));
        let expr = parse("\"a\"").expect("a query");
        assert_eq!(text(&expr), Some("a"));
    }
}
