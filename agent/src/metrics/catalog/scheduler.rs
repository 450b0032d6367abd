//! The scheduler: waiting, running and being preempted.

use agent_common::sched::After;

use super::buckets;
use crate::{
    kernel::programs::name,
    metrics::{
        family::{
            Buckets, Family,
            Kind::{Counter, Histogram},
            Samples::PerSession,
            Source, Unit,
        },
        label::OneOf,
    },
    named::named,
    snapshot::SessionView,
};

const NS: f64 = 1e-9;

/// 1 ms to 0.25 s: from a wait that nobody notices to one that everybody does.
const RUNQUEUE_WAIT: Buckets = buckets(&[-10, -8, -6, -4, -2]);

named! {
    /// Why a thread waited for a CPU.
    enum Cause {
        /// Others had it.
        Contention = "contention",
        /// A CPU limit was used up.
        Throttling = "throttling",
        /// It had given the CPU up itself.
        Yield = "yield",
    }
}
const CAUSE: OneOf<Cause> = OneOf::new("cause");

named! {
    /// Why a thread left its CPU.
    enum Switch {
        /// It blocked.
        Voluntary = "voluntary",
        /// Another thread of the session got it.
        PreemptedBySelf = "preempted_by_self",
        /// One of another session did.
        PreemptedBySession = "preempted_by_session",
        /// One of no session did.
        PreemptedBySystem = "preempted_by_system",
        /// A CPU limit was used up.
        Throttled = "throttled",
        /// It gave the CPU up itself.
        Yielded = "yielded",
    }
}
const SWITCH: OneOf<Switch> = OneOf::new("kind");

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
        help: "CPU time of the session's threads. On a virtual machine it contains what the hypervisor has stolen while they ran; the kernel's own account (cpu.stat) lacks that if it has CONFIG_PARAVIRT_TIME_ACCOUNTING",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Program(name::SCHED_SWITCH),
        samples: PerSession(|s, out| out.number(&[], s.counts.cpu_ns as f64 * NS)),
    },
    Family {
        stem: "vdi_session_cpu_wait",
        help: "Time runnable threads waited for a CPU, by why: others had it (contention), a CPU limit was used up (throttling), the thread had given it up itself (yield); together the sum of vdi_session_runqueue_wait_seconds. Throttling is there for a session with a limit, yield once a thread has yielded. Before Linux 6.18 a thread that is woken while the limit is used up waits for it in contention",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[CAUSE.label()],
        source: Source::Program(name::SCHED_SWITCH),
        samples: PerSession(|s, out| {
            let sched = &s.counts.sched;
            let waited = |after| sched.waited_ns(after);
            for cause in Cause::ALL {
                let ns = match cause {
                    Cause::Contention => Some(waited(After::Wakeup) + waited(After::Preemption)),
                    Cause::Throttling => may_be_throttled(s).then(|| waited(After::Throttle)),
                    Cause::Yield => (sched.yields > 0).then(|| waited(After::Yield)),
                };
                if let Some(ns) = ns {
                    out.number(&[CAUSE.is(cause)], ns as f64 * NS);
                }
            }
        }),
    },
    Family {
        stem: "vdi_session_context_switches",
        help: "Switches away from a thread of the session: voluntary when it blocked, preempted when somebody else got the CPU (another thread of the session, another session, the system), throttled when a CPU limit was used up, yielded when it gave the CPU up itself. Throttled is there for a session with a limit, yielded once a thread has yielded",
        kind: Counter,
        unit: Unit::None,
        labels: &[SWITCH.label()],
        source: Source::Program(name::SCHED_SWITCH),
        samples: PerSession(|s, out| {
            let sched = &s.counts.sched;
            for kind in Switch::ALL {
                let switches = match kind {
                    Switch::Voluntary => Some(sched.voluntary_switches),
                    Switch::PreemptedBySelf => Some(sched.preempted_by_self),
                    Switch::PreemptedBySession => Some(sched.preempted_by_session),
                    Switch::PreemptedBySystem => Some(sched.preempted_by_system),
                    Switch::Throttled => may_be_throttled(s).then_some(sched.throttles),
                    Switch::Yielded => Some(sched.yields).filter(|yields| *yields > 0),
                };
                if let Some(switches) = switches {
                    out.number(&[SWITCH.is(kind)], switches as f64);
                }
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
