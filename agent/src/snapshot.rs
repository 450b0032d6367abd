//! What every output reads: one immutable state of the agent, made by `app` once per sample.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use agent_common::histogram::Histogram;

use crate::{
    clock,
    discover::{
        directory::Peer,
        platform::{EndReason, Facts, Reconciles, Source},
        rules::Identity,
    },
    gpu::{
        Status,
        model::{Calls, Report},
    },
    kernel::{FilledMap, object::TaskStore, programs::ProgramStatus, ring::EventKind},
    named::named,
    session::{
        audit::Account,
        ended::AllEnded,
        gpu::{Remainder, XidCount},
        history::History,
        logon::Phases,
        model::{Counts, Logoff, Milestone, Session, Template},
        past::Pasts,
        phase::Phase,
        recent::RecentView,
        registry::{Admission, LogonKey, StartupKey},
    },
    telemetry::{AuditLines, TraceId},
};

/// The agent's state at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When its making began: nothing in it is older.
    pub taken: Instant,
    /// Sessions, live and lingering, oldest first.
    pub sessions: Vec<SessionView>,
    /// Sessions whose end has just been decided and that are not among them: they do not linger, or another one has
    /// their labels.
    pub ended_unseen: Vec<SessionView>,
    /// The last sessions that have ended.
    pub pasts: Pasts,
    /// The kernel programs.
    pub programs: Vec<ProgramStatus>,
    /// The GPUs.
    pub gpu: GpuView,
    /// The agent itself.
    pub agent: AgentView,
}

/// The GPUs of the node.
#[derive(Clone, Debug)]
pub struct GpuView {
    /// Whether the driver answers.
    pub status: Status,
    /// Whether the driver tells of the processes of the node.
    pub host_pids: bool,
    /// Why the kernel's log is not read, which names the processes of Xid errors; `None` while it is.
    pub kernel_log_down: Option<String>,
    /// The last round of the sampler, while the driver answers.
    pub report: Option<Arc<Report>>,
    /// What no session explains, by device.
    pub remainders: BTreeMap<u32, Remainder>,
    /// Xid errors, by the device's label and number.
    pub xids: BTreeMap<(String, u32), XidCount>,
    /// What the driver has been asked.
    pub calls: Calls,
}

/// One session.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// What it is called.
    pub identity: Identity,
    /// Its id: that of its trace, where there are traces. Sessions of different boots have different ones.
    pub id: TraceId,
    /// Its trace, where there are traces.
    pub trace: Option<TraceId>,
    /// Path of its first cgroup.
    pub cgroup: String,
    /// Directories of the cgroups that a rule named; empty when it has ended.
    pub roots: Vec<PathBuf>,
    /// The phase; `None` when it has ended and its series linger.
    pub phase: Option<Phase>,
    /// Since when it is in that phase; `None` where the agent has not seen it begin.
    pub phase_since: Option<SystemTime>,
    /// When it began.
    pub started: Option<SystemTime>,
    /// When the agent adopted it: what the agent counts of it was 0 then.
    pub adopted: SystemTime,
    /// When its cgroups were made, if the agent saw that: what the kernel accounts for them was 0 then.
    pub made: Option<SystemTime>,
    /// When it ended.
    pub ended: Option<SystemTime>,
    /// How it ended; `None` while that is not decided.
    pub end_reason: Option<EndReason>,
    /// How long nobody has used it; `None` when it has ended.
    pub idle_for: Option<Duration>,
    /// From its beginning to each milestone of its start.
    pub startup: BTreeMap<Milestone, Duration>,
    /// How long each phase of its logon took; empty until nothing more can come of it.
    pub logon: Phases,
    /// How it was left.
    pub logoff: Logoff,
    /// What has been counted.
    pub counts: Counts,
    /// The last seconds, minute and hour; `None` when it has ended.
    pub recent: Option<RecentView>,
    /// The last day, up to its end; `None` where no history is kept.
    pub history: Option<Arc<History>>,
    /// Sessions that took the CPU from it, most often first.
    pub preempted_by: Vec<(String, u64)>,
    /// What its platform last said of it.
    pub platform: Option<Arc<Facts>>,
}

impl SessionView {
    /// A session as it is now.
    pub fn of(session: &Session, roots: Vec<PathBuf>, preempted_by: Vec<(String, u64)>) -> Self {
        Self {
            identity: session.identity.clone(),
            id: session.id,
            trace: session.trace,
            cgroup: session.cgroup.clone(),
            roots,
            phase: session.is_live().then_some(session.phase),
            phase_since: session
                .phase_since_ns
                .filter(|_| session.is_live())
                .and_then(clock::wall_of_boot),
            started: session.began(),
            adopted: session.adopted,
            made: session.made,
            ended: session
                .ended
                .and_then(|at| SystemTime::now().checked_sub(at.elapsed())),
            end_reason: session.end_reason,
            idle_for: session.is_live().then(|| session.activity.idle_for()),
            startup: session.startup(),
            logon: session.logon.clone().unwrap_or_default(),
            logoff: session.logoff.clone(),
            counts: session.counts.clone(),
            recent: session.is_live().then(|| session.recent.view()),
            history: session.history.clone(),
            preempted_by,
            platform: session.platform.clone(),
        }
    }
}

