//! A session's network figures: what the kernel added up for closed connections, and what the live ones
//! have now.

use agent_common::{
    histogram::{Histogram, bucket_of},
    net::{
        ConnectionRecord, INBOUND, NetStats, OUTBOUND, TcpSideStats, Traffic, UdpStats,
        UnknownSideStats,
    },
};

use super::presence::Presence;
use crate::kernel::Reading;

/// `ESTABLISHED` (`include/net/tcp_states.h`).
pub(super) const ESTABLISHED: u32 = 1;

/// Network figures of a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Net {
    /// By [`INBOUND`] and [`OUTBOUND`].
    pub tcp: [TcpSide; 2],
    /// Of connections of which nobody knows the side.
    pub unknown: UnknownSideStats,
    /// How its clients came and went.
    pub presence: Presence,
    /// Clients that are there; `None` where it is not known who is.
    pub clients: Option<u64>,
    /// Data bytes that clients have sent. Never decreases.
    pub client_bytes: u64,
    /// Whether the kernel says how many segments a connection has sent; where not, those of all traffic mean nothing.
    pub counts_segments: bool,
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
    /// Smoothed round-trip time of each live connection with somebody else, each time they are read.
    pub rtt: Histogram,
    /// Least round-trip time that such a one has had in the last minutes, microseconds; `None` where none of them has been
    /// measured.
    pub min_rtt_us: Option<u32>,
    /// Bytes that wait for being sent on established connections with others; `None` without one.
    pub unsent_bytes: Option<u64>,
    /// Time from SYN to ESTABLISHED.
    pub connect: Histogram,
    /// Time from ESTABLISHED to CLOSE; a long histogram.
    pub duration: Histogram,
}

impl Net {
    /// Takes a sample at a moment in nanoseconds since boot.
    pub fn take(
        &mut self,
        stats: &NetStats,
        measures_udp: bool,
        live: Reading<&[ConnectionRecord]>,
        now_ns: u64,
    ) {
        // The milestones go to the registry, which knows when the session was made, and what is over a budget to the
        // session.
        let NetStats {
            tcp,
            tcp_unknown,
            udp_transmit,
            udp_receive,
            milestones: _,
            connections_over_budget: _,
            clients,
        } = stats;
        for side in [INBOUND, OUTBOUND] {
            self.tcp[side].take(&tcp[side], side, live);
        }
        self.unknown = *tcp_unknown;
        self.take_clients(clients.received_bytes, live);
        self.presence.take(clients, live, now_ns);
        self.udp = measures_udp.then_some([*udp_transmit, *udp_receive]);
    }

    /// Datagrams sent and received, once there have been any.
    pub fn used_udp(&self) -> Option<&[UdpStats; 2]> {
        let unused = |stats: &UdpStats| *stats == UdpStats::default();
        self.udp.as_ref().filter(|both| !both.iter().all(unused))
    }

    /// What all TCP connections have carried, whatever their side.
    pub fn tcp_traffic(&self) -> Traffic {
        let sides = self.tcp.iter().map(|side| side.traffic);
        sides.fold(self.unknown.closed, |sum, side| {
            sum.each(side, u64::wrapping_add)
        })
    }

    fn take_clients(&mut self, closed_bytes: u64, live: Reading<&[ConnectionRecord]>) {
        let mut bytes = closed_bytes;
        match live {
            Reading::Impossible => self.clients = None,
            Reading::NotDue => {}
            Reading::Taken(live) => {
                let clients = || live.iter().filter(|record| is_client(record));
                self.clients = Some(clients().filter(|c| c.state == ESTABLISHED).count() as u64);
                bytes += clients().map(|c| c.traffic.received_bytes).sum::<u64>();
            }
        }
        self.client_bytes = self.client_bytes.max(bytes);
    }
}

/// Whether a connection is one of a client: inbound, and from elsewhere.
pub(super) const fn is_client(record: &ConnectionRecord) -> bool {
    record.side as usize == INBOUND && record.internal == 0
}

