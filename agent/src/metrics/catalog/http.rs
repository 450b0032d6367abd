//! What the agent is asked over HTTP.

use std::time::UNIX_EPOCH;

use super::labels::FILE;
use crate::metrics::{
    family::{
        Buckets, Family,
        Kind::{BoundedHistogram, Counter, Gauge, Histogram},
        Samples::Node,
        Source, Unit,
    },
    http::{AuthMethod, AuthReason, Cache, Method, Path, SIZES},
    label::{OneOf, Text},
};

const METHOD: OneOf<Method> = OneOf::new("method");
const PATH: OneOf<Path> = OneOf::new("path");
const AUTH_METHOD: OneOf<AuthMethod> = OneOf::new("method");
const AUTH_REASON: OneOf<AuthReason> = OneOf::new("reason");
const CACHE: OneOf<Cache> = OneOf::new("cache");
const STATUS: Text = Text::new("status", "status code of the answer");

pub(super) const FAMILIES: &[Family] = &[
    Family {
        stem: "vdi_agent_http_requests",
        help: "Requests that were answered",
        kind: Counter,
        unit: Unit::None,
        labels: &[METHOD.label(), PATH.label(), STATUS.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for ((method, path, status), requests) in &state.http.requests {
                let status = status.to_string();
                let labels = [METHOD.is(*method), PATH.is(*path), STATUS.is(&status)];
                out.number(&labels, *requests as f64);
            }
        }),
    },
    Family {
        stem: "vdi_agent_http_request_duration",
        help: "Time from the head of a request until its answer was handed to the socket",
        kind: Histogram(Buckets::OWN),
        unit: Unit::Seconds,
        labels: &[METHOD.label(), PATH.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for ((method, path), answers) in &state.http.answers {
                out.histogram(&[METHOD.is(*method), PATH.is(*path)], &answers.took);
            }
        }),
    },
    Family {
        stem: "vdi_agent_http_request_size",
        help: "Size of the heads of requests, about",
        kind: BoundedHistogram(SIZES),
        unit: Unit::Bytes,
        labels: &[METHOD.label(), PATH.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for ((method, path), answers) in &state.http.answers {
                let labels = [METHOD.is(*method), PATH.is(*path)];
                let sizes = &answers.requests;
                out.bounded_histogram(&labels, &sizes.counts, &sizes.native, sizes.bytes as f64);
            }
        }),
    },
    Family {
        stem: "vdi_agent_http_response_size",
        help: "Size of the bodies of answers, compressed where they were",
        kind: BoundedHistogram(SIZES),
        unit: Unit::Bytes,
        labels: &[METHOD.label(), PATH.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for ((method, path), answers) in &state.http.answers {
                let labels = [METHOD.is(*method), PATH.is(*path)];
                let sizes = &answers.bodies;
                out.bounded_histogram(&labels, &sizes.counts, &sizes.native, sizes.bytes as f64);
            }
        }),
    },
    Family {
        stem: "vdi_agent_http_connections",
        help: "Connections of clients that are open",
        kind: Gauge,
        unit: Unit::None,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| out.number(&[], state.http.connections as f64)),
    },
    Family {
        stem: "vdi_agent_tls_handshake_errors",
        help: "Connections that ended before TLS was agreed on, whatever the reason; absent without TLS",
        kind: Counter,
        unit: Unit::None,
        labels: &[],
        source: Source::Agent,
        samples: Node(|state, out| {
            if !state.http.expiries.is_empty() {
                out.number(&[], state.http.handshakes_failed as f64);
            }
        }),
    },
    Family {
        stem: "vdi_agent_auth_attempts",
        help: "Times that a client has shown who it is, rightly or wrongly; absent where nobody must",
        kind: Counter,
        unit: Unit::None,
        labels: &[AUTH_METHOD.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (method, attempts) in &state.http.attempts {
                out.number(&[AUTH_METHOD.is(*method)], *attempts as f64);
            }
        }),
    },
    Family {
        stem: "vdi_agent_auth_failures",
        help: "Times that a client was turned away; absent where nobody must show who it is",
        kind: Counter,
        unit: Unit::None,
        labels: &[AUTH_METHOD.label(), AUTH_REASON.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for ((method, reason), failures) in &state.http.failures {
                let labels = [AUTH_METHOD.is(*method), AUTH_REASON.is(*reason)];
                out.number(&labels, *failures as f64);
            }
        }),
    },
    Family {
        stem: "vdi_agent_certificate_expiry_timestamp",
        help: "When the first of a file's certificates to expire does, since 1970",
        kind: Gauge,
        unit: Unit::Seconds,
        labels: &[FILE.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (file, expiry) in &state.http.expiries {
                let since = expiry.duration_since(UNIX_EPOCH).unwrap_or_default();
                out.number(&[FILE.is(file)], since.as_secs_f64());
            }
        }),
    },
    Family {
        stem: "vdi_agent_cache_hits",
        help: "Times that what was wanted was in a cache",
        kind: Counter,
        unit: Unit::None,
        labels: &[CACHE.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (cache, lookups) in &state.http.caches {
                out.number(&[CACHE.is(*cache)], lookups.hits as f64);
            }
        }),
    },
    Family {
        stem: "vdi_agent_cache_misses",
        help: "Times that it was not, and was made",
        kind: Counter,
        unit: Unit::None,
        labels: &[CACHE.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (cache, lookups) in &state.http.caches {
                out.number(&[CACHE.is(*cache)], lookups.misses as f64);
            }
        }),
    },
    Family {
        stem: "vdi_agent_cache_entries",
        help: "Entries of a cache",
        kind: Gauge,
        unit: Unit::None,
        labels: &[CACHE.label()],
        source: Source::Agent,
        samples: Node(|state, out| {
            for (cache, lookups) in &state.http.caches {
                out.number(&[CACHE.is(*cache)], lookups.entries as f64);
            }
        }),
    },
];
