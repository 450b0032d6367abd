//! Process life-cycle counters: forks, execs and exits by reason, counted in the kernel, exactly.

use agent_common::{
    MAX_RECENT, NO_SESSION, Slot,
    event::{EventHeader, ExecEvent, ExitEvent, PROCESS_EXECUTED, PROCESS_FAILED},
    process::{ExitedProcess, LAST_EXIT_KNOWN, LAST_EXIT_OOM_KILLED, ProcessStats},
    task::EXEC_COUNTED,
};
use aya_ebpf::{
    bindings::BPF_NOEXIST,
    btf_maps::{Array, LruHashMap},
    helpers::{bpf_ktime_get_boot_ns, generated::bpf_get_current_task},
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};
use aya_log_ebpf::debug;

use crate::{
    cgroup,
    emit::{self, Urgency},
    kernel::{KernelPtr, SIGNAL_GROUP_EXIT, Task, chained, constant, number, offset},
    record, session, task,
};

const SIGKILL: u32 = 9;
/// What an insertion of what is there already returns.
pub(crate) const EEXIST: i32 = -17;

/// Per slot; resized to the number of slots when loaded.
#[btf_map]
static PROCESS_STATS: Array<ProcessStats, 1> = Array::new();

/// Processes whose end is counted already, with the session that they were in. Threads that exit at the same
/// moment meet here; and who hears of a process only after its end finds its session.
#[btf_map]
static EXITED_PROCESSES: LruHashMap<ExitedProcess, Slot, { MAX_RECENT as usize }> =
    LruHashMap::new();

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

/// `task_newtask(task_struct *task, unsigned long clone_flags)`, kernel/fork.c `copy_process`: in the parent,
/// which holds no lock that spins, when the child is in its cgroup and cannot run yet, so its accounts start at nothing.
/// The one hook where task storage is made. Not `sched_process_fork`, which `kernel_clone` alone has:
/// the workers of io_uring are made without it.
#[btf_tracepoint(function = "task_newtask")]
fn task_newtask(ctx: BtfTracePointContext) -> i32 {
    let child = Task(ctx.arg::<KernelPtr>(0));
    // The idle thread of a CPU that is plugged in is nobody's.
    if child.pid() != 0 {
        let elsewhere = stamp_if_born_elsewhere(child);
        let slot = session::enrol(child);
        if elsewhere {
            cgroup::has_entered(child, slot);
        }
    }
    0
}

/// Stamps a cgroup that the child is born into without ever being moved there (`CLONE_INTO_CGROUP`, 5.7). Before its
/// session is looked up: the agent puts a cgroup into the map first and looks at the stamp then, so that one of the
/// two sees the other. Says whether it is such a child.
#[inline(always)]
fn stamp_if_born_elsewhere(child: Task) -> bool {
    // SAFETY: takes no arguments.
    let parent = unsafe { bpf_get_current_task() } as KernelPtr;
    let elsewhere = child.pid() == child.tgid()
        && chained(parent, offset!(task_cgroups)) != Some(child.css_set());
    if elsewhere {
        cgroup::stamp_first_process_of(child);
    }
    elsewhere
}

/// `sched_wakeup_new(task_struct *p)`, kernel/sched/core.c `wake_up_new_task`: under the run-queue lock, before
/// the child can run. Forks are counted here and not where the child is made: from 7.0 on tracepoints run
/// preemptible, a program that is preempted is not run for the next task on that CPU, and forks would go
/// uncounted. For the same reason the array, which needs no memory, has the child's state from here: a pid may
/// be used again at the same address, and the dead thread's state must not be taken for the child's.
#[btf_tracepoint(function = "sched_wakeup_new")]
fn sched_wakeup_new(ctx: BtfTracePointContext) -> i32 {
    let child = Task(ctx.arg::<KernelPtr>(0));
    // Where `task_newtask` was passed over.
    stamp_if_born_elsewhere(child);
    let slot = session::enrol_if_no_memory_is_needed(child);
    if slot != NO_SESSION {
        count!(slot, threads_started);
    }
    if child.pid() != child.tgid() {
        return 0;
    }
    if slot != NO_SESSION {
        count!(slot, forks);
    }
    0
}

