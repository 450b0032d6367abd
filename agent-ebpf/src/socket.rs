//! A socket and whose it is.

use agent_common::{
    NO_SESSION, Slot,
    net::{NetStats, Traffic},
};
use aya_ebpf::{btf_maps::Array, helpers::bpf_jiffies64, macros::btf_map};

use crate::{
    kernel::{ABSENT, Cgroup, KernelPtr, constant, number, offset},
    record, session,
};

/// `SOCK_DONE` of `enum sock_flags` (include/net/sock.h).
pub(crate) const SOCK_DONE: u64 = 1 << 1;

/// In a `struct minmax`, whose best sample is the first (include/linux/win_minmax.h, unchanged from 5.10 to 7.x): what was
/// measured, after when that was.
const MINMAX_VALUE: u64 = 4;

/// Per slot; resized to the number of slots when loaded.
#[btf_map]
pub(crate) static NET_STATS: Array<NetStats, 1> = Array::new();

/// Counts a connection of a session that had no place for it.
#[inline(always)]
pub(crate) fn over_budget(slot: Slot) {
    if let Some(stats) = NET_STATS.get_ptr_mut(slot) {
        // SAFETY: a map value.
        unsafe { record::increment(&raw mut (*stats).connections_over_budget) };
    }
}

/// A socket: `struct sock *`. Read with the checked helper, because it comes from tracepoints, from
/// files and from a map alike.
#[derive(Clone, Copy)]
pub(crate) struct Socket(pub(crate) KernelPtr);

impl Socket {
    /// TCP state (include/net/tcp_states.h).
    #[inline(always)]
    pub(crate) fn state(self) -> i32 {
        number::<u8>(self.0, offset!(sock_state)).into()
    }

    /// IPPROTO number.
    #[inline(always)]
    pub(crate) fn protocol(self) -> u16 {
        number(self.0, offset!(sock_protocol))
    }

    /// `AF_INET`, `AF_INET6` or another family's number.
    #[inline(always)]
    pub(crate) fn family(self) -> u16 {
        number(self.0, offset!(sock_family))
    }

    /// Local port.
    #[inline(always)]
    pub(crate) fn local_port(self) -> u32 {
        number::<u16>(self.0, offset!(sock_local_port)).into()
    }

    /// Smoothed round-trip time, microseconds; 0 before the first measurement.
    #[inline(always)]
    pub(crate) fn smoothed_rtt_us(self) -> u32 {
        number::<u32>(self.0, offset!(tcp_srtt)) >> 3
    }

    /// Least round-trip time of the last minutes, microseconds; `u32::MAX` before the first measurement.
    #[inline(always)]
    pub(crate) fn min_rtt_us(self) -> u32 {
        number(self.0, offset!(tcp_min_rtt) + MINMAX_VALUE)
    }

    /// Bytes that were written and have not been sent, modulo 2³². Without a branch for one that was sent between the two
    /// reads: user space has it.
    #[inline(always)]
    pub(crate) fn unsent_bytes(self) -> u32 {
        let written: u32 = number(self.0, offset!(tcp_write_seq));
        let sent: u32 = number(self.0, offset!(tcp_snd_nxt));
        written.wrapping_sub(sent)
    }

    /// The session of the socket's cgroup, which is that of the process that made it, or of the
    /// listener for an accepted one.
    #[inline(always)]
    pub(crate) fn slot(self) -> Slot {
        let cgroup: u64 = number(self.0, offset!(sock_cgroup));
        // Before 5.15 the lowest bit says that this is a class id, not a pointer.
        if cgroup == 0 || cgroup & 1 != 0 {
            return NO_SESSION;
        }
        session::slot_of_cgroup(Cgroup(cgroup as KernelPtr))
    }

    /// The errno that has ended it, 0 without one.
    #[inline(always)]
    pub(crate) fn error(self) -> u32 {
        number(self.0, offset!(sock_error))
    }

    /// For how long no data has come from the other side, nanoseconds.
    #[inline(always)]
    pub(crate) fn without_data_ns(self) -> u64 {
        since_ns(number(self.0, offset!(tcp_data_came)))
    }

    /// For how long nothing has come from the other side, neither data nor an acknowledgement, nanoseconds. The kernel
    /// asks the same before it sends a keepalive (include/net/tcp.h, `keepalive_time_elapsed`).
    #[inline(always)]
    pub(crate) fn silent_ns(self) -> u64 {
        let acknowledged_ns = since_ns(number(self.0, offset!(tcp_acknowledged)));
        self.without_data_ns().min(acknowledged_ns)
    }

    /// What a TCP socket has carried since it was made.
    #[inline(always)]
    pub(crate) fn traffic(self) -> Traffic {
        let sent: u64 = number(self.0, offset!(tcp_bytes_sent));
        let again: u64 = number(self.0, offset!(tcp_bytes_retransmitted));
        let received: u64 = number(self.0, offset!(tcp_bytes_received));
        let flags: u64 = number(self.0, offset!(sock_flags));
        let retransmits: u32 = number(self.0, offset!(tcp_total_retransmits));
        // The offset is a constant that verifiers know, so they walk one way only.
        let segments: u32 = if offset!(tcp_data_segments_sent) == ABSENT {
            0
        } else {
            number(self.0, offset!(tcp_data_segments_sent))
        };
        Traffic {
            sent_bytes: sent.saturating_sub(again),
            // The kernel counts a FIN as one byte (net/ipv4/tcp_input.c, `tcp_fin`).
            received_bytes: received.saturating_sub(u64::from(flags & SOCK_DONE != 0)),
            retransmits: retransmits.into(),
            segments: segments.into(),
        }
    }
}

/// How long ago a moment of the kernel's clock of ticks was, nanoseconds; right for 49 days and more.
#[inline(always)]
fn since_ns(jiffies: u32) -> u64 {
    // SAFETY: takes no arguments.
    let now = unsafe { bpf_jiffies64() } as u32;
    u64::from(now.wrapping_sub(jiffies)) * constant!(tick_ns)
}
