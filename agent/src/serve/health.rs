//! Whether the agent is alive and ready.

use std::time::Duration;

use axum::{extract::State, http::StatusCode};

use super::AppState;

/// A sample this many periods old means that the sampling loop is stuck.
const STALE_PERIODS: u32 = 10;

/// `GET /healthz`
pub(super) async fn healthz(State(state): State<AppState>) -> (StatusCode, String) {
    match state.snapshot() {
        // The first sample comes before the socket is opened to anyone but the prober.
        None => (StatusCode::OK, "starting\n".to_owned()),
        Some(snapshot) => {
            let age = snapshot.taken.elapsed();
            if age > (state.period * STALE_PERIODS).max(Duration::from_secs(10)) {
                let text = format!("the last sample is {} s old\n", age.as_secs());
                (StatusCode::SERVICE_UNAVAILABLE, text)
            } else {
                (StatusCode::OK, "ok\n".to_owned())
            }
        }
    }
}

/// `GET /readyz`
pub(super) async fn readyz(State(state): State<AppState>) -> (StatusCode, String) {
    let Some(snapshot) = state.snapshot() else {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "no sample yet\n".to_owned(),
        );
    };
    let down: Vec<_> = snapshot
        .programs
        .iter()
        .filter(|p| p.required && !p.up)
        .map(|p| {
            format!(
                "{}: {}",
                p.name,
                p.reason.as_deref().unwrap_or("not attached")
            )
        })
        .collect();
    if down.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else if state.door.is_shut() {
        // To whom it is not known.
        let text = "not ready: the log says why\n";
        (StatusCode::SERVICE_UNAVAILABLE, text.to_owned())
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{}\n", down.join("\n")),
        )
    }
}
