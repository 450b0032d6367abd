//! Label selectors as kubectl writes them: `component=singleuser-server,tier in (a, b),!batch`.
//!
//! The API server would select as well, but then the agent could not tell a pod that is no session from one
//! that it has not heard of yet.

use std::{collections::BTreeMap, fmt, str::FromStr};

use kube::core::{Expression, Selector as Expressions, SelectorExt as _};

/// A selector, and how it was written.
#[derive(Clone, Debug)]
pub struct Selector {
    text: String,
    expressions: Expressions,
}

impl Selector {
    /// Whether a pod with these labels is selected.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.expressions.matches(labels)
    }
}

/// Two selectors are the same if they are written the same.
impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed: Result<Vec<Expression>, &str> =
            requirements(text).into_iter().map(expression).collect();
        match parsed {
            Ok(expressions) => Ok(Self {
                text: text.to_owned(),
                expressions: expressions.into_iter().collect(),
            }),
            Err(reason) => Err(format!("\"{text}\" is no label selector: {reason}")),
        }
    }
}

/// The parts between the commas that are not within brackets.
fn requirements(text: &str) -> Vec<&str> {
    let mut depth = 0;
    text.split(|one: char| {
        match one {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        one == ',' && depth == 0
    })
    .collect()
}

fn expression(text: &str) -> Result<Expression, &'static str> {
    let text = text.trim();
    if let Some(label) = text.strip_prefix('!') {
        return Ok(Expression::DoesNotExist(key(label)?));
    }
    // The longer ones first: `!=` and `==` hold a `=`.
    for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some((label, wanted)) = text.split_once(operator) {
            let (label, wanted) = (key(label)?, value(wanted)?);
            return Ok(if equal {
                Expression::Equal(label, wanted)
            } else {
                Expression::NotEqual(label, wanted)
            });
        }
    }
    let Some((label, rest)) = text.split_once(char::is_whitespace) else {
        return key(text).map(Expression::Exists);
    };
    let rest = rest.trim();
    let (of, is_in) = match (rest.strip_prefix("notin"), rest.strip_prefix("in")) {
        (Some(of), _) => (of, false),
        (None, Some(of)) => (of, true),
        _ => return Err("expected in, notin, =, == or != after a label"),
    };
    let of = of.trim().strip_prefix('(').ok_or("expected ( after in")?;
    let of = of.strip_suffix(')').ok_or("expected ) at the end")?;
    let values = of.split(',').map(value).collect::<Result<_, _>>()?;
    let label = key(label)?;
    Ok(if is_in {
        Expression::In(label, values)
    } else {
        Expression::NotIn(label, values)
    })
}

fn key(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let allowed = |one: char| one.is_ascii_alphanumeric() || "-_./".contains(one);
    if text.is_empty() || !text.chars().all(allowed) {
        return Err("expected a label of letters, digits, -, _, . and /");
    }
    Ok(text.to_owned())
}

fn value(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let allowed = |one: char| one.is_ascii_alphanumeric() || "-_.".contains(one);
    if !text.chars().all(allowed) {
        return Err("expected a value of letters, digits, -, _ and .");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let selector: Selector = selector.parse().unwrap();
        selector.selects(&labels.collect())
    }

    #[test]
    fn every_form_of_kubectl_selects_as_kubectl_does() {
        let labels = [("app", "desk"), ("example.org/tier", "gold")];
        for selector in [
            "app",
            "app=desk",
            "app == desk",
            "app!=lab",
            "other!=x",
            "!other",
            "app in (lab, desk)",
            "app notin (lab)",
            "app=desk, example.org/tier in (gold,silver),!other",
        ] {
            assert!(selects(selector, &labels), "{selector}");
        }
        for selector in ["other", "app=lab", "app!=desk", "!app", "app in (lab)"] {
            assert!(!selects(selector, &labels), "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_says_why() {
        for (text, reason) in [
            ("", "a label"),
            ("app,", "a label"),
            ("app in lab", "( after in"),
            ("app in (lab", ") at the end"),
            ("app near (lab)", "in, notin"),
            ("app=a b", "a value"),
            ("ä=b", "a label"),
        ] {
            let error = text.parse::<Selector>().unwrap_err();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }
}
