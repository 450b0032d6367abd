//! Memory, CPU limits and pressure.

use super::{MEAN_ONLY, observed};
use crate::{
    kernel::{
        accounts::{CgroupAccounts, Pressure, Throttled},
        programs::name,
    },
    metrics::family::{
        Family,
        Kind::{Counter, Gauge, Histogram},
        Samples::Occasional,
        Source, Unit,
    },
    snapshot::SessionView,
};

const US: f64 = 1e-6;

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_session_memory",
        help: "Memory of the session's cgroups; limit is absent without one, and all of it without the memory controller",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[("kind", "current, limit, anon, file")],
        source: Source::CgroupFiles,
        samples: Occasional(|s, out| {
            let Some(memory) = accounts(s).and_then(|a| a.memory) else {
                return;
            };
            out.number(&[("kind", "current")], memory.current as f64);
            out.number(&[("kind", "anon")], memory.anon as f64);
            out.number(&[("kind", "file")], memory.file as f64);
            if let Some(limit) = memory.limit {
                out.number(&[("kind", "limit")], limit as f64);
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
        help: "Time in which the session was not let run because a CPU limit was used up: its own or one of its containers', or one of a cgroup above, which others may share",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[("by", "own, above")],
        source: Source::CgroupFiles,
        samples: Occasional(|s, out| {
            let Some(accounts) = accounts(s) else { return };
            let Throttled { own_us, above_us } = accounts.throttled;
            for (by, us) in [("own", own_us), ("above", above_us)] {
                if let Some(us) = us {
                    out.number(&[("by", by)], us as f64 * US);
                }
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
        labels: &[
            ("resource", "cpu, memory, io"),
            ("kind", "some, full; of cpu some only"),
        ],
        source: Source::CgroupFiles,
        samples: Occasional(|s, out| {
            let Some(accounts) = accounts(s) else { return };
            let mut number = |resource, kind, us: Option<u64>| {
                if let Some(us) = us {
                    out.number(&[("resource", resource), ("kind", kind)], us as f64 * US);
                }
            };
            let some = |pressure: Option<Pressure>| pressure.map(|p| p.some_us);
            let full = |pressure: Option<Pressure>| pressure.and_then(|p| p.full_us);
            let pressure = accounts.pressure;
            number("cpu", "some", some(pressure.cpu));
            number("memory", "some", some(pressure.memory));
            number("memory", "full", full(pressure.memory));
            number("io", "some", some(pressure.io));
            number("io", "full", full(pressure.io));
        }),
    },
];

/// The kernel's own accounts of the session's cgroups.
fn accounts(session: &SessionView) -> Option<&CgroupAccounts> {
    session.counts.accounts.as_ref()
}
