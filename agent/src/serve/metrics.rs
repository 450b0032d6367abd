//! `GET /metrics`

use std::{sync::PoisonError, time::Instant};

use agent_common::histogram::bucket_of;
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{AppState, negotiate};
use crate::metrics::encode::{Request, encode};

pub(super) async fn metrics(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let began = Instant::now();
    let Some(snapshot) = state.snapshot() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "no sample yet\n").into_response();
    };
    let accept: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .collect();
    let format = negotiate::format(&accept.join(","));
    let scrapes = *state.scrapes.lock().unwrap_or_else(PoisonError::into_inner);
    let request = Request {
        snapshot,
        scrapes,
        format,
        classic: state.settings.classic_buckets,
        max_series: state.settings.max_series.into(),
    };
    let mut dropped = state
        .dropped
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let encoded = encode(&request, &mut dropped);
    *state.dropped.lock().unwrap_or_else(PoisonError::into_inner) = dropped;
    let response = match encoded {
        Ok(body) => ([(header::CONTENT_TYPE, format.content_type())], body).into_response(),
        Err(error) => {
            tracing::error!(%error, "exposition failed");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
        }
    };
    let took_ns = began.elapsed().as_nanos() as u64;
    let mut scrapes = state.scrapes.lock().unwrap_or_else(PoisonError::into_inner);
    scrapes.buckets[bucket_of(took_ns)] += 1;
    scrapes.sum_ns += took_ns;
    response
}
