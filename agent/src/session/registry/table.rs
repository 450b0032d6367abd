//! What the registry needs of the kernel side.

use agent_common::{Slot, cgroup::CgroupBirth, experience::MarkedRecord, net::ConnectionRecord};

use crate::kernel::{Census, Kernel, Reading, SlotCounts, standing::Standing};

/// What the registry needs of the kernel side; tests have one without a kernel.
pub trait SlotTable {
    /// Clears everything counted in a slot.
    fn zero(&mut self, slot: Slot);
    /// Makes a cgroup, and all below it that is not assigned itself, belong to a slot, from the next
    /// [`SlotTable::publish`] on.
    fn assign(&mut self, cgroup_id: u64, slot: Slot) -> Result<(), String>;
    /// Whether everybody who may be in a cgroup came when the programs knew whose it is: it has never had a process, or was
    /// made when it was that session's, nanoseconds since boot.
    fn nobody_before(&self, cgroup_id: u64, since_ns: u64) -> bool;
    /// Makes it belong to the slot of the one above.
    fn unassign(&mut self, cgroup_id: u64);
    /// Makes the changes known to every thread.
    fn publish(&mut self);
    /// What has been counted in a slot.
    fn counts(&self, slot: Slot) -> SlotCounts;
    /// Whether UDP is in them.
    fn measures_udp(&self) -> bool;
    /// Whether nothing is left of the session that had a slot before.
    fn is_clean(&self, slot: Slot) -> bool;
    /// Enters the connections that newly adopted sessions have already; says whether it is done, or is to be asked
    /// again.
    fn find_open_connections(&mut self) -> bool;
    /// Enters the connections that processes have brought into sessions since this was asked last; `false` where
    /// [`SlotTable::find_open_connections`] is to be asked for that.
    fn find_carried_connections(&mut self) -> bool;
    /// Live TCP connections, by slot; not at each sample if there are many.
    fn connections(&mut self) -> Reading<Vec<ConnectionRecord>>;
    /// Sockets at which input is measured, by slot; not at each sample.
    fn marked_sockets(&mut self) -> Reading<Vec<MarkedRecord>>;
    /// What a process is doing now; `None` when that cannot be seen.
    fn standing(&self, process: u32) -> Option<Standing>;
    /// Brings the counts of threads that run now up to date.
    fn settle_running(&mut self);
    /// Processes may be in sessions that have not been counted one by one.
    fn processes_moved(&mut self);
    /// Who is alive, by slot; `None` when the kernel cannot tell.
    fn census(&mut self) -> Option<Vec<Census>>;
    /// When a cgroup was made and got its first process, if the kernel programs saw it.
    fn birth(&self, cgroup_id: u64) -> Option<CgroupBirth>;
    /// The slot of a process, living or lately ended; `None` when nothing is known of it.
    fn slot_of_process(&self, pid: u32) -> Option<Slot>;
    /// CPUs of the node.
    fn cpus(&self) -> f64;
}

impl SlotTable for Kernel {
    fn zero(&mut self, slot: Slot) {
        self.zero(slot);
    }
    fn assign(&mut self, cgroup_id: u64, slot: Slot) -> Result<(), String> {
        self.assign(cgroup_id, slot)
    }
    fn nobody_before(&self, cgroup_id: u64, since_ns: u64) -> bool {
        self.nobody_before(cgroup_id, since_ns)
    }
    fn unassign(&mut self, cgroup_id: u64) {
        self.unassign(cgroup_id);
    }
    fn publish(&mut self) {
        self.publish();
    }
    fn counts(&self, slot: Slot) -> SlotCounts {
        self.counts(slot)
    }
    fn measures_udp(&self) -> bool {
        self.measures_udp()
    }
    fn is_clean(&self, slot: Slot) -> bool {
        self.is_clean(slot)
    }
    fn find_open_connections(&mut self) -> bool {
        self.find_open_connections()
    }
    fn find_carried_connections(&mut self) -> bool {
        self.find_carried_connections()
    }
    fn connections(&mut self) -> Reading<Vec<ConnectionRecord>> {
        self.connections()
    }
    fn marked_sockets(&mut self) -> Reading<Vec<MarkedRecord>> {
        self.marked_sockets()
    }
    fn standing(&self, process: u32) -> Option<Standing> {
        Standing::of(process)
    }
    fn settle_running(&mut self) {
        self.settle_running();
    }
    fn processes_moved(&mut self) {
        self.processes_moved();
    }
    fn census(&mut self) -> Option<Vec<Census>> {
        self.census()
    }
    fn birth(&self, cgroup_id: u64) -> Option<CgroupBirth> {
        self.birth(cgroup_id)
    }
    fn slot_of_process(&self, pid: u32) -> Option<Slot> {
        self.slot_of_process(pid)
    }
    fn cpus(&self) -> f64 {
        f64::from(self.online_cpus())
    }
}
