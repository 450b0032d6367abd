//! A sample: what has been counted of each session is read, slots are given back, what has lingered is forgotten.

use std::{collections::HashMap, time::Instant};

use agent_common::Slot;

use super::{REST, Registry, SlotTable, logoff, startup};
use crate::{
    clock,
    kernel::{SlotCounts, accounts::CgroupAccounts},
    session::{
        gpu::Serial,
        model::{Milestone, OomKill, Session},
    },
};

impl Registry {
    /// Reads every session's counts, gives slots back, forgets what has lingered.
    pub fn sample(&mut self, table: &mut impl SlotTable, now: Instant) {
        let all_found = table.find_carried_connections();
        self.search_connections |= !all_found;
        if self.search_connections && table.find_open_connections() {
            self.search_connections = false;
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
        let marked = table.marked_sockets();
        let now_ns = clock::boot_ns();
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
            let marked = marked.part(|all| {
                let from = all.partition_point(|socket| socket.slot < slot);
                let to = all.partition_point(|socket| socket.slot <= slot);
                &all[from..to]
            });
            let net_milestones = counted.net.map(|n| n.milestones).unwrap_or_default();
            let experience = counted.experience;
            session.take_counts(counted, measures_udp, live, now_ns);
            // A process that has ended may have left its number to another's.
            let standing = |process| {
                let is_its_own = table.slot_of_process(process) == Some(slot);
                is_its_own.then(|| table.standing(process)).flatten()
            };
            session.take_input(experience, marked, now_ns, standing);
            session.take_census(
                census.as_ref().and_then(|c| c.get(slot as usize)).copied(),
                cpus,
                now,
            );
            startup::note_milestones(session, table, net_milestones, now_ns, &mut self.startup);
            if session.milestones.contains_key(&Milestone::FirstListener) {
                self.listens.insert(session.template());
            }
            if !session.looked && session.made_ns.is_some() {
                *self.begun.entry(session.template()).or_default() += 1;
            }
            startup::note_logon(session, now_ns, &mut self.logons, &mut self.startup);
            logoff::note(session, now_ns, &mut self.logoffs);
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
                    accounts.processes.most = None;
                }
                self.slots.give_back(slot, now);
            }
        }
        self.close_those_over(table, now);
        self.count_ends(now);
        let expired = |since: &mut Instant| now.duration_since(*since) >= REST;
        for (id, _) in self.expiring.extract_if(|_, since| expired(since)) {
            if self.marks.remove(&id).is_some() {
                table.unassign(id);
                self.unpublished = true;
            }
        }
        let linger = self.linger;
        let is_over = |_: &Serial, s: &mut Session| {
            let lingers = !s.superseded
                && s.ended
                    .is_none_or(|ended| now.duration_since(ended) < linger);
            s.slot.is_none() && s.end_reason.is_some() && !lingers
        };
        let over = self.sessions.extract_if(.., is_over);
        let decided = &self.decided;
        self.gone = over
            .filter(|(serial, _)| decided.contains(serial))
            .map(|(_, session)| session)
            .collect();
        self.bound_lingering();
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
}
