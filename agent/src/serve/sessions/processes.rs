//! `GET /api/v1/sessions/{id}/processes`: who in a session has the CPU, and who waits for it.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use tokio::{sync::Mutex, task::spawn_blocking};

use super::{super::AppState, by_id, history::rounded, seconds_since_epoch, unknown};
use crate::{
    api,
    kernel::processes::{Found, ProcessFigures, look},
};

/// One look at a time, whoever asks: it reads files of each thread.
static LOOK: LazyLock<Arc<Mutex<()>>> = LazyLock::new(Arc::default);

/// Answers with the processes of a session that lives.
#[utoipa::path(
    get,
    path = "/api/v1/sessions/{id}/processes",
    params(("id", description = "Id of the session, 32 hexadecimal digits")),
    responses(
        (status = 200, description = "Its processes now", body = api::Processes),
        (status = 404, description = "No session has the id", body = api::Problem)
    )
)]
pub(in crate::serve) async fn processes(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Response {
    let snapshot = state.snapshot();
    let view = snapshot.as_deref().and_then(|all| by_id(all, &id));
    let (Some(view), Some(snapshot)) = (view, snapshot.as_deref()) else {
        return unknown(&id);
    };
    let roots = view.roots.clone();
    let others = snapshot.sessions.iter().filter(|one| one.id != view.id);
    let others: BTreeSet<_> = others.flat_map(|one| one.roots.clone()).collect();
    // The look has it, and not the request: who goes away does not end a look that has begun.
    let turn = Arc::clone(&LOOK).lock_owned().await;
    let looked = spawn_blocking(move || {
        let _until_it_is_over = turn;
        look(&roots, &others)
    });
    match looked.await {
        Ok(Some(found)) => Json(answer(id, view.identity.session.clone(), &found)).into_response(),
        Ok(None) => {
            none("the agent sees process ids of its own namespace alone: run it with hostPID")
        }
        Err(error) => none(&format!("the look has failed: {error}")),
    }
}

fn none(error: &str) -> Response {
    let error = error.to_owned();
    (StatusCode::NOT_FOUND, Json(api::Problem { error })).into_response()
}

fn answer(id: String, session: String, found: &Found) -> api::Processes {
    api::Processes {
        id,
        session,
        window_seconds: rounded(found.over.as_secs_f64()),
        processes: found.processes.iter().map(process).collect(),
        cut: found.is_cut,
    }
}

fn process(process: &ProcessFigures) -> api::Process {
    api::Process {
        pid: process.pid,
        command: process.command.clone(),
        state: process.state.name().to_owned(),
        threads: process.threads,
        cpu_ratio: process.cpus.map(rounded),
        waiting: process.waiting.map(rounded),
        cpu_seconds: process.cpu_time.as_secs_f64(),
        memory_bytes: process.resident_bytes,
        start_time: process.began.and_then(seconds_since_epoch),
    }
}
