//! The only look-up of a session's slot.
//!
//! The agent publishes cgroup id → slot in `CGROUP_SLOTS`, for the cgroups at which a session begins, and then raises
//! `GENERATION`. What is below belongs to the nearest above, so whoever is in a session can make as many cgroups as
//! they like: none takes a place, and all are measured from the first process on. A thread's slot is cached beside
//! its state and looked up again only when its `css_set` (so perhaps its cgroup) or the generation has changed: two
//! comparisons per switch instead of a walk.

use core::hint::black_box;

use agent_common::{MAX_CGROUPS, MAX_LEVEL, MAX_RECENT, NO_SESSION, Slot, task::TaskState};
use aya_ebpf::{
    btf_maps::{Array, HashMap, LruHashMap},
    helpers::bpf_ktime_get_boot_ns,
    macros::btf_map,
};

use crate::{
    kernel::{Cgroup, KernelPtr, Task},
    process, task,
};

/// Cgroup id → slot, for cgroups that belong to another session than the one above: [`NO_SESSION`] is for one that
/// belongs to none, though it is within one. Written by the agent alone.
#[btf_map]
static CGROUP_SLOTS: HashMap<u64, Slot, { MAX_CGROUPS as usize }> = HashMap::new();

/// Since when its session has each slot, nanoseconds since boot. Written by the agent when it clears the slot.
#[btf_map]
static SLOT_BEGAN: Array<u64, 1> = Array::new();

/// Raised by the agent after each change of `CGROUP_SLOTS`.
#[btf_map]
static GENERATION: Array<u32, 1> = Array::new();

/// When a process was last moved to another cgroup, nanoseconds since boot, by its id. The hook of a move has the first
/// thread only; when another one is looked at next, this says what it has run since.
#[btf_map]
static MOVES: LruHashMap<u32, u64, { MAX_RECENT as usize }> = LruHashMap::new();

/// Notes that a process is moved now.
#[inline(always)]
pub(crate) fn moves(process: u32) {
    // SAFETY: takes no arguments.
    let now_ns = unsafe { bpf_ktime_get_boot_ns() };
    let _full = MOVES.insert(&process, &now_ns, 0);
}

/// How long ago a process was moved, nanoseconds.
#[inline(always)]
fn since_move(process: u32) -> Option<u64> {
    // SAFETY: an integer is read once.
    let moved_ns = *unsafe { MOVES.get(&process) }?;
    // SAFETY: takes no arguments.
    Some(unsafe { bpf_ktime_get_boot_ns() }.saturating_sub(moved_ns))
}

#[inline(always)]
pub(crate) fn generation() -> u32 {
    GENERATION.get(0).copied().unwrap_or_default()
}

/// The slot of a cgroup of the v2 hierarchy: what the map has of it, else of the nearest above. One that is gone still
/// has all above it (kernel/cgroup/cgroup.c, `cgroup_destroy_locked`).
///
/// For an address that has been read: [`slot_of_typed`] is for one that the verifier knows by its type.
#[inline(always)]
pub(crate) fn slot_of_cgroup(cgroup: Cgroup) -> Slot {
    nearest_slot(cgroup.0 as u64)
}

/// The same for a tracepoint's argument, and for what is loaded from one: verifiers do not let a typed pointer into a
/// function that takes a number (kernel/bpf/btf.c, `btf_check_func_arg_match`).
#[inline(never)]
pub(crate) fn slot_of_typed(cgroup: Cgroup) -> Slot {
    walk(cgroup)
}

/// Exported, because verifiers go through such a function once for a program (kernel/bpf/verifier.c,
/// `do_check_subprogs`), and through any other at each of its calls.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nearest_slot(cgroup: u64) -> Slot {
    walk(Cgroup(cgroup as KernelPtr))
}

/// A session can begin at so many. Not a range with its last: that is twice the code.
const LEVELS: i64 = MAX_LEVEL as i64 + 1;

#[inline(always)]
fn walk(cgroup: Cgroup) -> Slot {
    // The lesser of the two, without a branch: verifiers would go through the loop once for each side of it. The last
    // step tells them that it is small.
    let deeper = i64::from(cgroup.level()) - i64::from(MAX_LEVEL);
    let lowest = (i64::from(MAX_LEVEL) + (deeper & black_box(deeper >> 63))) & 63;
    let mut ancestor = cgroup.ancestor(lowest as u64);
    for above in 0..LEVELS {
        if above > lowest {
            break;
        }
        let id = ancestor.id();
        // SAFETY: the value is an integer that is read once.
        if let Some(slot) = unsafe { CGROUP_SLOTS.get(&id) } {
            return *slot;
        }
        ancestor = ancestor.above();
    }
    NO_SESSION
}

