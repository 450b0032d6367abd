//! Block I/O of each session, with one program and one clock reading per request.
//!
//! A request carries when it was made, and its first `bio` carries the cgroup that issued it: for buffered
//! writes the one whose page was dirtied, not the flusher. It is known where the cgroup has the io
//! controller; elsewhere the kernel names the nearest ancestor that has it.

use agent_common::{
    NO_SESSION,
    block::{BlockStats, READ, WRITE},
    histogram::bucket_of,
};
use aya_ebpf::{
    btf_maps::Array,
    helpers::bpf_ktime_get_ns,
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};

use crate::{
    kernel::{Cgroup, KernelPtr, chained, offset},
    record, session,
};

// include/linux/blk_types.h, `enum req_op`
const REQ_OP_MASK: u32 = 0xff;
const REQ_OP_READ: u32 = 0;
const REQ_OP_WRITE: u32 = 1;

/// Per slot; resized to the number of slots when loaded.
#[btf_map]
static BLOCK_STATS: Array<BlockStats, 1> = Array::new();

/// `block_rq_complete(request *rq, blk_status_t error, unsigned int nr_bytes)`, block/blk-mq.c
/// `blk_update_request`: before the completed part is taken off the request, so the last of several has
/// all that is left.
#[btf_tracepoint(function = "block_rq_complete")]
fn block_rq_complete(ctx: BtfTracePointContext) -> i32 {
    let request = ctx.arg::<KernelPtr>(0);
    let completed: u32 = ctx.arg(2);
    let flags: u32 = chained(request, offset!(request_flags)).unwrap_or(u32::MAX);
    let operation = flags & REQ_OP_MASK;
    // Flushes, discards and the driver's own commands carry no data of a session.
    if completed == 0 || (operation != REQ_OP_READ && operation != REQ_OP_WRITE) {
        return 0;
    }
    let Some(cgroup) = issuer(request) else {
        return 0;
    };
    // On a node with the io controller of cgroup v1 this is a cgroup of that hierarchy.
    if !cgroup.is_v2() {
        return 0;
    }
    let slot = cgroup.id().map_or(NO_SESSION, session::slot_of_cgroup);
    if slot == NO_SESSION {
        return 0;
    }
    let Some(stats) = BLOCK_STATS.get_ptr_mut(slot) else {
        return 0;
    };
    // SAFETY: a map value, and a constant index on each branch.
    let stats = unsafe {
        if operation == REQ_OP_WRITE {
            &raw mut (*stats).operations[WRITE]
        } else {
            &raw mut (*stats).operations[READ]
        }
    };
    // SAFETY: a map value.
    unsafe { record::add(&raw mut (*stats).bytes, completed.into()) };
    let left: u32 = chained(request, offset!(request_length)).unwrap_or(0);
    if completed < left {
        return 0;
    }
    if let Some(began_ns) = began(request) {
        // SAFETY: takes no arguments.
        let took_ns = unsafe { bpf_ktime_get_ns() }.saturating_sub(began_ns);
        // SAFETY: a map value.
        unsafe { record::observe_shared(&raw mut (*stats).latency, bucket_of(took_ns), took_ns) };
    }
    0
}

#[inline(always)]
fn issuer(request: KernelPtr) -> Option<Cgroup> {
    let mut pointer: KernelPtr = request;
    for offset in [
        offset!(request_bio),
        offset!(bio_blkg),
        offset!(blkg_blkcg),
        offset!(blkcg_cgroup),
    ] {
        pointer = chained(pointer, offset)?;
        if pointer.is_null() {
            return None;
        }
    }
    Some(Cgroup(pointer))
}

/// When the request was made, or at least given to the driver; `CLOCK_MONOTONIC`.
#[inline(always)]
fn began(request: KernelPtr) -> Option<u64> {
    let made: u64 = chained(request, offset!(request_made)).unwrap_or(0);
    let ns = if made == 0 {
        chained(request, offset!(request_issued)).unwrap_or(0)
    } else {
        made
    };
    (ns != 0).then_some(ns)
}
