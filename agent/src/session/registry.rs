//! The registry: the one writer of which sessions there are.
//!
//! It is told which cgroups there are and what the rules say of them, gives each session a slot, and
//! tells the kernel which cgroup belongs to which slot. Nothing else writes to the kernel.
//!
//! * A cgroup that a rule names is the root of a session. Which one is decided by its [`Origin`], never by what it
//!   is called: cgroups that one platform gives one id are one session, any other is one of its own.
//! * Any other cgroup belongs to the session of its parent, which the kernel finds by itself: it is told only where a
//!   session begins, and where one ends within another.
//! * A slot is cleared before it is published, and rests before it is used again.
//! * Over the cap a session is counted as overflowed, once, and adopted when there is room.
//!
//! How they begin is in `admission`, what they are called in `names`, what is read of them in `sample`, what is
//! counted of their ends and kept over restarts in `ends`, who holds one that is closing in `logoff`, their start in
//! `startup`, the join with the GPUs in `gpus`; `table` is the kernel side as it is needed here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::{Duration, Instant, SystemTime},
};

use agent_common::{NO_SESSION, Slot, histogram::Histogram};

use super::{
    Settings,
    audit::Audit,
    budget::Resource,
    ended::AllEnded,
    gpu::{Join, Serial},
    logon::LogonPhase,
    model::{Milestone, Origin, Session, Template, Templates},
    past::Pasts,
    remembered::Entry,
    settings,
    slots::{REST, Slots},
    templates::Bound,
};
use crate::{
    clock,
    discover::{
        cgroup::Found,
        platform::Source,
        rules::{Identity, Verdict},
    },
    telemetry::log_event,
};

mod admission;
mod compare;
mod ends;
mod gpus;
mod logoff;
mod names;
mod sample;
mod startup;
mod table;

pub use admission::Admission;
pub use compare::KernelsAccounts;
pub use table::SlotTable;

/// namespace, template, milestone.
pub type StartupKey = (String, String, Milestone);
/// namespace, template, phase.
pub type LogonKey = (String, String, LogonPhase);
/// session, namespace, template.
type Labels = (String, String, String);

