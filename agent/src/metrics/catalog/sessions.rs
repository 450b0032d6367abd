//! Sessions: which there are, and how they start.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::UNIX_EPOCH,
};

use agent_common::histogram::Histogram as Observed;

use super::{
    labels::{NAMESPACE, SOURCE, TEMPLATE},
    long,
};
use crate::{
    discover::{
        directory::Status,
        platform::{EndReason, Source as Platform},
    },
    kernel::programs::name,
    metrics::{
        family::{
            Bounds, Buckets, Family,
            Kind::{BoundedHistogram, Counter, Gauge, Histogram},
            Out,
            Samples::{Node, Occasional, PerSession},
            Source, State, Unit,
        },
        label::{OneOf, Text},
    },
    session::{
        budget::Resource,
        ended::{DURATION_BOUNDS, DURATION_SHIFT, Ended},
        logon::LogonPhase,
        model::Milestone,
        phase::Phase,
    },
};

/// 0.5 s to 17 min.
const STARTUP: Buckets = long(&[-1, 2, 4, 6, 8, 10]);
/// 0.5 s to 64 s.
const LOGON: Buckets = long(&[-1, 1, 2, 3, 4, 6]);
/// A quarter of an hour to a week.
const DURATION: Bounds = Bounds {
    all: &DURATION_BOUNDS,
    few: &[900, 3_600, 14_400, 28_800, 86_400, 604_800],
    shift: DURATION_SHIFT,
};

