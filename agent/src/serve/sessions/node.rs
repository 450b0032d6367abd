//! `GET /api/v1/node` and `GET /api/v1/agent`: what is not of one session.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use procfs::{CpuPressure, Current as _, IoPressure, Meminfo, MemoryPressure, PressureRecord};

use super::super::AppState;
use crate::{api, snapshot::Snapshot};

/// Answers with the node.
#[utoipa::path(
    get,
    path = "/api/v1/node",
    responses(
        (status = 200, description = "The node", body = api::Node),
    )
)]
pub(in crate::serve) async fn node(State(state): State<AppState>) -> Response {
    answer(&state, of)
}

/// Answers with the agent.
#[utoipa::path(
    get,
    path = "/api/v1/agent",
    responses(
        (status = 200, description = "The agent", body = api::Agent),
    )
)]
pub(in crate::serve) async fn agent(State(state): State<AppState>) -> Response {
    answer(&state, super::agent)
}

fn answer<T: serde::Serialize>(state: &AppState, part: impl Fn(&Snapshot) -> T) -> Response {
    let Some(snapshot) = state.snapshot() else {
        let error = "the agent has not taken its first sample yet".to_owned();
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(api::Problem { error }),
        )
            .into_response();
    };
    Json(part(&snapshot)).into_response()
}

/// The node now. A container has the node's own files there: neither is of a namespace.
pub(super) fn of(snapshot: &Snapshot) -> api::Node {
    let memory = Meminfo::current().ok();
    // avg60 is in hundredths.
    let share = |record: &PressureRecord| f64::from(record.avg60) / 100.0;
    let io = IoPressure::current().ok();
    let of_memory = MemoryPressure::current().ok();
    api::Node {
        cpus: snapshot.agent.cpus,
        memory_total_bytes: memory.as_ref().map(|memory| memory.mem_total),
        memory_available_bytes: memory.and_then(|memory| memory.mem_available),
        pressure: api::NodePressure {
            cpu_some: CpuPressure::current().ok().map(|cpu| share(&cpu.some)),
            memory_some: of_memory.as_ref().map(|memory| share(&memory.some)),
            memory_full: of_memory.as_ref().map(|memory| share(&memory.full)),
            io_some: io.as_ref().map(|io| share(&io.some)),
            io_full: io.as_ref().map(|io| share(&io.full)),
        },
    }
}
