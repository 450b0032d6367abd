//! Block I/O counters per session.

use crate::histogram::Histogram;

/// Index of reads.
pub const READ: usize = 0;
/// Index of writes.
pub const WRITE: usize = 1;

/// One kind of operation.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationStats {
    /// Time from the making of a request to its completion, the wait in the I/O scheduler included.
    pub latency: Histogram,
    /// Bytes transferred.
    pub bytes: u64,
}

/// A session's block I/O; one copy for all CPUs, written with atomic additions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockStats {
    /// By [`READ`] and [`WRITE`].
    pub operations: [OperationStats; 2],
}

const _: () = assert!(size_of::<OperationStats>() == size_of::<Histogram>() + 8);
const _: () = assert!(size_of::<BlockStats>() == 2 * size_of::<OperationStats>());

crate::pod!(OperationStats, BlockStats);
