//! Which of the sessions are meant, and in which order.

use super::{Filter, table::Sort};
use crate::{
    api::{PastSession, Session},
    error::Error,
};

/// Most names that an error lists.
const LISTED: usize = 5;

/// Those that the filter takes, by their index, in order at a time.
pub(super) fn several(sessions: &[Session], filter: &Filter, sort: Sort, now: f64) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..sessions.len())
        .filter(|&at| filter.takes(&sessions[at].namespace, &sessions[at].template))
        .collect();
    chosen.sort_by(|&one, &other| sort.compare(&sessions[one], &sessions[other], now));
    chosen
}

/// The one of this name.
pub(super) fn one<'s>(
    sessions: &'s [Session],
    name: &str,
    filter: &Filter,
) -> Result<&'s Session, Error> {
    let taken = sessions
        .iter()
        .filter(|s| filter.takes(&s.namespace, &s.template));
    let named: Vec<&Session> = taken.clone().filter(|s| s.session == name).collect();
    match named[..] {
        [session] => Ok(session),
        [] => Err(Error::NoSession {
            name: name.to_owned(),
            reason: unknown(name, taken),
        }),
        _ => {
            let each = named
                .iter()
                .map(|s| format!("namespace \"{}\" template \"{}\"", s.namespace, s.template));
            Err(Error::NoSession {
                name: name.to_owned(),
                reason: format!(
                    "{} sessions have that name ({}); choose with --namespace or --template",
                    named.len(),
                    each.collect::<Vec<_>>().join(", ")
                ),
            })
        }
    }
}

/// Those of this name that have ended, in their order.
pub(super) fn past<'s>(
    all: &'s [PastSession],
    name: &str,
    filter: &Filter,
) -> Vec<&'s PastSession> {
    all.iter()
        .filter(|s| s.session == name && filter.takes(&s.namespace, &s.template))
        .collect()
}

fn unknown<'s>(name: &str, sessions: impl Iterator<Item = &'s Session>) -> String {
    let similarity = |candidate: &str| {
        let contained = candidate.contains(name) || name.contains(candidate);
        if contained {
            1.0
        } else {
            strsim::jaro_winkler(name, candidate)
        }
    };
    let mut near: Vec<(f64, &str)> = sessions
        .map(|s| (similarity(&s.session), &*s.session))
        .filter(|(similarity, _)| *similarity > 0.75)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.dedup_by_key(|(_, name)| *name);
    near.truncate(LISTED);
    if near.is_empty() {
        return "there is none of that name; `sessionscope sessions` lists them".to_owned();
    }
    let near = near.iter().map(|(_, name)| format!("\"{name}\""));
    format!(
        "there is none of that name; near it: {}",
        near.collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;
    use crate::api::{Distribution, Window};

    fn session(name: &str, namespace: &str, p99: Option<f64>) -> Session {
        let mut session = Session {
            session: name.to_owned(),
            namespace: namespace.to_owned(),
            template: "desktop".to_owned(),
            ..Session::default()
        };
        session.runqueue_wait.recent = Some(Window {
            observed: Distribution {
                p99,
                ..Distribution::default()
            },
            window_seconds: 10.0,
        });
        session
    }

    fn some() -> Vec<Session> {
        vec![
            session("desk-2", "a", Some(0.001)),
            session("desk-1", "b", None),
            session("desk-1", "a", Some(0.02)),
            session("notebook", "b", None),
        ]
    }

    fn of_namespace(namespace: &str) -> Filter {
        Filter {
            namespace: Some(namespace.to_owned()),
            template: None,
        }
    }

    #[test]
    fn figures_are_ordered_from_the_largest_on_and_names_by_the_alphabet() {
        let all = Filter::default();
        let by = |key: &str| Sort::from_str(key, false).unwrap();
        let ordered = |filter: &Filter, sort| several(&some(), filter, sort, 0.0);
        // Those without a wait are last.
        assert_eq!(ordered(&all, Sort::default()), [2, 0, 1, 3]);
        assert_eq!(ordered(&all, by("p99")), [2, 0, 1, 3]);
        assert_eq!(ordered(&all, by("name")), [2, 1, 0, 3]);
        assert_eq!(ordered(&all, by("namespace")), [2, 0, 1, 3]);
        assert_eq!(ordered(&of_namespace("b"), by("session")), [1, 3]);
    }

    #[test]
    fn a_name_that_two_have_needs_more_than_a_name() {
        let sessions = some();
        let error = one(&sessions, "desk-1", &Filter::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "session \"desk-1\": 2 sessions have that name (namespace \"b\" template \"desktop\", \
             namespace \"a\" template \"desktop\"); choose with --namespace or --template"
        );
        let found = one(&sessions, "desk-1", &of_namespace("a")).unwrap();
        assert_eq!(found.namespace, "a");
    }

    #[test]
    fn an_unknown_name_is_refused_with_near_ones() {
        let said = |name| {
            let error = one(&some(), name, &Filter::default()).unwrap_err();
            error.to_string()
        };
        assert_eq!(
            said("dsk-1"),
            "session \"dsk-1\": there is none of that name; near it: \"desk-1\", \"desk-2\""
        );
        assert_eq!(
            said("zz"),
            "session \"zz\": there is none of that name; `sessionscope sessions` lists them"
        );
    }
}
