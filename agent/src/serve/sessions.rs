//! `GET /api/v1/sessions`: the sessions for people and scripts, with quantiles. A value that is not known is
//! null.

use std::time::{SystemTime, UNIX_EPOCH};

use agent_common::histogram::Histogram;
use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::AppState;
use crate::{
    session::model::quantile,
    snapshot::{SessionView, Snapshot},
};

pub(super) async fn sessions(State(state): State<AppState>) -> Json<Value> {
    Json(
        state
            .snapshot()
            .map_or_else(|| json!({"agent": null, "sessions": []}), |s| render(&s)),
    )
}

fn render(snapshot: &Snapshot) -> Value {
    let agent = &snapshot.agent;
    json!({
        "agent": {
            "version": env!("CARGO_PKG_VERSION"),
            "kernel": agent.kernel_release,
            "task_state": agent.task_store.name(),
            "sessions_limit": agent.max_sessions,
            "sessions_tracked": agent.live_sessions,
            "sessions_overflowed": agent.overflowed_total,
            "programs": snapshot.programs,
        },
        "sessions": snapshot.sessions.iter().map(session).collect::<Vec<_>>(),
    })
}

fn session(view: &SessionView) -> Value {
    let identity = &view.identity;
    let counts = &view.counts;
    let (sched, process) = (&counts.sched, &counts.process);
    json!({
        "session": identity.session,
        "namespace": identity.namespace,
        "template": identity.template,
        "phase": view.phase.map(crate::session::model::Phase::name),
        "ended": view.phase.is_none(),
        "cgroup": view.cgroup,
        "source": "cgroup",
        "rule": identity.rule,
        "runtime": identity.runtime,
        "pod": identity.pod,
        "container": identity.container,
        "start_time": view.started.and_then(seconds_since_epoch),
        "processes": counts.census.map(|c| c.processes),
        "threads": counts.census.map(|c| c.threads),
        "cpu_seconds": counts.cpu_ns as f64 / 1e9,
        "cpu_ratio": view.recent.as_ref().map(|r| r.cpus),
        "runqueue_wait": runqueue_wait(view),
        "context_switches": {
            "voluntary": sched.voluntary_switches,
            "involuntary": sched.involuntary_switches,
        },
        "preemptions": {
            "self": sched.preempted_by_self,
            "session": sched.preempted_by_session,
            "system": sched.preempted_by_system,
        },
        "preempted_by": view.preempted_by.iter()
            .map(|(session, count)| json!({"session": session, "count": count}))
            .collect::<Vec<_>>(),
        "last_oom_kill": counts.last_oom_kill.as_ref().map(|kill| json!({
            "pid": kill.pid,
            "command": kill.command,
            "time": seconds_since_epoch(kill.at),
        })),
        "process": {
            "forks": process.forks,
            "execs": process.execs,
            "exits": {
                "success": process.exits_success,
                "error": process.exits_error,
                "signal": process.exits_signal,
                "oom_killed": process.exits_oom_killed,
            },
        },
    })
}

fn seconds_since_epoch(time: SystemTime) -> Option<f64> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs_f64())
}

fn runqueue_wait(view: &SessionView) -> Value {
    let whole = &view.counts.sched.runqueue_wait;
    let mut value = summary(whole);
    value["sum_seconds"] = json!(whole.sum_ns as f64 / 1e9);
    value["recent"] = view.recent.as_ref().map_or(Value::Null, |recent| {
        let mut value = summary(&recent.runqueue_wait);
        value["window_seconds"] = json!(recent.window.as_secs_f64());
        value
    });
    value
}

fn summary(histogram: &Histogram) -> Value {
    json!({
        "count": histogram.count(),
        "p50": quantile(histogram, 0.5),
        "p95": quantile(histogram, 0.95),
        "p99": quantile(histogram, 0.99),
    })
}
