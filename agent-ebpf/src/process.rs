//! Process life-cycle counters: forks, execs and exits by reason, counted in the kernel, exactly.

use agent_common::{
    NO_SESSION, Slot,
    event::{EventHeader, ExitEvent, PROCESS_FAILED},
    process::{ExitedProcess, ProcessStats},
};
use aya_ebpf::{
    bindings::BPF_NOEXIST,
    btf_maps::{Array, LruHashMap},
    helpers::bpf_ktime_get_boot_ns,
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};
use aya_log_ebpf::debug;

use crate::{
    cgroup,
    emit::{self, Urgency},
    kernel::{KernelPtr, SIGNAL_GROUP_EXIT, Task, chained, offset},
    record, session,
};

const SIGKILL: u32 = 9;

/// Per slot; resized to the number of slots when loaded.
#[btf_map]
static PROCESS_STATS: Array<ProcessStats, 1> = Array::new();

/// Ends of multi-threaded processes that are counted already. Only threads that exit at the same moment
/// meet here, so the least recently used entry is long past its use.
#[btf_map]
static EXITED_PROCESSES: LruHashMap<ExitedProcess, u8, 4096> = LruHashMap::new();

/// Charges CPU time to a session that a thread has left.
#[inline(always)]
pub(crate) fn charge_moved(slot: Slot, ns: u64) {
    if slot != NO_SESSION
        && let Some(stats) = PROCESS_STATS.get_ptr_mut(slot)
    {
        // SAFETY: a map value.
        unsafe { record::add(&raw mut (*stats).moved_cpu_ns, ns) };
    }
}

macro_rules! count {
    ($slot:expr, $field:ident) => {
        if let Some(stats) = PROCESS_STATS.get_ptr_mut($slot) {
            // SAFETY: a map value.
            unsafe { record::increment(&raw mut (*stats).$field) };
        }
    };
}

/// `sched_process_fork(task_struct *parent, task_struct *child)`, kernel/fork.c: after the child has its
/// cgroup and before it can run, so its accounts start at nothing.
#[btf_tracepoint(function = "sched_process_fork")]
fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    let parent = Task(ctx.arg::<KernelPtr>(0));
    let child = Task(ctx.arg::<KernelPtr>(1));
    let (slot, same_cgroup) = session::enrol_child(parent, child);
    if child.pid() != child.tgid() {
        return 0;
    }
    if !same_cgroup {
        // CLONE_INTO_CGROUP (5.7): born into a cgroup without ever being moved there.
        cgroup::stamp_first_process_of(child);
    }
    if slot != NO_SESSION {
        count!(slot, forks);
    }
    0
}

/// `sched_process_exec(task_struct *p, pid_t old_pid, linux_binprm *bprm)`, fs/exec.c.
#[btf_tracepoint(function = "sched_process_exec")]
fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    let slot = session::slot_of_task(Task(ctx.arg::<KernelPtr>(0)));
    if slot != NO_SESSION {
        count!(slot, execs);
    }
    0
}

/// `sched_process_exit(task_struct *p, …)`, kernel/exit.c: once per thread, after the thread has left
/// the count of live ones.
#[btf_tracepoint(function = "sched_process_exit")]
fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    let task = Task(ctx.arg::<KernelPtr>(0));
    let slot = session::slot_of_task(task);
    if slot != NO_SESSION && ends_its_process(task) {
        process_exited(&ctx, slot, task);
    }
    0
}

/// Whether this thread's exit is the end of its process, true for one thread of each process only.
#[inline(always)]
fn ends_its_process(task: Task) -> bool {
    let signal = task.signal();
    if chained::<u32>(signal, offset!(signal_live)) != Some(0) {
        return false;
    }
    let last = chained::<u32>(signal, offset!(signal_nr_threads)) == Some(1);
    let Some(start_ns) = chained(task.group_leader(), offset!(task_start_boottime)) else {
        return true;
    };
    let key = ExitedProcess {
        pid: task.tgid().into(),
        start_ns,
    };
    if last {
        // SAFETY: only whether there is one.
        return unsafe { EXITED_PROCESSES.get(&key) }.is_none();
    }
    // Several threads have left the count of live ones, and not all of them are here yet: the first one
    // counts, and tells the others.
    EXITED_PROCESSES
        .insert(&key, &1, BPF_NOEXIST.into())
        .is_ok()
}

#[inline(always)]
fn process_exited(ctx: &BtfTracePointContext, slot: Slot, task: Task) {
    let signal = task.signal();
    // As wait_task_zombie (kernel/exit.c) builds the status for the parent.
    let group_exit =
        chained::<u32>(signal, offset!(signal_flags)).unwrap_or(0) & SIGNAL_GROUP_EXIT != 0;
    let status = if group_exit {
        chained::<u32>(signal, offset!(signal_group_exit_code))
    } else {
        chained::<u32>(task.group_leader(), offset!(task_exit_code))
    }
    .unwrap_or(0);
    let signal_number = status & 0x7f;
    let oom_killed = signal_number == SIGKILL
        && chained::<u64>(signal, offset!(signal_oom_mm)).is_some_and(|mm| mm != 0);

    if oom_killed {
        count!(slot, exits_oom_killed);
    } else if signal_number != 0 {
        count!(slot, exits_signal);
    } else if status != 0 {
        count!(slot, exits_error);
    } else {
        count!(slot, exits_success);
        return;
    }
    debug!(
        ctx,
        "process {} of slot {} ended with status {}",
        task.tgid(),
        slot,
        status
    );
    emit::send(
        PROCESS_FAILED,
        &ExitEvent {
            header: EventHeader {
                kind: PROCESS_FAILED,
                slot,
                // SAFETY: takes no arguments.
                at_ns: unsafe { bpf_ktime_get_boot_ns() },
            },
            pid: task.tgid(),
            status,
            oom_killed: oom_killed.into(),
            reserved: 0,
            comm: task.comm(),
        },
        Urgency::NextSample,
    );
}
