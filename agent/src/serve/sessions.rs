//! `GET /api/v1/sessions`: the sessions for people and scripts, with quantiles. A value that is not known is
//! null.

mod details;
mod figures;
mod gpus;
pub(super) mod history;
pub(super) mod node;
pub(super) mod past;
pub(super) mod processes;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    AppState, negotiate,
    rendering::{Wanted, What},
};
use crate::{
    api,
    discover::users::UserPolicy,
    discover::{
        directory::{Peer, Status},
        platform::Source,
    },
    kernel::programs::ProgramStatus,
    metrics::process::OwnProcess,
    session::{
        logon::{LogonPhase, Phases},
        model::{Logoff, Milestone, OomKill},
        phase::Phase,
    },
    snapshot::{SessionView, Snapshot},
};

/// The sessions of the last sample.
#[utoipa::path(
    get,
    path = "/api/v1/sessions",
    responses(
        (status = 200, description = "The agent, the node, its GPUs and its sessions", body = api::Report),
    )
)]
pub(super) async fn sessions(State(state): State<AppState>, headers: HeaderMap) -> Response {
    if state.snapshot().is_none() {
        return Json(api::Report::default()).into_response();
    }
    let encoding = negotiate::encoding(&negotiate::list(&headers, header::ACCEPT_ENCODING));
    let wanted = Wanted {
        what: What::Sessions,
        encoding,
    };
    state.renderings.get(wanted).await.into_response()
}

/// Answers with one session of the last sample.
#[utoipa::path(
    get,
    path = "/api/v1/sessions/{id}",
    params(("id", description = "Id of the session, 32 hexadecimal digits")),
    responses(
        (status = 200, description = "The session", body = api::Session),
        (status = 404, description = "No session has the id", body = api::Problem)
    )
)]
pub(super) async fn one(State(state): State<AppState>, Path(id): Path<String>) -> Response {
    let snapshot = state.snapshot();
    let view = snapshot
        .as_deref()
        .and_then(|snapshot| by_id(snapshot, &id));
    view.map_or_else(
        || unknown(&id),
        |view| Json(session(view, state.users)).into_response(),
    )
}

/// The session with an id.
fn by_id<'s>(snapshot: &'s Snapshot, id: &str) -> Option<&'s SessionView> {
    let mut sessions = snapshot.sessions.iter();
    sessions.find(|view| view.id.to_string() == id)
}

/// There is none.
fn unknown(id: &str) -> Response {
    // As much of it as one has.
    let id: String = id.chars().take(32).collect();
    let error =
        format!("no session has the id {id:?}; GET /api/v1/sessions has those that there are");
    (StatusCode::NOT_FOUND, Json(api::Problem { error })).into_response()
}

/// Writes the sessions of a sample.
pub(super) fn write(snapshot: &Snapshot, users: UserPolicy) -> Result<Vec<u8>, String> {
    let report = report(snapshot, users);
    serde_json::to_vec(&report).map_err(|error| error.to_string())
}

fn report(snapshot: &Snapshot, users: UserPolicy) -> api::Report {
    let sessions = snapshot.sessions.iter();
    api::Report {
        agent: Some(agent(snapshot)),
        node: Some(node::of(snapshot)),
        gpus: gpus::of_node(&snapshot.gpu),
        sessions: sessions.map(|view| session(view, users)).collect(),
    }
}

fn agent(snapshot: &Snapshot) -> api::Agent {
    let agent = &snapshot.agent;
    let process = OwnProcess::read();
    api::Agent {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: agent.kernel_release.clone(),
        task_state: agent.task_store.name().to_owned(),
        sessions_limit: agent.max_sessions,
        sessions_tracked: agent.live_sessions,
        sessions_overflowed: agent.overflowed_total,
        start_time: seconds_since_epoch(agent.started),
        cpu_seconds: process.map(|process| process.cpu_seconds),
        resident_bytes: process.map(|process| process.resident_bytes as u64),
        map_bytes: agent.map_bytes,
        events_lost: agent.events_lost.iter().map(|(_, lost)| lost).sum(),
        switches_unmeasured: agent.unmeasured_switches,
        programs: snapshot.programs.iter().map(program).collect(),
        sources: agent.peers.iter().map(source).collect(),
    }
}

