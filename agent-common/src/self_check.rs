//! What the kernel programs read of the agent itself, to prove the layout.
//!
//! Wrong offsets do not fail, they measure nonsense. Before anything is published the task iterator
//! reads the agent's own thread through [`crate::layout::Layout`], and beside it what the kernel's
//! helpers say of the same thread; the agent compares the two, and both with `/proc`.

use crate::event::COMM_BYTES;

/// One thread seen through the layout and through the kernel's helpers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SelfCheck {
    /// Through the layout: thread id.
    pub pid: u32,
    /// Through the layout: process id.
    pub tgid: u32,
    /// By `bpf_get_current_pid_tgid`: thread id.
    pub helper_pid: u32,
    /// By `bpf_get_current_pid_tgid`: process id.
    pub helper_tgid: u32,
    /// Through the layout: id of the thread's cgroup in the v2 hierarchy.
    pub cgroup_id: u64,
    /// By `bpf_get_current_cgroup_id`.
    pub helper_cgroup_id: u64,
    /// Through the layout: id of that cgroup's hierarchy, 0 for v2.
    pub hierarchy_id: u32,
    /// Through the layout: threads of the process that have not begun to exit.
    pub live_threads: u32,
    /// Through the layout: `sched_info.run_delay`, nanoseconds.
    pub run_delay_ns: u64,
    /// Through the layout: `se.sum_exec_runtime`, nanoseconds.
    pub exec_runtime_ns: u64,
    /// Through the layout: `nivcsw`.
    pub involuntary_switches: u64,
    /// Through the layout: `start_boottime`, nanoseconds.
    pub start_boottime_ns: u64,
    /// 1 when the store has kept the thread's state, else 0.
    pub stored: u64,
    /// Through the layout: command name.
    pub comm: [u8; COMM_BYTES],
    /// By `bpf_get_current_comm`.
    pub helper_comm: [u8; COMM_BYTES],
}

const _: () = assert!(size_of::<SelfCheck>() == 4 * 6 + 8 * 7 + 2 * COMM_BYTES);

crate::pod!(SelfCheck);
