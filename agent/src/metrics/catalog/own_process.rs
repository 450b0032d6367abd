//! The agent's process, under the names that every Prometheus client library uses.

use crate::metrics::{
    family::{
        Family,
        Kind::{Counter, Gauge},
        Out,
        Samples::Node,
        Source, State, Unit,
    },
    process::OwnProcess,
};

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "process_cpu",
        help: "CPU time of the agent in user and kernel mode",
        kind: Counter,
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Proc,
        samples: Node(|state, out| own_process(state, out, |p| Some(p.cpu_seconds))),
    },
    Family {
        stem: "process_resident_memory",
        help: "Resident memory of the agent",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| own_process(state, out, |p| Some(p.resident_bytes))),
    },
    Family {
        stem: "process_virtual_memory",
        help: "Virtual memory of the agent",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| own_process(state, out, |p| Some(p.virtual_bytes))),
    },
    Family {
        stem: "process_open_fds",
        help: "Open file descriptors of the agent",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| own_process(state, out, |p| p.open_fds)),
    },
    Family {
        stem: "process_max_fds",
        help: "Most file descriptors the agent may open",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| own_process(state, out, |p| p.max_fds)),
    },
    Family {
        stem: "process_threads",
        help: "Threads of the agent",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| own_process(state, out, |p| Some(p.threads))),
    },
    Family {
        stem: "process_start_time",
        help: "When the agent started, in seconds since the epoch",
        kind: Gauge,
        unit: Unit::Seconds,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| own_process(state, out, |p| p.start_seconds)),
    },
    Family {
        stem: "vdi_agent_allocated",
        help: "Memory that the agent has allocated; what is resident besides is its code, its stacks, and what the allocator keeps",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| own_process(state, out, |p| p.allocated_bytes)),
    },
    Family {
        stem: "vdi_agent_memory_limit",
        help: "Least limit of memory of the agent's cgroup and those above it; absent where there is none",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| own_process(state, out, |p| p.memory_limit_bytes)),
    },
    Family {
        stem: "vdi_agent_runtime_tasks",
        help: "Tasks of the agent's runtime: connections, sources, and its own work",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| own_process(state, out, |p| p.tasks)),
    },
];

fn own_process(state: &State<'_>, out: &mut dyn Out, value: fn(&OwnProcess) -> Option<f64>) {
    if let Some(value) = state.process.and_then(value) {
        out.number(&[], value);
    }
}
