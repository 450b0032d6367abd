//! Every map of the object, by name: the names occur here and nowhere else in the agent.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_common::{
    Slot,
    block::BlockStats,
    cgroup::CgroupBirth,
    experience::{AwaitedDisplays, ExperienceStats, GivenUpDisplays, MarkedCounts},
    memory::MemoryStats,
    net::{ConnectionBatch, NetStats},
    process::ProcessStats,
    sched::{OnCpu, SchedStats},
    self_check::SelfCheck,
};
use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf},
};

use crate::error::Error;

/// Name of the map with the state of each thread; its size follows `kernel.pid_max` in the pid-array object.
pub(super) const TASK_STATES: &str = "TASK_STATES";

/// Name of the map of life-cycle counters, which is also read whole.
pub(super) const PROCESS_STATS: &str = "PROCESS_STATS";

/// A map with a value for each slot.
pub(super) struct PerSlot {
    /// Its name.
    pub(super) name: &'static str,
    /// Bytes of a value.
    pub(super) bytes: usize,
    /// Whether each CPU has a value of its own.
    pub(super) per_cpu: bool,
    /// Whether a session that gets the slot begins with 0.
    pub(super) is_cleared: bool,
}

/// THE list of maps with a value for each slot: what is sized with the number of slots, cleared before a session
/// gets a slot, and accounted for. A test compares it with the object.
pub(super) const PER_SLOT: [PerSlot; 9] = [
    PerSlot::of::<SchedStats>("SCHED_STATS", true),
    PerSlot::of::<ProcessStats>(PROCESS_STATS, false),
    PerSlot::of::<NetStats>("NET_STATS", false),
    PerSlot::of::<BlockStats>("BLOCK_STATS", false),
    PerSlot::of::<MemoryStats>("MEMORY_STATS", false),
    PerSlot::of::<ExperienceStats>("EXPERIENCE_STATS", false),
    PerSlot::of::<MarkedCounts>("MARKED_COUNTS", false),
    PerSlot {
        is_cleared: false,
        ..PerSlot::of::<u64>(CONNECTION_COUNTS, false)
    },
    PerSlot {
        is_cleared: false,
        ..PerSlot::of::<u64>(SLOT_BEGAN, false)
    },
];

impl PerSlot {
    const fn of<V>(name: &'static str, per_cpu: bool) -> Self {
        Self {
            name,
            bytes: size_of::<V>(),
            per_cpu,
            is_cleared: true,
        }
    }

    /// Bytes of a slot on a node with so many CPUs; the kernel rounds values up to 8 (kernel/bpf/arraymap.c).
    pub(super) fn bytes_on(&self, cpus: usize) -> usize {
        let value = self.bytes.next_multiple_of(8);
        if self.per_cpu { value * cpus } else { value }
    }
}

/// Names of the hashes that are read many entries at a time, which aya cannot, so that they stay with the
/// programs.
pub(super) const CONNECTIONS: &str = "CONNECTIONS";
const CONNECTION_COUNTS: &str = "CONNECTION_COUNTS";
const SLOT_BEGAN: &str = "SLOT_BEGAN";
pub(super) const ENTERED: &str = "ENTERED";
pub(super) const NEW_DISPLAYS: &str = "NEW_DISPLAYS";
/// Name of the storage of marked sockets, which is read by an iterator over it.
pub(super) const MARKED_SOCKETS: &str = "MARKED_SOCKETS";
pub(super) const PREEMPTION_PAIRS: &str = "PREEMPTION_PAIRS";
pub(super) const LISTEN_PORTS: &str = "LISTEN_PORTS";
pub(super) const OUTSIDE_PORTS: &str = "OUTSIDE_PORTS";
pub(super) const EXITED_PROCESSES: &str = "EXITED_PROCESSES";
/// Name of the map that is written when a driver is loaded, so that it stays with the programs.
pub(super) const XID_FIELDS: &str = "XID_FIELDS";

