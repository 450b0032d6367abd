//! The only writer of the ring buffer.
//!
//! Losses are counted per kind of event: a lost cgroup event makes the agent scan the hierarchy again, a
//! lost exit event is one log line less.

use agent_common::{RING_BYTES, event};
use aya_ebpf::{
    btf_maps::{Array, RingBuf},
    macros::btf_map,
};

use crate::record;

#[btf_map]
static EVENTS: RingBuf<u8, { RING_BYTES as usize }> = RingBuf::new();

/// Events lost because the ring was full, indexed by kind.
#[btf_map]
static EVENTS_LOST: Array<u64, { event::KINDS as usize }> = Array::new();

/// Sends a record, or counts its loss.
#[inline(always)]
pub(crate) fn send<T>(kind: u32, record: &T) {
    if EVENTS.output_untyped::<T>(record, 0).is_err()
        && let Some(lost) = EVENTS_LOST.get_ptr_mut(kind)
    {
        // SAFETY: a map value.
        unsafe { record::increment(lost) };
    }
}
