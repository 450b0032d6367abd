//! One record per live thread of a session, written by the task iterator.

use crate::Slot;

/// Set when the thread is its process's first: counting these counts processes.
pub const LEADER: u32 = 1;

/// A live thread.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CensusRecord {
    /// Session of the thread, never [`crate::NO_SESSION`].
    pub slot: Slot,
    /// [`LEADER`] or 0.
    pub flags: u32,
    /// Time on a CPU since the thread's last switch, nanoseconds: a thread that runs alone is not
    /// switched for seconds, and its time must not wait for that.
    pub unswitched_ns: u64,
}

const _: () = assert!(size_of::<CensusRecord>() == 16);

crate::pod!(CensusRecord);
