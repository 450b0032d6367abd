//! A bound on what names from outside can do to the number of series: so many templates, each with its
//! namespace, are told apart, and sessions of further ones are of one called [`OVERFLOW`].

use std::collections::BTreeSet;

use super::model::Template;
use crate::discover::rules::Identity;

/// Template, and namespace, of sessions whose own would be one too many.
pub const OVERFLOW: &str = "overflow";

/// The templates that are told apart: those that came first.
#[derive(Debug)]
pub struct Bound {
    most: usize,
    known: BTreeSet<Template>,
}

impl Bound {
    /// At most so many.
    pub fn new(most: u32) -> Self {
        Self {
            most: most as usize,
            known: BTreeSet::new(),
        }
    }

    /// Those that are told apart.
    pub fn known(&self) -> &BTreeSet<Template> {
        &self.known
    }

    /// The identity as it is measured; `true` with it when that is not its own template.
    pub fn apply(&mut self, mut identity: Identity) -> (Identity, bool) {
        let pair = (identity.namespace, identity.template);
        let ((namespace, template), overflowed) = self.bound(pair);
        (identity.namespace, identity.template) = (namespace, template);
        (identity, overflowed)
    }

    /// The same of namespace and template alone.
    pub fn bound(&mut self, (mut namespace, mut template): Template) -> (Template, bool) {
        let pair = (namespace.clone(), template.clone());
        if self.known.contains(&pair) {
            return (pair, false);
        }
        if self.known.len() < self.most {
            self.known.insert(pair.clone());
            return (pair, false);
        }
        OVERFLOW.clone_into(&mut template);
        if !self.known.iter().any(|(known, _)| *known == namespace) {
            OVERFLOW.clone_into(&mut namespace);
        }
        ((namespace, template), true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

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
