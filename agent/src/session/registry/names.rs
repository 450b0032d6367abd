//! What the registry's sessions are called, and how that changes.
//!
//! A name identifies nobody: two sessions that are called alike are two, and get labels that differ. Whoever has
//! a name first keeps it while it lives, unless its platform says that it is on its way out; the other one gets
//! the first of these that is free:
//!
//! 1. the name that its platform has for it alone (a pod's own name, a machine's);
//! 2. its name with the first eight characters of the platform's id, or with its runtime (`101-lxc`);
//! 3. the same with eight digits of a digest of its origin.
//!
//! One that has such a name keeps it, over a restart of the agent as well. What a user makes in a service manager has
//! that manager in its name from the beginning, so that no user takes the name of another session.

use std::sync::Arc;

use super::{Labels, Registry, labels_of};
use crate::{
    discover::{
        platform::{Facts, Key, Named},
        rules::{Identity, digest},
    },
    session::{
        gpu::Serial,
        model::{Origin, Session},
    },
    telemetry::log_event,
};

/// What `explain` says of a name that a session got because another has its own.
const APART: &str = "session itself: another one has its name";

impl Registry {
    /// A root of the session has this identity now.
    pub(super) fn rename(&mut self, serial: Serial, mut identity: Identity) {
        let Some(session) = self.sessions.get(&serial) else {
            return;
        };
        let origin = session.origin.clone();
        self.choose_name(&mut identity, &origin, Some(serial), None);
        let now = labels_of(&identity);
        let Some(session) = self.sessions.get_mut(&serial) else {
            return;
        };
        let old = session.key();
        // Who uses it, and where its names are from, may have changed all the same.
        session.identity = identity;
        if self.labels.get(&now) == Some(&serial) {
            return;
        }
        // It has labels of its own again.
        session.superseded &= is_over(session);
        if old != now {
            log_event!(SessionRenamed, of = &*session, before = old.0);
        }
        if self.labels.get(&old) == Some(&serial) {
            self.labels.remove(&old);
        }
        self.supersede(&now, serial);
        self.labels.insert(now, serial);
    }

    /// Chooses the first of the names that a session may have that no other living one has. `current` is the
    /// session if it lives already; `before` what it was called before a restart of the agent.
    pub(super) fn choose_name(
        &self,
        identity: &mut Identity,
        origin: &Origin,
        current: Option<Serial>,
        before: Option<&str>,
    ) {
        let session = current.and_then(|serial| self.sessions.get(&serial));
        let kept = session.map(|session| session.identity.session.as_str());
        let kept = kept.or(before);
        let mut names = names(identity, origin);
        if let Some(at) = names
            .iter()
            .position(|named| Some(named.name.as_str()) == kept)
        {
            names[..=at].rotate_right(1);
        }
        let (_, namespace, template) = labels_of(identity);
        let is_free = |name: &str| {
            let labels = (name.to_owned(), namespace.clone(), template.clone());
            let holder = self.labels.get(&labels);
            holder.is_none_or(|holder| {
                let leaves = || self.sessions.get(holder).is_some_and(is_over);
                Some(*holder) == current || (leaves() && !session.is_some_and(is_over))
            })
        };
        let wanted = identity.session.clone();
        let numbered = (2_u64..).map(|number| Named {
            name: format!("{wanted}-{:08x}-{number}", digest_of(origin)),
            from: APART.to_owned(),
        });
        let chosen = names
            .into_iter()
            .chain(numbered)
            .find(|named| is_free(&named.name));
        if let Some(chosen) = chosen.filter(|chosen| chosen.name != wanted) {
            identity.session = chosen.name;
            identity.origins.session = Some(chosen.from);
        }
    }

    /// The labels have gone to the session `to`: whoever else has them, ended or on its way out, is not shown
    /// any more, since its series would be there twice.
    pub(super) fn supersede(&mut self, labels: &Labels, to: Serial) {
        for (serial, old) in &mut self.sessions {
            if *serial != to && labels_of(&old.identity) == *labels {
                old.superseded = true;
            }
        }
    }

    /// Takes what a platform says of a session that lives.
    pub fn take_facts(&mut self, key: &Key, facts: Arc<Facts>) {
        let serial = self.live.get(&Origin::Platform(key.clone()));
        if let Some(session) = serial.and_then(|serial| self.sessions.get_mut(serial)) {
            session.take_facts(facts);
        }
    }

    /// Takes what the platforms say. What one last said of a session stays with it.
    pub fn take_platforms(&mut self, facts_of: impl Fn(&Key) -> Option<Arc<Facts>>) {
        let undecided = self
            .sessions
            .values_mut()
            .filter(|s| s.end_reason.is_none());
        for session in undecided {
            if let Some(facts) = session.identity.platform.as_ref().and_then(&facts_of) {
                session.take_facts(facts);
            }
        }
    }
}

/// Its platform says that it has ended or is about to.
fn is_over(session: &Session) -> bool {
    let facts = session.platform.as_ref();
    facts.is_some_and(|facts| facts.is_over())
}

/// The names that a session may have, the one that is wanted first.
fn names(identity: &Identity, origin: &Origin) -> Vec<Named> {
    let wanted = Named {
        name: identity.session.clone(),
        from: identity.origins.session.clone().unwrap_or_default(),
    };
    let own = match origin {
        Origin::Platform(key) => Some(key.short().to_owned()),
        Origin::Cgroup(_) => identity.runtime.clone(),
    };
    let apart = |suffix: String| Named {
        name: format!("{}-{suffix}", wanted.name),
        from: APART.to_owned(),
    };
    let own = own.map(apart);
    let digest = apart(format!("{:08x}", digest_of(origin)));
    if let Some(manager) = &identity.within {
        let manager = manager.text();
        let manager = manager.strip_suffix(".service").unwrap_or(manager);
        let users = Named {
            name: format!("{}-{manager}", wanted.name),
            from: "name of the user's service manager".to_owned(),
        };
        return vec![users, digest];
    }
    let unique = identity.unique.clone();
    let others = unique.into_iter().chain(own).chain([digest]);
    let mut names = vec![wanted.clone()];
    names.extend(others.filter(|named| named.name != wanted.name));
    names
}

/// The same for one origin after a restart of the agent.
fn digest_of(origin: &Origin) -> u32 {
    match origin {
        Origin::Platform(key) => digest(key.text().as_bytes()),
        Origin::Cgroup(id) => digest(&id.to_le_bytes()),
    }
}
