//! The cgroups that a rule takes, each judged once, when it is made.
//!
//! Who may make a directory chooses its name, so a rule is believed by who that is ([`Standing`]): root alone,
//! where no session is above and every directory above is root's; a user, in the service manager that systemd
//! gives to each; otherwise a tenant. What a tenant makes is part of the session above. The owner of the
//! directories decides: systemd's attributes `user.delegate` and `trusted.delegate` could only take trust away,
//! since a user can write the first, and the second needs a capability that the agent does not have.

use crate::telemetry::log_event;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use agent_common::MAX_LEVEL;

use super::{
    cgroup::Hierarchy,
    platform::Key,
    rules::{Identity, Judgement, Rules, Standing, Verdict},
};

/// Sessions that a user may make in one service manager: more than a desktop has containers, and few enough to
/// leave the others their places.
const OF_A_USER: usize = 16;
/// How long one that is gone counts: its slot is read for the last time and rests, twice
/// [`crate::session::slots::REST`], and a sample is taken in between.
const GONE_COUNTS: Duration = Duration::from_secs(6);

/// A cgroup that a rule takes.
#[derive(Clone, Debug)]
pub struct Recognised {
    /// What it is: a session, or to be ignored.
    pub verdict: Verdict,
    /// Its path within the hierarchy.
    pub path: Arc<[u8]>,
    /// Who makes cgroups below it.
    below: Standing,
    /// The user's service manager in which it is.
    manager: Option<u64>,
}

/// What the rules say of a cgroup, and where it stands.
#[derive(Debug)]
pub struct Reason<'r> {
    /// Its path within the hierarchy.
    pub path: Vec<u8>,
    /// What they say.
    pub judgement: Judgement<'r>,
    /// Who makes cgroups there; root alone where no rule fits, which is not asked then.
    pub standing: Standing,
    /// The nearest one above that a rule takes, as far as it was asked for.
    above: Option<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Recognition {
    cgroups: HashMap<u64, Recognised>,
    /// Cgroups by what their platforms call them, and by the service manager in which a user has made them.
    by_key: HashMap<Key, BTreeSet<u64>>,
    /// Sessions in each user's service manager.
    of_users: HashMap<u64, BTreeSet<u64>>,
    /// When sessions went from there.
    gone: HashMap<u64, Vec<Instant>>,
    /// Service managers whose users have made one too many since this was asked for the last time.
    exceeded: Vec<u64>,
    /// Rules that matched where they are not believed, of which the log has been told.
    disbelieved: HashSet<String>,
    /// Rules of the configuration that have taken a cgroup.
    used: HashSet<String>,
}

impl Recognition {
    /// Judges a cgroup that is new, after all above it.
    pub fn judge(&mut self, id: u64, hierarchy: &Hierarchy, rules: &Rules, now: Instant) {
        let Some(Reason {
            path,
            judgement,
            standing,
            above,
        }) = self.reason(id, hierarchy, rules)
        else {
            return;
        };
        let unsaid = judgement.disbelieved.filter(|rule| {
            rule.is_configured() && self.disbelieved.insert(rule.definition().name.clone())
        });
        if let Some(rule) = unsaid {
            log_event!(
                RuleNotTrusted,
                rule = rule.definition().name,
                cgroup = %String::from_utf8_lossy(&path)
            );
        }
        let Some(rule) = judgement.rule else { return };
        if rule.is_configured() && !self.used.contains(&rule.definition().name) {
            self.used.insert(rule.definition().name.clone());
        }
        let mut recognised = Recognised {
            verdict: judgement.verdict,
            path: path.into(),
            below: rule.below(),
            manager: above.filter(|_| standing == Standing::User),
        };
        if !self.has_room(&recognised, now) {
            self.exceeded.extend(recognised.manager);
            return;
        }
        if let Verdict::Session(identity) = &mut recognised.verdict {
            self.join(identity, &recognised.path, recognised.manager);
        }
        self.enter(id, recognised);
    }

