//! The hashes of the object: what each takes, and what of it goes with a session.

use agent_common::{
    MAX_CGROUPS, MAX_CONNECTIONS, MAX_ENTERED, MAX_LEFT_OUT, MAX_PREEMPTION_PAIRS, MAX_RECENT,
    MAX_RECLAIMING, Slot,
    cgroup::CgroupBirth,
    experience::MAX_NEW_DISPLAYS,
    net::{Connection, EndKey, LeftOut, ListenPort, LocalEnd},
    process::ExitedProcess,
    sched::PreemptionPair,
};
use aya::maps::HashMap;

use super::{
    Kernel,
    maps::{
        CONNECTIONS, ENTERED, EXITED_PROCESSES, LISTEN_PORTS, NEW_DISPLAYS, OUTSIDE_PORTS,
        PREEMPTION_PAIRS,
    },
};

/// A hash, which is allocated whole whatever the number of slots.
pub struct Hash {
    /// Its name.
    pub name: &'static str,
    /// Bytes of a key.
    pub key_bytes: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// How many it has room for.
    pub entries: u32,
    /// What becomes of its entries when a session gets the slot of another.
    with_slot: WithSlot,
}

/// What becomes of entries when a session gets the slot of another.
enum WithSlot {
    /// Those of the slot are removed.
    Removed(fn(&mut Kernel, Slot)),
    /// They stay, for a reason.
    Stay(#[expect(dead_code, reason = "for who reads the list")] &'static str),
}
use WithSlot::{Removed, Stay};

/// THE list of hashes: what is accounted for, and cleared before a session gets a slot. A test compares it with the
/// object.
pub const HASHES: [Hash; 13] = [
    Hash::of::<u64, Slot>(
        "CGROUP_SLOTS",
        MAX_CGROUPS,
        Stay("the registry takes each mark away"),
    ),
    Hash::of::<PreemptionPair, u64>(
        PREEMPTION_PAIRS,
        MAX_PREEMPTION_PAIRS,
        Removed(|kernel, slot| {
            kernel.remove(PREEMPTION_PAIRS, |pair: &PreemptionPair, _: &u64| {
                pair.victim == slot || pair.preemptor == slot
            });
        }),
    ),
    Hash::of::<u64, u64>("RECLAIMING", MAX_RECLAIMING, Stay("it is of threads")),
    Hash::of::<u64, Connection>(
        CONNECTIONS,
        MAX_CONNECTIONS,
        Stay("those that are older than the session are passed over (`cleared_ns`)"),
    ),
    Hash::of::<EndKey, LocalEnd>(
        "LOCAL_ENDS",
        MAX_CONNECTIONS,
        Stay("each goes with its connection, and names when that was entered"),
    ),
    Hash::of::<u32, Slot>(
        ENTERED,
        MAX_ENTERED,
        Stay("all are taken out at each sample"),
    ),
    Hash::of::<u64, CgroupBirth>("CGROUP_BIRTHS", MAX_RECENT, Stay("it is of cgroups")),
    Hash::of::<ExitedProcess, Slot>(
        EXITED_PROCESSES,
        MAX_RECENT,
        Removed(|kernel, slot| {
            kernel.remove(EXITED_PROCESSES, |_: &ExitedProcess, of: &Slot| *of == slot);
        }),
    ),
    Hash::of::<ListenPort, u8>(
        LISTEN_PORTS,
        MAX_RECENT,
        Removed(|kernel, slot| {
            kernel.remove(LISTEN_PORTS, |port: &ListenPort, _: &u8| port.slot == slot);
        }),
    ),
    Hash::of::<LeftOut, u64>(
        "LEFT_OUT",
        MAX_LEFT_OUT,
        Stay("those that are older than the session are passed over (`SLOT_BEGAN`)"),
    ),
    Hash::of::<u32, u8>(OUTSIDE_PORTS, MAX_RECENT, Stay("it is of no session")),
    Hash::of::<u64, u64>(
        NEW_DISPLAYS,
        MAX_NEW_DISPLAYS,
        Stay("those on which nothing is sent are taken out at each look"),
    ),
    Hash::of::<u32, u64>("MOVES", MAX_RECENT, Stay("it is of processes")),
];

impl Hash {
    const fn of<K, V>(name: &'static str, entries: u32, with_slot: WithSlot) -> Self {
        Self {
            name,
            key_bytes: size_of::<K>(),
            value_bytes: size_of::<V>(),
            entries,
            with_slot,
        }
    }

    /// What it takes in the kernel: an element has 48 bytes besides key and value, a bucket 16 (`struct htab_elem`,
    /// `struct bucket`, kernel/bpf/hashtab.c, 6.12).
    pub(super) const fn bytes(&self) -> u64 {
        let key = self.key_bytes.next_multiple_of(8) as u64;
        let element = 48 + key + self.value_bytes.next_multiple_of(8) as u64;
        self.entries as u64 * element + self.entries.next_power_of_two() as u64 * 16
    }
}

impl Kernel {
    /// Removes from all hashes what is of a slot.
    pub(super) fn zero_hashes(&mut self, slot: Slot) {
        for hash in HASHES {
            if let Removed(remove) = hash.with_slot {
                remove(self, slot);
            }
        }
    }

    /// Removes entries of a hash, and says how many were still there.
    pub(super) fn remove<K: aya::Pod + Default, V: aya::Pod + Default>(
        &mut self,
        map: &'static str,
        stale: impl Fn(&K, &V) -> bool,
    ) -> u64 {
        let stale: Vec<K> = self
            .all_entries(map)
            .into_iter()
            .filter(|(key, value)| stale(key, value))
            .map(|(key, _)| key)
            .collect();
        let Some(Ok(mut map)) = self.ebpf.map_mut(map).map(HashMap::<_, K, V>::try_from) else {
            return 0;
        };
        let removed = stale.iter().filter(|key| map.remove(key).is_ok());
        removed.count() as u64
    }
}
