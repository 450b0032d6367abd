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

/// How a client went: it closed the connection, or the session did.
pub const CLOSED: usize = 0;
/// Either side broke the connection off with a reset.
pub const RESET: usize = 1;
/// Nobody has answered any more.
pub const TIMED_OUT: usize = 2;
/// The session closed a connection on which the client had not sent anything for long.
pub const IDLE: usize = 3;
/// The ways to go.
pub const ENDS: usize = 4;

// include/uapi/asm-generic/errno.h, the same on x86-64 and arm64.
const EPIPE: u32 = 32;
const ECONNABORTED: u32 = 103;
const ECONNRESET: u32 = 104;
// include/net/tcp_states.h
const FIN_WAIT1: i32 = 4;
const FIN_WAIT2: i32 = 5;
const CLOSE_WAIT: i32 = 8;
const LAST_ACK: i32 = 9;
const CLOSING: i32 = 11;

/// How a connection has ended that had this `sk_err` when it became CLOSE, and was in the state `from` before; `is_idle`
/// is whether its client was idle when the session closed it.
///
/// Who says first that it is over decides. What a client that has closed is still sent it answers with a reset (`EPIPE`):
/// it has closed all the same. A session that closes wants an answer, and without one nobody was there.
#[inline(always)]
#[must_use]
#[expect(clippy::inline_always, reason = "a few comparisons, in a BPF program")]
pub const fn how_ended(error: u32, from: i32, is_idle: bool) -> usize {
    if from == CLOSE_WAIT || from == LAST_ACK {
        return CLOSED;
    }
    let session_closed_first = from == FIN_WAIT1 || from == FIN_WAIT2 || from == CLOSING;
    match error {
        0 | EPIPE => {}
        ECONNRESET | ECONNABORTED if session_closed_first => {}
        ECONNRESET | ECONNABORTED => return RESET,
        // `ETIMEDOUT`, or why the network was not there (`sk_err_soft`): `EHOSTUNREACH`, `ENETUNREACH` and so on.
        _ => return TIMED_OUT,
    }
    if is_idle { IDLE } else { CLOSED }
}

/// A session's clients, which are its inbound connections from elsewhere: how they went.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientStats {
    /// Those that have ended, by how.
    pub ended: [u64; ENDS],
    /// When the last one came, nanoseconds since boot; 0 before the first.
    pub last_came_ns: u64,
    /// Which was gone last, as [`gone`] has it; 0 before the first. It is not the one that ended last: one that is cut off
    /// is gone from what came last of it, and ends a quarter of an hour later.
    pub last_gone: u64,
    /// Data bytes that those sent who have ended.
    pub received_bytes: u64,
}

/// To how many nanoseconds [`gone`] has a moment.
pub const GONE_TO_NS: u64 = 4;

/// A moment in nanoseconds since boot, to four of them, and how somebody went then. The later one is the greater.
#[inline(always)]
#[must_use]
#[expect(clippy::inline_always, reason = "two operations, in a BPF program")]
pub const fn gone(at_ns: u64, how: usize) -> u64 {
    const { assert!(ENDS == GONE_TO_NS as usize) };
    (at_ns & !3) | how as u64
}

/// What [`gone`] has put together.
#[must_use]
pub const fn gone_when_and_how(gone: u64) -> (u64, usize) {
    (gone & !3, (gone & 3) as usize)
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
    /// How clients came and went.
    pub clients: ClientStats,
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
    pub side: u8,
    /// 1 once the session has closed it after its client had not sent anything for long.
    pub idle: u8,
    /// 1 once it has closed, and what it has carried is with the session's closed ones.
    pub closed: u8,
    /// 1 for one that was made outside all sessions, and is that of the session whose process holds it.
    pub carried: u8,
    /// Session that it was entered for.
    pub slot: Slot,
    /// Its ends, once it was established; [`Ends::ELSEWHERE`] where the other one is not on this node.
    pub ends: Ends,
}

/// Which ends a connection has, of which both are on this node.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Local port.
    pub local_port: u16,
    /// Port of the other end; 0 where that is not on this node.
    pub remote_port: u16,
    /// 1 once the other end is known to be the same session's: this one is no client's.
    pub internal: u16,
    unused: u16,
}

impl Ends {
    /// Those of a connection with another machine.
    pub const ELSEWHERE: Self = Self::between(0, 0);

    /// Those of a connection whose other end nobody has seen yet.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::inline_always, reason = "four moves, in a BPF program")]
    pub const fn between(local_port: u16, remote_port: u16) -> Self {
        Self {
            local_port,
            remote_port,
            internal: 0,
            unused: 0,
        }
    }
}

/// Where to look for an end of a connection that both ends of may be a session's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndKey {
    /// Session of the end's socket.
    pub slot: Slot,
    /// Its local port.
    pub local_port: u16,
    /// Port of the other end.
    pub remote_port: u16,
}

/// An end of a connection that both ends of may be a session's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalEnd {
    /// Address of the socket.
    pub socket: u64,
    /// When its connection was entered: another one at this address is of another moment.
    pub entered_ns: u64,
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
    /// Segments with data sent, each time that one was. The kernel counts those of a connection modulo 2³², and so this is
    /// right modulo 2³² only.
    pub segments: u64,
}

