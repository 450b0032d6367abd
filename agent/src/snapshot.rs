//! What every output reads: one immutable state of the agent, made by `app` once per sample.

use std::{
    collections::BTreeMap,
    time::{Instant, SystemTime},
};

use agent_common::histogram::Histogram;

use crate::{
    discover::rules::Identity,
    kernel::{object::TaskStore, programs::ProgramStatus},
    session::{
        model::{Counts, Phase, RecentView, Session},
        registry::StartupKey,
    },
};

/// The agent's state at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When its making began: nothing in it is older.
    pub taken: Instant,
    /// Sessions, live and lingering, oldest first.
    pub sessions: Vec<SessionView>,
    /// The kernel programs.
    pub programs: Vec<ProgramStatus>,
    /// The agent itself.
    pub agent: AgentView,
}

/// One session.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// What it is called.
    pub identity: Identity,
    /// Path of its first cgroup.
    pub cgroup: String,
    /// The phase; `None` when it has ended and its series linger.
    pub phase: Option<Phase>,
    /// When it began.
    pub started: Option<SystemTime>,
    /// What has been counted.
    pub counts: Counts,
    /// The last ten seconds; `None` when it has ended.
    pub recent: Option<RecentView>,
    /// Sessions that took the CPU from it, most often first.
    pub preempted_by: Vec<(String, u64)>,
}

impl SessionView {
    /// A session as it is now.
    pub fn of(session: &Session, preempted_by: Vec<(String, u64)>) -> Self {
        Self {
            identity: session.identity.clone(),
            cgroup: session.cgroup.clone(),
            phase: session.is_live().then(|| session.phase()),
            started: session.started,
            counts: session.counts.clone(),
            recent: if session.is_live() {
                session.recent.view()
            } else {
                None
            },
            preempted_by,
        }
    }
}

/// What the agent knows of itself.
#[derive(Clone, Debug)]
pub struct AgentView {
    /// Release of the running kernel.
    pub kernel_release: String,
    /// Where the per-thread state is kept.
    pub task_store: TaskStore,
    /// Cap on sessions.
    pub max_sessions: u32,
    /// Live sessions.
    pub live_sessions: usize,
    /// Sessions that did not fit.
    pub overflowed_total: u64,
    /// Events lost because the ring was full, by kind.
    pub events_lost: Vec<(&'static str, u64)>,
    /// Kernel memory of the maps, bytes.
    pub map_bytes: u64,
    /// Time from a session's cgroup to its adoption.
    pub adoption: Histogram,
    /// Time from a session's cgroup to each milestone of its start.
    pub startup: BTreeMap<StartupKey, Histogram>,
    /// Comparisons of what is there with what is known, by source.
    pub reconciles: BTreeMap<&'static str, Reconciles>,
}

/// How a source's comparisons went.
#[derive(Clone, Debug, Default)]
pub struct Reconciles {
    /// How long they took.
    pub duration: Histogram,
    /// How many succeeded.
    pub success: u64,
    /// How many failed, by kind of error.
    pub errors: BTreeMap<&'static str, u64>,
}
