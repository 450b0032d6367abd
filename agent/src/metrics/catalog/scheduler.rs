//! The scheduler: waiting, running and being preempted.

use super::buckets;
use crate::{
    kernel::programs::name,
    metrics::family::{
        Buckets, Family,
        Kind::{Counter, Histogram},
        Samples::PerSession,
        Source, Unit,
    },
};

const NS: f64 = 1e-9;

/// 0.24 ms to 0.25 s: from a wait that nobody notices to one that everybody does.
const RUNQUEUE_WAIT: Buckets = buckets(&[-12, -10, -8, -6, -4, -2]);

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_session_runqueue_wait",
        help: "Time a runnable thread waited for a CPU, one observation per slice on a CPU",
        kind: Histogram(RUNQUEUE_WAIT),
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Program(name::SCHED_SWITCH),
        samples: PerSession(|s, out| out.histogram(&[], &s.counts.sched.runqueue_wait)),
    },
    Family {
        stem: "vdi_session_cpu",
        help: "CPU time of the session's threads",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Program(name::SCHED_SWITCH),
        samples: PerSession(|s, out| out.number(&[], s.counts.cpu_ns as f64 * NS)),
    },
    Family {
        stem: "vdi_session_context_switches",
        help: "Switches away from a thread of the session: voluntary when it blocked, involuntary when the CPU was taken",
        kind: Counter,
        unit: Unit::None,
        labels: &[("kind", "voluntary, involuntary")],
        source: Source::Program(name::SCHED_SWITCH),
        samples: PerSession(|s, out| {
            let sched = &s.counts.sched;
            out.number(&[("kind", "voluntary")], sched.voluntary_switches as f64);
            out.number(
                &[("kind", "involuntary")],
                sched.involuntary_switches as f64,
            );
        }),
    },
    Family {
        stem: "vdi_session_preemptions",
        help: "Involuntary switches by who took the CPU: the same session, another session, or the system",
        kind: Counter,
        unit: Unit::None,
        labels: &[("by", "self, session, system")],
        source: Source::Program(name::SCHED_SWITCH),
        samples: PerSession(|s, out| {
            let sched = &s.counts.sched;
            out.number(&[("by", "self")], sched.preempted_by_self as f64);
            out.number(&[("by", "session")], sched.preempted_by_session as f64);
            out.number(&[("by", "system")], sched.preempted_by_system as f64);
        }),
    },
];