impl TcpSide {
    fn take(&mut self, stats: &TcpSideStats, side: usize, live: Reading<&[ConnectionRecord]>) {
        let TcpSideStats {
            opened,
            connect_failures,
            resets,
            closed,
            connect,
            duration,
        } = *stats;
        (self.opened, self.connect_failures, self.resets) = (opened, connect_failures, resets);
        (self.connect, self.duration) = (connect, duration);
        let mut sum = closed;
        if !matches!(live, Reading::NotDue) {
            (self.min_rtt_us, self.unsent_bytes) = (None, None);
        }
        let (connections, live) = match live {
            Reading::Impossible => (None, &[][..]),
            // What the live ones carry is what it was; those that have closed meanwhile are in `closed`, and once
            // all have, that is the sum.
            Reading::NotDue => (self.connections, &[][..]),
            Reading::Taken(live) => (Some(0), live),
        };
        self.connections = connections;
        for record in live {
            if record.side as usize != side {
                continue;
            }
            sum = sum.each(record.traffic, u64::wrapping_add);
            if record.state == ESTABLISHED {
                self.connections = self.connections.map(|n| n + 1);
                if record.internal != 0 {
                    continue;
                }
                self.take_socket(record);
                if record.srtt_us != 0 {
                    let ns = u64::from(record.srtt_us) * 1000;
                    self.rtt.buckets[bucket_of(ns)] += 1;
                    self.rtt.sum_ns += ns;
                }
            }
        }
        // A connection that closed between the two readings is in neither for one sample.
        self.traffic = Traffic {
            segments: self.segments_at(sum),
            ..self.traffic.each(sum, u64::max)
        };
    }

    /// Segments of all connections that together have carried `sum`, of which the segments are right modulo 2³²: a
    /// connection reaches that after 6 TB. Where fewer bytes have been sent than before, a connection is missing, and
    /// nobody knows whether the sum has wrapped.
    fn segments_at(&self, sum: Traffic) -> u64 {
        let grown = (sum.segments as u32).wrapping_sub(self.traffic.segments as u32) as i32;
        let is_whole = sum.sent_bytes >= self.traffic.sent_bytes;
        let grown = u64::try_from(grown).ok().filter(|_| is_whole);
        self.traffic.segments + grown.unwrap_or(0)
    }

    /// What an established connection's socket has at this moment.
    fn take_socket(&mut self, record: &ConnectionRecord) {
        // 0 is one that could not be read: the kernel has no time that is shorter than a microsecond.
        if !matches!(record.min_rtt_us, 0 | u32::MAX) {
            let least = self.min_rtt_us.unwrap_or(u32::MAX);
            self.min_rtt_us = Some(least.min(record.min_rtt_us));
        }
        // Less than nothing is what was sent while it was read.
        let unsent = u64::try_from(record.unsent_bytes as i32).unwrap_or(0);
        self.unsent_bytes = Some(self.unsent_bytes.unwrap_or(0) + unsent);
    }

    /// Whether there has been a connection, or an attempt at one.
    pub fn is_used(&self) -> bool {
        self.opened > 0
            || self.connect_failures > 0
            || self.connections.is_some_and(|n| n > 0)
            || self.rtt.count() > 0
            || self.traffic != Traffic::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sent_bytes: u64, side: usize) -> ConnectionRecord {
        ConnectionRecord {
            slot: 1,
            side: side as u16,
            state: ESTABLISHED,
            srtt_us: 250,
            traffic: Traffic {
                sent_bytes,
                ..Traffic::default()
            },
            ..ConnectionRecord::default()
        }
    }

    #[test]
    fn of_the_live_connections_the_least_round_trip_and_all_that_waits() {
        let mut net = Net::default();
        let stats = NetStats::default();
        let socket = |side, min_rtt_us, unsent_bytes| ConnectionRecord {
            min_rtt_us,
            unsent_bytes,
            ..record(1, side)
        };
        let now = |net: &Net| {
            let of_clients = &net.tcp[INBOUND];
            (of_clients.min_rtt_us, of_clients.unsent_bytes)
        };
        let opening = ConnectionRecord {
            state: ESTABLISHED + 1,
            ..socket(INBOUND, 5, 50)
        };
        let all = [
            socket(INBOUND, u32::MAX, 10),
            socket(INBOUND, 300, 4_000),
            socket(INBOUND, 200, 7_u32.wrapping_neg()),
            socket(INBOUND, 0, 0),
            socket(OUTBOUND, 20, 1),
            opening,
        ];
        net.take(&stats, false, Reading::Taken(&all), 0);
        assert_eq!(now(&net), (Some(200), Some(4_010)));
        net.take(&stats, false, Reading::NotDue, 0);
        assert_eq!(now(&net), (Some(200), Some(4_010)));
        // The one with the least has gone.
        net.take(&stats, false, Reading::Taken(&all[..2]), 0);
        assert_eq!(now(&net), (Some(300), Some(4_010)));
        net.take(&stats, false, Reading::Taken(&all[..1]), 0);
        assert_eq!(now(&net), (None, Some(10)));
        net.take(&stats, false, Reading::Taken(&[]), 0);
        assert_eq!(now(&net), (None, None));
        net.take(&stats, false, Reading::Taken(&all), 0);
        net.take(&stats, false, Reading::Impossible, 0);
        assert_eq!(now(&net), (None, None));
    }

