//! The registry: the one writer of which sessions there are.
//!
//! It is told which cgroups there are and what the rules say of them, gives each session a slot, and
//! tells the kernel which cgroup belongs to which slot. Nothing else writes to the kernel.
//!
//! * A cgroup that a rule names is the root of a session; cgroups of one name are one session.
//! * Any other cgroup belongs to the session of its parent.
//! * A slot is cleared before it is published, and rests before it is used again.
//! * Over the cap a session is counted as overflowed, once, and adopted when there is room.
//!
//! What sessions are called is in `identity`, what is counted of their ends and kept over restarts in `ends`,
//! their start in `startup`, the join with the GPUs in `gpus`; `table` is the kernel side as it is needed here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::{Duration, Instant, SystemTime},
};

use agent_common::{
    Slot,
    histogram::{Histogram, bucket_of},
};

use super::{
    ended::AllEnded,
    gpu::{Join, Serial},
    model::{Counts, Milestone, OomKill, Session, Template, Templates},
    phase::{Activity, Phase},
    recent::Recent,
    remembered::Entry,
    slots::{REST, Slots},
    templates::Bound,
};
use crate::{
    config::Sessions,
    discover::{
        cgroup::Found,
        rules::{Identity, Verdict},
    },
    kernel::{Before, SlotCounts, accounts::CgroupAccounts},
};

mod ends;
mod gpus;
mod identity;
mod startup;
mod table;

pub use table::SlotTable;

