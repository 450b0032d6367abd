//! The network: TCP by side, UDP.

use agent_common::net::{INBOUND, OUTBOUND, UnknownSideStats};

use super::{MEAN_ONLY, buckets, labels::DIRECTION, long, observed};
use crate::{
    gpu::model::Direction,
    kernel::programs::name,
    metrics::{
        family::{
            Buckets, Family,
            Kind::{Counter, Gauge, Histogram},
            Out,
            Samples::{Occasional, PerSession},
            Source, Unit,
        },
        label::{OneOf, Pair},
    },
    named::named,
    session::{
        net::{Net, TcpSide},
        presence::{Absences, How, Presence},
    },
    snapshot::SessionView,
};

/// 125 ms: too far to work with.
const ROUND_TRIP: Buckets = buckets(&[-3]);
/// Of hours; count and sum are enough for most.
const LONG_MEAN_ONLY: Buckets = long(&[]);

named! {
    /// The sides of a TCP connection.
    enum Side {
        /// A client opened it.
        Inbound = "inbound",
        /// The session did.
        Outbound = "outbound",
    }
}
const SIDE: OneOf<Side> = OneOf::new("side").about("each from its first connection on");

named! {
    /// The same, and neither: of connections beyond the session's budget nobody knows who opened them.
    enum AnySide {
        /// A client opened it.
        Inbound = "inbound",
        /// The session did.
        Outbound = "outbound",
        /// Nobody knows.
        Unknown = "unknown",
    }
}
const ANY_SIDE: OneOf<AnySide> = OneOf::new("side")
    .about("each from its first connection on, unknown those beyond the session's budget");

named! {
    /// The side of what only who opens a connection does.
    enum Opener {
        /// The session.
        Outbound = "outbound",
    }
}
const OPENER: OneOf<Opener> = OneOf::new("side");

named! {
    /// The direction of what only a receiver does.
    enum Receiver {
        /// The session receives.
        Receive = "receive",
    }
}
const RECEIVER: OneOf<Receiver> = OneOf::new("direction");

named! {
    /// Transport protocols.
    enum Protocol {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
    }
}
const PROTOCOL: OneOf<Protocol> = OneOf::new("protocol");

