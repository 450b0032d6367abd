//! The network.

use super::{
    super::{
        judge::{self, over},
        units::{age, bytes, count, or_absent, percent, time},
    },
    section::Section,
};
use crate::api::{Disconnects, Distribution, Protocols, Session, Tcp, TcpSide};

pub(super) fn network(session: &Session, now: f64) -> Section {
    let mut section = Section::new("Network");
    let (Some(tcp), Some(carried)) = (session.tcp, session.network_bytes) else {
        section.line("TCP", "not measured on this kernel");
        return section;
    };
    sides(&mut section, session, &tcp);
    if let Some(gone) = &session.disconnects {
        disconnects(&mut section, gone, now);
    }
    let protocols = |Protocols { tcp, udp }: Protocols| {
        format!("{} by TCP, {} by UDP", bytes(tcp), or_absent(udp, bytes))
    };
    section.line("sent", protocols(carried.transmit));
    section.line("received", protocols(carried.receive));
    if let Some(udp) = session.udp.filter(|udp| udp.receive_drops > 0) {
        section.judged(
            "UDP drops",
            format!(
                "{} of {} datagrams received",
                count(udp.receive_drops),
                count(udp.receive_datagrams + udp.receive_drops)
            ),
            Some(
                "any is too much: it does not read fast enough, or its buffer is small".to_owned(),
            ),
        );
    }
    section
}

fn sides(section: &mut Section, session: &Session, tcp: &Tcp) {
    let Tcp { inbound, outbound } = tcp;
    section.line(
        "clients",
        format!(
            "{} now, {} connections accepted, {}, {} resets",
            or_absent(session.clients, count),
            count(inbound.connections_opened),
            sent_again(inbound),
            count(inbound.resets)
        ),
    );
    if inbound.rtt.count > 0 {
        client_round_trips(section, inbound);
    }
    section.line(
        "outbound",
        format!(
            "{} now, {} connections opened, {} failed, {}, {} resets",
            or_absent(outbound.connections, count),
            count(outbound.connections_opened),
            count(outbound.connect_failures),
            sent_again(outbound),
            count(outbound.resets)
        ),
    );
    if outbound.rtt.count > 0 {
        section.line("outbound RTT", quantiles(outbound.rtt));
    }
}

/// Those of the last minute are judged, or where there is no minute, of a session that has ended, those of its life.
fn client_round_trips(section: &mut Section, inbound: &TcpSide) {
    let judged = |section: &mut Section, label: &'static str, trips: Distribution| {
        let warning = over(trips.p95, judge::CLIENT_RTT_P95, || {
            let limit = time(judge::CLIENT_RTT_P95);
            format!("p95 over {limit}: typing lags, whatever the node does")
        });
        section.judged(label, quantiles(trips), warning);
    };
    match inbound.rtt_minute {
        Some(minute) => {
            judged(section, "client RTT, min", minute.observed);
            section.line("client RTT, life", quantiles(inbound.rtt));
        }
        None => judged(section, "client RTT, life", inbound.rtt),
    }
}

/// With the share of all that was sent, where that is known.
fn sent_again(side: &TcpSide) -> String {
    let again = side.retransmits;
    let text = format!("{} segments sent again", count(again));
    match side.segments {
        Some(sent) if sent > 0 => {
            let share = percent(again as f64 / sent as f64);
            format!("{text} ({share} of {})", count(sent))
        }
        _ => text,
    }
}

fn disconnects(section: &mut Section, gone: &Disconnects, now: f64) {
    let Disconnects {
        closed,
        reset,
        timed_out,
        idle,
        reconnects,
        disconnected_seconds,
        disconnected_since,
    } = *gone;
    if closed + reset + timed_out + idle > 0 {
        section.line(
            "disconnects",
            format!(
                "{} closed, {} reset, {} timed out, {} idle",
                count(closed),
                count(reset),
                count(timed_out),
                count(idle)
            ),
        );
    }
    if let Some(without) = disconnected_seconds.filter(|seconds| *seconds > 0.0) {
        let now = disconnected_since.map(|since| {
            let ago = age(now - since);
            format!("its client went {ago} ago without a close, and none has come since")
        });
        section.judged(
            "disconnected",
            format!(
                "{} in all; clients that came back within 10 min: {}",
                time(without),
                or_absent(reconnects, count)
            ),
            now,
        );
    }
}

fn quantiles(d: Distribution) -> String {
    format!(
        "p50 {}, p95 {}, p99 {}",
        or_absent(d.p50, time),
        or_absent(d.p95, time),
        or_absent(d.p99, time)
    )
}
