//! One record per live thread of a session, written by the task iterator.

use crate::Slot;

/// Set when the thread is the first of a process that lives: counting these counts processes. It may have ended
/// before the others.
pub const LEADER: u32 = 1;
/// Set when the thread lives: counting these counts threads.
pub const THREAD: u32 = 2;

/// A live thread, or the ended first one of a live process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CensusRecord {
    /// Session of the thread, never [`crate::NO_SESSION`].
    pub slot: Slot,
    /// [`LEADER`], [`THREAD`] or both.
    pub flags: u32,
}

const _: () = assert!(size_of::<CensusRecord>() == 8);

crate::pod!(CensusRecord);