const HOW: OneOf<How> = OneOf::new("how").about("from the first client on");

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_session_network",
        help: "Data bytes of the session's sockets; a retransmitted TCP byte counts once, and UDP appears with its first datagram",
        kind: Counter,
        unit: Unit::Bytes,
        labels: &[DIRECTION.label(), PROTOCOL.label()],
        source: Source::Program(name::INET_SOCK_SET_STATE),
        samples: PerSession(|s, out| {
            let Some(net) = &s.counts.net else { return };
            for protocol in Protocol::ALL {
                let both = match protocol {
                    Protocol::Tcp => {
                        let traffic = net.tcp_traffic();
                        Some([traffic.sent_bytes, traffic.received_bytes])
                    }
                    Protocol::Udp => net.used_udp().map(|both| both.map(|one| one.bytes)),
                };
                let Some([transmit, receive]) = both else {
                    continue;
                };
                for direction in Direction::ALL {
                    let bytes = match direction {
                        Direction::Transmit => transmit,
                        Direction::Receive => receive,
                    };
                    let labels = [DIRECTION.is(direction), PROTOCOL.is(protocol)];
                    out.number(&labels, bytes as f64);
                }
            }
        }),
    },
    Family {
        stem: "vdi_session_clients",
        help: "Established inbound connections, brought along by a process or not, but for those of the session with itself: its clients",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Program(name::CONNECTIONS),
        samples: PerSession(|s, out| {
            if let Some(clients) = s.counts.net.as_ref().and_then(|net| net.clients) {
                out.number(&[], clients as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_client_disconnects",
        help: "Clients' connections that have ended: closed by either side, broken off with a reset, given up because nobody answered, or closed by the session after it had heard nothing for sessions.idle_after",
        kind: Counter,
        unit: Unit::None,
        labels: &[HOW.label()],
        source: Source::Program(name::INET_SOCK_SET_STATE),
        samples: Occasional(|s, out| {
            if let Some(presence) = presence(s) {
                for how in How::ALL {
                    out.number(&[HOW.is(how)], how.of(&presence.ended) as f64);
                }
            }
        }),
    },
    Family {
        stem: "vdi_session_client_reconnects",
        help: "Clients that came within ten minutes after the last one was gone, where neither side had closed that one's connection; from the first client on",
        kind: Counter,
        unit: Unit::None,
        labels: &[],
        source: Source::Program(name::CONNECTIONS),
        samples: Occasional(|s, out| {
            if let Some(absences) = absences(s) {
                out.number(&[], absences.reconnects as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_disconnected",
        help: "Time without a client since the last one was gone, where neither side had closed that one's connection; one that was cut off is gone from what came last of it, and is known to be a quarter of an hour later",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Program(name::CONNECTIONS),
        samples: Occasional(|s, out| {
            if let Some(absences) = absences(s) {
                out.number(&[], absences.lasted_ns as f64 / 1e9);
            }
        }),
    },
    Family {
        stem: "vdi_session_client_min_rtt",
        help: "Least round-trip time that a client's established connection has had in the last minutes: how far away the nearest is, without what queues add; absent without one that is measured",
        kind: Gauge,
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Program(name::CONNECTIONS),
        samples: Occasional(|s, out| {
            if let Some(us) = clients(s).and_then(|clients| clients.min_rtt_us) {
                out.number(&[], f64::from(us) / 1e6);
            }
        }),
    },
    Family {
        stem: "vdi_session_client_unsent",
        help: "Bytes that the session has written for its clients and that wait for being sent, because a client does not read as fast or the way to it does not carry as much; absent without a client",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[],
        source: Source::Program(name::CONNECTIONS),
        samples: Occasional(|s, out| {
            if let Some(bytes) = clients(s).and_then(|clients| clients.unsent_bytes) {
                out.number(&[], bytes as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_tcp_connections",
        help: "Established TCP connections",
        kind: Gauge,
        unit: Unit::None,
        labels: &[SIDE.label()],
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
        labels: &[SIDE.label()],
        source: Source::Program(name::INET_SOCK_SET_STATE),
        samples: Occasional(|s, out| by_side(s, |l, side| out.number(l, side.opened as f64))),
    },
    Family {
        stem: "vdi_session_tcp_connect_failures",
        help: "TCP connections that could not be opened: refused, unreachable, timed out or given up; appears with the first",
        kind: Counter,
        unit: Unit::None,
        labels: &[OPENER.label()],
        source: Source::Program(name::INET_SOCK_SET_STATE),
        samples: Occasional(|s, out| {
            let failures = s
                .counts
                .net
                .as_ref()
                .map_or(0, |n| n.tcp[OUTBOUND].connect_failures);
            if failures > 0 {
                out.number(&[OPENER.is(Opener::Outbound)], failures as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_tcp_resets",
        help: "Resets sent and received on the session's TCP connections",
        kind: Counter,
        unit: Unit::None,
        labels: &[ANY_SIDE.label()],
        source: Source::Program(name::TCP_RECEIVE_RESET),
        samples: Occasional(|s, out| {
            by_any_side(s, out, |side| side.resets, |unknown| unknown.resets);
        }),
    },
    Family {
        stem: "vdi_session_tcp_retransmits",
        help: "TCP segments sent again",
        kind: Counter,
        unit: Unit::None,
        labels: &[ANY_SIDE.label()],
        source: Source::Program(name::INET_SOCK_SET_STATE),
        samples: Occasional(|s, out| {
            by_any_side(
                s,
                out,
                |side| side.traffic.retransmits,
                |unknown| unknown.closed.retransmits,
            );
        }),
    },
    Family {
        stem: "vdi_session_tcp_segments",
        help: "TCP segments with data that were sent, those sent again included",
        kind: Counter,
        unit: Unit::None,
        labels: &[ANY_SIDE.label()],
        source: Source::Program(name::INET_SOCK_SET_STATE),
        samples: Occasional(|s, out| {
            if s.counts.net.as_ref().is_some_and(|n| n.counts_segments) {
                by_any_side(
                    s,
                    out,
                    |side| side.traffic.segments,
                    |unknown| unknown.closed.segments,
                );
            }
        }),
    },
    Family {
        stem: "vdi_session_tcp_rtt",
        help: "Smoothed round-trip time of each live TCP connection, each time they are read, but for those of the session with itself; a side appears with its first connection",
        kind: Histogram(ROUND_TRIP),
        unit: Unit::Seconds,
        labels: &[SIDE.label()],
        source: Source::Program(name::CONNECTIONS),
        samples: Occasional(|s, out| by_side(s, |l, side| observed(out, l, &side.rtt))),
    },
    Family {
        stem: "vdi_session_tcp_connect",
        help: "Time from SYN to established of the session's outbound TCP connections; appears with the first",
        kind: Histogram(MEAN_ONLY),
        unit: Unit::Seconds,
        labels: &[OPENER.label()],
        source: Source::Program(name::INET_SOCK_SET_STATE),
        samples: Occasional(|s, out| {
            if let Some(net) = &s.counts.net {
                observed(
                    out,
                    &[OPENER.is(Opener::Outbound)],
                    &net.tcp[OUTBOUND].connect,
                );
            }
        }),
    },
    Family {
        stem: "vdi_session_tcp_connection_duration",
        help: "Time from established to closed of the session's TCP connections; appears with the first that closes",
        kind: Histogram(LONG_MEAN_ONLY),
        unit: Unit::Seconds,
        labels: &[SIDE.label()],
        source: Source::Program(name::INET_SOCK_SET_STATE),
        samples: Occasional(|s, out| by_side(s, |l, side| observed(out, l, &side.duration))),
    },
    Family {
        stem: "vdi_session_udp_datagrams",
        help: "UDP datagrams of the session; with segmentation offload the messages handed to it",
        kind: Counter,
        unit: Unit::None,
        labels: &[DIRECTION.label()],
        source: Source::Program(name::SOCK_SEND_LENGTH),
        samples: Occasional(|s, out| {
            if let Some([transmit, receive]) = s.counts.net.as_ref().and_then(Net::used_udp) {
                for direction in Direction::ALL {
                    let datagrams = match direction {
                        Direction::Transmit => transmit.datagrams,
                        Direction::Receive => receive.datagrams,
                    };
                    out.number(&[DIRECTION.is(direction)], datagrams as f64);
                }
            }
        }),
    },
    Family {
        stem: "vdi_session_udp_drops",
        help: "UDP datagrams dropped because a receive queue of the session was full",
        kind: Counter,
        unit: Unit::None,
        labels: &[RECEIVER.label()],
        source: Source::Program(name::UDP_FAIL_QUEUE_RCV_SKB),
        samples: Occasional(|s, out| {
            if let Some([_, receive]) = s.counts.net.as_ref().and_then(Net::used_udp) {
                out.number(&[RECEIVER.is(Receiver::Receive)], receive.drops as f64);
            }
        }),
    },
];

/// How the clients of a session came and went, from its first one on.
fn presence(session: &SessionView) -> Option<&Presence> {
    let net = session.counts.net.as_ref()?;
    net.tcp[INBOUND].is_used().then_some(&net.presence)
}

/// The times without one, where it is known who is there.
fn absences(session: &SessionView) -> Option<&Absences> {
    presence(session)?.absences.as_ref()
}

/// The connections of a session's clients.
fn clients(session: &SessionView) -> Option<&TcpSide> {
    session.counts.net.as_ref().map(|net| &net.tcp[INBOUND])
}

/// Each side of a session's TCP with its label, from its first connection on: most sessions have one.
fn by_side(session: &SessionView, mut f: impl FnMut(&[Pair<'_>], &TcpSide)) {
    if let Some(net) = &session.counts.net {
        for side in Side::ALL {
            let of_side = match side {
                Side::Inbound => &net.tcp[INBOUND],
                Side::Outbound => &net.tcp[OUTBOUND],
            };
            if of_side.is_used() {
                f(&[SIDE.is(side)], of_side);
            }
        }
    }
}

/// A count of each side, and of the connections of which nobody knows it once there is something to count.
fn by_any_side(
    session: &SessionView,
    out: &mut dyn Out,
    of_side: fn(&TcpSide) -> u64,
    of_unknown: fn(&UnknownSideStats) -> u64,
) {
    let Some(net) = &session.counts.net else {
        return;
    };
    let used = |side: usize| net.tcp[side].is_used().then(|| of_side(&net.tcp[side]));
    for side in AnySide::ALL {
        let count = match side {
            AnySide::Inbound => used(INBOUND),
            AnySide::Outbound => used(OUTBOUND),
            AnySide::Unknown => Some(of_unknown(&net.unknown)).filter(|count| *count > 0),
        };
        if let Some(count) = count {
            out.number(&[ANY_SIDE.is(side)], count as f64);
        }
    }
}
