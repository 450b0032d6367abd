//! The task iterator: who is alive.
//!
//! A walk over all threads, 700 to 900 ns each, so the agent takes it seldom and counts from there. It also starts the accounts
//! of threads that have none: of those that are older than the agent, and of those that `task_newtask` missed.

use agent_common::{
    NO_SESSION, Slot,
    census::{CensusRecord, LEADER, THREAD, activity},
    self_check::SelfCheck,
};
use aya_ebpf::{
    btf_maps::Array,
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid,
        generated::{bpf_get_current_cgroup_id, bpf_get_current_task},
    },
    macros::btf_map,
};

use crate::{
    iterator::{self, IterMeta},
    kernel::{Cgroup, KernelPtr, TASK_NEW, Task, constant, number, offset},
    session::{self, Unmoved},
    task,
};

/// `struct bpf_iter__task` (kernel/bpf/task_iter.c); the iterator's arguments.
#[repr(C)]
struct IterTask {
    meta: *const IterMeta,
    task: KernelPtr,
}

/// Filled by `self_check`.
#[btf_map]
static SELF_CHECK: Array<SelfCheck, 1> = Array::new();

/// Writes one [`CensusRecord`] per live thread of a session.
#[unsafe(link_section = "iter/task")]
#[unsafe(no_mangle)]
unsafe extern "C" fn census(ctx: *const IterTask) -> i32 {
    // SAFETY: the kernel passes a valid context.
    let task = Task(unsafe { (*ctx).task });
    if task.0.is_null() {
        return 0;
    }
    let state = task.state();
    // One that is being made is counted when it is woken.
    if state & TASK_NEW != 0 {
        return 0;
    }
    // Ended is who has been counted as that: some time before the kernel says that it is a zombie, and some after it
    // has left the count of live threads.
    // Read in any case: of two reads that differ in their pointer alone the compiler makes one, which verifiers refuse.
    let zombie = task.exit_state() != 0;
    let (slot, ended) = match task::known(task) {
        // The agent runs this when processes have moved, at once if it can: where nobody has noted when, up to now is up
        // to the move, or a moment longer.
        Some(known) => {
            let slot = session::slot_of_state_settled(
                task.css_set(),
                known,
                || (task.tgid(), task.exec_runtime_ns()),
                Unmoved::Left,
            );
            (slot, known.ended != 0)
        }
        None => (enrol_living(task), zombie),
    };
    if slot == NO_SESSION {
        return 0;
    }
    let live_process = task.pid() == task.tgid()
        && (!ended || number::<u32>(task.signal(), offset!(signal_live)) > 0);
    let live_thread = !ended && !zombie;
    if !live_process && !live_thread {
        return 0;
    }
    let of_thread = if live_thread {
        THREAD | activity(state)
    } else {
        0
    };
    let record = CensusRecord {
        slot,
        flags: if live_process { LEADER } else { 0 } | of_thread,
    };
    // SAFETY: `meta` is the iterator's own.
    unsafe { iterator::write((*ctx).meta, &record) };
    0
}

/// Starts the accounts of a thread, where that may be done here and it will be switched once more.
#[inline(always)]
fn enrol_living(task: Task) -> Slot {
    if task.exit_state() == 0 && constant!(create_without_sleeping) != 0 {
        session::enrol(task)
    } else {
        session::slot_of_task(task)
    }
}

/// Starts the accounts of the threads that have none, for kernels where only a program that may sleep can do
/// it: that one allocates before it takes a lock.
#[unsafe(link_section = "iter.s/task")]
#[unsafe(no_mangle)]
unsafe extern "C" fn enrol_threads(ctx: *const IterTask) -> i32 {
    // SAFETY: the kernel passes a valid context.
    let task = Task(unsafe { (*ctx).task });
    if !task.0.is_null() && !task.is_new() && task.exit_state() == 0 && task::known(task).is_none()
    {
        session::enrol(task);
    }
    0
}

/// Reads the thread that runs the iterator, through the layout and through the kernel's helpers.
#[unsafe(link_section = "iter/task")]
#[unsafe(no_mangle)]
unsafe extern "C" fn self_check(ctx: *const IterTask) -> i32 {
    // SAFETY: the kernel passes a valid context.
    let task = Task(unsafe { (*ctx).task });
    // SAFETY: takes no arguments.
    if task.0.is_null() || task.0 as u64 != unsafe { bpf_get_current_task() } {
        return 0;
    }
    let Some(check) = SELF_CHECK.get_ptr_mut(0) else {
        return 0;
    };
    // The agent has had all threads enrolled: storage that cannot be had measures nothing, and nothing else
    // says so.
    let stored = task::known(task).is_some();
    let helper_ids = bpf_get_current_pid_tgid();
    let cgroup = Cgroup::of_css_set(task.css_set());
    // SAFETY: a map value that only this program writes.
    unsafe {
        (*check).pid = task.pid();
        (*check).tgid = task.tgid();
        (*check).helper_pid = helper_ids as u32;
        (*check).helper_tgid = (helper_ids >> 32) as u32;
        (*check).cgroup_id = cgroup.map_or(0, |own| own.ancestor(own.level().into()).id());
        (*check).helper_cgroup_id = bpf_get_current_cgroup_id();
        (*check).hierarchy_id = cgroup.and_then(Cgroup::hierarchy_id).unwrap_or(u32::MAX);
        (*check).live_threads = number(task.signal(), offset!(signal_live));
        (*check).run_delay_ns = task.run_delay_ns();
        (*check).exec_runtime_ns = task.exec_runtime_ns();
        (*check).involuntary_switches = task.involuntary_switches();
        (*check).start_boottime_ns = task.start_boottime_ns();
        (*check).stored = stored.into();
        (*check).comm = task.comm();
        (*check).helper_comm = bpf_get_current_comm().unwrap_or_default();
    }
    0
}