/// Whether the session that has a slot now had it at a time, nanoseconds since boot.
#[inline(always)]
pub(crate) fn had_slot(slot: Slot, at_ns: u64) -> bool {
    SLOT_BEGAN
        .get(slot)
        .is_some_and(|began_ns| *began_ns <= at_ns)
}

#[inline(always)]
fn look_up(css_set: KernelPtr) -> Slot {
    Cgroup::of_css_set(css_set).map_or(NO_SESSION, slot_of_cgroup)
}

/// Whose the time is that a thread has run since it was last charged, when its cgroup has another session than then.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmoved {
    /// The session's that it was: where a program is run soon after that.
    Left,
    /// The session's that it is: at a switch, which comes to each thread sooner or later.
    Entered,
}

/// The session the thread is in now, from its state, which is brought up to date.
#[inline(always)]
pub(crate) fn slot_of_state(task: Task, state: &mut TaskState) -> Slot {
    slot_of_state_settled(
        task.css_set(),
        state,
        || (task.tgid(), task.exec_runtime_ns()),
        Unmoved::Entered,
    )
}

/// As [`slot_of_state`], for a thread of which the caller has the `css_set` and, where that is another one, its process and
/// its runtime.
///
/// Up to its move the thread's time is charged to the session that it has been in. Whoever has run without being charged
/// has run until now without a break, so what it has run since the move is the time since then, or all if that is less. A
/// move that nobody has noted is under way: the kernel puts the threads into their cgroup, has the controllers do theirs,
/// and then comes to the hook (kernel/cgroup/cgroup.c, `cgroup_attach_task`).
#[inline(always)]
pub(crate) fn slot_of_state_settled(
    css_set: KernelPtr,
    state: &mut TaskState,
    process_and_exec_ns: impl FnOnce() -> (u32, u64),
    unmoved: Unmoved,
) -> Slot {
    let generation = generation();
    if state.css_set != css_set as u64 || state.generation != generation {
        let slot = look_up(css_set);
        if slot != state.slot {
            let (process, exec_ns) = process_and_exec_ns();
            let is_moved = state.css_set != css_set as u64;
            let since_ns = match unmoved {
                _ if is_moved => since_move(process).unwrap_or(0),
                Unmoved::Left => 0,
                Unmoved::Entered => u64::MAX,
            };
            settle(state, exec_ns, since_ns);
        }
        state.slot = slot;
        state.css_set = css_set as u64;
        state.generation = generation;
    }
    state.slot
}

/// Charges the thread's time up to `exec_ns` of its runtime, but for the last `since_ns`, to the session it has been in.
#[inline(always)]
fn settle(state: &mut TaskState, exec_ns: u64, since_ns: u64) {
    let ran_ns = exec_ns.saturating_sub(state.exec_runtime_ns);
    if ran_ns > since_ns {
        let before_ns = ran_ns - since_ns;
        process::charge_moved(state.slot, before_ns);
        state.exec_runtime_ns += before_ns;
    }
}

/// The session the thread is in now, whether or not it has been seen before.
#[inline(always)]
pub(crate) fn slot_of_task(task: Task) -> Slot {
    match task::known(task) {
        Some(state) => slot_of_state(task, state),
        None => look_up(task.css_set()),
    }
}

/// Starts the accounts of a thread that has none. It may allocate: only for programs that run without a lock.
#[inline(always)]
pub(crate) fn enrol(task: Task) -> Slot {
    let generation = generation();
    // Read once: what is kept of a thread that moves in between must be of one place.
    let css_set = task.css_set();
    let slot = look_up(css_set);
    task::begin(task, css_set, slot, generation);
    slot
}

/// The same where a lock is held: starts nothing in a store that would have to allocate.
#[inline(always)]
pub(crate) fn enrol_if_no_memory_is_needed(task: Task) -> Slot {
    if task::NEEDS_NO_MEMORY {
        enrol(task)
    } else {
        slot_of_task(task)
    }
}
