//! The disk: block I/O.

use agent_common::block::{READ, WRITE};

use super::{buckets, observed};
use crate::{
    kernel::programs::name,
    metrics::family::{
        Buckets, Family,
        Kind::{Counter, Histogram},
        Samples::Occasional,
        Source, Unit,
    },
};

/// 0.24 ms, 4 ms, 62 ms: a cache, a flash disk, trouble.
const BLOCK_IO: Buckets = buckets(&[-12, -8, -4]);

const OPERATION: &[(&str, &str)] = &[("operation", "read, write; each from its first on")];

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_session_block_io",
        help: "Time from the making of a block I/O request to its completion; only of cgroups with the io controller",
        kind: Histogram(BLOCK_IO),
        unit: Unit::Seconds,
        labels: OPERATION,
        source: Source::Program(name::BLOCK_RQ_COMPLETE),
        samples: Occasional(|s, out| {
            if let Some(block) = &s.counts.block {
                observed(
                    out,
                    &[("operation", "read")],
                    &block.operations[READ].latency,
                );
                observed(
                    out,
                    &[("operation", "write")],
                    &block.operations[WRITE].latency,
                );
            }
        }),
    },
    Family {
        stem: "vdi_session_block_io",
        help: "Bytes read from and written to block devices; only of cgroups with the io controller",
        kind: Counter,
        unit: Unit::Bytes,
        labels: &[("operation", "read, write")],
        source: Source::Program(name::BLOCK_RQ_COMPLETE),
        samples: Occasional(|s, out| {
            if let Some(block) = &s.counts.block {
                let [read, write] = &block.operations;
                out.number(&[("operation", "read")], read.bytes as f64);
                out.number(&[("operation", "write")], write.bytes as f64);
            }
        }),
    },
];
