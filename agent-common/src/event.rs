//! The records of the ring buffer.
//!
//! Counters live in maps; the ring carries only what user space acts on or logs. Every record opens
//! with an [`EventHeader`] whose `kind` says which structure follows.

use crate::Slot;

/// A cgroup of the v2 hierarchy was made; the record is a [`CgroupEvent`].
pub const CGROUP_MADE: u32 = 1;
/// A cgroup of the v2 hierarchy was removed; the record is a [`CgroupEvent`] without a name.
pub const CGROUP_REMOVED: u32 = 2;
/// A process of a session ended by a signal or with an error; the record is an [`ExitEvent`].
pub const PROCESS_FAILED: u32 = 3;
/// A process was moved from or into a session; the record is an [`EventHeader`] alone.
pub const PROCESS_MOVED: u32 = 4;
/// The NVIDIA driver has reported an error of a GPU; the record is a [`GpuXidEvent`].
pub const GPU_XID: u32 = 5;
/// A process of a session has executed a program, if somebody wants to know; the record is an [`ExecEvent`].
pub const PROCESS_EXECUTED: u32 = 6;
/// One more than the largest kind.
pub const KINDS: u32 = 7;

/// Longest cgroup name with its NUL (`NAME_MAX` + 1).
pub const NAME_BYTES: usize = 256;
/// Length of `task_struct.comm`.
pub const COMM_BYTES: usize = 16;
/// Longest PCI name with its NUL; `0000:3b:00.0` takes 13.
pub const XID_PCI_BYTES: usize = 32;
/// Longest message of an Xid error with its NUL: a page fault's, which is among the long ones, takes 180.
/// The rest of a longer one is cut off.
pub const XID_MESSAGE_BYTES: usize = 256;

/// What every record opens with.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventHeader {
    /// One of the constants of this module.
    pub kind: u32,
    /// Session concerned, or [`crate::NO_SESSION`].
    pub slot: Slot,
    /// Nanoseconds since boot (`CLOCK_BOOTTIME`).
    pub at_ns: u64,
}

/// A cgroup came or went.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupEvent {
    /// Kind and time.
    pub header: EventHeader,
    /// The cgroup's id: the inode number of its directory.
    pub cgroup_id: u64,
    /// The parent's id.
    pub parent_id: u64,
    /// Last component of the path, NUL-terminated, any bytes but NUL and `/`.
    pub name: [u8; NAME_BYTES],
}

/// A process ended by a signal or with an error.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitEvent {
    /// Kind, session and time.
    pub header: EventHeader,
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Wait status as the parent would see it: exit code in bits 8–15, signal in bits 0–6.
    pub status: u32,
    /// 1 when the out-of-memory killer chose the process, else 0.
    pub oom_killed: u32,
    /// Zero; keeps the structure free of padding.
    pub reserved: u32,
    /// Command name, NUL-padded.
    pub comm: [u8; COMM_BYTES],
}

/// A process executed a program.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecEvent {
    /// Kind, session and time.
    pub header: EventHeader,
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Zero; keeps the structure free of padding.
    pub reserved: u32,
    /// Command name, NUL-padded: the new one.
    pub comm: [u8; COMM_BYTES],
}

/// The NVIDIA driver reported an error of a GPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuXidEvent {
    /// Kind and time; never a session, because the driver may report from an interrupt.
    pub header: EventHeader,
    /// Number of the error: the Xid.
    pub error_code: u32,
    /// Zero; keeps the structure free of padding.
    pub reserved: u32,
    /// PCI name of the GPU, as in `0000:3b:00.0`, NUL-terminated.
    pub pci: [u8; XID_PCI_BYTES],
    /// What the driver says, NUL-terminated.
    pub message: [u8; XID_MESSAGE_BYTES],
}

const _: () = assert!(size_of::<EventHeader>() == 16);
const _: () = assert!(size_of::<CgroupEvent>() == 16 + 16 + NAME_BYTES);
const _: () = assert!(size_of::<ExitEvent>() == 16 + 16 + COMM_BYTES);
const _: () = assert!(size_of::<ExecEvent>() == 16 + 8 + COMM_BYTES);
const _: () = assert!(size_of::<GpuXidEvent>() == 16 + 8 + XID_PCI_BYTES + XID_MESSAGE_BYTES);

crate::pod!(EventHeader, CgroupEvent, ExitEvent, ExecEvent, GpuXidEvent);
