//! Memory, CPU limits and pressure.

use super::{MEAN_ONLY, observed};
use crate::{
    kernel::{accounts::CgroupAccounts, programs::name},
    metrics::{
        family::{
            Family,
            Kind::{Counter, Gauge, Histogram},
            Samples::Occasional,
            Source, Unit,
        },
        label::OneOf,
    },
    named::named,
    snapshot::SessionView,
};

const US: f64 = 1e-6;

named! {
    /// What memory is for.
    enum MemoryKind {
        /// All that is charged.
        Current = "current",
        /// As much as may be.
        Limit = "limit",
        /// Anonymous memory.
        Anon = "anon",
        /// Page cache.
        File = "file",
        /// What of it is in swap.
        Swap = "swap",
    }
}
const MEMORY: OneOf<MemoryKind> = OneOf::new("kind");

named! {
    /// What a limit of memory did.
    enum MemoryEvent {
        /// More than `memory.high` was charged.
        High = "high",
        /// More than `memory.max` was about to be charged.
        Max = "max",
    }
}
const EVENT: OneOf<MemoryEvent> = OneOf::new("event");

named! {
    /// Whose CPU limit was used up.
    enum Limit {
        /// The session's, or a container's of it.
        Own = "own",
        /// That of a cgroup above.
        Above = "above",
    }
}
const LIMIT: OneOf<Limit> = OneOf::new("by");

named! {
    /// What was wanting.
    enum Resource {
        /// A CPU.
        Cpu = "cpu",
        /// Memory.
        Memory = "memory",
        /// I/O.
        Io = "io",
    }
}
const RESOURCE: OneOf<Resource> = OneOf::new("resource");

named! {
    /// Who waited.
    enum Lost {
        /// A thread.
        Some = "some",
        /// All of them.
        Full = "full",
    }
}
const LOST: OneOf<Lost> = OneOf::new("kind");

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_session_memory",
        help: "Memory of the session's cgroups; swap comes on top of current; limit is absent without one, swap where the kernel does not account it, and all of it without the memory controller",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[MEMORY.label()],
        source: Source::CgroupFiles,
        samples: Occasional(|s, out| {
            let Some(memory) = accounts(s).and_then(|a| a.memory) else {
                return;
            };
            for kind in MemoryKind::ALL {
                let bytes = match kind {
                    MemoryKind::Current => Some(memory.current),
                    MemoryKind::Limit => memory.limit,
                    MemoryKind::Anon => Some(memory.anon),
                    MemoryKind::File => Some(memory.file),
                    MemoryKind::Swap => memory.swap,
                };
                if let Some(bytes) = bytes {
                    out.number(&[MEMORY.is(kind)], bytes as f64);
                }
            }
        }),
    },
    Family {
        stem: "vdi_session_memory_events",
        help: "How often the session's cgroups, or cgroups below them, were at a limit of memory of their own: high, when threads were throttled and reclaimed, max, when a charge had to reclaim first or fail; absent without the memory controller",
        kind: Counter,
        unit: Unit::None,
        labels: &[EVENT.label()],
        source: Source::CgroupFiles,
        samples: Occasional(|s, out| {
            let Some(events) = accounts(s).and_then(|a| a.memory_events) else {
                return;
            };
            for event in MemoryEvent::ALL {
                let times = match event {
                    MemoryEvent::High => events.high,
                    MemoryEvent::Max => events.max,
                };
                out.number(&[EVENT.is(event)], times as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_reclaim_stall",
        help: "Time a thread spent reclaiming memory itself, because the node had none or the cgroup was at its limit; appears with the first stall",
        kind: Histogram(MEAN_ONLY),
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Program(name::CGROUP_RECLAIM_END),
        samples: Occasional(|s, out| {
            if let Some(memory) = &s.counts.memory {
                observed(out, &[], &memory.reclaim_stall);
            }
        }),
    },
    Family {
        stem: "vdi_session_cpu_throttled",
        help: "Time in which the session was not let run because a CPU limit was used up: its own or one of its containers', or, since the session came, one of a cgroup above, which others may share",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[LIMIT.label()],
        source: Source::CgroupFiles,
        samples: Occasional(|s, out| {
            let Some(accounts) = accounts(s) else { return };
            for limit in Limit::ALL {
                let us = match limit {
                    Limit::Own => accounts.throttled.own_us,
                    Limit::Above => accounts.throttled.by_those_above(),
                };
                if let Some(us) = us {
                    out.number(&[LIMIT.is(limit)], us as f64 * US);
                }
            }
        }),
    },
    Family {
        stem: "vdi_session_cpu_periods",
        help: "Periods in which a CPU limit of the session or of one of its containers was enforced; absent where there was no such limit",
        kind: Counter,
        unit: Unit::None,
        labels: &[],
        source: Source::CgroupFiles,
        samples: Occasional(|s, out| {
            if let Some(periods) = accounts(s).and_then(|a| a.periods) {
                out.number(&[], periods.all as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_cpu_throttled_periods",
        help: "Those of vdi_session_cpu_periods_total in which the limit was used up",
        kind: Counter,
        unit: Unit::None,
        labels: &[],
        source: Source::CgroupFiles,
        samples: Occasional(|s, out| {
            if let Some(periods) = accounts(s).and_then(|a| a.periods) {
                out.number(&[], periods.throttled as f64);
            }
        }),
    },
    Family {
        stem: "vdi_session_cpu_limit",
        help: "CPUs that the session may use by its limit, or by that of a cgroup above if it is lower; absent without one, and once the session has ended",
        kind: Gauge,
        unit: Unit::Cores,
        labels: &[],
        source: Source::CgroupFiles,
        samples: Occasional(|s, out| {
            let is_living = s.phase.is_some();
            let limit = accounts(s).and_then(|a| a.cpu_limit);
            if let Some(limit) = limit.filter(|_| is_living) {
                out.number(&[], limit);
            }
        }),
    },
    Family {
        stem: "vdi_session_cpu_utilization",
        help: "Share of the CPUs that the session may use (its limit, else the node's) in each second",
        kind: Histogram(MEAN_ONLY),
        unit: Unit::Ratio,
        labels: &[],
        source: Source::Program(name::SCHED_SWITCH),
        samples: Occasional(|s, out| observed(out, &[], &s.counts.utilization.histogram)),
    },
    Family {
        stem: "vdi_session_pressure",
        help: "Time lost for want of a resource: some, when a thread waited, full, when all did (PSI)",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[RESOURCE.label(), LOST.about("of cpu some only").label()],
        source: Source::CgroupFiles,
        samples: Occasional(|s, out| {
            let Some(accounts) = accounts(s) else { return };
            for resource in Resource::ALL {
                let pressure = match resource {
                    Resource::Cpu => accounts.pressure.cpu,
                    Resource::Memory => accounts.pressure.memory,
                    Resource::Io => accounts.pressure.io,
                };
                let Some(pressure) = pressure else { continue };
                for lost in Lost::ALL {
                    let us = match (lost, resource) {
                        (Lost::Some, _) => Some(pressure.some_us),
                        // A cgroup that may use all CPUs always has one for somebody.
                        (Lost::Full, Resource::Cpu) => None,
                        (Lost::Full, Resource::Memory | Resource::Io) => pressure.full_us,
                    };
                    if let Some(us) = us {
                        let labels = [RESOURCE.is(resource), LOST.is(lost)];
                        out.number(&labels, us as f64 * US);
                    }
                }
            }
        }),
    },
];

/// The kernel's own accounts of the session's cgroups.
fn accounts(session: &SessionView) -> Option<&CgroupAccounts> {
    session.counts.accounts.as_ref()
}
