//! The only writer of the ring buffer.
//!
//! Losses are counted per kind of event: a lost cgroup event makes the agent scan the hierarchy again, a
//! lost exit event is one log line less.

use agent_common::{RING_BYTES, event};
use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    btf_maps::{Array, RingBuf},
    helpers::generated::bpf_ringbuf_query,
    macros::btf_map,
};

use crate::record;

/// With this much in the ring the reader is woken up whatever is in it.
const MANY_BYTES: u64 = RING_BYTES as u64 / 4;

/// When the reader is to see a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// At once.
    Now,
    /// At its next sample, or when the ring fills up: a wake-up for each costs the agent 15 µs, and there
    /// can be 20,000 a second.
    NextSample,
}

#[btf_map]
static EVENTS: RingBuf<u8, { RING_BYTES as usize }> = RingBuf::new();

/// Events lost because the ring was full, indexed by kind.
#[btf_map]
static EVENTS_LOST: Array<u64, { event::KINDS as usize }> = Array::new();

/// Bytes in the ring that have not been read.
#[inline(always)]
fn waiting_bytes() -> u64 {
    let ring = (&raw const EVENTS).cast_mut().cast();
    // SAFETY: the map is a ring buffer.
    unsafe { bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA.into()) }
}

/// Whether half of the ring is full. What is only told leaves the other half to what figures come of.
#[inline(always)]
pub(crate) fn is_half_full() -> bool {
    waiting_bytes() >= u64::from(RING_BYTES) / 2
}

/// Counts the loss of a record.
#[inline(always)]
pub(crate) fn lose(kind: u32) {
    if let Some(lost) = EVENTS_LOST.get_ptr_mut(kind) {
        // SAFETY: a map value.
        unsafe { record::increment(lost) };
    }
}

/// Sends a record, or counts its loss.
#[inline(always)]
pub(crate) fn send<T>(kind: u32, record: &T, urgency: Urgency) {
    // Never the kernel's own choice: it wakes a reader only when it has read all that came before, and of
    // that some may not have woken it.
    let wake_up = urgency == Urgency::Now || waiting_bytes() >= MANY_BYTES;
    let flags = if wake_up {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    };
    if EVENTS.output_untyped::<T>(record, flags.into()).is_err() {
        lose(kind);
    }
}
