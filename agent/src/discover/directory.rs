//! What the platforms last said of their sessions, and what that makes of a cgroup.
//!
//! A rule finds out from a path that a cgroup is a pod, a container, a login or a machine; the platform knows
//! whether it is a session and what it is called. While a platform that answers has not spoken of one yet, its
//! cgroup is held back for a moment ([`Verdict::Held`]), so that it does not come under a name that is not its
//! own. What a platform has said stands until it says something else, also when it is away.

use crate::telemetry::log_event;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    platform::{EndReason, Facts, Key, Message, Named, Reconciles, Source, Update},
    rules::{Identity, Verdict, label},
    users::Users,
};

/// How long a cgroup waits to be named. The API server tells the agent of a pod before the kubelet makes its
/// cgroup, which it learns in the same way; so this is for one that is away.
const PODS_WAIT: Duration = Duration::from_secs(10);
/// The same of the others, which tell of a session when they make its cgroup.
const OTHERS_WAIT: Duration = Duration::from_secs(2);
/// How long one that its platform has forgotten is known: longer than its cgroup is there.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(5);

/// Pods that are remembered to have come while the API server was away.
const MOST_BY_RULE: usize = 4096;

/// How a source is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is not asked, and why.
    Off(String),
    /// It has not said anything yet.
    Starting,
    /// It answers.
    Up,
    /// It has answered and does not any more, and why.
    Down(String),
    /// It has never answered, and why.
    Absent(String),
}

/// A source: how it is doing, and how its comparisons went.
#[derive(Clone, Debug)]
pub struct Peer {
    /// How it is doing.
    pub status: Status,
    /// Its comparisons.
    pub reconciles: Reconciles,
    /// It has said what it has.
    listed: bool,
}

#[derive(Debug)]
struct Entry {
    facts: Arc<Facts>,
    /// A cgroup of it has been seen, or its end is counted.
    accounted: bool,
    gone: Option<Instant>,
}

/// A session that its platform has and that has no cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithoutCgroup {
    /// Its namespace.
    pub namespace: String,
    /// Its template.
    pub template: String,
    /// Why it ended; `None` while it is awaited.
    pub end: Option<EndReason>,
}

/// See the module.
#[derive(Debug)]
pub struct Directory {
    users: Users,
    peers: BTreeMap<Source, Peer>,
    entries: BTreeMap<Key, Entry>,
    /// Pods that came under the name of a rule, because their platform had not spoken: the registry counts
    /// their ends, whatever it says later.
    by_rule: HashSet<Key>,
    /// Sessions whose cgroups wait to be named, or have waited.
    held: HashMap<Key, Held>,
    /// Those of which something else is known than before.
    changed: BTreeSet<Key>,
}

#[derive(Debug)]
struct Held {
    since: Instant,
    /// It has waited long enough.
    over: bool,
}

impl Directory {
    /// Nothing is known.
    pub fn new(users: Users) -> Self {
        Self {
            users,
            peers: BTreeMap::new(),
            entries: BTreeMap::new(),
            by_rule: HashSet::new(),
            held: HashMap::new(),
            changed: BTreeSet::new(),
        }
    }

    /// A source is asked, or is not, for a reason.
    pub fn add(&mut self, source: Source, off: Option<String>) {
        let status = off.map_or(Status::Starting, Status::Off);
        self.peers.insert(source, Peer::new(status));
    }

    /// What was known before a restart, until its platform speaks.
    pub fn recall(&mut self, key: Key, facts: Facts) {
        let source = key.source();
        if self.peers.get(&source).is_some_and(Peer::is_asked) {
            let entry = Entry::new(facts, true);
            self.entries.entry(key).or_insert(entry);
        }
    }

    /// The sources.
    pub fn peers(&self) -> &BTreeMap<Source, Peer> {
        &self.peers
    }

