//! `GET /metrics`

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use agent_common::histogram::{Histogram, bucket_of};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    AppState, negotiate,
    rendering::{Wanted, What},
    traffic::Traffic,
};
use crate::{
    metrics::{
        Settings,
        encode::{Format, Request, Told, encode},
    },
    snapshot::Snapshot,
};

/// The expositions that there have been, and how they are to be.
#[derive(Debug)]
pub(super) struct Expositions {
    settings: Settings,
    traffic: Arc<Traffic>,
    /// How long scrapes took.
    scrapes: Mutex<Histogram>,
    /// What they have told so far.
    told: Told,
}

impl Expositions {
    /// None yet.
    pub(super) fn new(settings: Settings, traffic: Arc<Traffic>) -> Self {
        Self {
            settings,
            traffic,
            scrapes: Mutex::default(),
            told: Told::default(),
        }
    }

    /// Writes the exposition of a sample.
    pub(super) fn write(&self, snapshot: Arc<Snapshot>, format: Format) -> Result<Vec<u8>, String> {
        let scrapes = *self.scrapes.lock().unwrap_or_else(PoisonError::into_inner);
        let request = Request {
            snapshot,
            scrapes,
            http: Arc::new(self.traffic.now()),
            format,
            classic: self.settings.classic_buckets,
            max_series: self.settings.max_series.into(),
        };
        encode(&request, &self.told)
    }

    fn took(&self, time: Duration) {
        let took_ns = time.as_nanos() as u64;
        let mut scrapes = self.scrapes.lock().unwrap_or_else(PoisonError::into_inner);
        scrapes.buckets[bucket_of(took_ns)] += 1;
        scrapes.sum_ns += took_ns;
    }
}

pub(super) async fn metrics(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let began = Instant::now();
    if state.snapshot().is_none() {
        return (StatusCode::SERVICE_UNAVAILABLE, "no sample yet\n").into_response();
    }
    let format = negotiate::format(&negotiate::list(&headers, header::ACCEPT));
    let encoding = negotiate::encoding(&negotiate::list(&headers, header::ACCEPT_ENCODING));
    let wanted = Wanted {
        what: What::Metrics(format),
        encoding,
    };
    let response = state.renderings.get(wanted).await.into_response();
    state.expositions.took(began.elapsed());
    response
}
