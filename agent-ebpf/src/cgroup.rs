//! Cgroups that come, go, and get their first process.

use agent_common::{
    MAX_ENTERED, MAX_RECENT, NO_SESSION, Slot,
    cgroup::CgroupBirth,
    event::{CGROUP_MADE, CGROUP_REMOVED, CgroupEvent, EventHeader, NAME_BYTES, PROCESS_MOVED},
};
use aya_ebpf::{
    btf_maps::{HashMap, LruHashMap, PerCpuArray},
    helpers::{bpf_ktime_get_boot_ns, bpf_probe_read_kernel_str_bytes},
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};

use crate::{
    emit::{self, Urgency},
    kernel::{Cgroup, KernelPtr, Task, chained, offset},
    process,
    session::{self, Unmoved},
    task,
};

/// Cgroups made since the agent started. Least recently used ones go first: a cgroup is of interest
/// from when it is made until its first process has come and the agent has read it.
#[btf_map]
static CGROUP_BIRTHS: LruHashMap<u64, CgroupBirth, { MAX_RECENT as usize }> = LruHashMap::new();

/// Processes that have entered a session, until the agent has looked at their open files: they may have brought
/// connections.
#[btf_map]
static ENTERED: HashMap<u32, Slot, { MAX_ENTERED as usize }> = HashMap::new();

/// Where an event is put together: 288 bytes are too many for the 512 of the stack.
#[btf_map]
static CGROUP_EVENT: PerCpuArray<CgroupEvent, 1> = PerCpuArray::new();

/// `cgroup_mkdir(cgroup *cgrp, const char *path)`, kernel/cgroup/cgroup.c, with `cgroup_mutex` held.
#[btf_tracepoint(function = "cgroup_mkdir")]
fn cgroup_mkdir(ctx: BtfTracePointContext) -> i32 {
    let cgroup = Cgroup(ctx.arg::<KernelPtr>(0));
    if !cgroup.is_v2() {
        return 0;
    }
    let (Some(id), Some(parent_id)) = (cgroup.id(), cgroup.parent_id()) else {
        return 0;
    };
    // SAFETY: takes no arguments.
    let now_ns = unsafe { bpf_ktime_get_boot_ns() };
    let birth = CgroupBirth {
        made_ns: now_ns,
        first_process_ns: 0,
    };
    let _full = CGROUP_BIRTHS.insert(&id, &birth, 0);
    let slot = session::slot_of_typed(cgroup);
    send(CGROUP_MADE, slot, now_ns, cgroup, id, parent_id);
    0
}

/// `cgroup_rmdir(cgroup *cgrp, const char *path)`, kernel/cgroup/cgroup.c.
#[btf_tracepoint(function = "cgroup_rmdir")]
fn cgroup_rmdir(ctx: BtfTracePointContext) -> i32 {
    let cgroup = Cgroup(ctx.arg::<KernelPtr>(0));
    if !cgroup.is_v2() {
        return 0;
    }
    let (Some(id), Some(parent_id)) = (cgroup.id(), cgroup.parent_id()) else {
        return 0;
    };
    // SAFETY: takes no arguments.
    let now_ns = unsafe { bpf_ktime_get_boot_ns() };
    send(
        CGROUP_REMOVED,
        session::slot_of_typed(cgroup),
        now_ns,
        cgroup,
        id,
        parent_id,
    );
    0
}

/// `cgroup_attach_task(cgroup *dst_cgrp, const char *path, task_struct *task, bool threadgroup)`,
/// kernel/cgroup/cgroup.c.
#[btf_tracepoint(function = "cgroup_attach_task")]
fn cgroup_attach_task(ctx: BtfTracePointContext) -> i32 {
    let cgroup = Cgroup(ctx.arg::<KernelPtr>(0));
    if !cgroup.is_v2() {
        return 0;
    }
    let Some(id) = cgroup.id() else {
        return 0;
    };
    stamp_first_process(id);
    // The hook names the first thread only, which is settled now in the session that it has left. Only where
    // there are others, or it has no state, the agent is told, and walks the threads.
    let task = Task(ctx.arg::<KernelPtr>(2));
    let (left, entered, is_known) = match task::known(task) {
        // The kernel has moved the thread before it gets here. Whoever has looked at it since has put it into its new
        // session: which one it has left is not known any more.
        Some(state) if state.css_set == task.css_set() as u64 => (NO_SESSION, state.slot, false),
        Some(state) => {
            let left = state.slot;
            let entered = session::slot_of_state_settled(
                task.css_set(),
                state,
                || (task.tgid(), task.exec_runtime_ns()),
                Unmoved::Left,
            );
            (left, entered, true)
        }
        None => (NO_SESSION, session::slot_of_typed(cgroup), false),
    };
    let threads: u32 = chained(task.signal(), offset!(signal_nr_threads)).unwrap_or(1);
    if is_known && left == entered {
        return 0;
    }
    session::moves(task.tgid());
    has_entered(task, entered);
    if is_known && threads <= 1 {
        process::moved(left, entered);
    } else {
        // SAFETY: takes no arguments.
        let at_ns = unsafe { bpf_ktime_get_boot_ns() };
        emit::send(
            PROCESS_MOVED,
            &EventHeader {
                kind: PROCESS_MOVED,
                slot: entered,
                at_ns,
            },
            Urgency::Now,
        );
    }
    0
}

/// Notes that a process has come to its session from elsewhere, with the files that it has open.
#[inline(always)]
pub(crate) fn has_entered(task: Task, session: Slot) {
    if session != NO_SESSION {
        let _full = ENTERED.insert(&task.tgid(), &session, 0);
    }
}

/// Notes that a process was born into its cgroup.
#[inline(always)]
pub(crate) fn stamp_first_process_of(task: Task) {
    if let Some(id) = Cgroup::of_css_set(task.css_set()).and_then(Cgroup::id) {
        stamp_first_process(id);
    }
}

#[inline(always)]
fn stamp_first_process(id: u64) {
    if let Some(birth) = CGROUP_BIRTHS.get_ptr_mut(&id) {
        // SAFETY: a map value; two first processes within a moment of each other may both be the first.
        unsafe {
            if (*birth).first_process_ns == 0 {
                (*birth).first_process_ns = bpf_ktime_get_boot_ns();
            }
        }
    }
}

#[inline(always)]
fn send(kind: u32, slot: Slot, at_ns: u64, cgroup: Cgroup, id: u64, parent_id: u64) {
    let Some(event) = CGROUP_EVENT.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this CPU's scratch; all hooks of this module are under one lock (`trace_cgroup_path_lock`).
    let event = unsafe { &mut *event };
    event.header = EventHeader { kind, slot, at_ns };
    event.cgroup_id = id;
    event.parent_id = parent_id;
    event.name[0] = 0;
    if let Some(name) = cgroup.name() {
        // SAFETY: the helper checks the address and stops at NUL or at the end of the buffer.
        let _ended = unsafe { bpf_probe_read_kernel_str_bytes(name, &mut event.name) };
    }
    event.name[NAME_BYTES - 1] = 0;
    emit::send(kind, event, Urgency::Now);
}