const PHASE: OneOf<Phase> = OneOf::new("phase");
const ID: Text = Text::new("id", "its id in the API, on the status page and as a trace");
const CGROUP: Text = Text::new("cgroup", "path of its cgroup");
const RUNTIME: Text = Text::new("runtime", "what runs it; empty when not known");
const POD: Text = Text::new(
    "pod",
    "name of its pod; empty without one, or where no platform has told it",
);
const POD_UID: Text = Text::new("pod_uid", "uid of its pod; empty without one");
const CONTAINER: Text = Text::new("container", "id of its container; empty without one");
const USER: Text = Text::new(
    "user",
    "who uses it, as sessions.user says; empty when that is off or not known",
);
const RESOURCE: OneOf<Resource> = OneOf::new("resource");
const REASON: OneOf<EndReason> = OneOf::new("reason");
const MILESTONE: OneOf<Milestone> = OneOf::new("milestone");
const LOGON_PHASE: OneOf<LogonPhase> = OneOf::new("phase");

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_sessions",
        help: "Live sessions by phase, and those that their platform has taken on; every phase of a template that the agent has seen is present",
        kind: Gauge,
        unit: Unit::None,
        labels: &[PHASE.label(), NAMESPACE.label(), TEMPLATE.label()],
        source: Source::Registry,
        samples: Node(sessions_by_phase),
    },
    Family {
        stem: "vdi_session_info",
        help: "Identity of a session; always 1",
        kind: Gauge,
        unit: Unit::None,
        labels: &[
            ID.label(),
            CGROUP.label(),
            SOURCE.about("what named it").label(),
            RUNTIME.label(),
            POD.label(),
            POD_UID.label(),
            CONTAINER.label(),
            USER.label(),
        ],
        source: Source::Registry,
        samples: PerSession(|s, out| {
            let text = |v: &Option<String>| v.clone().unwrap_or_default();
            let id = s.id.to_string();
            let facts = s.platform.as_ref();
            let pod = facts.and_then(|facts| facts.details.get("pod"));
            let pod = pod.map(String::as_str).unwrap_or_default();
            let (runtime, pod_uid, container, user) = (
                text(&s.identity.runtime),
                text(&s.identity.pod),
                text(&s.identity.container),
                text(&s.identity.user),
            );
            out.number(
                &[
                    ID.is(&id),
                    CGROUP.is(&s.cgroup),
                    SOURCE.is(s.identity.source.into()),
                    RUNTIME.is(&runtime),
                    POD.is(pod),
                    POD_UID.is(&pod_uid),
                    CONTAINER.is(&container),
                    USER.is(&user),
                ],
                1.0,
            );
        }),
    },
    Family {
        stem: "vdi_session_start_time",
        help: "When the session began, in seconds since the epoch",
        kind: Gauge,
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Registry,
        samples: PerSession(|s, out| {
            if let Some(since) = s.started.and_then(|t| t.duration_since(UNIX_EPOCH).ok()) {
                out.number(&[], since.as_secs_f64());
            }
        }),
    },
    Family {
        stem: "vdi_session_idle",
        help: "How long nobody has used the session: no client has sent anything, no GPU was used, and of a CPU less than a twentieth. An agent that starts takes it to be in use; absent once it has ended",
        kind: Gauge,
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Registry,
        samples: PerSession(|s, out| {
            if let Some(idle) = s.idle_for {
                out.number(&[], idle.as_secs_f64());
            }
        }),
    },
    Family {
        stem: "vdi_session_budget_exceeded",
        help: "How often the session wanted more than its share of what the agent keeps for all; what is over it is not measured apart or not logged. A resource appears with its first",
        kind: Counter,
        unit: Unit::None,
        labels: &[RESOURCE.label()],
        source: Source::Registry,
        samples: Occasional(|s, out| {
            for (resource, exceeded) in &s.counts.exceeded {
                out.number(&[RESOURCE.is(*resource)], *exceeded as f64);
            }
        }),
    },
    Family {
        stem: "vdi_sessions_started",
        help: "Sessions whose cgroup was made while the agent ran; of up to 32 templates of which there was a session it is there from the first one on",
        kind: Counter,
        unit: Unit::None,
        labels: &[NAMESPACE.label(), TEMPLATE.label()],
        source: Source::Program(name::CGROUP_MKDIR),
        samples: Node(|state, out| {
            let mut begun: BTreeMap<_, u64> = templates(state)
                .into_iter()
                .map(|template| (template, 0))
                .collect();
            for ((namespace, template), count) in &state.snapshot.agent.begun {
                begun.insert((namespace.as_str(), template.as_str()), *count);
            }
            for ((namespace, template), count) in begun {
                let labels = [NAMESPACE.is(namespace), TEMPLATE.is(template)];
                out.number(&labels, count as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_ended",
        help: "Sessions that ended, by reason; of up to 32 templates of which there was a session every reason is there for which one can end on this node",
        kind: Counter,
        unit: Unit::None,
        labels: &[NAMESPACE.label(), TEMPLATE.label(), REASON.label()],
        source: Source::Registry,
        samples: Node(|state, out| {
            for ((namespace, template, reason), ended) in endings(state) {
                out.number(
                    &[
                        NAMESPACE.is(namespace),
                        TEMPLATE.is(template),
                        REASON.is(reason),
                    ],
                    ended.count as f64,
                );
            }
        }),
    },
    Family {
        stem: "vdi_session_duration",
        help: "How long sessions lasted that have ended and whose beginning is known",
        kind: BoundedHistogram(DURATION),
        unit: Unit::Seconds,
        labels: &[NAMESPACE.label(), TEMPLATE.label(), REASON.label()],
        source: Source::Registry,
        samples: Node(|state, out| {
            for ((namespace, template, reason), ended) in endings(state) {
                out.bounded_histogram(
                    &[
                        NAMESPACE.is(namespace),
                        TEMPLATE.is(template),
                        REASON.is(reason),
                    ],
                    &ended.durations,
                    &ended.native,
                    ended.seconds,
                );
            }
        }),
    },
    Family {
        stem: "vdi_session_startup",
        help: "Time from the beginning of a session (its creation by the platform, otherwise the making of its cgroup) to a milestone of its start, for sessions whose cgroup was made while the agent ran",
        kind: Histogram(STARTUP),
        unit: Unit::Seconds,
        labels: &[NAMESPACE.label(), TEMPLATE.label(), MILESTONE.label()],
        source: Source::Program(name::CGROUP_MKDIR),
        samples: Node(|state, out| {
            for ((namespace, template, milestone), histogram) in startups(state) {
                out.histogram(
                    &[
                        NAMESPACE.is(namespace),
                        TEMPLATE.is(template),
                        MILESTONE.is(milestone),
                    ],
                    histogram,
                );
            }
        }),
    },
    Family {
        stem: "vdi_session_logon",
        help: "How long each phase of a logon took, from the connection on, and of a start of a pod; what no phase explains is unaccounted, so that the phases are the whole. Counted once for a session whose cgroup was made while the agent ran: when it has settled, when nothing more has come for two minutes, or when it has ended. A template has the phases that its platform can tell",
        kind: Histogram(LOGON),
        unit: Unit::Seconds,
        labels: &[NAMESPACE.label(), TEMPLATE.label(), LOGON_PHASE.label()],
        source: Source::Program(name::CGROUP_MKDIR),
        samples: Node(|state, out| {
            for ((namespace, template, phase), histogram) in &state.snapshot.agent.logons {
                out.histogram(
                    &[
                        NAMESPACE.is(namespace),
                        TEMPLATE.is(template),
                        LOGON_PHASE.is(*phase),
                    ],
                    histogram,
                );
            }
        }),
    },
    Family {
        stem: "vdi_session_logoff",
        help: "Time from the end of a login's leader, with which logind closes it, until its last cgroup was gone; a logoff whose beginning was not seen is not among them",
        kind: Histogram(LOGON),
        unit: Unit::Seconds,
        labels: &[NAMESPACE.label(), TEMPLATE.label()],
        source: Source::Registry,
        samples: Node(|state, out| {
            for ((namespace, template), histogram) in &state.snapshot.agent.logoffs {
                out.histogram(&[NAMESPACE.is(namespace), TEMPLATE.is(template)], histogram);
            }
        }),
    },
];

/// Templates that have a 0 of what has not happened yet. An operator that gives each session a template of its own would
/// else have a hundred series for each; beyond so many a series begins with its first observation.
const MOST_WITH_ZEROS: usize = 32;

/// The templates of sessions that are there or were, as many as have a 0 of everything.
fn templates<'s>(state: &State<'s>) -> BTreeSet<(&'s str, &'s str)> {
    let agent = &state.snapshot.agent;
    let present = state.snapshot.sessions.iter().map(|session| {
        let identity = &session.identity;
        (identity.namespace.as_str(), identity.template.as_str())
    });
    let ended = agent.ended.keys();
    let ended = ended.map(|(namespace, template, _)| (namespace.as_str(), template.as_str()));
    let started = agent.startup.keys();
    let started = started.map(|(namespace, template, _)| (namespace.as_str(), template.as_str()));
    let all: BTreeSet<_> = present.chain(ended).chain(started).collect();
    all.into_iter().take(MOST_WITH_ZEROS).collect()
}

/// Whether pods are asked for, and whether there is a driver of GPUs: what nobody could tell here has no series.
fn has_pods_and_gpus(state: &State<'_>) -> (bool, bool) {
    let pods = state.snapshot.agent.peers.get(&Platform::Kubernetes);
    let pods = pods.is_some_and(|peer| !matches!(peer.status, Status::Off(_)));
    // Also while it does not answer.
    let gpus = state
        .snapshot
        .gpu
        .calls
        .contains_key("nvmlDeviceGetCount_v2");
    (pods, gpus)
}

/// How sessions of each template have ended. What has not happened yet is 0 from the first session on, so that a rate sees
/// the first.
fn endings<'s>(state: &State<'s>) -> BTreeMap<(&'s str, &'s str, EndReason), &'s Ended> {
    let (pods, gpus) = has_pods_and_gpus(state);
    let mut endings = BTreeMap::new();
    for (namespace, template) in templates(state) {
        for reason in EndReason::ALL {
            let possible = match reason {
                EndReason::Evicted => pods,
                EndReason::GpuError => gpus,
                _ => true,
            };
            if possible {
                endings.insert((namespace, template, reason), const { &Ended::NONE });
            }
        }
    }
    for ((namespace, template, reason), ended) in &state.snapshot.agent.ended {
        endings.insert((namespace, template, *reason), ended);
    }
    endings
}

