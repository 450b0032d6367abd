//! `GET /api/v1/ended`: the last sessions that have ended, and why they did.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};

use super::{
    super::AppState,
    figures,
    history::{WINDOWS, finding_of},
    oom_kill, seconds_since_epoch,
};
use crate::{
    api,
    session::past::{LastExit, Past},
};

/// Answers with them.
#[utoipa::path(
    get,
    path = "/api/v1/ended",
    responses(
        (status = 200, description = "The last 200 that have ended", body = api::Ended),
    )
)]
pub(in crate::serve) async fn ended(State(state): State<AppState>) -> Response {
    let snapshot = state.snapshot();
    let pasts = snapshot.iter().flat_map(|s| s.pasts.latest_first());
    let sessions = pasts.map(past).collect();
    Json(api::Ended { sessions }).into_response()
}

fn past(past: &Past) -> api::PastSession {
    let identity = &past.identity;
    let [wait_p50, wait_p99] = past.runqueue_wait;
    let [rtt_p50, rtt_p95] = past.round_trip;
    let process = &past.process;
    api::PastSession {
        id: past.id.to_string(),
        session: identity.session.clone(),
        namespace: identity.namespace.clone(),
        template: identity.template.clone(),
        cgroup: past.cgroup.clone(),
        source: identity.source_name().to_owned(),
        user: identity.user.clone(),
        start_time: past.started.and_then(seconds_since_epoch),
        end_time: seconds_since_epoch(past.ended),
        duration_seconds: past.lasted.map(|lasted| lasted.as_secs_f64()),
        end_reason: past.reason.name().to_owned(),
        why: why(past),
        last_oom_kill: past.last_oom_kill.as_ref().map(oom_kill),
        cpu_seconds: past.cpu_ns as f64 / 1e9,
        runqueue_wait_p50: wait_p50,
        runqueue_wait_p99: wait_p99,
        cpu_throttled_seconds: past.throttled_us.map(figures::seconds),
        memory_most_bytes: past.memory,
        tcp_transmit_bytes: past.tcp_bytes.map(|[sent, _]| sent),
        tcp_receive_bytes: past.tcp_bytes.map(|[_, received]| received),
        rtt_p50,
        rtt_p95,
        exits: api::Exits {
            success: process.exits_success,
            error: process.exits_error,
            signal: process.exits_signal,
            oom_killed: process.exits_oom_killed,
        },
        findings: past.findings.as_ref().map(|both| {
            let windows = WINDOWS.into_iter().zip(both);
            let told = windows.flat_map(|(window, found)| {
                found.iter().map(move |finding| finding_of(window, finding))
            });
            told.collect()
        }),
    }
}

/// What more is known of an end than its reason.
fn why(past: &Past) -> Option<String> {
    if let Some(xid) = past.gpu_fault {
        return Some(format!("a process of it failed after the Xid error {xid}"));
    }
    if let Some(kill) = &past.last_oom_kill {
        let api::OomKill { pid, command, .. } = oom_kill(kill);
        return Some(format!(
            "the out-of-memory killer killed {command} ({pid}) in it"
        ));
    }
    match past.last_exit? {
        LastExit::Status(status) => Some(format!(
            "the last of its processes to end returned {status}"
        )),
        LastExit::Signal(signal) => Some(format!(
            "signal {signal} killed the last of its processes to end"
        )),
    }
}
