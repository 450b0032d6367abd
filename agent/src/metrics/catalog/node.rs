//! The node, as far as it explains what sessions wait for.

use crate::metrics::family::{Family, Kind::Counter, Samples::Node, Source, Unit};

pub(super) const FAMILIES: &[Family] = &[Family {
    stem: "vdi_node_cpu_steal",
    help: "Time in which CPUs of the node had something to run and the hypervisor ran something else, all of them together",
    kind: Counter,
    unit: Unit::Seconds,
    labels: &[],
    source: Source::Proc,
    samples: Node(|state, out| {
        if let Some(seconds) = state.node.map(|node| node.steal_seconds) {
            out.number(&[], seconds);
        }
    }),
}];