impl Traffic {
    /// Nothing.
    pub const NONE: Self = Self {
        sent_bytes: 0,
        received_bytes: 0,
        retransmits: 0,
        segments: 0,
    };

    /// What came after `earlier`.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::inline_always, reason = "four subtractions, in a BPF program")]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            segments: (self.segments as u32)
                .wrapping_sub(earlier.segments as u32)
                .into(),
            ..self.each(earlier, u64::saturating_sub)
        }
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
            segments,
        } = other;
        Self {
            sent_bytes: f(self.sent_bytes, sent_bytes),
            received_bytes: f(self.received_bytes, received_bytes),
            retransmits: f(self.retransmits, retransmits),
            segments: f(self.segments, segments),
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
    pub side: u16,
    /// 1 where both ends are the session's.
    pub internal: u16,
    /// TCP state (`include/net/tcp_states.h`).
    pub state: u32,
    /// Smoothed round-trip time, microseconds; 0 before the first measurement.
    pub srtt_us: u32,
    /// ESTABLISHED, nanoseconds since boot; when it was entered before that, and for one that was found open.
    pub came_ns: u64,
    /// Least round-trip time of the last minutes, microseconds; `u32::MAX` before the first measurement.
    pub min_rtt_us: u32,
    /// Bytes that were written and have not been sent, modulo 2³²: the end is read a moment before the beginning.
    pub unsent_bytes: u32,
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

const _: () = assert!(size_of::<TcpSideStats>() == 7 * 8 + 2 * size_of::<Histogram>());
const _: () = assert!(size_of::<ClientStats>() == (ENDS + 3) * 8);
const _: () = assert!(size_of::<NetStats>() == 2 * size_of::<TcpSideStats>() + 21 * 8);
const _: () = assert!(size_of::<Connection>() == 72);
const _: () = assert!(size_of::<EndKey>() == 8);
const _: () = assert!(size_of::<ListenPort>() == 8);
const _: () = assert!(size_of::<ConnectionRecord>() == 72);

crate::pod!(
    TcpSideStats,
    UnknownSideStats,
    UdpStats,
    NetMilestones,
    ClientStats,
    NetStats,
    Traffic,
    Ends,
    EndKey,
    LocalEnd,
    Connection,
    ListenPort,
    ConnectionRecord,
    ConnectionBatch
);

#[cfg(test)]
mod tests {
    use super::*;

    const ESTABLISHED: i32 = 1;
    const CLOSE: i32 = 7;
    const ETIMEDOUT: u32 = 110;
    const EHOSTUNREACH: u32 = 113;

    #[test]
    fn who_says_first_that_it_is_over_decides_how_a_client_went() {
        for (error, from, is_idle, how) in [
            // The client: then the session closes too, or sends more and is answered with a reset, or with nothing.
            (0, LAST_ACK, true, CLOSED),
            (EPIPE, CLOSE_WAIT, false, CLOSED),
            (ETIMEDOUT, LAST_ACK, false, CLOSED),
            // The session: with whatever answer, or with none.
            (0, FIN_WAIT2, false, CLOSED),
            (0, CLOSING, false, CLOSED),
            (ECONNRESET, FIN_WAIT1, false, CLOSED),
            (0, FIN_WAIT2, true, IDLE),
            (ECONNRESET, FIN_WAIT2, true, IDLE),
            (ETIMEDOUT, FIN_WAIT1, true, TIMED_OUT),
            // Its own reset comes after CLOSE, so it has no error yet.
            (0, ESTABLISHED, false, CLOSED),
            (0, ESTABLISHED, true, IDLE),
            // Nobody has closed it.
            (ECONNRESET, ESTABLISHED, false, RESET),
            (ECONNABORTED, ESTABLISHED, true, RESET),
            (ETIMEDOUT, ESTABLISHED, false, TIMED_OUT),
            (EHOSTUNREACH, ESTABLISHED, true, TIMED_OUT),
            // The change of state was passed over.
            (ECONNRESET, CLOSE, false, RESET),
            (0, CLOSE, false, CLOSED),
        ] {
            let said = how_ended(error, from, is_idle);
            assert_eq!(said, how, "error {error} from {from}, idle: {is_idle}");
        }
    }

    #[test]
    fn what_came_since_is_right_though_the_count_of_segments_wraps() {
        let of = |sent_bytes: u64, retransmits: u64, segments: u32| Traffic {
            sent_bytes,
            received_bytes: 7,
            retransmits,
            segments: segments.into(),
        };
        let since = of(9_000, 5, 15).since(of(2_000, 3, u32::MAX - 4));
        let truth = Traffic {
            sent_bytes: 7_000,
            received_bytes: 0,
            retransmits: 2,
            segments: 20,
        };
        assert_eq!(since, truth);
        assert_eq!(of(0, 0, 15).since(of(0, 0, 4)).segments, 11);
        assert_eq!(of(0, 0, 15).since(Traffic::NONE).segments, 15);
    }

    #[test]
    fn whoever_is_gone_later_is_greater_however_they_went() {
        let (earlier, later) = (gone(1_000_003, IDLE), gone(1_000_004, CLOSED));
        assert!(earlier < later);
        assert_eq!(gone_when_and_how(earlier), (1_000_000, IDLE));
        assert_eq!(gone_when_and_how(later), (1_000_004, CLOSED));
    }
}
