//! Network counters per session, and one record per live TCP connection.
//!
//! A session's TCP bytes are those of its closed connections, added up in the kernel when each closes,
//! and those of its live ones, which the iterator reads from the sockets. Nothing is counted per packet.

use crate::{Slot, histogram::Histogram};

/// Index of connections that were accepted on a listener of the session: its clients.
pub const INBOUND: usize = 0;
/// Index of connections that the session opened.
pub const OUTBOUND: usize = 1;

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
    /// Data bytes sent by closed connections, each counted once however often it was sent.
    pub closed_sent_bytes: u64,
    /// Data bytes received by closed connections.
    pub closed_received_bytes: u64,
    /// Segments retransmitted by closed connections.
    pub closed_retransmits: u64,
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
    /// Sent.
    pub udp_transmit: UdpStats,
    /// Received.
    pub udp_receive: UdpStats,
    /// First moments.
    pub milestones: NetMilestones,
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

/// A connection that was seen being opened.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// SYN sent or received, nanoseconds since boot.
    pub began_ns: u64,
    /// ESTABLISHED, nanoseconds since boot; 0 before.
    pub established_ns: u64,
    /// [`INBOUND`] or [`OUTBOUND`].
    pub side: u64,
}

/// A port that a session listens on.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenPort {
    /// Session of the listener.
    pub slot: Slot,
    /// Local port.
    pub port: u32,
}

/// What [`ConnectionRecord::side`] says of a socket that listens.
pub const LISTENER: u32 = 2;

/// A live TCP socket of a session.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// Session of the socket, never [`crate::NO_SESSION`].
    pub slot: Slot,
    /// [`INBOUND`], [`OUTBOUND`] or [`LISTENER`].
    pub side: u32,
    /// TCP state (`include/net/tcp_states.h`).
    pub state: u32,
    /// Local port.
    pub local_port: u32,
    /// Smoothed round-trip time, microseconds; 0 before the first measurement.
    pub srtt_us: u32,
    /// Segments sent again.
    pub retransmits: u32,
    /// Data bytes sent, each once.
    pub sent_bytes: u64,
    /// Data bytes received.
    pub received_bytes: u64,
}

const _: () = assert!(size_of::<TcpSideStats>() == 6 * 8 + 2 * size_of::<Histogram>());
const _: () = assert!(size_of::<NetStats>() == 2 * size_of::<TcpSideStats>() + 8 * 8);
const _: () = assert!(size_of::<Connection>() == 24);
const _: () = assert!(size_of::<ListenPort>() == 8);
const _: () = assert!(size_of::<ConnectionRecord>() == 40);

crate::pod!(
    TcpSideStats,
    UdpStats,
    NetMilestones,
    NetStats,
    Connection,
    ListenPort,
    ConnectionRecord
);
