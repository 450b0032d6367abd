//! What pint calls `promql/regexp`: patterns that are none, or say less than they seem to.

use std::sync::LazyLock;

use promql_parser::label::{MatchOp, Matcher};
use regex::Regex;

use crate::rule::{Rule, World};
use crate::walk::selectors;

/// A wildcard between two words: a label that is made of several.
#[expect(clippy::expect_used, reason = "the pattern stands here")]
static MADE_OF_SEVERAL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\w\.[*+]\??\w").expect("a pattern"));

/// Patterns that should be written otherwise.
pub(crate) fn regexp(_: &World, rule: &Rule) -> Vec<String> {
    let mut faults = Vec::new();
    for selector in selectors(&rule.expr) {
        for matcher in &selector.matchers.matchers {
            if let Some(fault) = fault(matcher) {
                faults.push(format!("`{matcher}` {fault}"));
            }
        }
    }
    faults.sort();
    faults.dedup();
    faults
}

fn fault(matcher: &Matcher) -> Option<String> {
    let is_positive = match matcher.op {
        MatchOp::Re(_) => true,
        MatchOp::NotRe(_) => false,
        MatchOp::Equal | MatchOp::NotEqual => return None,
    };
    let pattern = matcher.value.as_str();
    let say = |text: &str| Some(text.to_owned());
    if pattern.starts_with('^') || (pattern.ends_with('$') && !pattern.ends_with("\\$")) {
        return say("has anchors, which Prometheus adds itself");
    }
    if pattern == ".*" {
        let nothing = if is_positive {
            "no series"
        } else {
            "every series"
        };
        return Some(format!(
            "takes {nothing} away: leave it out, or ask for what is meant"
        ));
    }
    if pattern == ".+" {
        return say(if is_positive {
            "is `!=\"\"`"
        } else {
            "is `=\"\"`"
        });
    }
    if !pattern.contains(|one| "\\.+*?()|[]{}^$".contains(one)) {
        return say(if is_positive {
            "is no pattern: write `=`"
        } else {
            "is no pattern: write `!=`"
        });
    }
    if MADE_OF_SEVERAL.is_match(pattern) {
        return say("takes a value apart: make the parts labels of their own");
    }
    let mut alternatives: Vec<&str> = pattern.split('|').collect();
    let count = alternatives.len();
    alternatives.sort_unstable();
    alternatives.dedup();
    // Within parentheses two parts may well be the same.
    if alternatives.len() < count && !pattern.contains('(') {
        return say("has one alternative twice");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::tells_apart;

    #[test]
    fn patterns_that_are_none_are_found() {
        tells_apart(
            regexp,
            &[
                "a{b=~\"x|y\"}",
                "a{b=~\"every GPU.*|nobody.*\"}",
                "a{b!~\"5..\"}",
                "a{b=~\"x\\\\$\"}",
                "a{b=\"^x$\"}",
            ],
            &[
                ("a{b=~\"x\"}", "write `=`"),
                ("a{b!~\"x\"}", "write `!=`"),
                ("a{b=~\"^x.*\"}", "anchors"),
                ("rate(a{b=~\"x|y$\"}[5m])", "anchors"),
                ("a{b=~\".*\"}", "no series away"),
                ("a{b!~\".*\"}", "every series away"),
                ("a{b=~\".+\"}", "is `!=\"\"`"),
                ("a{b=~\"my.+service\"}", "takes a value apart"),
                ("a{b=~\"x|y|x\"}", "twice"),
            ],
        );
    }
}
