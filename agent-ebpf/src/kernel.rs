//! Access to kernel structures through the resolved layout.
//!
//! Offsets are numbers in the instructions, which the agent writes there before loading. Members one step from a tracepoint argument are read
//! directly, and those behind them where every kernel knows the types on the way (block I/O); other chains are
//! followed with `bpf_probe_read_kernel`, which every kernel accepts whatever its BTF says of RCU pointers and
//! unions, and which is only used off the hot path.

use core::{arch::asm, ffi::c_void, mem::MaybeUninit};

use agent_common::{constants::PLACEHOLDER, event::COMM_BYTES, task::THROTTLED_UNIT_NS};
use aya_ebpf::helpers::{
    bpf_probe_read_kernel,
    generated::{self, bpf_get_current_task},
};

/// `SIGNAL_GROUP_EXIT` (include/linux/sched/signal.h, unchanged from 5.10 to 7.x).
pub(crate) const SIGNAL_GROUP_EXIT: u32 = 4;
/// `MAX_RT_PRIO` (include/linux/sched/prio.h, unchanged from 5.10 to 7.x).
const MAX_RT_PRIO: i32 = 100;
/// `TASK_NEW` (include/linux/sched.h, unchanged from 5.10 to 7.x).
pub(crate) const TASK_NEW: u32 = 0x800;

/// A kernel pointer whose structure is known only by its members' offsets.
pub(crate) type KernelPtr = *const c_void;

/// One of [`agent_common::constants::Constants`], by its path.
macro_rules! constant {
    ($($path:ident).+) => {
        $crate::kernel::placeholder::<{
            core::mem::offset_of!(agent_common::constants::Constants, $($path).+) as u32
        }>()
    };
}
pub(crate) use constant;

/// A number that the agent finds by its upper half and replaces; the constant is at an offset in
/// [`agent_common::constants::Constants`].
#[inline(always)]
pub(crate) fn placeholder<const OFFSET: u32>() -> u64 {
    let value: u64;
    // SAFETY: moves a number into a register.
    unsafe {
        asm!(
            "{value} = {number}",
            value = out(reg) value,
            number = const PLACEHOLDER + OFFSET / 4,
            options(nomem, nostack, preserves_flags)
        );
    }
    value
}

/// The offset of one member.
macro_rules! offset {
    ($field:ident) => {
        $crate::kernel::constant!(layout.$field)
    };
}
pub(crate) use offset;

/// Reads a member of a structure that the verifier knows to be one (a tracepoint's argument).
///
/// # Safety
/// `base` is a BTF pointer of the program and `offset` a member of type `T`.
#[inline(always)]
pub(crate) unsafe fn member<T: Copy>(base: KernelPtr, offset: u64) -> T {
    // SAFETY: by the contract; the verifier checks the access against the kernel's BTF.
    unsafe { *base.byte_add(offset as usize).cast::<T>() }
}

/// Reads a member at the end of a chain, or `None` when the memory is not there.
#[inline(always)]
pub(crate) fn chained<T>(base: KernelPtr, offset: u64) -> Option<T> {
    let address = base.wrapping_byte_add(offset as usize).cast::<T>();
    // SAFETY: the helper checks the address itself.
    unsafe { bpf_probe_read_kernel(address) }.ok()
}

/// An integer, of which 0 is a value.
pub(crate) trait Number: Copy {}
impl Number for u8 {}
impl Number for u16 {}
impl Number for u32 {}
impl Number for u64 {}

/// Reads a number at the end of a chain; it is 0 when the memory is not there, because the helper fills what it cannot
/// read with zeros (kernel/trace/bpf_trace.c, `bpf_probe_read_kernel_common`). Without a branch, as verifiers before 6.2
/// walk both ways of each one, and so twice as much for each number that is read.
#[inline(always)]
pub(crate) fn number<T: Number>(base: KernelPtr, offset: u64) -> T {
    let address = base.wrapping_byte_add(offset as usize);
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper checks the address itself, and writes the whole value in any case.
    unsafe {
        generated::bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address);
        value.assume_init()
    }
}

/// A thread: the tracepoint argument `struct task_struct *`.
#[derive(Clone, Copy)]
pub(crate) struct Task(pub(crate) KernelPtr);