/// `sched_process_exec(task_struct *p, pid_t old_pid, linux_binprm *bprm)`, fs/exec.c. Only to count it at
/// once: the kernel numbers a thread's programs, and `sched_switch` counts what has not been counted yet.
#[btf_tracepoint(function = "sched_process_exec")]
fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    let task = Task(ctx.arg::<KernelPtr>(0));
    let exec_id = task.exec_id() as u32 & !EXEC_COUNTED;
    let slot = match task::known(task) {
        Some(state) => {
            let slot = session::slot_of_state(task, state);
            // It was switched out on its way here. (A thread other than the first that executes takes the
            // first one's id on that way, and may have been met as a new one: that is not counted yet.)
            let counted = state.exec_id == exec_id | EXEC_COUNTED;
            state.exec_id = exec_id;
            if counted {
                return 0;
            }
            slot
        }
        None => session::slot_of_task(task),
    };
    if slot != NO_SESSION {
        executed(slot, task);
    }
    0
}

/// Counts a process of one thread that went from one session to another.
#[inline(always)]
pub(crate) fn moved(left: Slot, entered: Slot) {
    if left != NO_SESSION {
        count!(left, processes_left);
    }
    if entered != NO_SESSION {
        count!(entered, processes_entered);
    }
}

/// Counts a program that was executed, and tells of it where that is wanted.
#[inline(never)]
pub(crate) fn executed(slot: Slot, task: Task) {
    count!(slot, execs);
    if constant!(tells_execs) == 0 {
        return;
    }
    if emit::is_half_full() {
        emit::lose(PROCESS_EXECUTED);
        return;
    }
    emit::send(
        PROCESS_EXECUTED,
        &ExecEvent {
            header: EventHeader {
                kind: PROCESS_EXECUTED,
                slot,
                // SAFETY: takes no arguments.
                at_ns: unsafe { bpf_ktime_get_boot_ns() },
            },
            pid: task.tgid(),
            reserved: 0,
            comm: task.comm(),
        },
        Urgency::NextSample,
    );
}

/// `sched_process_exit(task_struct *p, …)`, kernel/exit.c: once per thread, after the thread has left
/// the count of live ones. Where tracepoints are preemptible (7.0) it can be passed over: then
/// `sched_switch` finds the dead thread, which is switched out once more.
#[btf_tracepoint(function = "sched_process_exit")]
fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    let task = Task(ctx.arg::<KernelPtr>(0));
    let slot = match task::known(task) {
        Some(state) => {
            let slot = session::slot_of_state(task, state);
            if state.ended != 0 {
                return 0;
            }
            state.ended = 1;
            slot
        }
        None => session::slot_of_task(task),
    };
    if slot != NO_SESSION {
        thread_ended(task, slot);
        debug!(
            &ctx,
            "thread {} of process {} ended in slot {}",
            task.pid(),
            task.tgid(),
            slot
        );
    }
    0
}

/// Counts the end of the thread, and that of the process that it was the last of, if it was.
#[inline(always)]
pub(crate) fn thread_ended(task: Task, slot: Slot) {
    count!(slot, threads_ended);
    may_end_its_process(task, slot);
}

/// Counts the end of the process that the thread was the last of, if it was and nobody has.
#[inline(never)]
pub(crate) fn may_end_its_process(task: Task, slot: Slot) {
    if ends_its_process(task, slot) {
        process_exited(slot, task);
    }
}

/// Whether this thread's exit is the end of its process, true for one thread of each process only.
#[inline(always)]
fn ends_its_process(task: Task, slot: Slot) -> bool {
    if chained::<u32>(task.signal(), offset!(signal_live)) != Some(0) {
        return false;
    }
    // Several threads may have left the count before the first of them gets here.
    let Some(start_ns) = chained(task.group_leader(), offset!(task_start_boottime)) else {
        return true;
    };
    let key = ExitedProcess {
        pid: task.tgid().into(),
        start_ns,
    };
    EXITED_PROCESSES.insert(&key, &slot, BPF_NOEXIST.into()) != Err(EEXIST)
}

#[inline(always)]
fn process_exited(slot: Slot, task: Task) {
    let signal = task.signal();
    // As wait_task_zombie (kernel/exit.c) builds the status for the parent.
    let group_exit = number::<u32>(signal, offset!(signal_flags)) & SIGNAL_GROUP_EXIT != 0;
    let status = if group_exit {
        number::<u32>(signal, offset!(signal_group_exit_code))
    } else {
        number::<u32>(task.group_leader(), offset!(task_exit_code))
    };
    let signal_number = status & 0x7f;
    let oom_killed = signal_number == SIGKILL && number::<u64>(signal, offset!(signal_oom_mm)) != 0;

    if let Some(stats) = PROCESS_STATS.get_ptr_mut(slot) {
        let chosen = if oom_killed { LAST_EXIT_OOM_KILLED } else { 0 };
        // SAFETY: a map value; a store of one word.
        unsafe { (*stats).last_exit = LAST_EXIT_KNOWN | chosen | u64::from(status) };
    }
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
