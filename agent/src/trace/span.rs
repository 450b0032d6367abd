//! A span, as the agent makes it.

use std::{borrow::Cow, time::SystemTime};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use sha2::{Digest, Sha256};

/// Part of a trace.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) trace: [u8; 16],
    pub(super) id: [u8; 8],
    /// Whether it is a session's life, which no limit leaves out.
    pub(super) is_root: bool,
    /// `None` for the root.
    pub(super) parent: Option<[u8; 8]>,
    /// Whether another program has made the parent.
    pub(super) is_of_another: bool,
    /// Whether it answers somebody.
    pub(super) is_server: bool,
    /// One of a few.
    pub(super) name: Cow<'static, str>,
    pub(super) start: SystemTime,
    pub(super) end: SystemTime,
    pub(super) attributes: Vec<KeyValue>,
    /// What went wrong.
    pub(super) error: Option<String>,
}

impl Span {
    /// As the exporter wants it.
    pub(super) fn data(self, scope: &InstrumentationScope) -> SpanData {
        let context = SpanContext::new(
            TraceId::from_bytes(self.trace),
            SpanId::from_bytes(self.id),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        );
        SpanData {
            span_context: context,
            parent_span_id: self.parent.map_or(SpanId::INVALID, SpanId::from_bytes),
            parent_span_is_remote: self.is_of_another,
            span_kind: if self.is_server {
                SpanKind::Server
            } else {
                SpanKind::Internal
            },
            name: self.name,
            start_time: self.start,
            // The time of day may have been set back.
            end_time: self.end.max(self.start),
            attributes: self.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: self.error.map_or(Status::Unset, Status::error),
            instrumentation_scope: scope.clone(),
        }
    }
}

/// The id of a session's root span, which its other spans name long before it ends.
pub(super) fn root(trace: [u8; 16]) -> [u8; 8] {
    id(&[&trace, b"root"])
}

/// An id that is the same for the same parts, so that what is told twice is one span.
pub(super) fn id(parts: &[&[u8]]) -> [u8; 8] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let mut id = [0; 8];
    id.copy_from_slice(&digest.finalize()[..8]);
    // 0 is no id.
    id[7] |= u8::from(id == [0; 8]);
    id
}