macro_rules! task_members {
    ($($(#[$doc:meta])* $name:ident: $kind:ty = $field:ident;)+) => {
        impl Task {
            $($(#[$doc])*
            #[inline(always)]
            pub(crate) fn $name(self) -> $kind {
                // SAFETY: `self.0` is a tracepoint's task argument.
                unsafe { member(self.0, offset!($field)) }
            })+
        }
    };
}

task_members! {
    /// Thread id, 0 for the idle threads.
    pid: u32 = task_pid;
    /// Process id.
    tgid: u32 = task_tgid;
    /// The `css_set`.
    css_set: KernelPtr = task_cgroups;
    /// The `signal_struct`.
    signal: KernelPtr = task_signal;
    /// The process's first thread.
    group_leader: KernelPtr = task_group_leader;
    /// Not 0 once dead.
    exit_state: u32 = task_exit_state;
    /// Start, nanoseconds since boot.
    start_boottime_ns: u64 = task_start_boottime;
    /// Involuntary switches.
    involuntary_switches: u64 = task_nivcsw;
    /// Programs executed, by the thread and those it was forked from.
    exec_id: u64 = task_exec_id;
    /// Major page faults.
    major_faults: u64 = task_major_faults;
    /// Time runnable and waiting, nanoseconds.
    run_delay_ns: u64 = task_run_delay;
    /// Time on a CPU, nanoseconds.
    exec_runtime_ns: u64 = task_exec_runtime;
}

impl Task {
    /// Command name.
    #[inline(always)]
    pub(crate) fn comm(self) -> [u8; COMM_BYTES] {
        chained(self.0, offset!(task_comm)).unwrap_or_default()
    }

    /// Whether a CPU limit has stopped it. Seen at a switch, which is after the scheduler has taken its run queue out
    /// of the hierarchy, or since 6.18 the thread out of its run queue (kernel/sched/fair.c, `check_cfs_rq_runtime`,
    /// `throttle_cfs_rq_work`).
    #[inline(always)]
    pub(crate) fn is_throttled(self) -> bool {
        if offset!(task_throttled) != ABSENT {
            // SAFETY: `self.0` is a tracepoint's task argument.
            return unsafe { member::<u8>(self.0, offset!(task_throttled)) } != 0;
        }
        if offset!(task_cfs_rq) == ABSENT
            || offset!(cfs_rq_throttle_count) == ABSENT
            || offset!(task_priority) == ABSENT
        {
            return false;
        }
        // SAFETY: as above. A real-time thread has a run queue in its group, and goes on whatever becomes of that.
        if unsafe { member::<i32>(self.0, offset!(task_priority)) } < MAX_RT_PRIO {
            return false;
        }
        // SAFETY: as above; what a thread's member points to the verifier knows, too.
        unsafe {
            let cfs_rq = member::<KernelPtr>(self.0, offset!(task_cfs_rq));
            member::<u32>(cfs_rq, offset!(cfs_rq_throttle_count)) != 0
        }
    }

    /// For how long limits have kept its run queue from running in all, in units of [`THROTTLED_UNIT_NS`], until the last of
    /// them was lifted; `None` where the kernel stops each thread by itself, where it has no limits, and for a real-time
    /// thread, which none of them stops.
    #[inline(always)]
    pub(crate) fn throttled_with_its_queue(self) -> Option<u16> {
        if offset!(task_throttled) != ABSENT
            || offset!(task_cfs_rq) == ABSENT
            || offset!(cfs_rq_throttled_time) == ABSENT
            || offset!(task_priority) == ABSENT
        {
            return None;
        }
        // SAFETY: as for `is_throttled`.
        let throttled_ns = unsafe {
            if member::<i32>(self.0, offset!(task_priority)) < MAX_RT_PRIO {
                return None;
            }
            let cfs_rq = member::<KernelPtr>(self.0, offset!(task_cfs_rq));
            member::<u64>(cfs_rq, offset!(cfs_rq_throttled_time))
        };
        Some((throttled_ns / THROTTLED_UNIT_NS) as u16)
    }

    /// Whether it is in the system call `sched_yield`. The registers that user space had lie at the top of its stack,
    /// written anew at each entry, and after an interrupt without a number.
    #[inline(always)]
    pub(crate) fn yields(self) -> bool {
        if offset!(regs_syscall) == ABSENT {
            return false;
        }
        let number = if constant!(regs_in_stack) == ABSENT {
            // SAFETY: a tracepoint's task argument.
            let regs = unsafe { generated::bpf_task_pt_regs(self.0.cast_mut().cast()) };
            // SAFETY: the verifier knows the registers.
            unsafe { member::<u32>(regs as KernelPtr, offset!(regs_syscall)) }
        } else {
            // SAFETY: as above.
            let stack = unsafe { member::<KernelPtr>(self.0, offset!(task_stack)) };
            number::<u32>(stack, constant!(regs_in_stack) + offset!(regs_syscall))
        };
        u64::from(number) == constant!(sched_yield)
    }

    /// What it does (`TASK_RUNNING` and so on, include/linux/sched.h); before 5.14 the lower half of a `long`.
    #[inline(always)]
    pub(crate) fn state(self) -> u32 {
        number(self.0, offset!(task_state))
    }

    /// Whether it has never been woken: it is being made, and may not be in its cgroup yet (kernel/fork.c,
    /// `copy_process`: it can be found by its pid before `cgroup_post_fork`).
    #[inline(always)]
    pub(crate) fn is_new(self) -> bool {
        self.state() & TASK_NEW != 0
    }
}

/// An offset that the kernel does not have.
pub(crate) const ABSENT: u64 = agent_common::layout::ABSENT as i32 as u64;

/// A cgroup of any hierarchy.
#[derive(Clone, Copy)]
pub(crate) struct Cgroup(pub(crate) KernelPtr);

impl Cgroup {
    /// The cgroup in the v2 hierarchy that a `css_set` stands for.
    #[inline(always)]
    pub(crate) fn of_css_set(css_set: KernelPtr) -> Option<Self> {
        chained(css_set, offset!(css_set_dfl_cgrp)).map(Self)
    }

    #[inline(always)]
    fn kernfs_node(self) -> Option<KernelPtr> {
        chained(self.0, offset!(cgroup_kn))
    }

    /// Inode number of the cgroup's directory.
    #[inline(always)]
    pub(crate) fn id(self) -> Option<u64> {
        chained(self.kernfs_node()?, offset!(kernfs_id))
    }

    /// The cgroup of the thread that runs now.
    #[inline(always)]
    pub(crate) fn of_current() -> Option<Self> {
        // SAFETY: takes no arguments.
        let task = unsafe { bpf_get_current_task() } as KernelPtr;
        Self::of_css_set(chained(task, offset!(task_cgroups))?)
    }

    /// Depth; the root's is 0, and so is that of one that cannot be read.
    #[inline(always)]
    pub(crate) fn level(self) -> u32 {
        number(self.0, offset!(cgroup_level))
    }

    /// Where the kernel keeps the cgroup above at a level, or itself: an array by level.
    #[inline(always)]
    pub(crate) fn ancestor(self, level: u64) -> Ancestor {
        let array = if offset!(cgroup_ancestors) == ABSENT {
            offset!(cgroup_ancestor_ids)
        } else {
            offset!(cgroup_ancestors)
        };
        Ancestor(self.0 as u64 + array + level * Ancestor::SIZE)
    }

    /// Id of the parent; `None` for the root.
    #[inline(always)]
    pub(crate) fn parent_id(self) -> Option<u64> {
        let parent: KernelPtr = chained(self.kernfs_node()?, offset!(kernfs_parent))?;
        if parent.is_null() {
            None
        } else {
            chained(parent, offset!(kernfs_id))
        }
    }

    /// Address of the last path component, a NUL-terminated string.
    #[inline(always)]
    pub(crate) fn name(self) -> Option<*const u8> {
        chained(self.kernfs_node()?, offset!(kernfs_name))
    }

    /// Hierarchy of the cgroup; 0 is v2. The v1 controllers beside it have ids of their own, which
    /// may be equal to a v2 cgroup's, so events of theirs must not be taken for ours.
    #[inline(always)]
    pub(crate) fn hierarchy_id(self) -> Option<u32> {
        let root: KernelPtr = chained(self.0, offset!(cgroup_root))?;
        chained(root, offset!(cgroup_root_hierarchy_id))
    }

    /// Whether the cgroup is in the v2 hierarchy.
    #[inline(always)]
    pub(crate) fn is_v2(self) -> bool {
        self.hierarchy_id() == Some(0)
    }
}

/// The address of an element of a cgroup's array of those above it.
#[derive(Clone, Copy)]
pub(crate) struct Ancestor(u64);

impl Ancestor {
    /// Of a pointer, or of the number that kernels before 6.1 keep (`ancestor_ids`).
    const SIZE: u64 = 8;

    /// Id of the cgroup; 0 where it cannot be read.
    #[inline(always)]
    pub(crate) fn id(self) -> u64 {
        let element: u64 = number(self.0 as KernelPtr, 0);
        if offset!(cgroup_ancestors) == ABSENT {
            return element;
        }
        let node: u64 = number(element as KernelPtr, offset!(cgroup_kn));
        number(node as KernelPtr, offset!(kernfs_id))
    }

    /// The one above this one.
    #[inline(always)]
    pub(crate) fn above(self) -> Self {
        Self(self.0 - Self::SIZE)
    }
}
