//! What the agent writes into the instructions of the kernel programs before it loads them.
//!
//! A read-only global would do too, and costs a load from memory each time. So the programs move a placeholder
//! into a register wherever they want one of [`Constants`], and the agent puts the value in its place: to the
//! verifier and to the CPU it is a number in the instruction, as a CO-RE relocation would leave it.

use crate::layout::Layout;

/// The upper half of a placeholder; the lower one is the place of the constant in [`Constants`], in words. No
/// other number of the programs has this upper half, which a test of the objects checks.
pub const PLACEHOLDER: u32 = 0x5e55_0000;

/// The constants, each a word.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constants {
    /// Offsets of members of kernel structures.
    pub layout: Layout,
    /// 1 where task storage may be created in an iterator that does not sleep. Kernels that allocate it with
    /// `kzalloc` do that under the lock of the thread's other storages, unless the program may sleep
    /// (`kernel/bpf/bpf_local_storage.c`, `bpf_local_storage_update`, 6.1).
    pub create_without_sleeping: u32,
    /// 1 where a program of a tracepoint may be preempted (7.0), and is then passed over for other threads of
    /// that CPU. Programs that run under the run-queue lock are not, and look after what the others missed.
    pub tracepoints_are_preemptible: u32,
    /// Connections that each session may have in the map, however many the others have.
    pub connections_of_each: u32,
    /// Number of the system call `sched_yield`.
    pub sched_yield: u32,
    /// From the beginning of a kernel stack to the registers of user space, or [`ABSENT`](crate::layout::ABSENT) where
    /// a helper finds them (`bpf_task_pt_regs`, 5.15).
    pub regs_in_stack: u32,
    /// 1 where the agent wants to be told of each program that a session executes.
    pub tells_execs: u32,
    /// Nanoseconds of a tick, which are between two values of jiffies.
    pub tick_ns: u32,
    /// Milliseconds without data from a client after which it is idle.
    pub idle_after_ms: u32,
}

const _: () = assert!(size_of::<Constants>() == size_of::<Layout>() + 8 * 4);
const _: () = assert!(size_of::<Constants>() / 4 < 1 << 16);

crate::pod!(Constants);