/// Ended sessions that linger at most: each has some 28 KB of figures, and 60 a second may end.
const MOST_LINGERING: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Membership {
    session: Serial,
    root: bool,
    parent: Option<u64>,
    /// Since when whoever comes into it is the session's at once, nanoseconds since boot.
    since_ns: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Registry {
    max_sessions: usize,
    linger: Duration,
    slots: Slots,
    next_serial: Serial,
    sessions: BTreeMap<Serial, Session>,
    /// Whose end was decided in the last sample.
    decided: Vec<Serial>,
    /// Those of them that are not among the sessions any more.
    gone: Vec<Session>,
    live: HashMap<Origin, Serial>,
    /// Who among the living has which labels.
    labels: HashMap<Labels, Serial>,
    memberships: HashMap<u64, Membership>,
    /// What the kernel has been told: of the cgroups that belong to another session than the one above, or to none.
    marks: HashMap<u64, Slot>,
    /// Cgroups that a rule ignores, and all below them.
    ignored: HashSet<u64>,
    /// Roots whose sessions are over by the word of their platforms, though they are still there.
    closed: HashSet<u64>,
    /// Roots of sessions that had no slot when they came.
    waiting: HashSet<u64>,
    /// Waiting ones that are already in `overflowed_total`.
    overflowed: HashSet<u64>,
    overflowed_total: u64,
    /// Sessions that came, by who made them and what became of that.
    admissions: BTreeMap<(Option<Source>, Admission), u64>,
    /// Removed cgroups whose threads may still be switched for the last time.
    expiring: HashMap<u64, Instant>,
    /// A change that the kernel has not been told of.
    unpublished: bool,
    /// Open connections of sessions may be unknown: one has a cgroup since the last sample that may have had processes
    /// already, or a process has come with some.
    search_connections: bool,
    /// A cgroup belongs to another session, or to none, with those who are in it.
    recount: bool,
    /// Samples taken, to spread the reading of accounts over them.
    samples: u64,
    /// Sessions whose cgroup was made while the agent watched, by the template that they had at their first sample.
    begun: BTreeMap<Template, u64>,
    /// Time from a cgroup's making to each milestone; long histograms.
    startup: BTreeMap<StartupKey, Histogram>,
    /// How long the phases of logons took; long histograms.
    logons: BTreeMap<LogonKey, Histogram>,
    /// How long logoffs took; long histograms.
    logoffs: BTreeMap<Template, Histogram>,
    /// Time from a cgroup's making to its adoption: what happened in between is not counted.
    adoption: Histogram,
    /// Sessions that have ended.
    ended: AllEnded,
    /// The last of them.
    pasts: Pasts,
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
    /// Whether sessions have a history.
    history: settings::History,
    gpu: Join,
    audit: Audit,
}

impl Registry {
    /// No session yet.
    pub fn new(settings: &Settings, max_templates: u32) -> Self {
        Self {
            max_sessions: settings.max_sessions as usize,
            linger: settings.linger,
            slots: Slots::new(settings.max_sessions),
            next_serial: 1,
            sessions: BTreeMap::new(),
            decided: Vec::new(),
            gone: Vec::new(),
            live: HashMap::new(),
            labels: HashMap::new(),
            memberships: HashMap::new(),
            marks: HashMap::new(),
            ignored: HashSet::new(),
            closed: HashSet::new(),
            waiting: HashSet::new(),
            overflowed: HashSet::new(),
            overflowed_total: 0,
            admissions: BTreeMap::new(),
            expiring: HashMap::new(),
            unpublished: false,
            search_connections: false,
            recount: false,
            samples: 0,
            begun: BTreeMap::new(),
            startup: BTreeMap::new(),
            logons: BTreeMap::new(),
            logoffs: BTreeMap::new(),
            adoption: Histogram::default(),
            ended: AllEnded::new(),
            pasts: Pasts::default(),
            recalled: HashMap::new(),
            awaited: Vec::new(),
            listens: Templates::new(),
            templates: Bound::new(max_templates),
            templates_overflowed_total: 0,
            idle_after: settings.idle_after,
            history: settings.history,
            gpu: Join::default(),
            audit: Audit::default(),
        }
    }

    /// Cgroups at which a session begins or ends.
    pub fn marked_cgroups(&self) -> u64 {
        self.marks.len() as u64
    }

    /// The sessions, live and ended, oldest first; an ended one whose name is in use again is left out.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values().filter(|s| !s.superseded)
    }

    /// Those whose end was decided in this sample and that [`Self::sessions`] does not have: another one has their
    /// labels, or they do not linger.
    pub fn ended_unseen(&self) -> impl Iterator<Item = &Session> {
        let superseded = self.decided.iter().filter_map(|serial| {
            let session = self.sessions.get(serial)?;
            session.superseded.then_some(session)
        });
        self.gone.iter().chain(superseded)
    }

    /// The session that has a slot.
    pub fn session_of_slot(&self, slot: Slot) -> Option<&Session> {
        self.sessions.values().find(|s| s.slot == Some(slot))
    }

    /// Live sessions.
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// Sessions that did not fit under the cap when they came.
    pub fn overflowed_total(&self) -> u64 {
        self.overflowed_total
    }

    /// Sessions whose template was one too many.
    pub fn templates_overflowed_total(&self) -> u64 {
        self.templates_overflowed_total
    }

    /// The roots of sessions that wait, in the order of their making, if there is room for one now.
    pub fn waiting_with_room(&self) -> Vec<u64> {
        if self.live() >= self.max_sessions || !self.slots.any_free() {
            return Vec::new();
        }
        let mut waiting: Vec<u64> = self.waiting.iter().copied().collect();
        waiting.sort_unstable();
        waiting
    }

    /// Sessions that have begun while the agent watched.
    pub fn begun(&self) -> &BTreeMap<Template, u64> {
        &self.begun
    }

    /// Time from a session's cgroup to each milestone of its start.
    pub fn startup(&self) -> &BTreeMap<StartupKey, Histogram> {
        &self.startup
    }

    /// How long the phases of logons took.
    pub fn logons(&self) -> &BTreeMap<LogonKey, Histogram> {
        &self.logons
    }

    /// How long logoffs took.
    pub fn logoffs(&self) -> &BTreeMap<Template, Histogram> {
        &self.logoffs
    }

    /// How far the figures are from the kernel's own.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Sessions that have ended.
    pub fn ended(&self) -> &AllEnded {
        &self.ended
    }

    /// The last sessions that have ended.
    pub fn pasts(&self) -> &Pasts {
        &self.pasts
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
            _ if below_ignored => Verdict::Ignored,
            Verdict::Held if self.is_root(found.id) => {
                // What waits is nobody's, also of a session that the cgroup above has become since.
                if self.waiting.contains(&found.id) {
                    self.take_out(found.id, found.parent, table);
                }
                return;
            }
            // Until its platform speaks it is a part of the session above.
            Verdict::Held => Verdict::NotASession,
            Verdict::Over(_) if current.is_none() => {
                self.closed.insert(found.id);
                Verdict::Ignored
            }
            Verdict::Over(identity) => Verdict::Session(identity),
            Verdict::Session(identity) if self.stays_closed(found.id, &identity) => {
                Verdict::Ignored
            }
            verdict => verdict,
        };
        if verdict != Verdict::Ignored {
            self.ignored.remove(&found.id);
        }
        // It is there, whatever was thought: what the kernel is told of it now stays.
        self.expiring.remove(&found.id);
        // Back it goes if it is a session's root and there is still no room.
        self.waiting.remove(&found.id);
        if !matches!(verdict, Verdict::Session(_)) {
            self.overflowed.remove(&found.id);
        }
        match verdict {
            Verdict::Session(identity) => {
                let (identity, overflowed) = self.templates.apply(identity);
                let origin = origin_of(&identity, found.id);
                if let Some(member) = current {
                    if member.root && self.is_of(member.session, &origin) {
                        self.rename(member.session, identity);
                        return;
                    }
                    // Not taken out in between: whoever forks or connects meanwhile is still somebody's.
                    self.forget(found.id, now);
                    self.recount = true;
                }
                let next = self.next_serial;
                self.begin(found, identity, origin, began, table, now);
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
                if self.forget(found.id, now).is_some() {
                    self.recount = true;
                }
                match wanted {
                    Some(serial) => self.attach(found, serial, false, table),
                    None => self.take_out(found.id, found.parent, table),
                }
            }
            Verdict::Held | Verdict::Over(_) => {}
            Verdict::Ignored => {
                self.forget(found.id, now);
                self.take_out(found.id, found.parent, table);
                self.ignored.insert(found.id);
            }
        }
    }

    /// Whether the session of a root is over and stays so. A platform that names one anew (a container that is
    /// started again) has begun another.
    fn stays_closed(&mut self, id: u64, identity: &Identity) -> bool {
        if identity.source.is_some() {
            self.closed.remove(&id);
        }
        self.closed.contains(&id)
    }

    /// Whether it is the root of a session, measured or waiting.
    fn is_root(&self, id: u64) -> bool {
        self.waiting.contains(&id) || self.memberships.get(&id).is_some_and(|m| m.root)
    }

    fn is_of(&self, serial: Serial, origin: &Origin) -> bool {
        self.live.get(origin) == Some(&serial)
    }

    /// A cgroup has been removed. Its threads may still be switched for the last time, so the kernel
    /// keeps it for a moment.
    pub fn vanish(&mut self, id: u64, now: Instant) {
        self.waiting.remove(&id);
        self.overflowed.remove(&id);
        self.ignored.remove(&id);
        self.closed.remove(&id);
        self.forget_recalled(id);
        self.forget(id, now);
        if self.marks.contains_key(&id) {
            self.expiring.entry(id).or_insert(now);
        }
    }

    /// Forgets every cgroup that is not there any more.
    pub fn retain(&mut self, is_there: impl Fn(u64) -> bool, now: Instant) {
        let known = self
            .memberships
            .keys()
            .chain(&self.waiting)
            .chain(&self.ignored)
            .chain(&self.closed)
            .chain(self.marks.keys())
            .chain(self.recalled.keys());
        let gone: HashSet<u64> = known.filter(|id| !is_there(**id)).copied().collect();
        let mut gone: Vec<u64> = gone.into_iter().collect();
        gone.sort_unstable();
        for id in gone {
            self.vanish(id, now);
        }
    }

    /// Tells the kernel, if there is something to tell.
    pub fn publish(&mut self, table: &mut impl SlotTable) {
        if std::mem::take(&mut self.unpublished) {
            table.publish();
        }
    }

    /// The session of a cgroup wanted more than its share.
    pub fn exceeded(&mut self, cgroup: u64, resource: Resource) {
        let member = self.memberships.get(&cgroup);
        let session = member.and_then(|member| self.sessions.get_mut(&member.session));
        if let Some(session) = session {
            session.exceeded(resource);
        }
    }

    /// The session with a slot wanted more than its share.
    pub fn exceeded_by_slot(&mut self, slot: Slot, resource: Resource) {
        let session = self.sessions.values_mut().find(|s| s.slot == Some(slot));
        if let Some(session) = session {
            session.exceeded(resource);
        }
    }

    fn attach(&mut self, found: &Found, serial: Serial, root: bool, table: &mut impl SlotTable) {
        let id = found.id;
        let Some(slot) = self.sessions.get(&serial).and_then(|session| session.slot) else {
            return self.take_out(id, found.parent, table);
        };
        let now_ns = clock::boot_ns();
        let since_ns = if root {
            if let Err(error) = self.mark(id, slot, table) {
                log_event!(CgroupUnmeasured, cgroup = id, %error);
                return self.take_out(id, found.parent, table);
            }
            now_ns
        } else if self.unmark(id, table) {
            // Whoever came until now was somebody else's.
            now_ns
        } else {
            let above = found
                .parent
                .and_then(|parent| self.memberships.get(&parent));
            above.map_or(now_ns, |above| above.since_ns)
        };
        // Who is looked for is looked for among all that the node has.
        let birth = table.birth(id);
        let seen = !root || birth.is_some();
        let all_are_known = table.nobody_before(id, if root { u64::MAX } else { since_ns });
        self.search_connections |= !all_are_known;
        self.recount |= !all_are_known;
        if let Some(session) = self.sessions.get_mut(&serial) {
            session.cgroups.insert(id);
            session.made = session.made.filter(|_| seen);
            if let Some(birth) = birth {
                startup::note_container(session, found, birth.made_ns);
            }
            if root {
                session.roots.insert(id);
            }
        }
        let membership = Membership {
            session: serial,
            root,
            parent: found.parent,
            since_ns,
        };
        self.memberships.insert(id, membership);
    }

    /// Tells the kernel that a cgroup is of another session than the one above; [`NO_SESSION`] of none.
    fn mark(&mut self, id: u64, slot: Slot, table: &mut impl SlotTable) -> Result<(), String> {
        if self.marks.get(&id) == Some(&slot) {
            return Ok(());
        }
        table.assign(id, slot)?;
        self.marks.insert(id, slot);
        self.unpublished = true;
        Ok(())
    }

    /// From now on a cgroup is of the session above, if there is one; says whether it was not.
    fn unmark(&mut self, id: u64, table: &mut impl SlotTable) -> bool {
        let was_marked = self.marks.remove(&id).is_some();
        if was_marked {
            table.unassign(id);
            self.unpublished = true;
            self.recount = true;
        }
        was_marked
    }

    /// Takes a living cgroup out of its session at once.
    fn detach(&mut self, id: u64, table: &mut impl SlotTable, now: Instant) {
        if let Some(member) = self.forget(id, now) {
            self.take_out(id, member.parent, table);
        }
    }

    /// A living cgroup belongs to nobody from now on, and neither do those who are in it.
    fn take_out(&mut self, id: u64, parent: Option<u64>, table: &mut impl SlotTable) {
        let is_within = parent.is_some_and(|parent| self.memberships.contains_key(&parent));
        if !is_within {
            self.unmark(id, table);
            return;
        }
        if self.marks.get(&id) != Some(&NO_SESSION) {
            self.recount = true;
        }
        if let Err(error) = self.mark(id, NO_SESSION, table) {
            log_event!(CgroupWithAbove, cgroup = id, %error);
        }
    }

    /// Ends the membership of a cgroup, and the session with its last root. Returns what it was.
    fn forget(&mut self, id: u64, now: Instant) -> Option<Membership> {
        let member = self.memberships.remove(&id)?;
        if let Some(session) = self.sessions.get_mut(&member.session) {
            session.cgroups.remove(&id);
            session.roots.remove(&id);
            if session.roots.is_empty() && session.is_live() {
                session.ended = Some(now);
                self.live.remove(&session.origin);
                let labels = session.key();
                if self.labels.get(&labels) == Some(&member.session) {
                    self.labels.remove(&labels);
                }
                log_event!(SessionEnded, of = &*session);
            }
        }
        Some(member)
    }
}

fn labels_of(identity: &Identity) -> Labels {
    (
        identity.session.clone(),
        identity.namespace.clone(),
        identity.template.clone(),
    )
}

fn origin_of(identity: &Identity, cgroup: u64) -> Origin {
    let platform = identity.platform.clone();
    platform.map_or(Origin::Cgroup(cgroup), Origin::Platform)
}

#[cfg(test)]
mod tests;
