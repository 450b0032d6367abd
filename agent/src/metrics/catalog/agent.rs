//! The agent: its programs, its sessions, its work.

use crate::{
    kernel::programs::{OffCode, name},
    metrics::family::{
        Buckets, Family,
        Kind::{Counter, Gauge, Histogram},
        Samples::Node,
        Source, Unit,
    },
};

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_agent_build_info",
        help: "Version of the agent and what it runs on; always 1",
        kind: Gauge,
        unit: Unit::None,
        labels: &[
            ("version", "version of the agent"),
            ("kernel", "release of the running kernel"),
            ("task_state", "task-storage or pid-array"),
        ],
        source: Source::Agent,
        samples: Node(|state, out| {
            let agent = &state.snapshot.agent;
            out.number(
                &[
                    ("version", env!("CARGO_PKG_VERSION")),
                    ("kernel", &agent.kernel_release),
                    ("task_state", agent.task_store.name()),
                ],
                1.0,
            );
        }),
    },
    Family {
        stem: "vdi_agent_probe_up",
        help: "Whether a kernel program runs; code and reason are empty when it does",
        kind: Gauge,
        unit: Unit::None,
        labels: &[
            ("probe", "name of the program"),
            (
                "code",
                "no_controller, no_driver, no_hook, denied, verifier, unsupported, other",
            ),
            ("reason", "why it does not run, in words"),
        ],
        source: Source::Agent,
        samples: Node(|state, out| {
            for program in &state.snapshot.programs {
                let code = program.code.map(OffCode::name).unwrap_or_default();
                let reason = program.reason.as_deref().unwrap_or_default();
                out.number(
                    &[("probe", program.name), ("code", code), ("reason", reason)],
                    f64::from(u8::from(program.up)),
                );
            }
        }),
    },
    Family {
        stem: "vdi_agent_probe_missed",
        help: "Times that the kernel passed a program over because it was running on that CPU already",
        kind: Counter,
        unit: Unit::None,
        labels: &[("probe", "name of the program")],
        source: Source::Agent,
        samples: Node(|state, out| {
            for program in &state.snapshot.programs {
                if let Some(missed) = program.missed {
                    out.number(&[("probe", program.name)], missed as f64);
                }
            }
        }),
    },
    Family {
        stem: "vdi_agent_probe_runs",
        help: "Runs of a kernel program, while kernel.statistics is on",
        kind: Counter,
        unit: Unit::None,
        labels: &[("probe", "name of the program")],
        source: Source::Agent,
        samples: Node(|state, out| {
            for program in &state.snapshot.programs {
                if let Some(runs) = program.runs {
                    out.number(&[("probe", program.name)], runs as f64);
                }
            }
        }),
    },
    Family {
        stem: "vdi_agent_probe",
        help: "Time spent in a kernel program, while kernel.statistics is on",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[("probe", "name of the program")],
        source: Source::Agent,
        samples: Node(|state, out| {
            for program in &state.snapshot.programs {
                if let Some(seconds) = program.seconds {
                    out.number(&[("probe", program.name)], seconds);
                }
            }
        }),
    },
    Family {
        stem: "vdi_agent_sessions_tracked",
        help: "Live sessions that are measured",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Registry,
        samples: Node(|state, out| out.number(&[], state.snapshot.agent.live_sessions as f64)),
    },
    Family {
        stem: "vdi_agent_sessions_limit",
        help: "Most sessions that can be measured at once (sessions.max_sessions)",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Registry,
        samples: Node(|state, out| out.number(&[], f64::from(state.snapshot.agent.max_sessions))),
    },
    Family {
        stem: "vdi_agent_sessions_overflowed",
        help: "Sessions that were not measured when they came because the limit was reached",
        kind: Counter,
        unit: Unit::None,
        labels: &[],
        source: Source::Registry,
        samples: Node(|state, out| out.number(&[], state.snapshot.agent.overflowed_total as f64)),
    },
    Family {
        stem: "vdi_agent_templates_overflowed",
        help: "Sessions counted under the template overflow because theirs was one more than metrics.max_templates",
        kind: Counter,
        unit: Unit::None,
        labels: &[],
        source: Source::Registry,
        samples: Node(|state, out| {
            out.number(&[], state.snapshot.agent.templates_overflowed_total as f64);
        }),
    },
    Family {
        stem: "vdi_agent_session_adoption",
        help: "Time from the making of a session's cgroup until it is measured; what happens in between is not counted",
        kind: Histogram(Buckets::OWN),
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Program(name::CGROUP_MKDIR),
        samples: Node(|state, out| out.histogram(&[], &state.snapshot.agent.adoption)),
    },
    Family {
        stem: "vdi_agent_audit_discrepancy",
        help: "How far the agent's figures are from the kernel's own accounts of the sessions' cgroups, as a part of these: the worst of the last comparisons of all sessions, of which one has its turn each second; CPU time is compared with cpu.stat once the session has used five seconds of it",
        kind: Gauge,
        unit: Unit::Ratio,
        labels: &[("account", "cpu")],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (account, discrepancy) in &state.snapshot.agent.audit {
                out.number(&[("account", account.name())], *discrepancy);
            }
        }),
    },
    Family {
        stem: "vdi_agent_events_lost",
        help: "Events of the kernel programs lost because the ring buffer was full; counters do not go through it",
        kind: Counter,
        unit: Unit::None,
        labels: &[(
            "event",
            "cgroup_made, cgroup_removed, process_failed, process_moved, gpu_xid",
        )],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (event, lost) in &state.snapshot.agent.events_lost {
                out.number(&[("event", event)], *lost as f64);
            }
        }),
    },
    Family {
        stem: "vdi_agent_unmeasured_switches",
        help: "Context switches of sessions' threads of which nothing was measured, because the thread had no state: it is older than the agent and has not been found yet, its start was missed, the kernel had no memory for it, or with pid-array it has become its process's first thread",
        kind: Counter,
        unit: Unit::None,
        labels: &[],
        source: Source::Program(name::SCHED_SWITCH),
        samples: Node(|state, out| {
            out.number(&[], state.snapshot.agent.unmeasured_switches as f64);
        }),
    },
    Family {
        stem: "vdi_agent_map_memory",
        help: "Kernel memory of the programs' maps; task storage, which grows with the threads, is not in it",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| out.number(&[], state.snapshot.agent.map_bytes as f64)),
    },
    Family {
        stem: "vdi_agent_sample_age",
        help: "Age of the sample that this exposition shows",
        kind: Gauge,
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| out.number(&[], state.snapshot.taken.elapsed().as_secs_f64())),
    },
    Family {
        stem: "vdi_agent_series_dropped",
        help: "Series left out of expositions because there were more than metrics.max_series, by family",
        kind: Counter,
        unit: Unit::None,
        labels: &[("family", "name of the family")],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (family, series) in state.dropped {
                out.number(&[("family", family)], *series as f64);
            }
        }),
    },
    Family {
        stem: "vdi_agent_scrape_duration",
        help: "Time the agent took to answer a scrape",
        kind: Histogram(Buckets::OWN),
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| out.histogram(&[], state.scrapes)),
    },
];

/// Last of all families, so that it counts the others.
pub(super) const SERIES: Family = Family {
    stem: "vdi_agent_series",
    help: "Series in this exposition",
    kind: Gauge,
    unit: Unit::None,
    labels: &[],
    source: Source::Agent,
    samples: Node(|state, out| out.number(&[], state.series as f64 + 1.0)),
};
