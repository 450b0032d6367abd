//! The state kept per thread between two context switches.

use crate::Slot;

/// The kernel's own accounts of a thread at its last switch, and the session it was in.
///
/// Kept in BPF task storage or in an array indexed by pid; which of the two is a property of the
/// object (see `agent-ebpf/src/task.rs`). With the eight bytes that the kernel puts before it, a thread's storage
/// fills one cache line (`struct bpf_local_storage_elem`, `include/linux/bpf_local_storage.h`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskState {
    /// Address of the `task_struct`, 0 when the entry was never used. A pid can be given to a new
    /// thread before the old one's last switch; the address tells them apart.
    pub task: u64,
    /// `sched_info.run_delay`, nanoseconds.
    pub run_delay_ns: u64,
    /// `se.sum_exec_runtime`, nanoseconds; also brought up to date while the thread runs (`settle_running`).
    pub exec_runtime_ns: u64,
    /// Address of the `css_set`: while it is the same, so is the cgroup.
    pub css_set: u64,
    /// `nivcsw`, its lower half, to tell the kind of the next switch.
    pub involuntary_switches: u32,
    /// `self_exec_id`, its lower 31 bits: up to here the programs that the thread executed are counted. With
    /// [`EXEC_COUNTED`] the last one was counted at a switch, before its own tracepoint.
    pub exec_id: u32,
    /// `maj_flt`, its lower half: only differences are taken.
    pub major_faults: u32,
    /// 1 once the thread's exit has been dealt with.
    pub ended: u8,
    /// What its present or next wait for a CPU follows: an [`After`](crate::sched::After), as a number; above that, of an
    /// involuntary switch, the lower six bits of the CPU's number.
    pub after: u8,
    /// Of an involuntary switch before Linux 6.18: for how long its run queue had been kept from running by CPU limits until
    /// then, in units of [`THROTTLED_UNIT_NS`].
    pub throttled: u16,
    /// Session of the cgroup.
    pub slot: Slot,
    /// Generation of the cgroup-to-slot map at which `slot` was looked up.
    pub generation: u32,
}

/// A quarter of a millisecond, so that a difference is right up to 17 s.
pub const THROTTLED_UNIT_NS: u64 = 1 << 18;

/// See [`TaskState::exec_id`].
pub const EXEC_COUNTED: u32 = 1 << 31;

const _: () = assert!(size_of::<TaskState>() == 8 * 7);

/// An element of the array by pid: a state on a cache line of its own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskElement {
    /// The state.
    pub state: TaskState,
    /// Fills the line.
    pub unused: u64,
}

const _: () = assert!(size_of::<TaskElement>() == 64);

crate::pod!(TaskState, TaskElement);