/// namespace, template, milestone.
pub type StartupKey = (String, String, Milestone);
/// session, namespace, template.
type Key = (String, String, String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Membership {
    session: Serial,
    root: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Registry {
    max_sessions: usize,
    linger: Duration,
    slots: Slots,
    next_serial: Serial,
    sessions: BTreeMap<Serial, Session>,
    live_by_key: HashMap<Key, Serial>,
    memberships: HashMap<u64, Membership>,
    /// Cgroups that a rule ignores, and all below them.
    ignored: HashSet<u64>,
    /// Roots of sessions that had no slot when they came.
    waiting: HashSet<u64>,
    /// Waiting ones that are already in `overflowed_total`.
    overflowed: HashSet<u64>,
    overflowed_total: u64,
    /// Removed cgroups whose threads may still be switched for the last time.
    expiring: Vec<(Instant, u64)>,
    /// A change that the kernel has not been told of.
    unpublished: bool,
    /// A session has a cgroup since the last sample that may have had processes and connections already.
    adopted: bool,
    /// A cgroup belongs to another session, or to none, with those who are in it.
    recount: bool,
    /// Samples taken, to spread the reading of accounts over them.
    samples: u64,
    /// Time from a cgroup's making to each milestone; long histograms.
    startup: BTreeMap<StartupKey, Histogram>,
    /// Time from a cgroup's making to its adoption: what happened in between is not counted.
    adoption: Histogram,
    /// Sessions that have ended.
    ended: AllEnded,
    /// Sessions of before a restart, by the ids of their cgroups.
    recalled: HashMap<u64, Entry>,
    /// Sessions without a cgroup yet.
    awaited: Vec<Template>,
    /// Templates whose sessions listen.
    listens: Templates,
    /// Templates that labels tell apart.
    templates: Bound,
    /// Sessions whose template was one too many.
    templates_overflowed_total: u64,
    /// Not used for this long, a session is idle.
    idle_after: Duration,
    gpu: Join,
}

impl Registry {
    /// No session yet.
    pub fn new(settings: &Sessions, max_templates: u32) -> Self {
        Self {
            max_sessions: settings.max_sessions as usize,
            linger: settings.linger,
            slots: Slots::new(settings.max_sessions),
            next_serial: 1,
            sessions: BTreeMap::new(),
            live_by_key: HashMap::new(),
            memberships: HashMap::new(),
            ignored: HashSet::new(),
            waiting: HashSet::new(),
            overflowed: HashSet::new(),
            overflowed_total: 0,
            expiring: Vec::new(),
            unpublished: false,
            adopted: false,
            recount: false,
            samples: 0,
            startup: BTreeMap::new(),
            adoption: Histogram::default(),
            ended: AllEnded::new(),
            recalled: HashMap::new(),
            awaited: Vec::new(),
            listens: Templates::new(),
            templates: Bound::new(max_templates),
            templates_overflowed_total: 0,
            idle_after: settings.idle_after,
            gpu: Join::default(),
        }
    }

    /// The sessions, live and ended, oldest first; an ended one whose name is in use again is left out.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values().filter(|s| !s.superseded)
    }

    /// The session that has a slot.
    pub fn session_of_slot(&self, slot: Slot) -> Option<&Session> {
        self.sessions.values().find(|s| s.slot == Some(slot))
    }

    /// Live sessions.
    pub fn live(&self) -> usize {
        self.live_by_key.len()
    }

    /// Sessions that did not fit under the cap when they came.
    pub fn overflowed_total(&self) -> u64 {
        self.overflowed_total
    }

    /// Sessions whose template was one too many.
    pub fn templates_overflowed_total(&self) -> u64 {
        self.templates_overflowed_total
    }

    /// Whether a session waits and there is room for it now; a reconcile adopts it.
    pub fn has_room_for_waiting(&self) -> bool {
        !self.waiting.is_empty() && self.live() < self.max_sessions && self.slots.any_free()
    }

    /// Time from a session's cgroup to each milestone of its start.
    pub fn startup(&self) -> &BTreeMap<StartupKey, Histogram> {
        &self.startup
    }

    /// Sessions that have ended.
    pub fn ended(&self) -> &AllEnded {
        &self.ended
    }

    /// Templates that labels tell apart.
    pub fn templates(&self) -> &BTreeSet<Template> {
        self.templates.known()
    }

    /// Templates of the sessions that have no cgroup yet.
    pub fn awaited(&self) -> &[Template] {
        &self.awaited
    }

    /// Time from a cgroup's making to its adoption.
    pub fn adoption(&self) -> &Histogram {
        &self.adoption
    }

    /// A cgroup is there; `began` tells when, for one that was there before the agent.
    pub fn appear(
        &mut self,
        found: &Found,
        verdict: Verdict,
        began: impl FnOnce() -> Option<SystemTime>,
        table: &mut impl SlotTable,
        now: Instant,
    ) {
        let current = self.memberships.get(&found.id).copied();
        let below_ignored = found.parent.is_some_and(|p| self.ignored.contains(&p));
        let verdict = match verdict {
            Verdict::Held => return,
            _ if below_ignored => Verdict::Ignored,
            verdict => verdict,
        };
        if verdict != Verdict::Ignored {
            self.ignored.remove(&found.id);
        }
        // Back it goes if it is a session's root and there is still no room.
        self.waiting.remove(&found.id);
        if !matches!(verdict, Verdict::Session(_)) {
            self.overflowed.remove(&found.id);
        }
        match verdict {
            Verdict::Session(identity) => {
                let (mut identity, overflowed) = self.templates.apply(identity);
                self.tell_apart(&mut identity, current.map(|member| member.session));
                let key = key_of(&identity);
                if let Some(member) = current {
                    if member.root && self.rename(member.session, &identity, &key) {
                        return;
                    }
                    self.detach(found.id, table, now);
                }
                let next = self.next_serial;
                self.begin(found, identity, key, began, table, now);
                self.templates_overflowed_total += u64::from(overflowed && self.next_serial > next);
            }
            Verdict::NotASession => {
                let wanted = found
                    .parent
                    .and_then(|p| self.memberships.get(&p))
                    .map(|m| m.session);
                if current.is_some_and(|m| !m.root && Some(m.session) == wanted) {
                    return;
                }
                if current.is_some() {
                    self.detach(found.id, table, now);
                }
                if let Some(serial) = wanted {
                    self.attach(found.id, serial, false, table);
                }
            }
            Verdict::Held => {}
            Verdict::Ignored => {
                if current.is_some() {
                    self.detach(found.id, table, now);
                } else if self.ignored.insert(found.id) {
                    // The kernel gives a new cgroup its parent's slot by itself.
                    self.take_out(found.id, table);
                }
                self.ignored.insert(found.id);
            }
        }
    }

    /// A cgroup has been removed. Its threads may still be switched for the last time, so the kernel
    /// keeps it for a moment.
    pub fn vanish(&mut self, id: u64, now: Instant) {
        self.waiting.remove(&id);
        self.overflowed.remove(&id);
        self.ignored.remove(&id);
        self.forget_recalled(id);
        self.forget(id, now);
        // Whether or not it was a session's: the kernel may have given it its parent's slot, and the event
        // of its making may have been lost.
        self.expiring.push((now, id));
    }

    /// Compares all that is there with all that is known.
    pub fn reconcile(
        &mut self,
        all: &[Found],
        mut classify: impl FnMut(&[u8]) -> Verdict,
        began: impl Fn(&[u8]) -> Option<SystemTime>,
        table: &mut impl SlotTable,
        now: Instant,
    ) {
        let there: HashSet<u64> = all.iter().map(|f| f.id).collect();
        let known = self
            .memberships
            .keys()
            .chain(&self.waiting)
            .chain(&self.ignored)
            .chain(self.recalled.keys());
        let gone: Vec<u64> = known.filter(|id| !there.contains(id)).copied().collect();
        for id in gone {
            self.vanish(id, now);
        }
        for found in all {
            self.appear(
                found,
                classify(&found.path),
                || began(&found.path),
                table,
                now,
            );
        }
        self.publish(table);
    }

    /// Tells the kernel, if there is something to tell.
    pub fn publish(&mut self, table: &mut impl SlotTable) {
        if std::mem::take(&mut self.unpublished) {
            table.publish();
        }
    }

    /// Reads every session's counts, gives slots back, forgets what has lingered.
    pub fn sample(&mut self, table: &mut impl SlotTable, now: Instant) {
        if std::mem::take(&mut self.adopted) {
            table.find_open_connections();
            self.recount = true;
        }
        if std::mem::take(&mut self.recount) {
            table.processes_moved();
        }
        table.settle_running();
        let slots = self.sessions.values().filter_map(|s| s.slot);
        let mut counted: HashMap<Slot, SlotCounts> =
            slots.map(|slot| (slot, table.counts(slot))).collect();
        // After the counters: a connection closed in between is then missing from both for one sample, where the
        // other way round it would be counted twice.
        let census = table.census();
        let connections = table.connections();
        let cpus = table.cpus();
        let measures_udp = table.measures_udp();
        for session in self.sessions.values_mut() {
            let Some(slot) = session.slot else { continue };
            let live = connections.part(|all| {
                let from = all.partition_point(|c| c.slot < slot);
                let to = all.partition_point(|c| c.slot <= slot);
                &all[from..to]
            });
            let Some(counted) = counted.remove(&slot) else {
                continue;
            };
            let net_milestones = counted.net.map(|n| n.milestones).unwrap_or_default();
            session.take_counts(counted, measures_udp, live);
            session.take_census(
                census.as_ref().and_then(|c| c.get(slot as usize)).copied(),
                cpus,
                now,
            );
            startup::note_milestones(session, table, net_milestones, &mut self.startup);
            if session.milestones.contains_key(&Milestone::FirstListener) {
                self.listens.insert(session.template());
            }
            session.look(&self.listens, self.idle_after, now);
            if session
                .ended
                .is_some_and(|ended| now.duration_since(ended) >= REST)
            {
                // Read for the last time just now.
                session.slot = None;
                session.counts.census = None;
                session.counts.gpu.forget_now();
                // What it holds and may use is known of a living one only.
                if let Some(accounts) = &mut session.counts.accounts {
                    accounts.memory = None;
                }
                self.slots.give_back(slot, now);
            }
        }
        self.count_ends(now);
        let expired = |since: &Instant| now.duration_since(*since) >= REST;
        for (_, id) in self.expiring.extract_if(.., |(since, _)| expired(since)) {
            self.unpublished |= table.unassign(id);
        }
        let linger = self.linger;
        self.sessions.retain(|_, s| {
            let lingers = !s.superseded
                && s.ended
                    .is_none_or(|ended| now.duration_since(ended) < linger);
            s.slot.is_some() || s.end_reason.is_none() || lingers
        });
        self.publish(table);
        self.slots.wake(now);
    }

    /// Reads the kernel's own accounts of the sessions' cgroups: of each session at its first sample and
    /// then at every `every`th one, a share of them at a time.
    pub fn read_accounts(&mut self, every: u64, read: impl Fn(u64) -> Option<CgroupAccounts>) {
        self.samples += 1;
        for (serial, session) in &mut self.sessions {
            let due = (self.samples + serial).is_multiple_of(every.max(1));
            if !session.is_live() || !(due || session.counts.accounts.is_none()) {
                continue;
            }
            let accounts = session.roots.iter().filter_map(|&root| read(root));
            if let Some(all) = accounts.reduce(CgroupAccounts::with) {
                session.take_accounts(all);
            }
        }
    }

    /// A process of the session with this slot failed; `oom_kill` if it was killed for want of memory.
    pub fn process_failed(&mut self, slot: Slot, pid: u32, oom_kill: Option<OomKill>) {
        let session = self.sessions.values_mut().find(|s| s.slot == Some(slot));
        let Some(session) = session else { return };
        if let Some(xid) = session.xid_processes.remove(&pid) {
            session.gpu_fault = Some(xid);
        }
        if oom_kill.is_some() {
            session.counts.last_oom_kill = oom_kill;
        }
    }

    fn begin(
        &mut self,
        found: &Found,
        identity: Identity,
        key: Key,
        began: impl FnOnce() -> Option<SystemTime>,
        table: &mut impl SlotTable,
        now: Instant,
    ) {
        if let Some(&serial) = self.live_by_key.get(&key) {
            if self.is_predecessor(serial, &identity) {
                self.end(serial, now);
            } else {
                self.overflowed.remove(&found.id);
                self.recalled.remove(&found.id);
                self.attach(found.id, serial, true, table);
                return;
            }
        }
        let over = self.live() >= self.max_sessions;
        let slot = if over { None } else { self.slots.take() };
        let Some(slot) = slot else {
            self.waiting.insert(found.id);
            // The kernel may have given it an outer session's slot; until there is room it is nobody's.
            self.take_out(found.id, table);
            if over && self.overflowed.insert(found.id) {
                self.overflowed_total += 1;
                tracing::warn!(
                    session = identity.session,
                    limit = self.max_sessions,
                    "session not measured: sessions.max_sessions is reached"
                );
            }
            return;
        };
        table.zero(slot);
        // Before there is a session: one without a cgroup would have no end.
        match table.assign(found.id, slot) {
            // Here, because it has the slot already when it is attached.
            Ok(before) => self.adopted |= before == Before::Perhaps,
            Err(error) => {
                tracing::error!(session = identity.session, %error, "session not measured");
                self.slots.put_back(slot);
                return;
            }
        }
        self.overflowed.remove(&found.id);
        self.supersede(&key, None);
        let birth = table.birth(found.id);
        let recalled = self.recalled.remove(&found.id);
        let started = recalled.and_then(|entry| entry.started());
        let watched = birth.and_then(|b| crate::clock::wall_of_boot(b.made_ns));
        let started = started.or(watched).or_else(began);
        if let Some(birth) = birth {
            let lag_ns = crate::clock::boot_ns().saturating_sub(birth.made_ns);
            self.adoption.buckets[bucket_of(lag_ns)] += 1;
            self.adoption.sum_ns += lag_ns;
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        tracing::info!(
            session = identity.session,
            namespace = identity.namespace,
            rule = identity.rule,
            slot,
            "session found"
        );
        self.sessions.insert(
            serial,
            Session {
                identity,
                cgroup: crate::discover::rules::printable(&found.path),
                roots: HashSet::new(),
                cgroups: HashSet::new(),
                slot: Some(slot),
                started,
                made_ns: birth.map(|b| b.made_ns),
                milestones: BTreeMap::new(),
                had_process: false,
                ended: None,
                end_reason: None,
                xid_processes: HashMap::new(),
                gpu_fault: None,
                platform: None,
                phase: Phase::Pending,
                phase_since: birth.and(started),
                looked: false,
                activity: Activity::new(now),
                superseded: false,
                counts: Counts::default(),
                recent: Recent::new(now),
            },
        );
        self.live_by_key.insert(key, serial);
        self.attach(found.id, serial, true, table);
    }

    fn attach(&mut self, id: u64, serial: Serial, root: bool, table: &mut impl SlotTable) {
        let Some(session) = self.sessions.get_mut(&serial) else {
            return;
        };
        let Some(slot) = session.slot else { return };
        match table.assign(id, slot) {
            // Who is looked for is looked for among all that the node has.
            Ok(before) => self.adopted |= before == Before::Perhaps,
            Err(error) => {
                tracing::error!(session = session.identity.session, %error, "cgroup not measured");
                return;
            }
        }
        session.cgroups.insert(id);
        if root {
            session.roots.insert(id);
        }
        // One that a scan has missed and found again.
        self.expiring.retain(|&(_, gone)| gone != id);
        self.memberships.insert(
            id,
            Membership {
                session: serial,
                root,
            },
        );
        self.unpublished = true;
    }

    /// Takes a living cgroup out of its session at once.
    fn detach(&mut self, id: u64, table: &mut impl SlotTable, now: Instant) {
        if self.forget(id, now) {
            self.take_out(id, table);
        }
    }

    /// A living cgroup belongs to nobody from now on, and neither do those who are in it.
    fn take_out(&mut self, id: u64, table: &mut impl SlotTable) {
        let had_a_slot = table.unassign(id);
        self.unpublished |= had_a_slot;
        self.recount |= had_a_slot;
    }

    /// Ends the membership of a cgroup, and the session with its last root. Says whether there was one.
    fn forget(&mut self, id: u64, now: Instant) -> bool {
        let Some(member) = self.memberships.remove(&id) else {
            return false;
        };
        if let Some(session) = self.sessions.get_mut(&member.session) {
            session.cgroups.remove(&id);
            session.roots.remove(&id);
            if session.roots.is_empty() && session.is_live() {
                session.ended = Some(now);
                self.live_by_key.remove(&session.key());
                tracing::info!(session = session.identity.session, "session ended");
            }
        }
        true
    }
}

fn key_of(identity: &Identity) -> Key {
    (
        identity.session.clone(),
        identity.namespace.clone(),
        identity.template.clone(),
    )
}

#[cfg(test)]
mod tests;
