//! The network: TCP by side, UDP.

use agent_common::net::{INBOUND, OUTBOUND, UnknownSideStats};

use super::{MEAN_ONLY, buckets, long, observed};
use crate::{
    kernel::programs::name,
    metrics::family::{
        Buckets, Family,
        Kind::{Counter, Gauge, Histogram},
        Out,
        Samples::{Occasional, PerSession},
        Source, Unit,
    },
    session::net::{Net, TcpSide},
    snapshot::SessionView,
};

/// 16 ms and 125 ms: the next town, too far to work with.
const ROUND_TRIP: Buckets = buckets(&[-6, -3]);
/// Of hours; count and sum are enough for most.
const LONG_MEAN_ONLY: Buckets = long(&[]);

/// The two sides of a TCP connection.
const SIDE: &[(&str, &str)] = &[(
    "side",
    "inbound, outbound; each from its first connection on",
)];

/// The same, and neither: of connections beyond the session's budget nobody knows who opened them.
const SIDE_OR_UNKNOWN: &[(&str, &str)] = &[(
    "side",
    "inbound, outbound; each from its first connection on; unknown, of connections beyond the session's budget, from the first on",
)];

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_session_network",
        help: "Data bytes of the session's sockets; a retransmitted TCP byte counts once, and UDP appears with its first datagram",
        kind: Counter,
        unit: Unit::Bytes,
        labels: &[("direction", "transmit, receive"), ("protocol", "tcp, udp")],
        source: Source::Program(name::INET_SOCK_SET_STATE),
        samples: PerSession(|s, out| {
            let Some(net) = &s.counts.net else { return };
            let tcp = net.tcp_traffic();
            let mut number = |direction, protocol, bytes: u64| {
                out.number(
                    &[("direction", direction), ("protocol", protocol)],
                    bytes as f64,
                );
            };
            number("transmit", "tcp", tcp.sent_bytes);
            number("receive", "tcp", tcp.received_bytes);
            if let Some([transmit, receive]) = net.used_udp() {
                number("transmit", "udp", transmit.bytes);
                number("receive", "udp", receive.bytes);
            }
        }),
    },
    Family {
        stem: "vdi_session_clients",
        help: "Established inbound connections: the session's clients",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Program(name::CONNECTIONS),
        samples: PerSession(|s, out| {
            if let Some(clients) = s.counts.net.as_ref().and_then(Net::clients) {
                out.number(&[], clients as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_tcp_connections",
        help: "Established TCP connections",
        kind: Gauge,
        unit: Unit::None,
        labels: SIDE,
        source: Source::Program(name::CONNECTIONS),
        samples: Occasional(|s, out| {
            by_side(s, |labels, side| {
                if let Some(connections) = side.connections {
                    out.number(labels, connections as f64);
                }
            });
        }),
    },
    Family {
        stem: "vdi_session_tcp_connections_opened",
        help: "TCP connections that were established",
        kind: Counter,
        unit: Unit::None,
        labels: SIDE,
        source: Source::Program(name::INET_SOCK_SET_STATE),
        samples: Occasional(|s, out| by_side(s, |l, side| out.number(l, side.opened as f64))),
    },
    Family {
        stem: "vdi_session_tcp_connect_failures",
        help: "TCP connections that could not be opened: refused, unreachable, timed out or given up; appears with the first",
        kind: Counter,
        unit: Unit::None,
        labels: &[("side", "outbound")],
        source: Source::Program(name::INET_SOCK_SET_STATE),
        samples: Occasional(|s, out| {
            let failures = s
                .counts
                .net
                .as_ref()
                .map_or(0, |n| n.tcp[OUTBOUND].connect_failures);
            if failures > 0 {
                out.number(&[("side", "outbound")], failures as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_tcp_resets",
        help: "Resets sent and received on the session's TCP connections",
        kind: Counter,
        unit: Unit::None,
        labels: SIDE_OR_UNKNOWN,
        source: Source::Program(name::TCP_RECEIVE_RESET),
        samples: Occasional(|s, out| {
            by_side(s, |l, side| out.number(l, side.resets as f64));
            of_unknown_side(s, |unknown| unknown.resets, out);
        }),
    },
    Family {
        stem: "vdi_session_tcp_retransmits",
        help: "TCP segments sent again",
        kind: Counter,
        unit: Unit::None,
        labels: SIDE_OR_UNKNOWN,
        source: Source::Program(name::INET_SOCK_SET_STATE),
        samples: Occasional(|s, out| {
            by_side(s, |l, side| out.number(l, side.traffic.retransmits as f64));
            of_unknown_side(s, |unknown| unknown.closed.retransmits, out);
        }),
    },
    Family {
        stem: "vdi_session_tcp_rtt",
        help: "Smoothed round-trip time of each live TCP connection, each time they are read; a side appears with its first connection",
        kind: Histogram(ROUND_TRIP),
        unit: Unit::Seconds,
        labels: SIDE,
        source: Source::Program(name::CONNECTIONS),
        samples: Occasional(|s, out| by_side(s, |l, side| observed(out, l, &side.rtt))),
    },
    Family {
        stem: "vdi_session_tcp_connect",
        help: "Time from SYN to established of the session's outbound TCP connections; appears with the first",
        kind: Histogram(MEAN_ONLY),
        unit: Unit::Seconds,
        labels: &[("side", "outbound")],
        source: Source::Program(name::INET_SOCK_SET_STATE),
        samples: Occasional(|s, out| {
            if let Some(net) = &s.counts.net {
                observed(out, &[("side", "outbound")], &net.tcp[OUTBOUND].connect);
            }
        }),
    },
    Family {
        stem: "vdi_session_tcp_connection_duration",
        help: "Time from established to closed of the session's TCP connections; appears with the first that closes",
        kind: Histogram(LONG_MEAN_ONLY),
        unit: Unit::Seconds,
        labels: SIDE,
        source: Source::Program(name::INET_SOCK_SET_STATE),
        samples: Occasional(|s, out| by_side(s, |l, side| observed(out, l, &side.duration))),
    },
    Family {
        stem: "vdi_session_udp_datagrams",
        help: "UDP datagrams of the session; with segmentation offload the messages handed to it",
        kind: Counter,
        unit: Unit::None,
        labels: &[("direction", "transmit, receive")],
        source: Source::Program(name::SOCK_SEND_LENGTH),
        samples: Occasional(|s, out| {
            if let Some([transmit, receive]) = s.counts.net.as_ref().and_then(Net::used_udp) {
                out.number(&[("direction", "transmit")], transmit.datagrams as f64);
                out.number(&[("direction", "receive")], receive.datagrams as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_udp_drops",
        help: "UDP datagrams dropped because a receive queue of the session was full",
        kind: Counter,
        unit: Unit::None,
        labels: &[("direction", "receive")],
        source: Source::Program(name::UDP_FAIL_QUEUE_RCV_SKB),
        samples: Occasional(|s, out| {
            if let Some([_, receive]) = s.counts.net.as_ref().and_then(Net::used_udp) {
                out.number(&[("direction", "receive")], receive.drops as f64);
            }
        }),
    },
];

/// Each side of a session's TCP with its label, from its first connection on: most sessions have one.
fn by_side(session: &SessionView, mut f: impl FnMut(&[(&str, &str)], &TcpSide)) {
    if let Some(net) = &session.counts.net {
        for (name, side) in [("inbound", INBOUND), ("outbound", OUTBOUND)] {
            if net.tcp[side].is_used() {
                f(&[("side", name)], &net.tcp[side]);
            }
        }
    }
}

/// A count of the connections of which nobody knows the side, once there is something to count.
fn of_unknown_side(session: &SessionView, f: fn(&UnknownSideStats) -> u64, out: &mut dyn Out) {
    let count = session.counts.net.as_ref().map_or(0, |net| f(&net.unknown));
    if count > 0 {
        out.number(&[("side", "unknown")], count as f64);
    }
}
