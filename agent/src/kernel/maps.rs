//! Every map of the object, by name: the names occur here and nowhere else in the agent.

use agent_common::{
    MAX_CGROUPS, MAX_CONNECTIONS, MAX_PREEMPTION_PAIRS, MAX_RECLAIMING, Slot,
    block::BlockStats,
    cgroup::CgroupBirth,
    memory::MemoryStats,
    net::{Connection, ConnectionBatch, NetStats},
    process::{ExitedProcess, ProcessStats},
    sched::{PreemptionPair, SchedStats},
    self_check::SelfCheck,
};
use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf},
};

use crate::error::Error;

/// Name of the map with the state of each thread; its size follows `kernel.pid_max` in the pid-array object.
pub(super) const TASK_STATES: &str = "TASK_STATES";
/// Names of the maps whose size follows the number of slots.
pub(super) const PER_SLOT: [&str; 5] = [
    "SCHED_STATS",
    "PROCESS_STATS",
    "NET_STATS",
    "BLOCK_STATS",
    "MEMORY_STATS",
];

/// Name of the map of live connections, which stays with the programs: it is read as aya cannot.
pub(super) const CONNECTIONS: &str = "CONNECTIONS";
/// Name of the map that is written when a driver is loaded, so that it stays with the programs.
pub(super) const XID_FIELDS: &str = "XID_FIELDS";

/// The maps that are allocated whole whatever the number of slots.
pub(super) const HASH_MAP_BYTES: u64 = hash_map_bytes::<Slot>(MAX_CGROUPS)
    + hash_map_bytes::<u64>(MAX_PREEMPTION_PAIRS)
    + hash_map_bytes::<u64>(MAX_RECLAIMING)
    + hash_map_bytes::<Connection>(MAX_CONNECTIONS);

/// Bytes of a hash map with keys of 8 bytes: an element has 48 bytes besides key and value, a bucket 16
/// (`struct htab_elem`, `struct bucket`, kernel/bpf/hashtab.c, 6.12).
const fn hash_map_bytes<V>(entries: u32) -> u64 {
    let element = 48 + 8 + size_of::<V>().next_multiple_of(8) as u64;
    entries as u64 * element + entries.next_power_of_two() as u64 * 16
}

/// The maps that the agent reads and writes.
pub(super) struct Maps {
    pub(super) cgroup_slots: HashMap<MapData, u64, Slot>,
    pub(super) generation: Array<MapData, u32>,
    pub(super) sched_stats: PerCpuArray<MapData, SchedStats>,
    pub(super) process_stats: Array<MapData, ProcessStats>,
    pub(super) net_stats: Array<MapData, NetStats>,
    pub(super) block_stats: Array<MapData, BlockStats>,
    pub(super) memory_stats: Array<MapData, MemoryStats>,
    pub(super) connection_batch: Array<MapData, ConnectionBatch>,
    pub(super) preemption_pairs: HashMap<MapData, PreemptionPair, u64>,
    pub(super) cgroup_births: HashMap<MapData, u64, CgroupBirth>,
    pub(super) exited_processes: HashMap<MapData, ExitedProcess, Slot>,
    pub(super) events_lost: Array<MapData, u64>,
    pub(super) unmeasured_switches: Array<MapData, u64>,
    pub(super) self_check: Array<MapData, SelfCheck>,
    pub(super) events: Option<RingBuf<MapData>>,
}

impl Maps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            cgroup_slots: take(ebpf, "CGROUP_SLOTS")?,
            generation: take(ebpf, "GENERATION")?,
            sched_stats: take(ebpf, "SCHED_STATS")?,
            process_stats: take(ebpf, "PROCESS_STATS")?,
            net_stats: take(ebpf, "NET_STATS")?,
            block_stats: take(ebpf, "BLOCK_STATS")?,
            memory_stats: take(ebpf, "MEMORY_STATS")?,
            connection_batch: take(ebpf, "CONNECTION_BATCH")?,
            preemption_pairs: take(ebpf, "PREEMPTION_PAIRS")?,
            cgroup_births: take(ebpf, "CGROUP_BIRTHS")?,
            exited_processes: take(ebpf, "EXITED_PROCESSES")?,
            events_lost: take(ebpf, "EVENTS_LOST")?,
            unmeasured_switches: take(ebpf, "UNMEASURED_SWITCHES")?,
            self_check: take(ebpf, "SELF_CHECK")?,
            events: Some(take(ebpf, "EVENTS")?),
        })
    }
}

fn take<M: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<M, Error> {
    ebpf.take_map(name)
        .ok_or_else(|| Error::Program {
            name: name.to_owned(),
            reason: "no such map in the object".into(),
        })
        .and_then(|map| {
            M::try_from(map).map_err(|e| Error::Program {
                name: name.to_owned(),
                reason: e.to_string(),
            })
        })
}

/// A value of an array, or its default where the kernel has none.
pub(super) fn value<V: Pod + Default>(array: &Array<MapData, V>, index: u32) -> V {
    array.get(&index, 0).unwrap_or_default()
}
