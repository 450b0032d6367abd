//! The state kept per thread between two switches, in one of two stores.
//!
//! * `task-storage`: the kernel frees the state with the thread and its size follows the number of
//!   threads. Needs Linux 5.18, or what that brought.
//! * `pid-array`: an array indexed by pid, about 20 ns a switch cheaper and accepted by every kernel, but
//!   it takes `kernel.pid_max` × 64 bytes whatever runs: 2 MiB for 32,768, 256 MiB for 4,194,304.
//!
//! A kernel without the storage map refuses the whole object, so there is an object for each, and the
//! agent chooses before it loads (`kernel.task_state`).
//!
//! **Task storage is created only where no lock is held**: at `task_newtask` and in iterators, by [`begin`].
//! Creating allocates, and before `bpf_mem_alloc` (6.4) that is a `kzalloc` which may wake kswapd, and so take
//! the lock of a run queue (mm/page_alloc.c `wake_all_kswapds`): under that lock, or under one that is taken
//! below it, the machine stands still. Everywhere else a state is only looked up ([`known`]), and a thread that
//! has none is not measured until the census has given it one.

use agent_common::{
    Slot,
    sched::After,
    task::{EXEC_COUNTED, TaskState},
};

use crate::kernel::{KernelPtr, Task};

#[cfg(all(feature = "pid-array", feature = "task-storage"))]
compile_error!("choose one of the features `pid-array` and `task-storage`");

#[cfg(feature = "pid-array")]
mod store {
    use agent_common::task::TaskElement;
    use aya_ebpf::{
        bindings::BPF_F_MMAPABLE, btf_maps::Array, helpers::generated::bpf_get_current_task,
        macros::btf_map,
    };

    use super::{Task, TaskState};
    use crate::kernel::{KernelPtr, chained, offset};

    /// Resized to `kernel.pid_max` when loaded. One that could be mapped begins at a page, where others begin in
    /// the midst of a cache line (kernel/bpf/arraymap.c, `array_map_alloc`; 5.5).
    #[btf_map]
    static TASK_STATES: Array<TaskElement, 32_768, { BPF_F_MMAPABLE as usize }> = Array::new();

    #[inline(always)]
    pub(super) fn get(task: Task) -> Option<*mut TaskState> {
        TASK_STATES.get_ptr_mut(task.pid()).map(<*mut _>::cast)
    }

    /// The state of the thread that runs now, of which the verifier knows nothing but its address, and the address.
    #[inline(always)]
    pub(super) fn current() -> Option<(KernelPtr, *mut TaskState)> {
        // SAFETY: takes no arguments.
        let task = unsafe { bpf_get_current_task() } as KernelPtr;
        let pid = chained::<u32>(task, offset!(task_pid))?;
        let state = TASK_STATES.get_ptr_mut(pid)?;
        Some((task, state.cast()))
    }

    /// It has a place for every thread from the start.
    pub(crate) const NEEDS_NO_MEMORY: bool = true;

    #[inline(always)]
    pub(super) fn create(task: Task) -> Option<*mut TaskState> {
        get(task)
    }
}

#[cfg(feature = "task-storage")]
mod store {
    use core::{ffi::c_void, ptr};

    use aya_ebpf::{
        bindings::{
            BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE,
            bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE,
        },
        helpers::generated::{bpf_get_current_task_btf, bpf_task_storage_get},
    };

    use super::{Task, TaskState};
    use crate::kernel::KernelPtr;

    /// A BTF map definition as libbpf reads it: array lengths stand for numbers. aya-ebpf 0.2 has none
    /// for task storage.
    #[repr(C)]
    struct TaskStorage {
        r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
        key: *const i32,
        value: *const TaskState,
        max_entries: *const [i32; 0],
        map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
    }

    // SAFETY: the pointers are placeholders for the loader and are never followed.
    unsafe impl Sync for TaskStorage {}

