//! What a platform says of a session besides, as far as `sessions.user` lets it be told.

use std::collections::BTreeMap;

use crate::discover::{platform::Facts, users::UserPolicy};

/// Those that name who uses a session, or where they come from.
const PERSONAL: [&str; 2] = ["remote host", "remote user"];

/// The details of a session that are shown.
pub(super) fn shown(facts: Option<&Facts>, users: UserPolicy) -> BTreeMap<String, String> {
    let details = facts.into_iter().flat_map(|facts| &facts.details);
    let shown = details.filter(|(name, text)| match users {
        // A hash is there to tell users apart without naming them, and an address names them.
        UserPolicy::Off | UserPolicy::Hashed => !is_personal(name, text),
        UserPolicy::Plain => true,
    });
    shown
        .map(|(name, text)| ((*name).to_owned(), text.clone()))
        .collect()
}

fn is_personal(name: &str, text: &str) -> bool {
    // A display of another machine has its address before the colon.
    PERSONAL.contains(&name) || (name == "display" && !text.starts_with(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(display: &str, users: UserPolicy) -> Vec<String> {
        let details = [
            ("remote host", "192.0.2.7"),
            ("remote user", "ada"),
            ("display", display),
            ("type", "x11"),
        ];
        let facts = Facts {
            details: details.map(|(name, text)| (name, text.to_owned())).into(),
            ..Facts::default()
        };
        shown(Some(&facts), users).into_keys().collect()
    }

    #[test]
    fn where_somebody_comes_from_is_told_only_where_the_name_is() {
        for users in [UserPolicy::Off, UserPolicy::Hashed] {
            assert_eq!(names(":7", users), ["display", "type"]);
            assert_eq!(names("192.0.2.7:0", users), ["type"]);
        }
        let all = ["display", "remote host", "remote user", "type"];
        assert_eq!(names(":7", UserPolicy::Plain), all);
    }

    #[test]
    fn a_session_without_a_platform_has_none() {
        assert!(shown(None, UserPolicy::Plain).is_empty());
    }
}
