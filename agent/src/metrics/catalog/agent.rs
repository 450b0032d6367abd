//! The agent: its programs, its sessions, its work.

use agent_common::RING_BYTES;

use super::labels::SOURCE;
use crate::{
    kernel::{
        FilledMap,
        object::TaskStore,
        programs::{OffCode, name},
        ring::EventKind,
    },
    metrics::{
        family::{
            Buckets, Family,
            Kind::{Counter, Gauge, Histogram},
            Samples::Node,
            Source, Unit,
        },
        label::{OneOf, Text},
    },
    named::named,
    session::{audit::Account, registry::Admission},
    snapshot::TracesOf,
    telemetry::LineResult,
    version,
};

const VERSION: Text = Text::new("version", "version of the agent");
const COMMIT: Text = Text::new(
    "commit",
    "what it was built from; empty where the build was not told",
);
const KERNEL: Text = Text::new("kernel", "release of the running kernel");
const TASK_STATE: OneOf<TaskStore> = OneOf::new("task_state");
const PROBE: Text = Text::new("probe", "name of the program");
const CODE: OneOf<OffCode> = OneOf::new("code");
const REASON: Text = Text::new("reason", "why it does not run, in words");
const ACCOUNT: OneOf<Account> = OneOf::new("account");
const EVENT: OneOf<EventKind> = OneOf::new("event");
const MAP: OneOf<FilledMap> = OneOf::new("map");
const LINE: OneOf<LineResult> = OneOf::new("result");
const TRACES: OneOf<TracesOf> = OneOf::new("of");
const FATE: OneOf<SpanFate> = OneOf::new("result");
const ADMISSION: OneOf<Admission> = OneOf::new("result");
const FAMILY: Text = Text::new("family", "name of the family");

