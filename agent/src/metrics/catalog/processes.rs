//! Processes: who is alive, and how they begin and end.

use crate::{
    kernel::{accounts::ProcessLimit, programs::name},
    metrics::{
        family::{
            Family,
            Kind::{Counter, Gauge},
            Samples::{Occasional, PerSession},
            Source, Unit,
        },
        label::OneOf,
    },
    named::named,
    snapshot::SessionView,
};

named! {
    /// How a process ended.
    enum Exit {
        /// With status 0.
        Success = "success",
        /// With another status.
        Error = "error",
        /// By a signal.
        Signal = "signal",
        /// By the out-of-memory killer.
        OomKilled = "oom_killed",
    }
}
const REASON: OneOf<Exit> = OneOf::new("reason");

named! {
    /// What a thread does that does not just wait to be woken.
    enum Doing {
        /// It has a CPU or waits for one.
        Runnable = "runnable",
        /// It waits, and no signal that it could handle ends that.
        Uninterruptible = "uninterruptible",
    }
}
const STATE: OneOf<Doing> = OneOf::new("state");

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_session_processes",
        help: "Processes alive in the session",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Program(name::CENSUS),
        samples: PerSession(|s, out| {
            if let Some(census) = s.counts.census {
                out.number(&[], census.processes as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_threads",
        help: "Threads alive in the session",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Program(name::CENSUS),
        samples: PerSession(|s, out| {
            if let Some(census) = s.counts.census {
                out.number(&[], census.threads as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_threads_by_state",
        help: "Threads of the session that had a CPU or waited for one, and that waited for something which no signal but a fatal one may end, a disk, a file server or a driver, at the last walk over all threads of the node: each second with up to 1,400 of them, every fourteen with 20,000",
        kind: Gauge,
        unit: Unit::None,
        labels: &[STATE.label()],
        source: Source::Program(name::CENSUS),
        samples: Occasional(|s, out| {
            if let Some(states) = s.counts.census.and_then(|census| census.by_state) {
                for doing in Doing::ALL {
                    let threads = match doing {
                        Doing::Runnable => states.runnable,
                        Doing::Uninterruptible => states.uninterruptible,
                    };
                    out.number(&[STATE.is(doing)], threads as f64);
                }
            }
        }),
    },
    Family {
        stem: "vdi_session_processes_limit",
        help: "Processes and threads that the session may have, by its limit or that of a cgroup above if it is lower (pids.max); absent without one",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::CgroupFiles,
        samples: Occasional(|s, out| {
            if let Some(limit) = limits(s).and_then(|limits| limits.most) {
                out.number(&[], limit as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_forks_refused",
        help: "Processes and threads of the session that were not made because of a limit of its own, and before Linux 6.11 of one of a cgroup above as well (pids.events); absent where it has no limit of its own",
        kind: Counter,
        unit: Unit::None,
        labels: &[],
        source: Source::CgroupFiles,
        samples: Occasional(|s, out| {
            if let Some(refused) = limits(s).and_then(|limits| limits.refused_forks) {
                out.number(&[], refused as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_process_forks",
        help: "Processes started in the session by fork, vfork or clone; threads are not counted",
        kind: Counter,
        unit: Unit::None,
        labels: &[],
        source: Source::Program(name::SCHED_WAKEUP_NEW),
        samples: PerSession(|s, out| out.number(&[], s.counts.process.forks as f64)),
    },
    Family {
        stem: "vdi_session_process_execs",
        help: "Programs executed in the session",
        kind: Counter,
        unit: Unit::None,
        labels: &[],
        source: Source::Program(name::SCHED_PROCESS_EXEC),
        samples: PerSession(|s, out| out.number(&[], s.counts.process.execs as f64)),
    },
    Family {
        stem: "vdi_session_process_exits",
        help: "Processes of the session that ended, by reason; a reason appears with its first exit",
        kind: Counter,
        unit: Unit::None,
        labels: &[REASON.label()],
        source: Source::Program(name::SCHED_PROCESS_EXIT),
        samples: Occasional(|s, out| {
            let process = &s.counts.process;
            for reason in Exit::ALL {
                let exits = match reason {
                    Exit::Success => process.exits_success,
                    Exit::Error => process.exits_error,
                    Exit::Signal => process.exits_signal,
                    Exit::OomKilled => process.exits_oom_killed,
                };
                if exits > 0 {
                    out.number(&[REASON.is(reason)], exits as f64);
                }
            }
        }),
    },
    Family {
        stem: "vdi_session_oom_kills",
        help: "Processes of the session that the out-of-memory killer killed",
        kind: Counter,
        unit: Unit::None,
        labels: &[],
        source: Source::Program(name::SCHED_PROCESS_EXIT),
        samples: PerSession(|s, out| out.number(&[], s.counts.process.exits_oom_killed as f64)),
    },
    Family {
        stem: "vdi_session_major_faults",
        help: "Page faults of the session that waited for I/O",
        kind: Counter,
        unit: Unit::None,
        labels: &[],
        source: Source::Program(name::SCHED_SWITCH),
        samples: PerSession(|s, out| out.number(&[], s.counts.sched.major_faults as f64)),
    },
];

/// What the cgroups' files say of the session's limit.
fn limits(session: &SessionView) -> Option<ProcessLimit> {
    session.counts.accounts.as_ref().map(|a| a.processes)
}