    /// What the rules say of a cgroup where it stands, when all above it have been judged; `None` for one that is so deep
    /// that nobody asks.
    pub fn reason<'r>(
        &self,
        id: u64,
        hierarchy: &Hierarchy,
        rules: &'r Rules,
    ) -> Option<Reason<'r>> {
        let path = hierarchy.path(id)?;
        // The kernel programs look no deeper, and no platform goes there.
        if path.split(|byte| *byte == b'/').skip(1).count() > MAX_LEVEL as usize {
            return None;
        }
        let mut place = (Standing::Platform, None);
        let judgement = rules.judge(&path, || {
            place = self.standing(id, hierarchy);
            place.0
        });
        Some(Reason {
            path,
            judgement,
            standing: place.0,
            above: place.1,
        })
    }

    /// The rules of the configuration that have taken no cgroup.
    pub fn unused_rules<'r>(&self, rules: &'r Rules) -> impl Iterator<Item = &'r str> {
        let names = rules
            .configured()
            .map(|rule| rule.definition().name.as_str());
        names.filter(|name| !self.used.contains(*name))
    }

    /// Judges every cgroup anew: the rules have changed.
    pub fn judge_all(&mut self, hierarchy: &Hierarchy, rules: &Rules, now: Instant) {
        (self.cgroups, self.by_key) = (HashMap::new(), HashMap::new());
        self.of_users.clear();
        self.disbelieved.clear();
        self.used.clear();
        for id in hierarchy.in_order() {
            self.judge(id, hierarchy, rules, now);
        }
    }

    /// Forgets a cgroup; says which session of a platform has none any more.
    pub fn removed(&mut self, id: u64, now: Instant) -> Option<Key> {
        let recognised = self.cgroups.remove(&id)?;
        self.of_users.remove(&id);
        self.gone.remove(&id);
        if let Some(sessions) = recognised
            .manager
            .and_then(|manager| self.of_users.get_mut(&manager))
        {
            sessions.remove(&id);
            self.gone
                .entry(recognised.manager.unwrap_or_default())
                .or_default()
                .push(now);
        }
        let Verdict::Session(identity) = recognised.verdict else {
            return None;
        };
        let mut released = None;
        for key in keys(&identity) {
            let Some(cgroups) = self.by_key.get_mut(key) else {
                continue;
            };
            cgroups.remove(&id);
            if cgroups.is_empty() {
                self.by_key.remove(key);
                released = Some(key.clone());
            }
        }
        released
    }

    /// What a cgroup is, if a rule takes it.
    pub fn get(&self, id: u64) -> Option<&Recognised> {
        self.cgroups.get(&id)
    }

    /// The cgroups that a platform's word of this is about, in the order of their making.
    pub fn of_key(&self, key: &Key) -> Vec<u64> {
        self.by_key
            .get(key)
            .into_iter()
            .flatten()
            .copied()
            .collect()
    }

    /// The service managers whose users have made a session too many since this was asked for the last time,
    /// each as often as that was.
    pub fn take_exceeded(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.exceeded)
    }

    /// Who may make cgroups where this one is, and the nearest one above that a rule takes.
    fn standing(&self, id: u64, hierarchy: &Hierarchy) -> (Standing, Option<u64>) {
        // First what costs no system call: a tenant chooses the depth.
        for at in hierarchy.above(id) {
            if let Some(place) = self.cgroups.get(&at) {
                return (place.below, Some(at));
            }
        }
        let whose = if hierarchy.above(id).all(|at| hierarchy.is_roots(at)) {
            Standing::Platform
        } else {
            Standing::Tenant
        };
        (whose, None)
    }

    fn has_room(&mut self, recognised: &Recognised, now: Instant) -> bool {
        let Some(manager) = recognised.manager else {
            return true;
        };
        let living = self.of_users.get(&manager).map_or(0, BTreeSet::len);
        let gone = self.gone.entry(manager).or_default();
        gone.retain(|at| now.duration_since(*at) < GONE_COUNTS);
        living + gone.len() < OF_A_USER
    }

    /// Says what joins a session with its platform. What a user has made is joined with the user alone: another
    /// session may have the id that is in the name.
    fn join(&self, identity: &mut Identity, path: &[u8], manager: Option<u64>) {
        match manager {
            Some(manager) => {
                let place = self.cgroups.get(&manager);
                identity.within = place.and_then(|place| match &place.verdict {
                    Verdict::Session(identity) => identity.platform.clone(),
                    _ => None,
                });
            }
            None => identity.platform = platform_key(identity, path),
        }
    }

    fn enter(&mut self, id: u64, recognised: Recognised) {
        if let Verdict::Session(identity) = &recognised.verdict {
            for key in keys(identity) {
                self.by_key.entry(key.clone()).or_default().insert(id);
            }
        }
        if let Some(manager) = recognised.manager {
            self.of_users.entry(manager).or_default().insert(id);
        }
        self.cgroups.insert(id, recognised);
    }
}

fn keys(identity: &Identity) -> impl Iterator<Item = &Key> {
    identity.platform.iter().chain(&identity.within)
}

/// What joins a cgroup with its platform.
fn platform_key(identity: &Identity, path: &[u8]) -> Option<Key> {
    if let Some(pod) = &identity.pod {
        return Some(Key::Pod(pod.clone()));
    }
    if let Some(container) = &identity.container {
        return Some(Key::Container(container.clone()));
    }
    if let Some(machine) = &identity.machine {
        return Some(Key::Machine(machine.clone()));
    }
    let unit = || path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    (identity.runtime.as_deref() == Some("logind"))
        .then(|| Key::Unit(String::from_utf8_lossy(unit()).into_owned()))
}

#[cfg(test)]
mod tests;