/// The maps that the agent reads and writes.
pub(super) struct Maps {
    pub(super) cgroup_slots: HashMap<MapData, u64, Slot>,
    pub(super) generation: Array<MapData, u32>,
    pub(super) sched_stats: PerCpuArray<MapData, SchedStats>,
    pub(super) on_cpu: PerCpuArray<MapData, OnCpu>,
    pub(super) process_stats: Array<MapData, ProcessStats>,
    pub(super) net_stats: Array<MapData, NetStats>,
    pub(super) block_stats: Array<MapData, BlockStats>,
    pub(super) memory_stats: Array<MapData, MemoryStats>,
    pub(super) experience_stats: Array<MapData, ExperienceStats>,
    pub(super) marked_counts: Array<MapData, MarkedCounts>,
    pub(super) displays_awaited: Array<MapData, AwaitedDisplays>,
    pub(super) displays_given_up: Array<MapData, GivenUpDisplays>,
    pub(super) connection_batch: Array<MapData, ConnectionBatch>,
    pub(super) connection_counts: Array<MapData, u64>,
    pub(super) slot_began: Array<MapData, u64>,
    pub(super) cgroup_births: HashMap<MapData, u64, CgroupBirth>,
    pub(super) events_lost: Array<MapData, u64>,
    pub(super) unmeasured_switches: Array<MapData, u64>,
    pub(super) self_check: Array<MapData, SelfCheck>,
    pub(super) events: Option<RingBuf<MapData>>,
    /// The maps of [`PER_SLOT`], in its order.
    pub(super) per_slot: Vec<OwnedFd>,
}

impl Maps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let per_slot = PER_SLOT.iter().map(|map| descriptor(ebpf, map.name));
        let per_slot = per_slot.collect::<Result<_, _>>()?;
        Ok(Self {
            per_slot,
            cgroup_slots: take(ebpf, "CGROUP_SLOTS")?,
            generation: take(ebpf, "GENERATION")?,
            sched_stats: take(ebpf, "SCHED_STATS")?,
            on_cpu: take(ebpf, "ON_CPU")?,
            process_stats: take(ebpf, PROCESS_STATS)?,
            net_stats: take(ebpf, "NET_STATS")?,
            block_stats: take(ebpf, "BLOCK_STATS")?,
            memory_stats: take(ebpf, "MEMORY_STATS")?,
            experience_stats: take(ebpf, "EXPERIENCE_STATS")?,
            marked_counts: take(ebpf, "MARKED_COUNTS")?,
            displays_awaited: take(ebpf, "DISPLAYS_AWAITED")?,
            displays_given_up: take(ebpf, "DISPLAYS_GIVEN_UP")?,
            connection_batch: take(ebpf, "CONNECTION_BATCH")?,
            connection_counts: take(ebpf, CONNECTION_COUNTS)?,
            slot_began: take(ebpf, SLOT_BEGAN)?,
            cgroup_births: take(ebpf, "CGROUP_BIRTHS")?,
            events_lost: take(ebpf, "EVENTS_LOST")?,
            unmeasured_switches: take(ebpf, "UNMEASURED_SWITCHES")?,
            self_check: take(ebpf, "SELF_CHECK")?,
            events: Some(take(ebpf, "EVENTS")?),
        })
    }
}

impl Maps {
    /// The map of [`PER_SLOT`] with a name.
    pub(super) fn per_slot_map(&self, name: &str) -> Option<BorrowedFd<'_>> {
        let place = PER_SLOT.iter().position(|map| map.name == name)?;
        self.per_slot.get(place).map(AsFd::as_fd)
    }
}

/// A descriptor of an array, besides the typed one, which does not give its own away.
fn descriptor(ebpf: &Ebpf, name: &str) -> Result<OwnedFd, Error> {
    match ebpf.map(name) {
        Some(Map::Array(map) | Map::PerCpuArray(map)) => {
            let descriptor = map.fd().as_fd().try_clone_to_owned();
            descriptor.map_err(Error::io(format!("map {name}")))
        }
        _ => Err(Error::Program {
            name: name.to_owned(),
            reason: "no such array in the object".into(),
        }),
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