fn program(status: &ProgramStatus) -> api::Program {
    api::Program {
        name: status.name.to_owned(),
        required: status.required,
        stands_in_for: status.stands_in_for.map(ToOwned::to_owned),
        up: status.up,
        code: status.code.map(|code| code.name().to_owned()),
        reason: status.reason.clone(),
        missed: status.missed,
        verified_instructions: status.verified_instructions,
        runs: status.runs,
        seconds: status.seconds,
    }
}

fn source((source, peer): (&Source, &Peer)) -> api::Source {
    let reason = match &peer.status {
        Status::Up => None,
        Status::Starting => Some("it has not answered yet".to_owned()),
        Status::Off(reason) | Status::Down(reason) | Status::Absent(reason) => Some(reason.clone()),
    };
    api::Source {
        name: source.name().to_owned(),
        up: reason.is_none(),
        reason,
    }
}

fn session(view: &SessionView, users: UserPolicy) -> api::Session {
    let (identity, counts) = (&view.identity, &view.counts);
    let (sched, process) = (&counts.sched, &counts.process);
    let accounts = counts.accounts.as_ref();
    let net = counts.net.as_ref();
    api::Session {
        id: view.id.to_string(),
        session: identity.session.clone(),
        namespace: identity.namespace.clone(),
        template: identity.template.clone(),
        phase: view.phase.map(Phase::name).map(ToOwned::to_owned),
        phase_start_time: view.phase_since.and_then(seconds_since_epoch),
        ended: view.phase.is_none(),
        end_time: view.ended.and_then(seconds_since_epoch),
        end_reason: view.end_reason.map(|reason| reason.name().to_owned()),
        cgroup: view.cgroup.clone(),
        source: identity.source_name().to_owned(),
        rule: identity.rule.clone(),
        runtime: identity.runtime.clone(),
        pod: identity.pod.clone(),
        container: identity.container.clone(),
        user: identity.user.clone(),
        origins: api::Origins {
            session: identity.origins.session.clone(),
            namespace: identity.origins.namespace.clone(),
            template: identity.origins.template.clone(),
            user: identity.origins.user.clone(),
        },
        details: details::shown(view.platform.as_deref(), users),
        start_time: view.started.and_then(seconds_since_epoch),
        startup_seconds: startup(&view.startup),
        logon_seconds: logon(&view.logon),
        logoff: logoff(&view.logoff),
        idle_seconds: view.idle_for.map(|idle| idle.as_secs_f64()),
        findings: history::findings(view),
        processes: counts.census.map(|c| c.processes),
        threads: counts.census.map(|c| c.threads),
        threads_by_state: counts
            .census
            .and_then(|c| c.by_state)
            .map(|states| api::ThreadStates {
                runnable: states.runnable,
                uninterruptible: states.uninterruptible,
            }),
        processes_limit: accounts.and_then(|a| a.processes.most),
        forks_refused: accounts.and_then(|a| a.processes.refused_forks),
        cpu_seconds: counts.cpu_ns as f64 / 1e9,
        cpu_ratio: view.recent.as_ref().and_then(|r| r.cpus),
        cpu_limit: accounts.and_then(|a| a.cpu_limit),
        cpu_throttled_seconds: accounts
            .and_then(|a| a.throttled.own_us)
            .map(figures::seconds),
        cpu_throttled_above_seconds: accounts
            .and_then(|a| a.throttled.by_those_above())
            .map(figures::seconds),
        cpu_periods: accounts.and_then(|a| a.periods).map(figures::periods),
        runqueue_wait: figures::runqueue_wait(view),
        cpu_wait_seconds: figures::cpu_wait(sched),
        context_switches: api::ContextSwitches {
            voluntary: sched.voluntary_switches,
            involuntary: sched.involuntary_switches(),
            throttled: sched.throttles,
            yielded: sched.yields,
        },
        preemptions: api::Preemptions {
            own: sched.preempted_by_self,
            session: sched.preempted_by_session,
            system: sched.preempted_by_system,
        },
        preempted_by: preempted_by(view),
        pressure_seconds: accounts.map(|a| figures::pressure(a.pressure)),
        memory_bytes: accounts.and_then(|a| a.memory).map(figures::memory),
        memory_events: accounts
            .and_then(|a| a.memory_events)
            .map(figures::memory_events),
        major_faults: sched.major_faults,
        reclaim_stall: counts
            .memory
            .map(|m| figures::distribution(&m.reclaim_stall)),
        input: counts.experience.as_ref().map(|e| figures::input(e, net)),
        block_io: counts.block.as_ref().map(figures::block_io),
        clients: net.and_then(|net| net.clients),
        disconnects: net.and_then(|net| figures::disconnects(net, view.phase.is_some())),
        network_bytes: net.map(figures::network_bytes),
        tcp: net.map(|net| figures::tcp(net, view.recent.as_ref())),
        udp: net.and_then(|n| n.udp.as_ref()).map(figures::udp),
        gpus: counts.gpu.devices.iter().map(gpus::of_session).collect(),
        gpu_xid_errors: gpus::xid_errors(&counts.gpu.xids),
        last_oom_kill: counts.last_oom_kill.as_ref().map(oom_kill),
        process: api::ProcessCounts {
            forks: process.forks,
            execs: process.execs,
            exits: api::Exits {
                success: process.exits_success,
                error: process.exits_error,
                signal: process.exits_signal,
                oom_killed: process.exits_oom_killed,
            },
        },
    }
}

