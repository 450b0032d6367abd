//! The sources of sessions: the cgroup hierarchy, and the platforms that know what its sessions are.

use crate::{
    discover::{
        directory::Status,
        platform::{ErrorType, Reconciles, Source as Platform},
    },
    metrics::family::{
        Buckets, Family,
        Kind::{Counter, Gauge, Histogram},
        Samples::Node,
        Source, State, Unit,
    },
};

const SOURCE: (&str, &str) = ("source", Platform::VALUES);
/// Without the hierarchy, which is always there.
const PLATFORM: (&str, &str) = ("source", "kubernetes, logind, libvirt, containers");

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_agent_source_up",
        help: "Whether a platform answers; the reason is empty when it does, and /api/v1/sessions has it in full",
        kind: Gauge,
        unit: Unit::None,
        labels: &[
            PLATFORM,
            (
                "reason",
                "off, starting, down, absent: it has never answered",
            ),
        ],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (source, peer) in &state.snapshot.agent.peers {
                let (up, reason) = match peer.status {
                    Status::Up => (1.0, ""),
                    Status::Off(_) => (0.0, "off"),
                    Status::Starting => (0.0, "starting"),
                    Status::Down(_) => (0.0, "down"),
                    Status::Absent(_) => (0.0, "absent"),
                };
                out.number(&[("source", source.name()), ("reason", reason)], up);
            }
        }),
    },
    Family {
        stem: "vdi_agent_reconcile_duration",
        help: "Time a comparison of what a source has with what is known took",
        kind: Histogram(Buckets::OWN),
        unit: Unit::Seconds,
        labels: &[SOURCE],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (source, reconciles) in all(state) {
                out.histogram(&[("source", source)], &reconciles.duration);
            }
        }),
    },
    Family {
        stem: "vdi_agent_reconcile",
        help: "Comparisons of what a source has with what is known, by result; requeue is an API server's wish to begin again",
        kind: Counter,
        unit: Unit::None,
        labels: &[SOURCE, ("result", "success, error, requeue")],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (source, reconciles) in all(state) {
                let results = [
                    ("success", reconciles.success),
                    ("error", reconciles.errors.values().sum()),
                    ("requeue", reconciles.requeue),
                ];
                for (result, count) in results {
                    out.number(&[("source", source), ("result", result)], count as f64);
                }
            }
        }),
    },
    Family {
        stem: "vdi_agent_reconcile_errors",
        help: "Comparisons that failed, by kind of error",
        kind: Counter,
        unit: Unit::None,
        labels: &[
            SOURCE,
            (
                "error_type",
                "not_found, already_exists, conflict, validation, bad_request, unauthorized, forbidden, timeout, \
                 server_timeout, unavailable, rate_limited, internal",
            ),
        ],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (source, reconciles) in all(state) {
                // From the start, so that a rate sees the first of each.
                for kind in ErrorType::ALL {
                    let count = reconciles.errors.get(&kind).copied().unwrap_or_default();
                    out.number(
                        &[("source", source), ("error_type", kind.name())],
                        count as f64,
                    );
                }
            }
        }),
    },
];

/// The hierarchy, and the platforms that are asked.
fn all<'s>(state: &'s State<'_>) -> impl Iterator<Item = (&'static str, &'s Reconciles)> {
    let agent = &state.snapshot.agent;
    let asked = |status: &Status| !matches!(status, Status::Off(_));
    let peers = agent
        .peers
        .iter()
        .filter(move |(_, peer)| asked(&peer.status));
    let peers = peers.map(|(source, peer)| (source.name(), &peer.reconciles));
    [("cgroup", &agent.reconciles)].into_iter().chain(peers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_names_every_kind_of_error() {
        let family = FAMILIES
            .iter()
            .find(|f| f.stem == "vdi_agent_reconcile_errors");
        let (_, values) = family.unwrap().labels[1];
        let names: Vec<&str> = ErrorType::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(values, names.join(", "));
    }
}
