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
    kernel::{Cgroup, KernelPtr, member, offset},
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
    // SAFETY: the tracepoint's argument.
    let flags: u32 = unsafe { member(request, offset!(request_flags)) };
    let operation = flags & REQ_OP_MASK;
    // Flushes, discards and the driver's own commands carry no data of a session.
    if completed == 0 || (operation != REQ_OP_READ && operation != REQ_OP_WRITE) {
        return 0;
    }
    // SAFETY: the tracepoint's argument.
    let slot = unsafe { issuer(request) }.map_or(NO_SESSION, session::slot_of_typed);
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
    // SAFETY: the tracepoint's argument.
    let left: u32 = unsafe { member(request, offset!(request_length)) };
    if completed < left {
        return 0;
    }
    // SAFETY: the tracepoint's argument.
    if let Some(began_ns) = unsafe { began(request) } {
        // SAFETY: takes no arguments.
        let took_ns = unsafe { bpf_ktime_get_ns() }.saturating_sub(began_ns);
        // SAFETY: a map value.
        unsafe { record::observe_shared(&raw mut (*stats).latency, bucket_of(took_ns), took_ns) };
    }
    0
}

/// The cgroup that issued a request, if it is one of the v2 hierarchy: on a node with the io controller of
/// cgroup v1 it is of that one. Each step is a load that the verifier knows the type of, an address that is not
/// there reads as 0: with the checked helper all of it takes four times as long.
///
/// # Safety
/// `request` is a tracepoint's argument.
#[inline(always)]
unsafe fn issuer(request: KernelPtr) -> Option<Cgroup> {
    let mut pointer: KernelPtr = request;
    for offset in [
        offset!(request_bio),
        offset!(bio_blkg),
        offset!(blkg_blkcg),
        offset!(blkcg_cgroup),
    ] {
        // SAFETY: the first by the contract, each other one points to a structure of which the kernel says so.
        pointer = unsafe { member(pointer, offset) };
        if pointer.is_null() {
            return None;
        }
    }
    // SAFETY: a cgroup, which always has a root.
    unsafe {
        let root: KernelPtr = member(pointer, offset!(cgroup_root));
        if root.is_null() || member::<u32>(root, offset!(cgroup_root_hierarchy_id)) != 0 {
            return None;
        }
    }
    Some(Cgroup(pointer))
}

/// When the request was made, or at least given to the driver; `CLOCK_MONOTONIC`.
///
/// # Safety
/// `request` is a tracepoint's argument.
#[inline(always)]
unsafe fn began(request: KernelPtr) -> Option<u64> {
    // SAFETY: by the contract.
    let made: u64 = unsafe { member(request, offset!(request_made)) };
    let ns = if made == 0 {
        // SAFETY: by the contract.
        unsafe { member(request, offset!(request_issued)) }
    } else {
        made
    };
    (ns != 0).then_some(ns)
}