named! {
    /// What became of a span.
    enum SpanFate {
        /// The collector has taken it.
        Sent = "sent",
        /// There was no room for it.
        Dropped = "dropped",
        /// There were too many in a second.
        OverLimit = "over_limit",
    }
}

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_agent_build_info",
        help: "Version of the agent and what it runs on; always 1",
        kind: Gauge,
        unit: Unit::None,
        labels: &[
            VERSION.label(),
            COMMIT.label(),
            KERNEL.label(),
            TASK_STATE.label(),
        ],
        source: Source::Agent,
        samples: Node(|state, out| {
            let agent = &state.snapshot.agent;
            out.number(
                &[
                    VERSION.is(version::VERSION),
                    COMMIT.is(version::COMMIT.unwrap_or_default()),
                    KERNEL.is(&agent.kernel_release),
                    TASK_STATE.is(agent.task_store),
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
        labels: &[PROBE.label(), CODE.label(), REASON.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for program in &state.snapshot.programs {
                let reason = program.reason.as_deref().unwrap_or_default();
                let labels = [
                    PROBE.is(program.name),
                    CODE.is_or_empty(program.code),
                    REASON.is(reason),
                ];
                out.number(&labels, f64::from(u8::from(program.up)));
            }
        }),
    },
    Family {
        stem: "vdi_agent_probe_missed",
        help: "Times that the kernel passed a program over because it was running on that CPU already",
        kind: Counter,
        unit: Unit::None,
        labels: &[PROBE.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for program in &state.snapshot.programs {
                if let Some(missed) = program.missed {
                    out.number(&[PROBE.is(program.name)], missed as f64);
                }
            }
        }),
    },
    Family {
        stem: "vdi_agent_probe_runs",
        help: "Runs of a kernel program, while kernel.statistics is on",
        kind: Counter,
        unit: Unit::None,
        labels: &[PROBE.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for program in &state.snapshot.programs {
                if let Some(runs) = program.runs {
                    out.number(&[PROBE.is(program.name)], runs as f64);
                }
            }
        }),
    },
    Family {
        stem: "vdi_agent_probe",
        help: "Time spent in a kernel program, while kernel.statistics is on",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[PROBE.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for program in &state.snapshot.programs {
                if let Some(seconds) = program.seconds {
                    out.number(&[PROBE.is(program.name)], seconds);
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
        help: "How far the agent's figures are from the kernel's own accounts of the sessions' cgroups, as a part of these: the worst of the last comparisons of all sessions, of which one has its turn each second; CPU time is compared with cpu.stat for each five seconds of it, accepted TCP connections with what the network namespace counts, for each 200, of sessions that have one to themselves",
        kind: Gauge,
        unit: Unit::Ratio,
        labels: &[ACCOUNT.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (account, discrepancy) in &state.snapshot.agent.audit {
                out.number(&[ACCOUNT.is(*account)], *discrepancy);
            }
        }),
    },
    Family {
        stem: "vdi_agent_events_lost",
        help: "Events of the kernel programs lost because the ring buffer was full; counters do not go through it",
        kind: Counter,
        unit: Unit::None,
        labels: &[EVENT.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (event, lost) in &state.snapshot.agent.events_lost {
                out.number(&[EVENT.is(*event)], *lost as f64);
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
        stem: "vdi_agent_map_entries",
        help: "Entries of the kernel programs' maps that can be full before anything else is",
        kind: Gauge,
        unit: Unit::None,
        labels: &[MAP.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (map, entries) in &state.snapshot.agent.map_fills {
                out.number(&[MAP.is(*map)], *entries as f64);
            }
        }),
    },
    Family {
        stem: "vdi_agent_map_limit",
        help: "Entries that these maps have room for",
        kind: Gauge,
        unit: Unit::None,
        labels: &[MAP.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (map, _) in &state.snapshot.agent.map_fills {
                out.number(&[MAP.is(*map)], f64::from(map.limit()));
            }
        }),
    },
    Family {
        stem: "vdi_agent_trace_spans",
        help: "Spans of traces, by what became of them; absent without traces (`traces.endpoint`)",
        kind: Counter,
        unit: Unit::None,
        labels: &[FATE.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            let Some(traces) = &state.snapshot.agent.traces else {
                return;
            };
            for fate in SpanFate::ALL {
                let count = match fate {
                    SpanFate::Sent => traces.spans.sent,
                    SpanFate::Dropped => traces.spans.dropped,
                    SpanFate::OverLimit => traces.spans.over_limit,
                };
                out.number(&[FATE.is(fate)], count as f64);
            }
        }),
    },
    Family {
        stem: "vdi_agent_trace_export_failures",
        help: "Times that the collector of traces did not take what was sent; it is sent again",
        kind: Counter,
        unit: Unit::None,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| {
            if let Some(traces) = &state.snapshot.agent.traces {
                out.number(&[], traces.failures as f64);
            }
        }),
    },
    Family {
        stem: "vdi_agent_trace_spans_waiting",
        help: "Spans of traces that wait for the collector",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| {
            if let Some(traces) = &state.snapshot.agent.traces {
                out.number(&[], traces.waiting as f64);
            }
        }),
    },
    Family {
        stem: "vdi_agent_trace_sampling",
        help: "The part of all traces that is kept now: less than `traces.ratio` where there are more spans than `traces.spans_a_second`",
        kind: Gauge,
        unit: Unit::Ratio,
        labels: &[TRACES.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            if let Some(traces) = &state.snapshot.agent.traces {
                for (of, ratio) in TracesOf::ALL.into_iter().zip(traces.ratios) {
                    out.number(&[TRACES.is(of)], ratio);
                }
            }
        }),
    },
    Family {
        stem: "vdi_agent_audit_lines",
        help: "Lines of the audit log, by what became of them; absent without one (`log.audit`)",
        kind: Counter,
        unit: Unit::None,
        labels: &[LINE.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            let lines = state.snapshot.agent.audit_lines.iter();
            for (result, count) in
                lines.flat_map(|lines| LineResult::ALL.into_iter().zip(lines.counts))
            {
                out.number(&[LINE.is(result)], count as f64);
            }
        }),
    },
    Family {
        stem: "vdi_agent_ring",
        help: "Most bytes that waited for the agent in the ring of the kernel programs' events, since the sample before",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| {
            if let Some(bytes) = state.snapshot.agent.ring_bytes {
                out.number(&[], bytes as f64);
            }
        }),
    },
    Family {
        stem: "vdi_agent_ring_limit",
        help: "Bytes that this ring has room for; what finds none is in vdi_agent_events_lost_total",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[],
        source: Source::Agent,
        samples: Node(|_, out| out.number(&[], f64::from(RING_BYTES))),
    },
    Family {
        stem: "vdi_agent_admissions",
        help: "Sessions that came, by who made them and what became of that; one that waits is counted again when it is admitted",
        kind: Counter,
        unit: Unit::None,
        labels: &[SOURCE.label(), ADMISSION.label()],
        source: Source::Registry,
        samples: Node(|state, out| {
            for ((source, admission), count) in &state.snapshot.agent.admissions {
                let labels = [SOURCE.is((*source).into()), ADMISSION.is(*admission)];
                out.number(&labels, *count as f64);
            }
        }),
    },
    Family {
        stem: "vdi_agent_series_limit",
        help: "Most series of an exposition (metrics.max_series)",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| out.number(&[], f64::from(state.snapshot.agent.max_series))),
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
        labels: &[FAMILY.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (family, series) in state.dropped {
                out.number(&[FAMILY.is(family)], *series as f64);
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