    /// Takes what a source says.
    pub fn take(&mut self, message: Message, now: Instant) {
        let Message { source, update } = message;
        let Some(peer) = self.peers.get_mut(&source) else {
            return;
        };
        match update {
            Update::All(all) => self.take_all(source, all, now),
            Update::Changed(key, facts) => self.take_one(key, facts, false),
            Update::Gone(key) => self.forget(&key, now),
            Update::Reconciled { took, outcome } => peer.reconciles.add(took, outcome),
            Update::Up => {
                if peer.status != Status::Up {
                    log_event!(PlatformAnswers, source = source.name());
                }
                peer.status = Status::Up;
            }
            Update::Down(reason) => {
                let source = source.name();
                peer.status = match &peer.status {
                    Status::Up => {
                        log_event!(PlatformLost, source, reason);
                        Status::Down(reason)
                    }
                    Status::Down(_) => Status::Down(reason),
                    Status::Off(_) | Status::Starting | Status::Absent(_) => {
                        let status = Status::Absent(reason.clone());
                        if peer.status != status {
                            log_event!(PlatformAbsent, source, reason);
                        }
                        status
                    }
                };
            }
        }
    }

    fn take_all(&mut self, source: Source, all: BTreeMap<Key, Facts>, now: Instant) {
        // What had ended before the agent came has been somebody else's to count.
        let peer = self.peers.get_mut(&source);
        let first = peer.is_some_and(|peer| !std::mem::replace(&mut peer.listed, true));
        let known = self.entries.keys().filter(|key| key.source() == source);
        let gone: Vec<Key> = known
            .filter(|key| !all.contains_key(key))
            .cloned()
            .collect();
        for key in gone {
            self.forget(&key, now);
        }
        for (key, facts) in all {
            let ended_before = first && facts.end.is_some();
            let accounted = ended_before || self.by_rule.contains(&key);
            self.take_one(key, facts, accounted);
        }
        self.by_rule.retain(|key| key.source() != source);
    }

    fn take_one(&mut self, key: Key, facts: Facts, accounted: bool) {
        let changed = key.clone();
        match self.entries.get_mut(&key) {
            Some(entry) if *entry.facts == facts => return,
            Some(entry) => {
                entry.facts = Arc::new(facts);
                entry.gone = None;
            }
            None => {
                self.entries.insert(key, Entry::new(facts, accounted));
            }
        }
        self.changed.insert(changed);
    }

    fn forget(&mut self, key: &Key, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        if entry.gone.is_none() {
            entry.gone = Some(now);
            Arc::make_mut(&mut entry.facts).gone = true;
            self.changed.insert(key.clone());
        }
    }

    /// The sessions of which something else is known since this was asked for the last time, or that have waited
    /// long enough: their cgroups may then be called otherwise.
    pub fn take_changed(&mut self, now: Instant) -> BTreeSet<Key> {
        let over = |gone: Instant| now.duration_since(gone) >= FORGOTTEN_AFTER;
        self.entries
            .retain(|_, entry| !entry.gone.is_some_and(over));
        let mut changed = std::mem::take(&mut self.changed);
        for (key, held) in &mut self.held {
            if !held.over && now.duration_since(held.since) >= wait(key) {
                held.over = true;
                changed.insert(key.clone());
            }
        }
        changed
    }

    /// The last cgroup of a session is gone: it waits no more.
    pub fn release(&mut self, key: &Key) {
        self.held.remove(key);
    }

    /// What is known of a session.
    pub fn facts(&self, key: &Key) -> Option<Arc<Facts>> {
        self.entries.get(key).map(|entry| Arc::clone(&entry.facts))
    }

