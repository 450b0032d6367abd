//! Time that threads of a session spend reclaiming memory themselves.
//!
//! The kernel does that in the thread that wants a page: when the node has none left, and, far more often
//! with containers, when the cgroup is at its limit. To the user it is a freeze.

use agent_common::{MAX_RECLAIMING, NO_SESSION, Slot, histogram::bucket_of, memory::MemoryStats};
use aya_ebpf::{
    btf_maps::{Array, HashMap},
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};

use crate::{kernel::Cgroup, record, session};

/// Per slot; resized to the number of slots when loaded.
#[btf_map]
static MEMORY_STATS: Array<MemoryStats, 1> = Array::new();

/// Threads of sessions that are reclaiming now, and since when.
#[btf_map]
static RECLAIMING: HashMap<u64, u64, { MAX_RECLAIMING as usize }> = HashMap::new();

/// `mm_vmscan_direct_reclaim_begin(int order, gfp_t gfp_flags)`, mm/vmscan.c: the node has no free page.
#[btf_tracepoint(function = "mm_vmscan_direct_reclaim_begin")]
fn reclaim_begin(_ctx: BtfTracePointContext) -> i32 {
    begin()
}

/// `mm_vmscan_direct_reclaim_end(unsigned long nr_reclaimed)`.
#[btf_tracepoint(function = "mm_vmscan_direct_reclaim_end")]
fn reclaim_end(_ctx: BtfTracePointContext) -> i32 {
    end()
}

/// `mm_vmscan_memcg_reclaim_begin(int order, gfp_t gfp_flags)`, mm/vmscan.c: the cgroup is at its limit.
#[btf_tracepoint(function = "mm_vmscan_memcg_reclaim_begin")]
fn cgroup_reclaim_begin(_ctx: BtfTracePointContext) -> i32 {
    begin()
}

/// `mm_vmscan_memcg_reclaim_end(unsigned long nr_reclaimed)`.
#[btf_tracepoint(function = "mm_vmscan_memcg_reclaim_end")]
fn cgroup_reclaim_end(_ctx: BtfTracePointContext) -> i32 {
    end()
}

#[inline(always)]
fn slot_of_current() -> Slot {
    Cgroup::of_current().map_or(NO_SESSION, session::slot_of_cgroup)
}

#[inline(always)]
fn begin() -> i32 {
    if slot_of_current() != NO_SESSION {
        // SAFETY: takes no arguments.
        let now_ns = unsafe { bpf_ktime_get_ns() };
        let _full = RECLAIMING.insert(&bpf_get_current_pid_tgid(), &now_ns, 0);
    }
    0
}

#[inline(always)]
fn end() -> i32 {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: the value is copied at once, and is this thread's.
    let Some(began_ns) = unsafe { RECLAIMING.get(&thread) }.copied() else {
        return 0;
    };
    let _gone = RECLAIMING.remove(&thread);
    // SAFETY: takes no arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let slot = slot_of_current();
    if slot == NO_SESSION {
        return 0;
    }
    if let Some(stats) = MEMORY_STATS.get_ptr_mut(slot) {
        let took_ns = now_ns.saturating_sub(began_ns);
        // SAFETY: a map value.
        unsafe {
            record::observe_shared(&raw mut (*stats).reclaim_stall, bucket_of(took_ns), took_ns);
        }
    }
    0
}