/// How sessions of each template have started; the same.
fn startups<'s>(state: &State<'s>) -> BTreeMap<(&'s str, &'s str, Milestone), &'s Observed> {
    let (pods, gpus) = has_pods_and_gpus(state);
    let mut startups = BTreeMap::new();
    for (namespace, template) in templates(state) {
        for milestone in Milestone::ALL {
            let possible = match milestone {
                Milestone::Scheduled => pods,
                Milestone::FirstGpuContext | Milestone::FirstEncoder => gpus,
                Milestone::FirstProcess
                | Milestone::FirstListener
                | Milestone::Settled
                | Milestone::FirstClient => true,
                // The registry has zeros of these, of sessions whose platform tells them.
                Milestone::Sandbox
                | Milestone::Pulled
                | Milestone::Started
                | Milestone::Ready
                | Milestone::UserManager
                | Milestone::HomeMounted => false,
            };
            if possible {
                let key = (namespace, template, milestone);
                startups.insert(key, const { &Ended::NONE.native });
            }
        }
    }
    for ((namespace, template, milestone), histogram) in &state.snapshot.agent.startup {
        startups.insert((namespace, template, *milestone), histogram);
    }
    startups
}

fn sessions_by_phase(state: &State<'_>, out: &mut dyn Out) {
    let agent = &state.snapshot.agent;
    let mut counts = BTreeMap::<(&str, &str), [u64; Phase::ALL.len()]>::new();
    for (namespace, template) in &agent.templates {
        counts.entry((namespace, template)).or_default();
    }
    for (namespace, template) in &agent.awaited {
        counts.entry((namespace, template)).or_default()[Phase::Pending as usize] += 1;
    }
    for session in &state.snapshot.sessions {
        let identity = &session.identity;
        let row = counts
            .entry((&identity.namespace, &identity.template))
            .or_default();
        if let Some(phase) = session.phase {
            row[phase as usize] += 1;
        }
    }
    for ((namespace, template), row) in counts {
        for phase in Phase::ALL {
            out.number(
                &[
                    PHASE.is(phase),
                    NAMESPACE.is(namespace),
                    TEMPLATE.is(template),
                ],
                row[phase as usize] as f64,
            );
        }
    }
}
