//! What memory pressure costs a session.

use crate::histogram::Histogram;

/// A session's stalls; one copy for all CPUs, written with atomic additions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Time a thread spent reclaiming memory itself before it got a page: because the node had none
    /// left, or because its cgroup was at its limit.
    pub reclaim_stall: Histogram,
}

const _: () = assert!(size_of::<MemoryStats>() == size_of::<Histogram>());

crate::pod!(MemoryStats);