/// What the agent knows of itself.
#[derive(Clone, Debug)]
pub struct AgentView {
    /// When it started: what it counts of itself and of the node was 0 then.
    pub started: SystemTime,
    /// Release of the running kernel.
    pub kernel_release: String,
    /// CPUs that were online when it started.
    pub cpus: u32,
    /// Where the per-thread state is kept.
    pub task_store: TaskStore,
    /// A hash of the configuration in effect.
    pub config_hash: String,
    /// The files that are read again while the agent runs, by path.
    pub reloads: BTreeMap<String, Reloads>,
    /// Cap on sessions.
    pub max_sessions: u32,
    /// Live sessions.
    pub live_sessions: usize,
    /// Sessions that did not fit.
    pub overflowed_total: u64,
    /// Sessions whose template was one too many.
    pub templates_overflowed_total: u64,
    /// Events lost because the ring was full, by kind.
    pub events_lost: Vec<(EventKind, u64)>,
    /// Switches of sessions' threads of which nothing was measured.
    pub unmeasured_switches: u64,
    /// Entries of the maps that can be full.
    pub map_fills: Vec<(FilledMap, u64)>,
    /// The most that waited in the ring of events since the sample before, bytes.
    pub ring_bytes: Option<u64>,
    /// Lines of the audit log; `None` where there is none.
    pub audit_lines: Option<AuditLines>,
    /// Spans of traces; `None` where there are none.
    pub traces: Option<TraceView>,
    /// Cap on the series of an exposition.
    pub max_series: u32,
    /// Sessions that came, by who made them and what became of that; `None` where nobody but the hierarchy knows them.
    pub admissions: BTreeMap<(Option<Source>, Admission), u64>,
    /// Kernel memory of the maps, bytes.
    pub map_bytes: u64,
    /// How far the sessions' figures are from the kernel's own accounts, as a part of these.
    pub audit: BTreeMap<Account, f64>,
    /// Time from a session's cgroup to its adoption.
    pub adoption: Histogram,
    /// Sessions that have begun while the agent ran.
    pub begun: BTreeMap<Template, u64>,
    /// Time from a session's cgroup to each milestone of its start.
    pub startup: BTreeMap<StartupKey, Histogram>,
    /// How long the phases of logons took.
    pub logons: BTreeMap<LogonKey, Histogram>,
    /// How long logoffs took.
    pub logoffs: BTreeMap<Template, Histogram>,
    /// Sessions that have ended, by reason.
    pub ended: AllEnded,
    /// Comparisons of the cgroups that are there with what is known.
    pub reconciles: Reconciles,
    /// The platforms' sources.
    pub peers: BTreeMap<Source, Peer>,
    /// Sessions that are awaited: their platform has them, and they have no cgroup yet.
    pub awaited: Vec<Template>,
    /// Templates that sessions have had.
    pub templates: BTreeSet<Template>,
}

/// What became of the spans of traces so far.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceView {
    /// By their fate.
    pub spans: SpanCounts,
    /// Times that the collector did not take what was sent.
    pub failures: u64,
    /// Spans that wait for being sent.
    pub waiting: u64,
    /// The part of all traces that is kept now, by [`TracesOf`].
    pub ratios: [f64; TracesOf::ALL.len()],
}

named! {
    /// What traces are of.
    pub enum TracesOf {
        /// Of sessions.
        Sessions = "sessions",
        /// Of what the agent does: requests and comparisons.
        Agent = "agent",
    }
}

/// Spans by their fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanCounts {
    /// A collector has taken them.
    pub sent: u64,
    /// There was no room in the queue.
    pub dropped: u64,
    /// There were more than `traces.spans_a_second`.
    pub over_limit: u64,
}

/// Readings of a file after the first.
#[derive(Clone, Debug)]
pub struct Reloads {
    /// After which the file was in effect.
    pub success: u64,
    /// After which what was in effect before still was.
    pub errors: u64,
    /// When it was read last without an error, the first time included.
    pub last_success: SystemTime,
}

impl Reloads {
    /// Of a file that has just been read for the first time.
    pub fn first() -> Self {
        Self {
            success: 0,
            errors: 0,
            last_success: SystemTime::now(),
        }
    }

    /// Counts one.
    pub fn add(&mut self, is_in_effect: bool) {
        if is_in_effect {
            self.success += 1;
            self.last_success = SystemTime::now();
        } else {
            self.errors += 1;
        }
    }
}
