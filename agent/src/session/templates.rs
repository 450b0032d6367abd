//! A bound on what names from outside can do to the number of series: so many templates, each with its
//! namespace, are told apart, and sessions of further ones are of one called [`OVERFLOW`].

use std::collections::HashSet;

use crate::discover::rules::Identity;

/// Template, and namespace, of sessions whose own would be one too many.
pub const OVERFLOW: &str = "overflow";

/// The templates that are told apart: those that came first.
#[derive(Debug)]
pub struct Bound {
    most: usize,
    known: HashSet<(String, String)>,
}

impl Bound {
    /// At most so many.
    pub fn new(most: u32) -> Self {
        Self {
            most: most as usize,
            known: HashSet::new(),
        }
    }

    /// The identity as it is measured; `true` with it when that is not its own template.
    pub fn apply(&mut self, mut identity: Identity) -> (Identity, bool) {
        let pair = (identity.namespace.clone(), identity.template.clone());
        if self.known.contains(&pair) {
            return (identity, false);
        }
        if self.known.len() < self.most {
            self.known.insert(pair);
            return (identity, false);
        }
        OVERFLOW.clone_into(&mut identity.template);
        let known = |namespace: &str| self.known.iter().any(|(n, _)| n == namespace);
        if !known(&identity.namespace) {
            OVERFLOW.clone_into(&mut identity.namespace);
        }
        (identity, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(namespace: &str, template: &str) -> Identity {
        Identity {
            session: "s".to_owned(),
            namespace: namespace.to_owned(),
            template: template.to_owned(),
            ..Identity::default()
        }
    }

    #[test]
    fn ten_thousand_templates_are_as_many_as_are_allowed_and_one() {
        let mut bound = Bound::new(3);
        let mut seen = HashSet::new();
        for number in 0..10_000 {
            let (identity, _) = bound.apply(identity("n", &format!("t{number}")));
            seen.insert(identity.template);
        }
        assert_eq!(seen.len(), 4);
        // Those that came first stay, and a namespace that is known is kept.
        assert_eq!(
            bound.apply(identity("n", "t2")),
            (identity("n", "t2"), false)
        );
        assert_eq!(
            bound.apply(identity("n", "x")),
            (identity("n", OVERFLOW), true)
        );
        let elsewhere = identity(OVERFLOW, OVERFLOW);
        assert_eq!(bound.apply(identity("m", "x")), (elsewhere, true));
    }
}
