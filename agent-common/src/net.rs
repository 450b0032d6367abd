//! Network counters per session, and one record per live TCP connection.
//!
//! A session's TCP bytes are those of its closed connections, added up in the kernel when each closes,
//! and those of its live ones, which an iterator reads from the sockets at each sample. Nothing is counted
//! per packet.

use crate::{Slot, histogram::Histogram};

/// Index of connections that were accepted on a listener of the session: its clients.
pub const INBOUND: usize = 0;
/// Index of connections that the session opened.
pub const OUTBOUND: usize = 1;

/// Figures of connections that are not entered, because the session had as many as it may or their beginning was passed
/// over: nobody knows their side, nor what they had carried before they were the session's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnknownSideStats {
    /// Resets sent and received on a connection.
    pub resets: u64,
    /// What closed connections have carried.
    pub closed: Traffic,
}

/// One side's figures of closed connections and of events.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpSideStats {
    /// Connections that reached ESTABLISHED.
    pub opened: u64,
    /// Connection attempts that failed: refused, unreachable, timed out or given up. Outbound only.
    pub connect_failures: u64,
    /// Resets sent and received on a connection.
    pub resets: u64,
    /// What closed connections have carried.
    pub closed: Traffic,
    /// Time from SYN to ESTABLISHED. Outbound only.
    pub connect: Histogram,
    /// Time from ESTABLISHED to CLOSE; a long histogram.
    pub duration: Histogram,
}

/// UDP figures of one direction.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpStats {
    /// Datagrams, or with segmentation offload the messages handed to it.
    pub datagrams: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Dropped because the receive queue was full. Receive direction only.
    pub drops: u64,
}

/// A session's network counters; one copy for all CPUs, written with atomic additions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetStats {
    /// By [`INBOUND`] and [`OUTBOUND`].
    pub tcp: [TcpSideStats; 2],
    /// Of neither, as far as anybody knows.
    pub tcp_unknown: UnknownSideStats,
    /// Sent.
    pub udp_transmit: UdpStats,
    /// Received.
    pub udp_receive: UdpStats,
    /// First moments.
    pub milestones: NetMilestones,
    /// Connections that were not entered, because the session had as many as it may.
    pub connections_over_budget: u64,
}

/// First moments of a session on the network, nanoseconds since boot; 0 is "not yet".
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetMilestones {
    /// A socket began to listen.
    pub first_listener_ns: u64,
    /// A client's connection was established.
    pub first_client_ns: u64,
}

/// A live connection of a session, by the address of its socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// SYN sent or received, nanoseconds since boot; 0 for one that was found open.
    pub began_ns: u64,
    /// ESTABLISHED, nanoseconds since boot; 0 before, and for one that was found open.
    pub established_ns: u64,
    /// When it was entered, nanoseconds since boot: one of before its slot's session is of an earlier one.
    pub entered_ns: u64,
    /// What it had carried when it was found open: not the session's traffic since then.
    pub before: Traffic,
    /// [`INBOUND`] or [`OUTBOUND`].
    pub side: u16,
    /// 1 once it has closed, and what it has carried is with the session's closed ones.
    pub closed: u8,
    /// 1 for one that was made outside all sessions, and is that of the session whose process holds it.
    pub carried: u8,
    /// Session that it was entered for.
    pub slot: Slot,
}

/// What a connection has carried.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Data bytes sent, each counted once however often it was sent.
    pub sent_bytes: u64,
    /// Data bytes received.
    pub received_bytes: u64,
    /// Segments sent again.
    pub retransmits: u64,
}

impl Traffic {
    /// Nothing.
    pub const NONE: Self = Self {
        sent_bytes: 0,
        received_bytes: 0,
        retransmits: 0,
    };

    /// What came after `earlier`.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::inline_always, reason = "three subtractions, in a BPF program")]
    pub fn since(self, earlier: Self) -> Self {
        self.each(earlier, u64::saturating_sub)
    }

    /// Member by member.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::inline_always, reason = "as `since`")]
    pub fn each(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        // No `..`: a new member that is not handled here does not compile.
        let Self {
            sent_bytes,
            received_bytes,
            retransmits,
        } = other;
        Self {
            sent_bytes: f(self.sent_bytes, sent_bytes),
            received_bytes: f(self.received_bytes, received_bytes),
            retransmits: f(self.retransmits, retransmits),
        }
    }
}

/// A port that a session listens on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenPort {
    /// Session of the listener.
    pub slot: Slot,
    /// Local port.
    pub port: u32,
}

/// A connection that its session has no place for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Address of the socket.
    pub socket: u64,
    /// A [`Slot`].
    pub slot: u64,
}

/// A live TCP connection of a session at the moment of a sample.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// Address of the socket.
    pub socket: u64,
    /// Session of the socket; [`crate::NO_SESSION`] when it is of none, or no longer there.
    pub slot: Slot,
    /// [`INBOUND`] or [`OUTBOUND`].
    pub side: u32,
    /// TCP state (`include/net/tcp_states.h`).
    pub state: u32,
    /// Smoothed round-trip time, microseconds; 0 before the first measurement.
    pub srtt_us: u32,
    /// What it has carried since it was entered.
    pub traffic: Traffic,
}

/// Connections that one run of the program `connections` reads. Verifiers walk its loop turn by turn, and
/// a run on the agent's own CPU must not be long: 64 are some 12 µs.
pub const CONNECTIONS_PER_RUN: usize = 64;

/// What one run of `connections` is asked and answers: user space fills in the sockets, the program the rest.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionBatch {
    /// A socket of 0 ends the batch.
    pub records: [ConnectionRecord; CONNECTIONS_PER_RUN],
}

impl Default for ConnectionBatch {
    fn default() -> Self {
        Self {
            records: [ConnectionRecord::default(); CONNECTIONS_PER_RUN],
        }
    }
}

const _: () = assert!(size_of::<TcpSideStats>() == 6 * 8 + 2 * size_of::<Histogram>());
const _: () = assert!(size_of::<NetStats>() == 2 * size_of::<TcpSideStats>() + 13 * 8);
const _: () = assert!(size_of::<Connection>() == 56);
const _: () = assert!(size_of::<ListenPort>() == 8);
const _: () = assert!(size_of::<ConnectionRecord>() == 48);

crate::pod!(
    TcpSideStats,
    UnknownSideStats,
    UdpStats,
    NetMilestones,
    NetStats,
    Traffic,
    Connection,
    ListenPort,
    ConnectionRecord,
    ConnectionBatch
);
