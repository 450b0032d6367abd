//! Network: is it the way to the clients, or what the sessions call?

use super::board::{Board, Link, Variable};
use super::grafana::{Dashboard, Row};
use super::panel::Panel;
use super::select::{EACH, NODES, SESSIONS};
use super::vocabulary::{
    Label,
    Thresholds::{Above, Plain},
    Unit::{BytesPerSecond, Count, Packets, PerSecond, Ratio, Seconds},
};

/// Name of a session that no other has.
const NAME: &str = "{{namespace}}/{{session}} on {{instance}}";

/// `dashboards/network.json`.
pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        board: Board::Network,
        description: "Is it the way to the clients, or what the sessions call? Inbound are connections of clients, outbound those that a session opens. UDP has no round-trip time that the kernel knows.",
        variables: &[
            Variable::Cluster,
            Variable::Environment,
            Variable::Namespace,
            Variable::Template,
            Variable::Node,
            Variable::Find,
            Variable::Session,
        ],
        from: "now-1h",
        rows: vec![
            Row {
                title: "The way to the clients",
                panels: clients(),
            },
            Row {
                title: "What the sessions call",
                panels: calls(),
            },
            Row {
                title: "Bytes and datagrams",
                panels: bytes(),
            },
        ],
    }
}

/// The part of a session's segments that it sent again. One that sends nothing has lost nothing.
fn sent_again() -> String {
    let rate = |counter: &str| format!("sum without (side) (rate({counter}{{{SESSIONS}}}[5m]))");
    format!(
        "{} / clamp_min({}, 1)",
        rate("vdi_session_tcp_retransmits_total"),
        rate("vdi_session_tcp_segments_total")
    )
}

fn clients() -> Vec<Panel> {
    let late = format!("session:vdi_session_client_rtt_seconds:above_125ms_ratio_5m{{{SESSIONS}}}");
    let those = format!("topk(20, {late})");
    vec![
        Panel::trend("Clients", Count, "Established inbound connections of all sessions of the chosen nodes.")
            .query(format!("sum(instance:vdi_session_clients:sum{{{NODES}}})"), "clients")
            .alerts(&["VdiClientsCollapsed", "VdiNodeClientsCollapsed"]),
        Panel::number(
            "Slow to reach",
            Count,
            "Sessions of which more than half of the round-trip times to their clients are above 125 ms.",
        )
        .query(format!("count({late} > 0.5)"), "slow")
        .thresholds(Above(1.0, 10.0))
        .nothing("none")
        .alerts(&["VdiSessionClientRttHigh"]),
        Panel::number(
            "Nodes with most late",
            Ratio,
            "Part of a node's sessions with clients that are slow to reach, on the node where it is most.",
        )
        .query(
            format!("max(sum by (cluster, environment, instance) ({late} > bool 0.5) / count by (cluster, environment, instance) ({late}))"),
            "slow",
        )
        .thresholds(Above(0.25, 0.5))
        .nothing("no TCP client")
        .alerts(&["VdiNodeClientRttHigh"]),
        Panel::trend(
            "Segments sent again",
            Ratio,
            "Part of the TCP segments with data of all sessions of the chosen nodes that was sent again. Fewer than one a second count as one.",
        )
        .query(
            format!("sum(instance:vdi_session_tcp_retransmits:rate5m{{{NODES}}}) / clamp_min(sum(instance:vdi_session_tcp_segments:rate5m{{{NODES}}}), 1)"),
            "again",
        ),
        Panel::number(
            "Failed connections",
            PerSecond,
            "Connections that sessions wanted and that were refused, timed out or given up.",
        )
        .query(
            format!("sum(rate(vdi_session_tcp_connect_failures_total{{{SESSIONS}}}[5m]))"),
            "failed",
        )
        .thresholds(Above(0.2, 5.0))
        .nothing("none")
        .alerts(&["VdiNodeConnectFailures", "VdiSessionConnectFailures"]),
        Panel::number(
            "Dropped datagrams",
            Packets,
            "Datagrams to sessions that were dropped because nobody read them in time.",
        )
        .query(format!("sum(rate(vdi_session_udp_drops_total{{{SESSIONS}}}[5m]))"), "dropped")
        .thresholds(Above(10.0, 100.0))
        .nothing("none")
        .alerts(&["VdiSessionDatagramsDropped"]),
        Panel::table(
            "Sessions, slowest to reach first",
            &[Label::Namespace, Label::Session, Label::Node],
            "The twenty sessions with the largest share of round-trip times above 125 ms, when input feels late.",
        )
        .column(those.clone(), "Above 125 ms", Ratio, Above(0.1, 0.5))
        .column(
            format!("session:vdi_session_client_rtt_seconds:mean_5m{{{SESSIONS}}} and on ({EACH}) {those}"),
            "Mean",
            Seconds,
            Above(0.06, 0.125),
        )
        .column(
            format!("{} and on ({EACH}) {those}", sent_again()),
            "Sent again",
            Ratio,
            Above(0.02, 0.1),
        )
        .column(
            format!("vdi_session_clients{{{SESSIONS}}} and on ({EACH}) {those}"),
            "Clients",
            Count,
            Plain,
        )
        .links(&[Link::Session, Link::Node])
        .nothing("no TCP client")
        .size(14, 10),
        Panel::bars(
            "Round trips by node, mean",
            Seconds,
            "Mean round-trip time to the clients of a node's sessions. One node alone is its link; all of them are the way. The ten longest.",
        )
        .query(
            format!("topk(10, avg by (cluster, environment, instance) (session:vdi_session_client_rtt_seconds:mean_5m{{{SESSIONS}}}))"),
            "{{cluster}} {{instance}}",
        )
        .thresholds(Above(0.06, 0.125))
        .links(&[Link::Node])
        .nothing("no TCP client")
        .size(10, 10),
    ]
}

