//! One record per live thread of a session, written by the task iterator.

use crate::Slot;

/// Set when the thread is the first of a process that lives: counting these counts processes. It may have ended
/// before the others.
pub const LEADER: u32 = 1;
/// Set when the thread lives: counting these counts threads.
pub const THREAD: u32 = 2;
/// Set when the living thread has a CPU or waits for one.
pub const RUNNABLE: u32 = 4;
/// Set when the living thread waits for something, and no signal that it could handle ends that.
pub const UNINTERRUPTIBLE: u32 = 8;

// include/linux/sched.h, unchanged from 5.10 to 7.x.
const TASK_RUNNING: u32 = 0;
const TASK_UNINTERRUPTIBLE: u32 = 2;
const TASK_NOLOAD: u32 = 0x400;

/// [`RUNNABLE`], [`UNINTERRUPTIBLE`] or neither, by the state of a living thread (`task_struct.__state`): what `ps` shows as
/// R and D. One that waits for nothing in particular (`TASK_IDLE`) has the bit of those that cannot be interrupted, and
/// another that says that it is no load.
#[inline(always)]
#[must_use]
#[expect(clippy::inline_always, reason = "two comparisons, in a BPF program")]
pub const fn activity(state: u32) -> u32 {
    if state == TASK_RUNNING {
        RUNNABLE
    } else if state & (TASK_UNINTERRUPTIBLE | TASK_NOLOAD) == TASK_UNINTERRUPTIBLE {
        UNINTERRUPTIBLE
    } else {
        0
    }
}

/// A live thread, or the ended first one of a live process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CensusRecord {
    /// Session of the thread, never [`crate::NO_SESSION`].
    pub slot: Slot,
    /// [`LEADER`], [`THREAD`] or both, and of a living thread what it does ([`activity`]).
    pub flags: u32,
}

const _: () = assert!(size_of::<CensusRecord>() == 8);

crate::pod!(CensusRecord);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_does_what_ps_shows() {
        // R, S, D, D that a fatal signal ends (TASK_KILLABLE), D that may be frozen, as in vfork (6.1).
        for (state, expected) in [
            (0, RUNNABLE),
            (1, 0),
            (2, UNINTERRUPTIBLE),
            (0x102, UNINTERRUPTIBLE),
            (0x2102, UNINTERRUPTIBLE),
            // T, t, P, I, and one that is being woken.
            (0x104, 0),
            (0x108, 0),
            (0x40, 0),
            (0x402, 0),
            (0x200, 0),
        ] {
            assert_eq!(activity(state), expected, "{state:#x}");
        }
    }
}
