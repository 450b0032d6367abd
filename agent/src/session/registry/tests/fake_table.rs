//! The kernel side of the registry's tests, made of plain maps.

use std::collections::{HashMap, HashSet};

use agent_common::{
    NO_SESSION, Slot, cgroup::CgroupBirth, experience::MarkedRecord, net::ConnectionRecord,
};

use crate::{
    kernel::{Census, Reading, SlotCounts, standing::Standing},
    session::registry::SlotTable,
};

#[derive(Default)]
pub(super) struct FakeTable {
    /// What the registry has said, and what of that it has published.
    pub(super) pending: HashMap<u64, Slot>,
    pub(super) published: HashMap<u64, Slot>,
    /// Which cgroup is above which.
    pub(super) parents: HashMap<u64, u64>,
    pub(super) counts: HashMap<Slot, u64>,
    pub(super) births: HashMap<u64, CgroupBirth>,
    pub(super) alive: HashMap<Slot, u64>,
    pub(super) processes: HashMap<u32, Slot>,
    /// What became of the last process of every session ([`agent_common::process::ProcessStats::last_exit`]).
    pub(super) last_exit: u64,
    /// Cgroups that nobody has been in.
    pub(super) empty: HashSet<u64>,
    /// How often open connections were looked for.
    pub(super) searches: u32,
    /// Processes have come with connections that only that search finds.
    pub(super) carried: bool,
    /// Refuses every cgroup more.
    pub(super) full: bool,
}

impl FakeTable {
    /// The slot of a cgroup, as the programs find it.
    pub(super) fn slot(&self, cgroup: u64) -> Option<Slot> {
        let mut above = std::iter::successors(Some(cgroup), |at| self.parents.get(at).copied());
        let nearest = above.find_map(|at| self.published.get(&at).copied());
        nearest.filter(|slot| *slot != NO_SESSION)
    }

    /// Counts `n` waits for the session of a cgroup, as the kernel would.
    pub(super) fn switches(&mut self, cgroup: u64, n: u64) {
        if let Some(slot) = self.slot(cgroup) {
            *self.counts.entry(slot).or_default() += n;
        }
    }
}

impl SlotTable for FakeTable {
    fn zero(&mut self, slot: Slot) {
        self.counts.remove(&slot);
    }
    fn assign(&mut self, cgroup_id: u64, slot: Slot) -> Result<(), String> {
        // One that is there is changed in its place.
        if self.full && !self.pending.contains_key(&cgroup_id) {
            return Err("no room".to_owned());
        }
        self.pending.insert(cgroup_id, slot);
        Ok(())
    }
    fn nobody_before(&self, cgroup_id: u64, since_ns: u64) -> bool {
        let made_ns = self.births.get(&cgroup_id).map(|birth| birth.made_ns);
        self.empty.contains(&cgroup_id) || made_ns.is_some_and(|made_ns| made_ns >= since_ns)
    }
    fn unassign(&mut self, cgroup_id: u64) {
        self.pending.remove(&cgroup_id);
    }
    fn publish(&mut self) {
        self.published = self.pending.clone();
    }
    fn counts(&self, slot: Slot) -> SlotCounts {
        let mut counts = SlotCounts::default();
        counts.sched.runqueue_wait.buckets[0] = self.counts.get(&slot).copied().unwrap_or(0);
        counts.process.last_exit = self.last_exit;
        counts
    }
    fn slot_of_process(&self, pid: u32) -> Option<Slot> {
        self.processes.get(&pid).copied()
    }
    fn cpus(&self) -> f64 {
        2.0
    }
    fn is_clean(&self, _: Slot) -> bool {
        true
    }
    fn find_open_connections(&mut self) -> bool {
        self.searches += 1;
        true
    }
    fn find_carried_connections(&mut self) -> bool {
        !std::mem::take(&mut self.carried)
    }
    fn standing(&self, _: u32) -> Option<Standing> {
        None
    }
    fn settle_running(&mut self) {}
    fn processes_moved(&mut self) {}
    fn measures_udp(&self) -> bool {
        false
    }
    fn connections(&mut self) -> Reading<Vec<ConnectionRecord>> {
        Reading::Impossible
    }
    fn marked_sockets(&mut self) -> Reading<Vec<MarkedRecord>> {
        Reading::Impossible
    }
    fn census(&mut self) -> Option<Vec<Census>> {
        let mut census = vec![Census::default(); 4096];
        for (&slot, &processes) in &self.alive {
            census[slot as usize].processes = processes;
        }
        Some(census)
    }
    fn birth(&self, cgroup_id: u64) -> Option<CgroupBirth> {
        self.births.get(&cgroup_id).copied()
    }
}