fn calls() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Connections opened and failed",
            PerSecond,
            "TCP connections that were established, by side, and those that could not be.",
        )
        .query(
            format!("sum by (side) (rate(vdi_session_tcp_connections_opened_total{{{SESSIONS}}}[$__rate_interval]))"),
            "{{side}}",
        )
        .query(
            format!("sum(rate(vdi_session_tcp_connect_failures_total{{{SESSIONS}}}[$__rate_interval]))"),
            "failed",
        )
        .alerts(&["VdiNodeConnectFailures"]),
        Panel::buckets(
            "Time to connect",
            Seconds,
            "Time from the first packet until a connection that a session opens is there: how often, in each bucket.",
        )
        .query(
            format!("sum by (le) (increase(vdi_session_tcp_connect_seconds_bucket{{{SESSIONS}}}[$__rate_interval]))"),
            "{{le}}",
        )
        .nothing("no connection"),
        Panel::bars(
            "Most failed connections",
            PerSecond,
            "Connections that a session wanted and did not get. The ten highest.",
        )
        .query(
            format!("topk(10, sum without (side) (rate(vdi_session_tcp_connect_failures_total{{{SESSIONS}}}[5m])) > 0)"),
            NAME,
        )
        .thresholds(Above(0.2, 5.0))
        .links(&[Link::Session, Link::Node])
        .nothing("none")
        .alerts(&["VdiSessionConnectFailures"]),
        Panel::bars(
            "Most segments sent again",
            Ratio,
            "Part of a session's TCP segments with data that was sent again. Fewer than one a second count as one. The ten highest.",
        )
        .query(format!("topk(10, {} > 0)", sent_again()), NAME)
        .thresholds(Above(0.02, 0.1))
        .links(&[Link::Session, Link::Node])
        .nothing("none")
        .alerts(&["VdiSessionRetransmits"]),
        Panel::lines("Resets", PerSecond, "Resets that were sent and received, by side.").query(
            format!("sum by (side) (rate(vdi_session_tcp_resets_total{{{SESSIONS}}}[$__rate_interval]))"),
            "{{side}}",
        ),
        Panel::lines(
            "Segments sent again, by node",
            Ratio,
            "Part of the TCP segments with data of a node's sessions that was sent again. Fewer than one a second count as one. One node alone points to its link.",
        )
        .query(
            format!("instance:vdi_session_tcp_retransmits:rate5m{{{NODES}}} / clamp_min(instance:vdi_session_tcp_segments:rate5m{{{NODES}}}, 1)"),
            "{{cluster}} {{instance}}",
        )
        .links(&[Link::Node]),
    ]
}

fn bytes() -> Vec<Panel> {
    vec![
        Panel::stacked(
            "Bytes by direction and protocol",
            BytesPerSecond,
            "Data of all sessions of the chosen nodes.",
        )
        .query(
            format!("sum by (direction, protocol) (instance_direction_protocol:vdi_session_network_bytes:rate5m{{{NODES}}})"),
            "{{direction}} {{protocol}}",
        ),
        Panel::lines("Datagrams", Packets, "UDP datagrams of the chosen sessions, and those that were dropped.")
            .query(
                format!("sum by (direction) (rate(vdi_session_udp_datagrams_total{{{SESSIONS}}}[$__rate_interval]))"),
                "{{direction}}",
            )
            .query(
                format!("sum(rate(vdi_session_udp_drops_total{{{SESSIONS}}}[$__rate_interval]))"),
                "dropped",
            )
            .alerts(&["VdiSessionDatagramsDropped"]),
        Panel::bars(
            "Most sent",
            BytesPerSecond,
            "Bytes that a session sends. The ten highest.",
        )
        .query(
            format!(r#"topk(10, sum without (direction, protocol) (rate(vdi_session_network_bytes_total{{direction="transmit", {SESSIONS}}}[5m])))"#),
            NAME,
        )
        .links(&[Link::Session, Link::Node]),
    ]
}
