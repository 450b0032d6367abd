//! The sources of sessions: the cgroup hierarchy, and the platforms that know what its sessions are.

use super::labels::{Origin, SOURCE};
use crate::{
    discover::{
        directory::Status,
        platform::{ErrorType, ReconcileResult, Reconciles, Source as Platform},
    },
    metrics::{
        family::{
            Buckets, Family,
            Kind::{Counter, Gauge, Histogram},
            Samples::Node,
            Source, State, Unit,
        },
        label::OneOf,
    },
    named::named,
};

/// Without the hierarchy, which is always there.
const PLATFORM: OneOf<Platform> = OneOf::new("source");
const ERROR_TYPE: OneOf<ErrorType> = OneOf::new("error_type");

named! {
    /// Why a platform does not answer.
    enum Away {
        /// Nobody asks it.
        Off = "off",
        /// It is asked for the first time.
        Starting = "starting",
        /// It has answered before.
        Down = "down",
        /// It has never answered.
        Absent = "absent",
    }
}
const REASON: OneOf<Away> = OneOf::new("reason").about("absent: it has never answered");

const RESULT: OneOf<ReconcileResult> = OneOf::new("result");

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_agent_source_up",
        help: "Whether a platform answers; the reason is empty when it does, and /api/v1/sessions has it in full",
        kind: Gauge,
        unit: Unit::None,
        labels: &[PLATFORM.label(), REASON.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (source, peer) in &state.snapshot.agent.peers {
                let down = match peer.status {
                    Status::Up => None,
                    Status::Off(_) => Some(Away::Off),
                    Status::Starting => Some(Away::Starting),
                    Status::Down(_) => Some(Away::Down),
                    Status::Absent(_) => Some(Away::Absent),
                };
                let up = f64::from(u8::from(down.is_none()));
                let labels = [PLATFORM.is(*source), REASON.is_or_empty(down)];
                out.number(&labels, up);
            }
        }),
    },
    Family {
        stem: "vdi_agent_reconcile_duration",
        help: "Time a comparison of what a source has with what is known took, by what came of it",
        kind: Histogram(Buckets::OWN),
        unit: Unit::Seconds,
        labels: &[SOURCE.label(), RESULT.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (source, reconciles) in all(state) {
                for (result, durations) in &reconciles.durations {
                    out.histogram(&[SOURCE.is(source), RESULT.is(*result)], durations);
                }
            }
        }),
    },
    Family {
        stem: "vdi_agent_reconcile",
        help: "Comparisons of what a source has with what is known, by result; requeue is an API server's wish to begin again",
        kind: Counter,
        unit: Unit::None,
        labels: &[SOURCE.label(), RESULT.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (source, reconciles) in all(state) {
                for result in ReconcileResult::ALL {
                    let count = match result {
                        ReconcileResult::Success => reconciles.success,
                        ReconcileResult::Error => reconciles.errors.values().sum(),
                        ReconcileResult::Requeue => reconciles.requeue,
                    };
                    out.number(&[SOURCE.is(source), RESULT.is(result)], count as f64);
                }
            }
        }),
    },
    Family {
        stem: "vdi_agent_reconcile_errors",
        help: "Comparisons that failed, by kind of error",
        kind: Counter,
        unit: Unit::None,
        labels: &[SOURCE.label(), ERROR_TYPE.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (source, reconciles) in all(state) {
                // From the start, so that a rate sees the first of each.
                for kind in ErrorType::ALL {
                    let count = reconciles.errors.get(&kind).copied().unwrap_or_default();
                    out.number(&[SOURCE.is(source), ERROR_TYPE.is(kind)], count as f64);
                }
            }
        }),
    },
];

/// The hierarchy, and the platforms that are asked.
fn all<'s>(state: &'s State<'_>) -> impl Iterator<Item = (Origin, &'s Reconciles)> {
    let agent = &state.snapshot.agent;
    let asked = |status: &Status| !matches!(status, Status::Off(_));
    let peers = agent
        .peers
        .iter()
        .filter(move |(_, peer)| asked(&peer.status));
    let peers = peers.map(|(source, peer)| (Some(*source).into(), &peer.reconciles));
    [(Origin::Cgroup, &agent.reconciles)]
        .into_iter()
        .chain(peers)
}
