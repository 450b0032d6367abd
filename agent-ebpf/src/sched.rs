//! Run-queue wait, CPU time and the kind of each switch, with one program and no clock.
//!
//! The scheduler itself keeps, for every thread, the total time it was runnable without running
//! (`sched_info.run_delay`, kernel/sched/stats.h), its time on a CPU and its involuntary switches. The
//! thread that is switched out has had exactly one wait since its last switch, so the difference to
//! the value stored then is that wait, migrations included.

use core::ffi::c_void;

use agent_common::{
    MAX_PREEMPTION_PAIRS, NO_SESSION, Slot,
    sched::{After, OnCpu, PreemptionPair, SchedStats},
    task::{EXEC_COUNTED, THROTTLED_UNIT_NS, TaskState},
};
use aya_ebpf::{
    bindings::BPF_NOEXIST,
    btf_maps::{Array, HashMap, PerCpuArray},
    helpers::bpf_get_smp_processor_id,
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};

use crate::{
    kernel::{KernelPtr, Task, chained, constant, offset},
    process, record,
    session::{self, Unmoved},
    task,
};

/// Per CPU and slot; resized to the number of slots when loaded.
#[btf_map]
static SCHED_STATS: PerCpuArray<SchedStats, 1> = PerCpuArray::new();

/// How often each session took the CPU from each other one.
#[btf_map]
static PREEMPTION_PAIRS: HashMap<PreemptionPair, u64, { MAX_PREEMPTION_PAIRS as usize }> =
    HashMap::new();

/// Switches of sessions' threads of which nothing was measured, because the thread had no state.
#[btf_map]
static UNMEASURED_SWITCHES: Array<u64, 1> = Array::new();

/// What each CPU is doing, so that the agent asks only those that do something.
#[btf_map]
static ON_CPU: PerCpuArray<OnCpu, 1> = PerCpuArray::new();

/// The bits of [`TaskState::after`] that are an [`After`]; the CPU's are above.
const KIND: u8 = After::COUNT as u8 - 1;
const CPU_SHIFT: u32 = KIND.count_ones();

/// `sched_switch(bool preempt, task_struct *prev, task_struct *next, …)`, kernel/sched/core.c. Runs with
/// the run-queue lock held and interrupts off.
#[btf_tracepoint(function = "sched_switch")]
fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    let prev = Task(ctx.arg::<KernelPtr>(1));
    let next = Task(ctx.arg::<KernelPtr>(2));
    let Some(cpu) = ON_CPU.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: this CPU's copy.
    unsafe { (*cpu).running = next.0 as u64 };
    // The idle threads are nobody's.
    if prev.pid() == 0 {
        // SAFETY: as above.
        unsafe { (*cpu).idle = prev.0 as u64 };
        return 0;
    }
    let Some(state) = task::known(prev) else {
        without_state(prev);
        return 0;
    };

    // First the session: a thread that has moved is settled before its time is taken.
    let slot = session::slot_of_state(prev, state);
    let run_delay_ns = prev.run_delay_ns();
    let exec_runtime_ns = prev.exec_runtime_ns();
    let involuntary_switches = prev.involuntary_switches() as u32;
    let major_faults = prev.major_faults() as u32;
    let wait_ns = run_delay_ns.wrapping_sub(state.run_delay_ns);
    let cpu_ns = exec_runtime_ns.wrapping_sub(state.exec_runtime_ns);
    let new_major_faults = major_faults.wrapping_sub(state.major_faults);
    let involuntary = involuntary_switches != state.involuntary_switches;
    state.run_delay_ns = run_delay_ns;
    state.exec_runtime_ns = exec_runtime_ns;
    state.involuntary_switches = involuntary_switches;
    state.major_faults = major_faults;
    let waited_after = state.after;
    // `Wakeup` or `Preemption`; why else an involuntary one happened is looked at below, for a session's thread.
    state.after = u8::from(involuntary);

    if slot == NO_SESSION {
        return 0;
    }
    if constant!(tracepoints_are_preemptible) != 0 {
        passed_over(prev, state, slot);
    }
    let Some(stats) = SCHED_STATS.get_ptr_mut(slot) else {
        return 0;
    };
    // SAFETY: this CPU's copy, and nothing else runs on this CPU now.
    let stats = unsafe { &mut *stats };
    let throttled_ns = if involuntary || waited_after & KIND == After::Preemption as u8 {
        throttled_while_queued(prev, state, waited_after, wait_ns)
    } else {
        0
    };
    stats.waited_ns[After::Throttle as usize] += throttled_ns;
    stats.waited_ns[usize::from(waited_after & KIND)] += wait_ns - throttled_ns;
    record::observe(&mut stats.runqueue_wait, wait_ns);
    stats.cpu_ns += cpu_ns;
    stats.major_faults += u64::from(new_major_faults);
    if involuntary {
        lost_its_cpu(prev, state, stats, slot, next);
    } else {
        stats.voluntary_switches += 1;
    }
    0
}

