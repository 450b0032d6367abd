//! The registry's account of ends: what is counted, when, and what the next start of the agent must know.

use std::{
    collections::HashSet,
    time::{Duration, Instant, UNIX_EPOCH},
};

use super::Registry;
use crate::{
    discover::{directory::WithoutCgroup, platform::EndReason},
    session::{
        end,
        model::Session,
        remembered::{Entry, Remembered},
    },
};

/// How long a platform has to say how a session ended: a kubelet reports within a second or two, and its API
/// server may be away.
const WORD: Duration = Duration::from_secs(30);

impl Registry {
    /// Counts the sessions that have ended and been read for the last time, and whose platform has spoken.
    pub(super) fn count_ends(&mut self, now: Instant) {
        for session in self.sessions.values_mut() {
            let Some(ended) = session.ended else { continue };
            let ago = now.duration_since(ended);
            let decided = session.end_reason.is_some() || session.slot.is_some();
            if decided || !(has_spoken(session) || ago >= WORD) {
                continue;
            }
            let reason = end::reason(session);
            session.end_reason = Some(reason);
            // It came while the platform was away, or has lost the label that made it one: nothing has ended.
            if session
                .platform
                .as_ref()
                .is_some_and(|facts| !facts.is_session)
            {
                session.superseded = true;
                continue;
            }
            let (namespace, template) = session.template();
            let began = session.began();
            let lasted = began.and_then(|began| began.elapsed().ok()?.checked_sub(ago));
            let ended = self.ended.entry((namespace, template, reason));
            ended.or_default().add(lasted);
        }
    }

    /// Takes the sessions that their platforms have and that have no cgroup: those to come, and those that ended
    /// without ever having had one.
    pub fn take_without_cgroup(&mut self, all: Vec<WithoutCgroup>) {
        self.awaited.clear();
        for one in all {
            let (template, overflowed) = self.templates.bound((one.namespace, one.template));
            match one.end {
                None => self.awaited.push(template),
                Some(reason) => {
                    self.templates_overflowed_total += u64::from(overflowed);
                    let (namespace, template) = template;
                    let ended = self.ended.entry((namespace, template, reason));
                    ended.or_default().add(None);
                }
            }
        }
    }

    /// The living sessions, for the next start of the agent; and those whose end is not counted yet.
    pub fn living(&self) -> Vec<Entry> {
        let living = self.sessions.values().filter(|s| s.end_reason.is_none());
        let entry = |session: &Session| {
            let identity = &session.identity;
            let mut roots: Vec<u64> = session.roots.iter().copied().collect();
            roots.sort_unstable();
            let since = session.started;
            let since = since.and_then(|t| t.duration_since(UNIX_EPOCH).ok());
            Entry {
                session: identity.session.clone(),
                namespace: identity.namespace.clone(),
                template: identity.template.clone(),
                platform: identity.source.and(identity.platform.clone()),
                roots,
                started: since.map(|since| since.as_secs_f64()),
            }
        };
        let waiting = self.recalled.values().cloned();
        let mut entries: Vec<Entry> = living.map(entry).chain(waiting).collect();
        // One of several cgroups waits once for each.
        entries.sort_by(|a, b| a.roots.cmp(&b.roots));
        entries.dedup();
        entries
    }

    /// A cgroup of before the restart is gone that no session has taken up: it ended unseen.
    pub(super) fn forget_recalled(&mut self, id: u64) {
        let Some(entry) = self.recalled.remove(&id) else {
            return;
        };
        let still =
            |root: &u64| self.recalled.contains_key(root) || self.memberships.contains_key(root);
        if !entry.roots.iter().any(still) {
            self.count_unseen(entry);
        }
    }

    fn count_unseen(&mut self, entry: Entry) {
        let template = (entry.namespace, entry.template);
        let ((namespace, template), _) = self.templates.bound(template);
        let key = (namespace, template, EndReason::Unknown);
        self.ended.entry(key).or_default().add(None);
    }

    /// Takes up what the agent knew before its restart, before it looks at any cgroup. Those of which no cgroup
    /// is there any more ended unseen.
    pub fn recall(&mut self, before: Remembered, there: &HashSet<u64>) {
        for entry in before.sessions {
            let still: Vec<u64> = entry
                .roots
                .iter()
                .copied()
                .filter(|id| there.contains(id))
                .collect();
            for &id in &still {
                self.recalled.insert(id, entry.clone());
            }
            if still.is_empty() {
                self.count_unseen(entry);
            }
        }
    }
}

/// Nothing more is to be heard of how it ended.
fn has_spoken(session: &Session) -> bool {
    let facts = session.platform.as_ref();
    facts.is_none_or(|facts| facts.end.is_some() || facts.gone)
}
