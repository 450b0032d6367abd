//! What the registry's sessions are called, and how that changes.

use std::{sync::Arc, time::Instant};

use super::{Key, Registry, key_of};
use crate::{
    discover::{
        platform::{Facts, Key as PlatformKey},
        rules::Identity,
    },
    session::gpu::Serial,
};

impl Registry {
    /// A root of the session is called so now. Says whether the session goes on under that name; otherwise the
    /// root is another session's.
    pub(super) fn rename(&mut self, serial: Serial, identity: &Identity, key: &Key) -> bool {
        let Some(session) = self.sessions.get_mut(&serial) else {
            return false;
        };
        let old = session.key();
        if old == *key {
            // Who uses it, and where its names are from, may have changed all the same.
            session.identity.clone_from(identity);
            return true;
        }
        let whole = session.roots.len() == 1 && session.identity.platform == identity.platform;
        if !whole || session.identity.platform.is_none() || self.live_by_key.contains_key(key) {
            return false;
        }
        tracing::info!(
            session = identity.session,
            namespace = identity.namespace,
            template = identity.template,
            before = old.0,
            "session renamed"
        );
        session.identity.clone_from(identity);
        self.live_by_key.remove(&old);
        self.live_by_key.insert(key.clone(), serial);
        self.supersede(key, Some(serial));
        true
    }

    /// Gives a session a name of its own where another session of its platform lives under the same labels: two
    /// of overflowed namespaces, or one that is called as another's own name. One that has such a name keeps it.
    pub(super) fn tell_apart(&self, identity: &mut Identity, current: Option<Serial>) {
        let Some(platform) = &identity.platform else {
            return;
        };
        let own = format!("{}-{}", identity.session, platform.short());
        let current = current.and_then(|serial| self.sessions.get(&serial));
        let keeps = current.is_some_and(|session| session.identity.session == own);
        let holder = self.live_by_key.get(&key_of(identity));
        let holder = holder.and_then(|serial| self.sessions.get(serial));
        let taken = holder.is_some_and(|holder| {
            let other = holder.identity.platform.as_ref() != Some(platform);
            other
                && holder
                    .platform
                    .as_ref()
                    .is_some_and(|facts| !facts.is_over())
        });
        if keeps || taken {
            identity.session = own;
        }
    }

    /// Whether the session of this name is another one to its platform: a pod that is made anew keeps its name.
    pub(super) fn is_predecessor(&self, serial: Serial, identity: &Identity) -> bool {
        let before = self.sessions.get(&serial).map(|s| &s.identity.platform);
        matches!((before, &identity.platform), (Some(Some(before)), Some(now)) if before != now)
    }

    /// Ends a session whose cgroups are still there.
    pub(super) fn end(&mut self, serial: Serial, now: Instant) {
        let roots = self.sessions.get(&serial).map(|s| s.roots.clone());
        for root in roots.unwrap_or_default() {
            self.vanish(root, now);
        }
    }

    /// The same name again while an old one lingers: the new one takes its place.
    pub(super) fn supersede(&mut self, key: &Key, except: Option<Serial>) {
        for (serial, old) in &mut self.sessions {
            if Some(*serial) != except && key_of(&old.identity) == *key {
                old.superseded = true;
            }
        }
    }

    /// Takes what the platforms say. What one last said of a session stays with it.
    pub fn take_platforms(&mut self, facts_of: impl Fn(&PlatformKey) -> Option<Arc<Facts>>) {
        let undecided = self
            .sessions
            .values_mut()
            .filter(|s| s.end_reason.is_none());
        for session in undecided {
            let facts = session.identity.platform.as_ref().and_then(&facts_of);
            if facts.is_some() {
                session.platform = facts;
            }
        }
    }
}
