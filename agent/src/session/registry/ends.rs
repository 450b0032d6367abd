//! The registry's account of ends: what is counted, when, and what the next start of the agent must know.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::{MOST_LINGERING, Registry, SlotTable, logoff};
use crate::{
    clock,
    discover::{directory::WithoutCgroup, platform::EndReason},
    session::{
        end,
        gpu::Serial,
        model::Session,
        past::Past,
        remembered::{Entry, Remembered},
    },
};

/// How long a platform has to say how a session ended: a kubelet reports within a second or two, and its API
/// server may be away.
const WORD: Duration = Duration::from_secs(30);

impl Registry {
    /// Counts the sessions that have ended and been read for the last time, and whose platform has spoken.
    pub(super) fn count_ends(&mut self, now: Instant) {
        self.decided.clear();
        let undecided = |s: &&Session| s.ended.is_some() && s.end_reason.is_none();
        let crowded = self.sessions.values().filter(undecided).count() > MOST_LINGERING;
        for (serial, session) in &mut self.sessions {
            let Some(ended) = session.ended else { continue };
            let ago = now.duration_since(ended);
            let decided = session.end_reason.is_some() || session.slot.is_some();
            if decided || !(has_spoken(session) || ago >= WORD || crowded) {
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
            self.decided.push(*serial);
            let (namespace, template) = session.template();
            let ended_ns = clock::boot_ns().saturating_sub(ago.as_nanos() as u64);
            let lasted = session.lasted(ended_ns);
            let ended = self.ended.entry((namespace, template, reason));
            ended.or_default().add(lasted);
            self.pasts.push(Past::of(session, reason, ago, lasted));
            logoff::count(session, ended_ns, &mut self.logoffs);
        }
    }

    /// Ends the sessions that are over by the word of their platforms and whose cgroups are still there: on a
    /// node with both hierarchies a runtime may leave those of version 2 behind. One in which somebody still is goes
    /// on: whoever forces a pod's deletion has not ended its processes, and a user who lingers has logged out.
    pub(super) fn close_those_over(&mut self, table: &mut impl SlotTable, now: Instant) {
        let is_over = |session: &Session| {
            let facts = session.platform.as_ref().filter(|_| session.is_live());
            let said = facts.is_some_and(|facts| facts.gone || facts.end.is_some());
            said && session.counts.census.is_none_or(|c| c.processes == 0)
        };
        let over = self.sessions.iter().filter(|(_, session)| is_over(session));
        let over: Vec<Serial> = over.map(|(serial, _)| *serial).collect();
        for serial in over {
            self.close(serial, table, now);
        }
    }

    fn close(&mut self, serial: Serial, table: &mut impl SlotTable, now: Instant) {
        let Some(session) = self.sessions.get(&serial) else {
            return;
        };
        self.closed.extend(&session.roots);
        let (roots, parts): (Vec<u64>, Vec<u64>) = session
            .cgroups
            .iter()
            .partition(|id| session.roots.contains(id));
        self.ignored.extend(roots.iter().chain(&parts));
        // Parts first, so that none of them is left without a root above.
        for id in parts {
            self.forget(id, now);
        }
        for id in roots {
            self.detach(id, table, now);
        }
    }

    /// Forgets the longest ended sessions beyond those that may linger.
    pub(super) fn bound_lingering(&mut self) {
        let lingering = self.sessions.iter().filter(|(_, s)| s.end_reason.is_some());
        let mut lingering: Vec<_> = lingering
            .filter_map(|(serial, s)| Some((s.ended?, *serial)))
            .collect();
        lingering.sort_unstable();
        let surplus = lingering.len().saturating_sub(MOST_LINGERING);
        for (_, serial) in &lingering[..surplus] {
            let removed = self.sessions.remove(serial);
            let is_new = self.decided.contains(serial);
            self.gone.extend(removed.filter(|_| is_new));
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

    /// Cgroups that are still there though their sessions are over, for the next start of the agent.
    pub fn closed(&self) -> Vec<u64> {
        let mut closed: Vec<u64> = self.closed.iter().copied().collect();
        closed.sort_unstable();
        closed
    }

    /// The living sessions, for the next start of the agent; and those whose end is not counted yet.
    pub fn living(&self) -> Vec<Entry> {
        let living = self.sessions.values().filter(|s| s.end_reason.is_none());
        let entry = |session: &Session| {
            let identity = &session.identity;
            let mut roots: Vec<u64> = session.roots.iter().copied().collect();
            roots.sort_unstable();
            let began = session.started_ns.map(Duration::from_nanos);
            Entry {
                session: identity.session.clone(),
                namespace: identity.namespace.clone(),
                template: identity.template.clone(),
                platform: identity.source.and(identity.platform.clone()),
                roots,
                began: began.map(|began| began.as_secs_f64()),
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
        let closed = before.closed.iter().filter(|id| there.contains(id));
        self.closed.extend(closed);
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
