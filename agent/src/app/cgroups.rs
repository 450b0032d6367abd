//! The way of a cgroup from the hierarchy to the registry: judged by the rules once, named by its platform each time
//! that the platform says something new.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use agent_common::{NO_SESSION, Slot};

use super::Agent;
use crate::{
    discover::{
        cgroup::{Found, Made},
        platform::{ErrorType, Outcome},
        rules::Verdict,
    },
    kernel::programs::name,
    session::budget::Resource,
    telemetry::log_event,
};

/// Scans that events ask for take one part in so many of the time.
const RESCANS: u32 = 20;

impl Agent {
    /// A cgroup has been made, in the session with a slot; says whether a scan must tell where it is.
    pub(super) fn cgroup_made(&mut self, id: u64, parent: u64, slot: Slot, name: &[u8]) -> bool {
        match self.hierarchy.made(id, parent, name) {
            Made::Known => {
                let now = Instant::now();
                self.judge(id, now);
                self.visit(id, now);
                false
            }
            Made::OverBudget(of) => {
                self.registry.exceeded(of, Resource::Cgroups);
                false
            }
            // Of a session the one above was over its budget, or the next scan finds it.
            Made::Stray if slot != NO_SESSION => {
                self.registry.exceeded_by_slot(slot, Resource::Cgroups);
                false
            }
            Made::Stray => true,
        }
    }

    fn judge(&mut self, id: u64, now: Instant) {
        self.recognition
            .judge(id, &self.hierarchy, &self.rules, now);
        self.bound(id);
    }

    /// Gives a session a budget of cgroups.
    fn bound(&mut self, id: u64) {
        let recognised = self.recognition.get(id);
        if recognised.is_some_and(|one| matches!(one.verdict, Verdict::Session(_))) {
            for surplus in self.hierarchy.bound(id) {
                self.forget(surplus);
                self.registry.vanish(surplus, Instant::now());
            }
        }
    }

    /// A cgroup has been removed.
    pub(super) fn cgroup_removed(&mut self, id: u64) {
        self.forget(id);
        self.registry.vanish(id, Instant::now());
    }

    /// Judges every cgroup, by rules that are new.
    pub(super) fn judge_all(&mut self) {
        let now = Instant::now();
        self.recognition
            .judge_all(&self.hierarchy, &self.rules, now);
        for id in self.hierarchy.in_order() {
            self.bound(id);
        }
        for rule in self.recognition.unused_rules(&self.rules) {
            log_event!(RuleUnused, rule);
        }
        self.reconcile();
    }

    /// Without the events the scan is all there is.
    pub(super) fn rescan_period(&self) -> Duration {
        if self.kernel.is_up(name::CGROUP_MKDIR) && self.kernel.is_up(name::CGROUP_RMDIR) {
            self.config.sampling.rescan
        } else {
            self.config.sampling.period
        }
    }

    /// Looks again at the cgroups of the sessions of which their platforms say something else now, and at those
    /// below them.
    pub(super) fn take_changes(&mut self, now: Instant) {
        let changed = self.directory.take_changed(now);
        // First who is on the way out: such a session makes room for another of its name.
        for key in &changed {
            if let Some(facts) = self.directory.facts(key) {
                self.registry.take_facts(key, facts);
            }
        }
        let cgroups = changed.iter().flat_map(|key| self.recognition.of_key(key));
        let cgroups: Vec<u64> = cgroups.collect();
        self.visit_below(&cgroups, now);
    }

    /// Measures the sessions that have waited for a place, as far as there is one.
    pub(super) fn admit_waiting(&mut self) {
        let waiting = self.registry.waiting_with_room();
        self.visit_below(&waiting, Instant::now());
    }

    fn visit_below(&mut self, roots: &[u64], now: Instant) {
        for &root in roots {
            for id in self.hierarchy.subtree(root) {
                self.visit(id, now);
            }
        }
        self.registry.publish(&mut self.kernel);
    }

    /// Tells the registry what a cgroup is.
    fn visit(&mut self, id: u64, now: Instant) {
        let recognised = self.recognition.get(id);
        let verdict = recognised.map_or(Verdict::NotASession, |one| one.verdict.clone());
        let found = Found {
            id,
            parent: self.hierarchy.parent(id),
            path: recognised.map(|one| Arc::clone(&one.path)),
        };
        let verdict = self.directory.name(verdict, now);
        let began = || self.hierarchy.began(id);
        self.registry
            .appear(&found, verdict, began, &mut self.kernel, now);
        for manager in self.recognition.take_exceeded() {
            self.registry.exceeded(manager, Resource::Sessions);
        }
    }

    /// A cgroup is gone.
    fn forget(&mut self, id: u64) {
        self.hierarchy.removed(id);
        if let Some(key) = self.recognition.removed(id, Instant::now()) {
            self.directory.release(&key);
        }
    }

    /// Scans the hierarchy because an event was lost: at once if it has not been scanned for long, else with a later
    /// sample. Who is in a session can have scans made, which must not take the agent's time.
    pub(super) fn rescan_soon(&mut self) {
        if self.rescans.is_due(Instant::now(), RESCANS) {
            self.rescan();
        } else {
            self.rescan_wanted = true;
        }
    }

    pub(super) fn rescan(&mut self) {
        let began = Instant::now();
        self.rescan_wanted = false;
        let rescan = match self.hierarchy.rescan() {
            Ok(rescan) => rescan,
            Err(error) => {
                log_event!(ScanFailed, %error);
                let outcome = Outcome::Error(ErrorType::of_io(&error));
                self.reconciled(began.elapsed(), outcome);
                return;
            }
        };
        for id in rescan.gone {
            self.forget(id);
        }
        for id in rescan.appeared {
            self.judge(id, began);
        }
        self.reconcile();
        self.rescans.done(began.elapsed());
    }

    /// A comparison of the hierarchy with what is known has taken so long.
    fn reconciled(&mut self, took: Duration, outcome: Outcome) {
        self.reconciles.add(took, outcome);
        if let Some(traces) = &self.traces {
            traces.reconciled("cgroup", took, outcome);
        }
    }

    /// Compares all cgroups that are there with what is known.
    fn reconcile(&mut self) {
        let began = Instant::now();
        let hierarchy = &self.hierarchy;
        self.registry.retain(|id| hierarchy.contains(id), began);
        for id in self.hierarchy.in_order() {
            self.visit(id, began);
        }
        self.registry.publish(&mut self.kernel);
        self.reconciled(began.elapsed(), Outcome::Success);
    }
}