    #[unsafe(link_section = ".maps")]
    #[unsafe(export_name = "TASK_STATES")]
    static TASK_STATES: TaskStorage = TaskStorage {
        r#type: ptr::null(),
        key: ptr::null(),
        value: ptr::null(),
        max_entries: ptr::null(),
        map_flags: ptr::null(),
    };

    #[inline(always)]
    fn storage(task: Task, flags: u64) -> Option<*mut TaskState> {
        let map = (&raw const TASK_STATES).cast_mut().cast::<c_void>();
        // SAFETY: the map and the task are what the helper expects; the verifier checks both.
        let state =
            unsafe { bpf_task_storage_get(map, task.0.cast_mut().cast(), ptr::null_mut(), flags) };
        if state.is_null() {
            None
        } else {
            Some(state.cast())
        }
    }

    #[inline(always)]
    pub(super) fn get(task: Task) -> Option<*mut TaskState> {
        storage(task, 0)
    }

    /// Allocates, so only where no lock is held.
    #[inline(always)]
    pub(super) fn create(task: Task) -> Option<*mut TaskState> {
        storage(task, BPF_LOCAL_STORAGE_GET_F_CREATE.into())?;
        // The first look-up takes the lock of the thread's storages, to note the place in their cache
        // (kernel/bpf/bpf_local_storage.c, `bpf_local_storage_lookup`). Done here, it is not done under the
        // run-queue lock, while another program may allocate under that lock.
        get(task)
    }

    /// The state of the thread that runs now, and the thread's address.
    #[inline(always)]
    pub(super) fn current() -> Option<(KernelPtr, *mut TaskState)> {
        // SAFETY: takes no arguments.
        let task = unsafe { bpf_get_current_task_btf() };
        Some((task as KernelPtr, get(Task(task as KernelPtr))?))
    }

    /// Nothing is there before it is created.
    pub(crate) const NEEDS_NO_MEMORY: bool = false;
}

pub(crate) use store::NEEDS_NO_MEMORY;

/// The thread's state if it has been seen before.
#[inline(always)]
pub(crate) fn known(task: Task) -> Option<&'static mut TaskState> {
    of(store::get(task)?, task.0)
}

/// The state of the thread that runs now, and its address; only for programs that have the thread from nowhere
/// else.
#[inline(always)]
pub(crate) fn of_current() -> Option<(KernelPtr, &'static mut TaskState)> {
    let (task, state) = store::current()?;
    Some((task, of(state, task)?))
}

#[inline(always)]
fn of(state: *mut TaskState, task: KernelPtr) -> Option<&'static mut TaskState> {
    // SAFETY: a map value that lives as long as the program runs. The CPU that the thread is on writes it under
    // the run-queue lock, or with interrupts off between two switches; an iterator, and who moves the thread to
    // another cgroup, write what that CPU next reads whole, and a difference to a base of a moment ago is right
    // too.
    let state = unsafe { &mut *state };
    if state.task == task as u64 {
        Some(state)
    } else {
        None
    }
}

/// Makes the thread's state, with the kernel's present accounts as the base of the next difference. It may
/// allocate: only for programs that run without a lock.
#[inline(always)]
pub(crate) fn begin(task: Task, css_set: KernelPtr, slot: Slot, generation: u32) {
    if let Some(state) = store::create(task) {
        fill(state, task, css_set, slot, generation);
    }
}

#[inline(always)]
fn fill(state: *mut TaskState, task: Task, css_set: KernelPtr, slot: Slot, generation: u32) {
    // SAFETY: as in `known`.
    unsafe {
        (*state).run_delay_ns = task.run_delay_ns();
        (*state).exec_runtime_ns = task.exec_runtime_ns();
        (*state).involuntary_switches = task.involuntary_switches() as u32;
        (*state).exec_id = task.exec_id() as u32 & !EXEC_COUNTED;
        (*state).major_faults = task.major_faults() as u32;
        (*state).ended = 0;
        (*state).after = After::Wakeup as u8;
        (*state).css_set = css_set as u64;
        (*state).slot = slot;
        (*state).generation = generation;
        (*state).task = task.0 as u64;
    }
}
