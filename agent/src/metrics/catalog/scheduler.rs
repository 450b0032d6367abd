//! The scheduler: waiting, running and being preempted.

use agent_common::sched::After;

use super::buckets;
use crate::{
    kernel::programs::name,
    metrics::family::{
        Buckets, Family,
        Kind::{Counter, Histogram},
        Samples::PerSession,
        Source, Unit,
    },
    snapshot::SessionView,
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
        stem: "vdi_session_cpu_wait",
        help: "Time runnable threads waited for a CPU, by why: others had it (contention), a CPU limit was used up (throttling), the thread had given it up itself (yield); together the sum of vdi_session_runqueue_wait_seconds. Throttling is there for a session with a limit, yield once a thread has yielded",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[("cause", "contention, throttling, yield")],
        source: Source::Program(name::SCHED_SWITCH),
        samples: PerSession(|s, out| {
            let sched = &s.counts.sched;
            let waited = |after| sched.waited_ns(after);
            let contention = waited(After::Wakeup) + waited(After::Preemption);
            out.number(&[("cause", "contention")], contention as f64 * NS);
            if may_be_throttled(s) {
                let throttling = waited(After::Throttle);
                out.number(&[("cause", "throttling")], throttling as f64 * NS);
            }
            if sched.yields > 0 {
                let yielded = waited(After::Yield);
                out.number(&[("cause", "yield")], yielded as f64 * NS);
            }
        }),
    },
    Family {
        stem: "vdi_session_context_switches",
        help: "Switches away from a thread of the session: voluntary when it blocked, preempted when somebody else got the CPU (another thread of the session, another session, the system), throttled when a CPU limit was used up, yielded when it gave the CPU up itself. Throttled is there for a session with a limit, yielded once a thread has yielded",
        kind: Counter,
        unit: Unit::None,
        labels: &[(
            "kind",
            "voluntary, preempted_by_self, preempted_by_session, preempted_by_system, throttled, yielded",
        )],
        source: Source::Program(name::SCHED_SWITCH),
        samples: PerSession(|s, out| {
            let sched = &s.counts.sched;
            let mut number = |kind, switches: u64| out.number(&[("kind", kind)], switches as f64);
            number("voluntary", sched.voluntary_switches);
            number("preempted_by_self", sched.preempted_by_self);
            number("preempted_by_session", sched.preempted_by_session);
            number("preempted_by_system", sched.preempted_by_system);
            if may_be_throttled(s) {
                number("throttled", sched.throttles);
            }
            if sched.yields > 0 {
                number("yielded", sched.yields);
            }
        }),
    },
];

/// Whether a CPU limit holds the session back at times: one of its own, or one above it that has.
fn may_be_throttled(session: &SessionView) -> bool {
    let accounts = session.counts.accounts.as_ref();
    let is_limited = accounts.is_some_and(|accounts| accounts.cpu_limit.is_some());
    is_limited || session.counts.sched.throttles > 0
}
