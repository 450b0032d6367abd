//! A session's network figures: what the kernel added up for closed connections, and what the live ones
//! have now.

use agent_common::{
    histogram::{Histogram, bucket_of},
    net::{ConnectionRecord, INBOUND, LISTENER, NetStats, OUTBOUND, TcpSideStats, UdpStats},
};

/// `ESTABLISHED` (`include/net/tcp_states.h`).
const ESTABLISHED: u32 = 1;

/// Network figures of a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Net {
    /// By [`INBOUND`] and [`OUTBOUND`].
    pub tcp: [TcpSide; 2],
    /// Datagrams sent and received; `None` where the kernel has no tracepoint for them.
    pub udp: Option<[UdpStats; 2]>,
}

/// One side's TCP figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TcpSide {
    /// Connections that reached ESTABLISHED.
    pub opened: u64,
    /// Connection attempts that failed.
    pub connect_failures: u64,
    /// Resets sent and received.
    pub resets: u64,
    /// Data bytes, segments and so on of all connections, live and closed. None of them decreases.
    pub traffic: Traffic,
    /// Connections established now; `None` without the iterator.
    pub connections: Option<u64>,
    /// Smoothed round-trip time of each live connection at each sample.
    pub rtt: Histogram,
    /// Time from SYN to ESTABLISHED.
    pub connect: Histogram,
    /// Time from ESTABLISHED to CLOSE; a long histogram.
    pub duration: Histogram,
    /// What the live connections had when the session was adopted: not its traffic since then.
    base: Traffic,
}

/// What connections have carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Data bytes sent.
    pub sent_bytes: u64,
    /// Data bytes received.
    pub received_bytes: u64,
    /// Segments sent again.
    pub retransmits: u64,
}

impl Traffic {
    fn each(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
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

impl Net {
    /// Takes a sample. `first` says that the session has just been adopted with the connections it had.
    pub fn take(
        &mut self,
        stats: &NetStats,
        measures_udp: bool,
        live: Option<&[ConnectionRecord]>,
        first: bool,
    ) {
        // The milestones go to the registry, which knows when the session was made.
        let NetStats {
            tcp,
            udp_transmit,
            udp_receive,
            milestones: _,
        } = stats;
        for side in [INBOUND, OUTBOUND] {
            self.tcp[side].take(&tcp[side], side, live, first);
        }
        self.udp = measures_udp.then_some([*udp_transmit, *udp_receive]);
    }

    /// Established inbound connections.
    pub fn clients(&self) -> Option<u64> {
        self.tcp[INBOUND].connections
    }
}

impl TcpSide {
    fn take(
        &mut self,
        stats: &TcpSideStats,
        side: usize,
        live: Option<&[ConnectionRecord]>,
        first: bool,
    ) {
        let TcpSideStats {
            opened,
            connect_failures,
            resets,
            closed_sent_bytes,
            closed_received_bytes,
            closed_retransmits,
            connect,
            duration,
        } = *stats;
        (self.opened, self.connect_failures, self.resets) = (opened, connect_failures, resets);
        (self.connect, self.duration) = (connect, duration);
        let mut sum = Traffic {
            sent_bytes: closed_sent_bytes,
            received_bytes: closed_received_bytes,
            retransmits: closed_retransmits,
        };
        self.connections = live.map(|_| 0);
        for record in live.unwrap_or_default() {
            if record.side == LISTENER || record.side as usize != side {
                continue;
            }
            sum = sum.each(
                Traffic {
                    sent_bytes: record.sent_bytes,
                    received_bytes: record.received_bytes,
                    retransmits: record.retransmits.into(),
                },
                u64::wrapping_add,
            );
            if record.state == ESTABLISHED {
                self.connections = self.connections.map(|n| n + 1);
                if record.srtt_us != 0 {
                    let ns = u64::from(record.srtt_us) * 1000;
                    self.rtt.buckets[bucket_of(ns)] += 1;
                    self.rtt.sum_ns += ns;
                }
            }
        }
        if first {
            self.base = sum;
        }
        // A connection that closed between the two readings is in neither for one sample.
        self.traffic = self
            .traffic
            .each(sum.each(self.base, u64::saturating_sub), u64::max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sent_bytes: u64, side: usize) -> ConnectionRecord {
        ConnectionRecord {
            slot: 1,
            side: side as u32,
            state: ESTABLISHED,
            srtt_us: 250,
            sent_bytes,
            ..ConnectionRecord::default()
        }
    }

    #[test]
    fn a_byte_is_counted_once_while_its_connection_lives_and_after() {
        let mut net = Net::default();
        let mut stats = NetStats::default();
        net.take(&stats, false, Some(&[record(100, OUTBOUND)]), false);
        assert_eq!(net.tcp[OUTBOUND].traffic.sent_bytes, 100);
        // Closed after the counters were read and before the iterator ran: nothing is lost or taken back.
        net.take(&stats, false, Some(&[]), false);
        assert_eq!(net.tcp[OUTBOUND].traffic.sent_bytes, 100);
        stats.tcp[OUTBOUND].closed_sent_bytes = 130;
        net.take(
            &stats,
            false,
            Some(&[record(7, OUTBOUND), record(50, INBOUND)]),
            false,
        );
        assert_eq!(net.tcp[OUTBOUND].traffic.sent_bytes, 137);
        assert_eq!(net.tcp[INBOUND].traffic.sent_bytes, 50);
        assert_eq!((net.clients(), net.tcp[OUTBOUND].rtt.count()), (Some(1), 2));
    }

    #[test]
    fn what_was_carried_before_the_adoption_is_not_counted() {
        let mut net = Net::default();
        let mut stats = NetStats::default();
        net.take(&stats, false, Some(&[record(1000, INBOUND)]), true);
        assert_eq!(net.tcp[INBOUND].traffic.sent_bytes, 0);
        net.take(&stats, false, Some(&[record(1500, INBOUND)]), false);
        assert_eq!(net.tcp[INBOUND].traffic.sent_bytes, 500);
        stats.tcp[INBOUND].closed_sent_bytes = 1600;
        net.take(&stats, false, Some(&[]), false);
        assert_eq!(net.tcp[INBOUND].traffic.sent_bytes, 600);
    }
}