    /// What a cgroup is that a rule has judged by its path.
    pub fn name(&mut self, verdict: Verdict, now: Instant) -> Verdict {
        let Verdict::Session(mut identity) = verdict else {
            return verdict;
        };
        if let Some(facts) = identity.within.as_ref().and_then(|key| self.facts(key)) {
            self.name_user(&mut identity, &facts);
        }
        let Some(key) = identity.platform.clone() else {
            return Verdict::Session(identity);
        };
        let Some(facts) = self.facts(&key) else {
            if identity.must_be_named {
                return Verdict::NotASession;
            }
            if self.is_held(&key, now) {
                return Verdict::Held;
            }
            if key.source() == Source::Kubernetes && self.by_rule.len() < MOST_BY_RULE {
                self.by_rule.insert(key);
            }
            return Verdict::Session(identity);
        };
        self.held.remove(&key);
        if !facts.is_session {
            return Verdict::NotASession;
        }
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.accounted = true;
        }
        let name = |named: &Option<Named>, label: &mut String, origin: &mut Option<String>| {
            if let Some(named) = named {
                (*label, *origin) = (bounded(&named.name), Some(named.from.clone()));
            }
        };
        let Identity {
            session,
            namespace,
            template,
            origins,
            ..
        } = &mut identity;
        name(&facts.session, session, &mut origins.session);
        name(&facts.namespace, namespace, &mut origins.namespace);
        name(&facts.template, template, &mut origins.template);
        self.name_user(&mut identity, &facts);
        identity.unique = facts.unique.as_ref().map(|named| Named {
            name: bounded(&named.name),
            from: named.from.clone(),
        });
        identity.source = Some(key.source());
        if facts.gone || facts.end.is_some() {
            Verdict::Over(identity)
        } else {
            Verdict::Session(identity)
        }
    }

    fn name_user(&self, identity: &mut Identity, facts: &Facts) {
        if let Some(user) = &facts.user {
            identity.user = self.users.shown(&user.name).map(|user| bounded(&user));
            identity.origins.user = Some(user.from.clone());
        }
    }

    fn is_held(&mut self, key: &Key, now: Instant) -> bool {
        let peer = self.peers.get(&key.source());
        let answers = peer.is_some_and(|peer| match peer.status {
            Status::Off(_) => false,
            Status::Up => true,
            // A cluster's API is there to come; a bus or a socket may never be.
            Status::Starting | Status::Down(_) | Status::Absent(_) => {
                key.source() == Source::Kubernetes
            }
        });
        if !answers {
            return false;
        }
        let held = self.held.entry(key.clone()).or_insert(Held {
            since: now,
            over: false,
        });
        !held.over
    }

    /// Sessions that have no cgroup: those that are awaited, and those that ended without ever having had one,
    /// which are told of once.
    pub fn without_cgroup(&mut self) -> Vec<WithoutCgroup> {
        let mut found = Vec::new();
        for (key, entry) in &mut self.entries {
            let facts = &entry.facts;
            // The others tell of a session when it has its cgroup; without one, a rule has left it out.
            let foretold = key.source() == Source::Kubernetes;
            if entry.accounted || !facts.is_session || !foretold {
                continue;
            }
            let end = if facts.gone {
                Some(facts.end.unwrap_or(EndReason::Unknown))
            } else {
                facts.end
            };
            entry.accounted |= end.is_some();
            let text = |named: &Option<Named>| {
                named.as_ref().map(|n| bounded(&n.name)).unwrap_or_default()
            };
            found.push(WithoutCgroup {
                namespace: text(&facts.namespace),
                template: text(&facts.template),
                end,
            });
        }
        found
    }
}

impl Peer {
    /// One that has said nothing.
    pub fn new(status: Status) -> Self {
        Self {
            status,
            reconciles: Reconciles::default(),
            listed: false,
        }
    }

    fn is_asked(&self) -> bool {
        !matches!(self.status, Status::Off(_))
    }
}

impl Entry {
    fn new(facts: Facts, accounted: bool) -> Self {
        Self {
            facts: Arc::new(facts),
            accounted,
            gone: None,
        }
    }
}

fn wait(key: &Key) -> Duration {
    match key.source() {
        Source::Kubernetes => PODS_WAIT,
        _ => OTHERS_WAIT,
    }
}

/// Names from outside are bounded as those of paths are.
fn bounded(name: &str) -> String {
    label(name.as_bytes())
}

#[cfg(test)]
mod tests;