fn startup(reached: &BTreeMap<Milestone, Duration>) -> api::Startup {
    let at = |milestone| reached.get(&milestone).map(Duration::as_secs_f64);
    api::Startup {
        scheduled: at(Milestone::Scheduled),
        sandbox: at(Milestone::Sandbox),
        pulled: at(Milestone::Pulled),
        started: at(Milestone::Started),
        ready: at(Milestone::Ready),
        user_manager: at(Milestone::UserManager),
        home_mounted: at(Milestone::HomeMounted),
        first_process: at(Milestone::FirstProcess),
        first_listener: at(Milestone::FirstListener),
        settled: at(Milestone::Settled),
        first_client: at(Milestone::FirstClient),
        first_gpu_context: at(Milestone::FirstGpuContext),
        first_encoder: at(Milestone::FirstEncoder),
    }
}

fn logon(phases: &Phases) -> api::Logon {
    let took = |phase| phases.get(&phase).map(Duration::as_secs_f64);
    api::Logon {
        authentication: took(LogonPhase::Authentication),
        user_manager: took(LogonPhase::UserManager),
        home_mounted: took(LogonPhase::HomeMounted),
        scheduled: took(LogonPhase::Scheduled),
        sandbox: took(LogonPhase::Sandbox),
        pulled: took(LogonPhase::Pulled),
        started: took(LogonPhase::Started),
        ready: took(LogonPhase::Ready),
        display: took(LogonPhase::Display),
        desktop: took(LogonPhase::Desktop),
        unaccounted: took(LogonPhase::Unaccounted),
    }
}

fn logoff(logoff: &Logoff) -> Option<api::Logoff> {
    let has_begun = logoff.closing_ns.is_some() || logoff.took.is_some();
    has_begun.then(|| api::Logoff {
        seconds: logoff.took.map(|took| took.as_secs_f64()),
        held_by: logoff.held_by.as_ref().map(|holder| api::Holder {
            pid: holder.pid,
            command: holder.command.clone(),
        }),
    })
}

fn preempted_by(view: &SessionView) -> Vec<api::Preemptor> {
    let preemptors = view.preempted_by.iter();
    preemptors
        .map(|(session, count)| api::Preemptor {
            session: session.clone(),
            count: *count,
        })
        .collect()
}

fn oom_kill(kill: &OomKill) -> api::OomKill {
    api::OomKill {
        pid: kill.pid,
        command: kill.command.clone(),
        time: seconds_since_epoch(kill.at),
    }
}

fn seconds_since_epoch(time: SystemTime) -> Option<f64> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs_f64())
}