/// How much of the wait that is over a preempted thread had for a limit that was used up meanwhile: by itself none has
/// stopped it, but the whole of its run queue. Then the same is made ready for the next wait.
#[inline(always)]
fn throttled_while_queued(
    thread: Task,
    state: &mut TaskState,
    waited_after: u8,
    wait_ns: u64,
) -> u64 {
    let Some(throttled) = thread.throttled_with_its_queue() else {
        return 0;
    };
    let since = u64::from(throttled.wrapping_sub(state.throttled)) * THROTTLED_UNIT_NS;
    state.throttled = throttled;
    // Another CPU has another run queue. With more than 64 of them one in 64 moves is not seen.
    // SAFETY: the helper takes nothing.
    let cpu = (unsafe { bpf_get_smp_processor_id() } as u8) << CPU_SHIFT;
    state.after |= cpu;
    let preempted_here = After::Preemption as u8 | cpu;
    if waited_after == preempted_here {
        since.min(wait_ns)
    } else {
        0
    }
}

/// Why a thread that has not blocked is switched out.
#[inline(always)]
fn lost_its_cpu(
    thread: Task,
    state: &mut TaskState,
    stats: &mut SchedStats,
    slot: Slot,
    next: Task,
) {
    if thread.is_throttled() {
        state.after = After::Throttle as u8;
        stats.throttles += 1;
    } else if thread.yields() {
        state.after = After::Yield as u8;
        stats.yields += 1;
    } else {
        preempted(stats, slot, next);
    }
}

/// Counts what the tracepoints of their own have been passed over for.
#[inline(always)]
fn passed_over(task: Task, state: &mut TaskState, slot: Slot) {
    let exec_id = task.exec_id() as u32 & !EXEC_COUNTED;
    if exec_id != state.exec_id & !EXEC_COUNTED {
        state.exec_id = exec_id | EXEC_COUNTED;
        process::executed(slot, task);
    }
    if task.exit_state() != 0 && state.ended == 0 {
        state.ended = 1;
        process::thread_ended(task, slot);
    }
}

/// Charges the thread that runs on this CPU for its time since its last switch: one with a CPU to itself is not
/// switched for seconds. Never attached: before a sample the agent runs it on each CPU that is busy
/// (`BPF_PROG_TEST_RUN` with `BPF_F_TEST_RUN_ON_CPU`, net/bpf/test_run.c, 5.10), where it interrupts that thread;
/// so no switch is under way. The scheduler brings the thread's runtime up to date at its ticks.
#[unsafe(link_section = "raw_tp/on_demand")]
#[unsafe(no_mangle)]
extern "C" fn settle_running(_: *const c_void) -> i32 {
    let Some((task, state)) = task::of_current() else {
        return 0;
    };
    let (Some(css_set), Some(process), Some(exec_runtime_ns)) = (
        chained::<KernelPtr>(task, offset!(task_cgroups)),
        chained::<u32>(task, offset!(task_tgid)),
        chained::<u64>(task, offset!(task_exec_runtime)),
    ) else {
        return 0;
    };
    let slot = session::slot_of_state_settled(
        css_set,
        state,
        || (process, exec_runtime_ns),
        Unmoved::Left,
    );
    let cpu_ns = exec_runtime_ns.wrapping_sub(state.exec_runtime_ns);
    state.exec_runtime_ns = exec_runtime_ns;
    if slot != NO_SESSION
        && let Some(stats) = SCHED_STATS.get_ptr_mut(slot)
    {
        // SAFETY: this CPU's copy, and no switch runs on this CPU now.
        unsafe { (*stats).cpu_ns += cpu_ns };
    }
    0
}

/// A thread without a state is switched out: it is older than the agent, or `task_newtask` was passed over or
/// had no memory, or in the array it has just become its process's first thread by an execve. What it has had
/// is counted as not measured.
#[inline(never)]
fn without_state(prev: Task) {
    let slot = session::enrol_if_no_memory_is_needed(prev);
    if slot == NO_SESSION {
        return;
    }
    if let Some(switches) = UNMEASURED_SWITCHES.get_ptr_mut(0) {
        // SAFETY: a map value.
        unsafe { record::increment(switches) };
    }
    // The end of its process is counted all the same; its own has been, unless that tracepoint was passed over.
    if prev.exit_state() != 0 {
        process::may_end_its_process(prev, slot);
    }
}

/// Charges a preemption to who got the CPU.
#[inline(always)]
fn preempted(stats: &mut SchedStats, victim: Slot, next: Task) {
    let preemptor = if next.pid() == 0 {
        NO_SESSION
    } else {
        session::slot_of_task(next)
    };
    if preemptor == NO_SESSION {
        stats.preempted_by_system += 1;
    } else if preemptor == victim {
        stats.preempted_by_self += 1;
    } else {
        stats.preempted_by_session += 1;
        let pair = PreemptionPair { victim, preemptor };
        if let Some(count) = PREEMPTION_PAIRS.get_ptr_mut(&pair) {
            // SAFETY: a map value.
            unsafe { record::increment(count) };
        } else {
            // Another CPU may have been first: its entry stays, and one switch is missing from a list
            // of names; the counter above has it.
            let _full_or_raced = PREEMPTION_PAIRS.insert(&pair, &1, BPF_NOEXIST.into());
        }
    }
}