    #[test]
    fn segments_are_counted_though_the_kernel_s_count_of_a_connection_wraps() {
        let sample = |sent_bytes, segments: u32| {
            let mut record = record(sent_bytes, INBOUND);
            record.traffic.segments = segments.into();
            record
        };
        let mut net = Net::default();
        let mut stats = NetStats::default();
        let mut after = |stats: &NetStats, live: Reading<&[ConnectionRecord]>| {
            net.take(stats, false, live, 0);
            net.tcp[INBOUND].traffic.segments
        };
        let wrap = 1 << 32;
        // Two of them; the first wraps, and so does the sum.
        let both = [sample(1_000, 3 << 29), sample(7, 5)];
        assert_eq!(after(&stats, Reading::Taken(&both[..1])), 3 << 29);
        assert_eq!(after(&stats, Reading::Taken(&both)), (3 << 29) + 5);
        let both = [sample(1_500, 3 << 30), both[1]];
        assert_eq!(after(&stats, Reading::Taken(&both)), (3 << 30) + 5);
        // The first closes between the two readings, and what is left looks like a sum that has wrapped.
        assert_eq!(after(&stats, Reading::Taken(&both[1..])), (3 << 30) + 5);
        let both = [sample(2_000, u32::MAX), both[1]];
        assert_eq!(after(&stats, Reading::Taken(&both)), wrap + 4);
        let both = [sample(3_000, 10), both[1]];
        assert_eq!(after(&stats, Reading::Taken(&both)), wrap + 15);
        // One has closed between the two readings, then the live ones are not read, then it is among the closed.
        assert_eq!(after(&stats, Reading::Taken(&both[1..])), wrap + 15);
        assert_eq!(after(&stats, Reading::NotDue), wrap + 15);
        stats.tcp[INBOUND].closed = both[0].traffic;
        assert_eq!(after(&stats, Reading::NotDue), wrap + 15);
        assert_eq!(after(&stats, Reading::Taken(&both[1..])), wrap + 15);
        // Sent again, so no byte more.
        let last = [sample(7, 9)];
        assert_eq!(after(&stats, Reading::Taken(&last)), wrap + 19);
    }

    #[test]
    fn a_byte_is_counted_once_while_its_connection_lives_and_after() {
        let mut net = Net::default();
        let mut stats = NetStats::default();
        net.take(&stats, false, Reading::Taken(&[record(100, OUTBOUND)]), 1);
        assert_eq!(net.tcp[OUTBOUND].traffic.sent_bytes, 100);
        // Closed after the counters were read and before the iterator ran: nothing is lost or taken back.
        net.take(&stats, false, Reading::Taken(&[]), 2);
        assert_eq!(net.tcp[OUTBOUND].traffic.sent_bytes, 100);
        stats.tcp[OUTBOUND].closed.sent_bytes = 130;
        net.take(
            &stats,
            false,
            Reading::Taken(&[record(7, OUTBOUND), record(50, INBOUND)]),
            3,
        );
        assert_eq!(net.tcp[OUTBOUND].traffic.sent_bytes, 137);
        assert_eq!(net.tcp[INBOUND].traffic.sent_bytes, 50);
        assert_eq!((net.clients, net.tcp[OUTBOUND].rtt.count()), (Some(1), 2));
        // Not read: what is known of the live ones stays, and what has closed is not counted twice.
        stats.tcp[OUTBOUND].closed.sent_bytes = 136;
        net.take(&stats, false, Reading::NotDue, 4);
        assert_eq!(net.tcp[OUTBOUND].traffic.sent_bytes, 137);
        assert_eq!((net.clients, net.tcp[OUTBOUND].rtt.count()), (Some(1), 2));
        stats.tcp[OUTBOUND].closed.sent_bytes = 140;
        net.take(&stats, false, Reading::NotDue, 5);
        assert_eq!(net.tcp[OUTBOUND].traffic.sent_bytes, 140);
    }
}
