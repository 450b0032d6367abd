//! The disk: block I/O.

use agent_common::block::{BlockStats, OperationStats, READ, WRITE};

use super::{buckets, observed};
use crate::{
    kernel::programs::name,
    metrics::{
        family::{
            Buckets, Family,
            Kind::{Counter, Histogram},
            Samples::Occasional,
            Source, Unit,
        },
        label::OneOf,
    },
    named::named,
};

/// 0.24 ms, 4 ms, 62 ms: a cache, a flash disk, trouble.
const BLOCK_IO: Buckets = buckets(&[-12, -8, -4]);

named! {
    /// What a request does.
    enum Operation {
        /// Reads.
        Read = "read",
        /// Writes.
        Write = "write",
    }
}
const OPERATION: OneOf<Operation> = OneOf::new("operation");

impl Operation {
    /// What requests of it did.
    fn of(self, block: &BlockStats) -> &OperationStats {
        match self {
            Self::Read => &block.operations[READ],
            Self::Write => &block.operations[WRITE],
        }
    }
}

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_session_block_io",
        help: "Time from the making of a block I/O request to its completion; only of cgroups with the io controller",
        kind: Histogram(BLOCK_IO),
        unit: Unit::Seconds,
        labels: &[OPERATION.about("each from its first on").label()],
        source: Source::Program(name::BLOCK_RQ_COMPLETE),
        samples: Occasional(|s, out| {
            if let Some(block) = &s.counts.block {
                for operation in Operation::ALL {
                    let latency = &operation.of(block).latency;
                    observed(out, &[OPERATION.is(operation)], latency);
                }
            }
        }),
    },
    Family {
        stem: "vdi_session_block_io",
        help: "Bytes read from and written to block devices; only of cgroups with the io controller",
        kind: Counter,
        unit: Unit::Bytes,
        labels: &[OPERATION.label()],
        source: Source::Program(name::BLOCK_RQ_COMPLETE),
        samples: Occasional(|s, out| {
            if let Some(block) = &s.counts.block {
                for operation in Operation::ALL {
                    let bytes = operation.of(block).bytes;
                    out.number(&[OPERATION.is(operation)], bytes as f64);
                }
            }
        }),
    },
];
