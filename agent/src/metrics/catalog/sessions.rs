//! Sessions: which there are, and how they start.

use std::{collections::BTreeMap, time::UNIX_EPOCH};

use super::long;
use crate::{
    kernel::programs::name,
    metrics::family::{
        Buckets, Family,
        Kind::{BoundedHistogram, Counter, Gauge, Histogram},
        Out,
        Samples::{Node, Occasional, PerSession},
        Source, State, Unit,
    },
    session::{ended::DURATION_BOUNDS, phase::Phase},
};

/// 0.25 s to 17 min.
const STARTUP: Buckets = long(&[-2, 0, 1, 2, 3, 4, 5, 6, 8, 10]);

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_sessions",
        help: "Live sessions by phase, and those that their platform has taken on; every phase of a template that the agent has seen is present",
        kind: Gauge,
        unit: Unit::None,
        labels: &[
            ("phase", "Pending, Starting, Running, Idle, Terminating"),
            ("namespace", "namespace of the sessions"),
            ("template", "template of the sessions"),
        ],
        source: Source::Registry,
        samples: Node(sessions_by_phase),
    },
    Family {
        stem: "vdi_session_info",
        help: "Identity of a session; always 1",
        kind: Gauge,
        unit: Unit::None,
        labels: &[
            ("cgroup", "path of its cgroup"),
            (
                "source",
                "what named it: cgroup, kubernetes, logind, libvirt, containers",
            ),
            ("runtime", "what runs it; empty when not known"),
            ("pod", "uid of its pod; empty without one"),
            ("container", "id of its container; empty without one"),
            (
                "user",
                "who uses it, as sessions.user says; empty when that is off or not known",
            ),
        ],
        source: Source::Registry,
        samples: PerSession(|s, out| {
            let text = |v: &Option<String>| v.clone().unwrap_or_default();
            let (runtime, pod, container, user) = (
                text(&s.identity.runtime),
                text(&s.identity.pod),
                text(&s.identity.container),
                text(&s.identity.user),
            );
            out.number(
                &[
                    ("cgroup", &s.cgroup),
                    ("source", s.identity.source_name()),
                    ("runtime", &runtime),
                    ("pod", &pod),
                    ("container", &container),
                    ("user", &user),
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
        stem: "vdi_session_budget_exceeded",
        help: "How often the session wanted more than its share of what the agent keeps for all; what is over it is not measured apart or not logged. A resource appears with its first",
        kind: Counter,
        unit: Unit::None,
        labels: &[("resource", "sessions, log_lines, cgroups, connections")],
        source: Source::Registry,
        samples: Occasional(|s, out| {
            for (resource, exceeded) in &s.counts.exceeded {
                out.number(&[("resource", resource.name())], *exceeded as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_ended",
        help: "Sessions that ended, by reason, which appears with its first",
        kind: Counter,
        unit: Unit::None,
        labels: &[
            ("namespace", "namespace of the sessions"),
            ("template", "template of the sessions"),
            (
                "reason",
                "completed, error, signal, oom_killed, evicted, gpu_error, unknown",
            ),
        ],
        source: Source::Registry,
        samples: Node(|state, out| {
            for ((namespace, template, reason), ended) in &state.snapshot.agent.ended {
                out.number(
                    &[
                        ("namespace", namespace),
                        ("template", template),
                        ("reason", reason.name()),
                    ],
                    ended.count as f64,
                );
            }
        }),
    },
    Family {
        stem: "vdi_session_duration",
        help: "How long sessions lasted that have ended and whose beginning is known",
        kind: BoundedHistogram,
        unit: Unit::Seconds,
        labels: &[
            ("namespace", "namespace of the sessions"),
            ("template", "template of the sessions"),
            ("reason", "as of vdi_session_ended_total"),
        ],
        source: Source::Registry,
        samples: Node(|state, out| {
            for ((namespace, template, reason), ended) in &state.snapshot.agent.ended {
                if ended.durations.iter().all(|&n| n == 0) {
                    continue;
                }
                out.bounded_histogram(
                    &[
                        ("namespace", namespace),
                        ("template", template),
                        ("reason", reason.name()),
                    ],
                    &DURATION_BOUNDS,
                    &ended.durations,
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
        labels: &[
            ("namespace", "namespace of the sessions"),
            ("template", "template of the sessions"),
            (
                "milestone",
                "scheduled, first_process, first_listener, first_client, first_gpu_context, first_encoder",
            ),
        ],
        source: Source::Program(name::CGROUP_MKDIR),
        samples: Node(|state, out| {
            for ((namespace, template, milestone), histogram) in &state.snapshot.agent.startup {
                out.histogram(
                    &[
                        ("namespace", namespace),
                        ("template", template),
                        ("milestone", milestone.name()),
                    ],
                    histogram,
                );
            }
        }),
    },
];

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
                    ("phase", phase.name()),
                    ("namespace", namespace),
                    ("template", template),
                ],
                row[phase as usize] as f64,
            );
        }
    }
}
