//! How a session begins: with a slot that is cleared, or it waits until there is room.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Instant, SystemTime},
};

use agent_common::histogram::bucket_of;

use super::{Registry, SlotTable, labels_of};
use crate::{
    clock,
    discover::{
        cgroup::Found,
        platform::Source,
        rules::{Identity, printable},
    },
    named::named,
    session::{
        growth::Grown,
        history::History,
        model::{Counts, Logoff, Origin, Session},
        phase::{Activity, Phase},
        recent::Recent,
        settings,
        settled::Calm,
    },
    telemetry::{log_event, session_id, trace_id},
};

named! {
    /// What became of a session that came.
    pub enum Admission {
        /// It is measured.
        Admitted = "admitted",
        /// It waits: there are as many as there may be.
        LimitReached = "limit_reached",
        /// It waits: what has ended has not been read for the last time.
        SlotsResting = "slots_resting",
        /// It has no place of its own and is a part of the user's session who made it.
        WithinUser = "within_user",
        /// The kernel's map of cgroups is full.
        MapFull = "map_full",
    }
}

impl Registry {
    /// Sessions that came, by who made them and what became of that.
    pub fn admissions(&self) -> &BTreeMap<(Option<Source>, Admission), u64> {
        &self.admissions
    }

    fn came(&mut self, origin: &Origin, admission: Admission) {
        let source = match origin {
            Origin::Platform(key) => Some(key.source()),
            Origin::Cgroup(_) => None,
        };
        // The others too, so that a rate sees the first of each.
        for admission in Admission::ALL {
            self.admissions.entry((source, admission)).or_default();
        }
        *self.admissions.entry((source, admission)).or_default() += 1;
    }

    /// Begins the session of a root, or adds the root to the one that it is of.
    pub(super) fn begin(
        &mut self,
        found: &Found,
        mut identity: Identity,
        origin: Origin,
        began: impl FnOnce() -> Option<SystemTime>,
        table: &mut impl SlotTable,
        now: Instant,
    ) {
        if let Some(&serial) = self.live.get(&origin) {
            self.overflowed.remove(&found.id);
            self.recalled.remove(&found.id);
            self.attach(found, serial, true, table);
            self.rename(serial, identity);
            return;
        }
        let over = self.live() >= self.max_sessions;
        let slot = if over {
            None
        } else {
            self.slots.take(|slot| table.is_clean(slot))
        };
        let Some(slot) = slot else {
            // What a user makes is never nobody's: without a place of its own it is a part of the user's session.
            let manager = identity.within.as_ref().and(found.parent);
            if let Some(above) = manager.and_then(|id| self.memberships.get(&id)) {
                let serial = above.session;
                self.attach(found, serial, false, table);
                self.came(&origin, Admission::WithinUser);
                return;
            }
            // It is tried again at each sample.
            if self.waiting.insert(found.id) {
                let admission = if over {
                    Admission::LimitReached
                } else {
                    Admission::SlotsResting
                };
                self.came(&origin, admission);
            }
            // Not an outer session's either; until there is room it is nobody's.
            self.take_out(found.id, found.parent, table);
            if over && self.overflowed.insert(found.id) {
                self.overflowed_total += 1;
                log_event!(
                    SessionLimitReached,
                    of = &identity,
                    limit = self.max_sessions
                );
            }
            return;
        };
        table.zero(slot);
        // Before there is a session: one without a cgroup would have no end.
        if let Err(error) = self.mark(found.id, slot, table) {
            log_event!(SessionUnmeasured, of = &identity, %error);
            self.slots.put_back(slot);
            self.came(&origin, Admission::MapFull);
            self.take_out(found.id, found.parent, table);
            return;
        }
        self.overflowed.remove(&found.id);
        self.came(&origin, Admission::Admitted);
        let birth = table.birth(found.id);
        let recalled = self.recalled.remove(&found.id);
        let before = recalled.as_ref().map(|entry| entry.session.as_str());
        self.choose_name(&mut identity, &origin, None, before);
        let started = recalled.and_then(|entry| entry.started_ns());
        let watched = birth.map(|b| b.made_ns);
        let started = started.or(watched);
        let started_ns = started.or_else(|| began().map(clock::boot_of_wall));
        if let Some(birth) = birth {
            let lag_ns = clock::boot_ns().saturating_sub(birth.made_ns);
            self.adoption.buckets[bucket_of(lag_ns)] += 1;
            self.adoption.sum_ns += lag_ns;
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        let labels = labels_of(&identity);
        self.supersede(&labels, serial);
        self.labels.insert(labels, serial);
        let path = found.path.as_deref().unwrap_or_default();
        self.sessions.insert(
            serial,
            Session {
                identity,
                id: session_id(&origin.text(), found.id),
                trace: trace_id(&origin.text(), found.id),
                origin: origin.clone(),
                cgroup: printable(path),
                roots: HashSet::new(),
                cgroups: HashSet::new(),
                slot: Some(slot),
                started_ns,
                adopted: SystemTime::now(),
                made: watched.and_then(clock::wall_of_boot),
                created: None,
                made_ns: birth.map(|b| b.made_ns),
                milestones: BTreeMap::new(),
                calm: Calm::default(),
                containers: BTreeMap::new(),
                logon: None,
                logoff: Logoff::default(),
                had_process: false,
                ended: None,
                end_reason: None,
                xid_processes: HashMap::new(),
                gpu_fault: None,
                platform: None,
                phase: Phase::Pending,
                phase_since_ns: birth.and(started_ns),
                looked: false,
                activity: Activity::new(now),
                superseded: false,
                counts: Counts::default(),
                grown: Grown::default(),
                recent: Recent::new(now),
                history: (self.history == settings::History::On)
                    .then(|| Arc::new(History::new(now))),
            },
        );
        self.live.insert(origin, serial);
        if let Some(session) = self.sessions.get(&serial) {
            log_event!(
                SessionFound,
                of = session,
                rule = session.identity.rule,
                slot
            );
        }
        self.attach(found, serial, true, table);
    }
}
