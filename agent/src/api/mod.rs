//! What `GET /api/v1/sessions` answers, for the side that serves it and the side that reads it.
//!
//! Names and units are those of the metrics. A value that is not known is null. A field that is not there
//! has its default, so that the subcommands can read an agent of another version. `docs/api.md` has every
//! field.

mod figures;
mod gpu;
mod history;
mod node;
mod past;
mod processes;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use figures::{
    BlockIo, ContextSwitches, CpuPeriods, CpuWaitSeconds, Disconnects, Distribution, Exits, Input,
    Latency, MemoryBytes, MemoryEvents, NetworkBytes, Operation, Preemptions, Pressure,
    PressureSeconds, ProcessCounts, Protocols, RunqueueWait, Tcp, TcpSide, ThreadStates, Udp,
    UnresponsiveApplication, Window,
};
pub use gpu::{Device, Encoder, Engines, Gpus, OnGpu, Streams, XidErrors};
pub use history::{Finding, History, Problem, Steps};
pub use node::{Node, NodePressure};
pub use past::{Ended, PastSession};
pub use processes::{Process, Processes};

/// The whole answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Report {
    /// The agent; null before its first sample.
    pub agent: Option<Agent>,
    /// The node; null before the agent's first sample.
    pub node: Option<Node>,
    /// The node's GPUs.
    pub gpus: Gpus,
    /// Sessions, live and lately ended, oldest first.
    pub sessions: Vec<Session>,
}

/// The agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Agent {
    /// Its version.
    pub version: String,
    /// Release of the running kernel.
    pub kernel: String,
    /// Where the per-thread state is kept.
    pub task_state: String,
    /// Most sessions measured at once.
    pub sessions_limit: u32,
    /// Live sessions.
    pub sessions_tracked: usize,
    /// Sessions that did not fit.
    pub sessions_overflowed: u64,
    /// When it began.
    pub start_time: Option<f64>,
    /// CPU time of its process; null where that cannot be read.
    pub cpu_seconds: Option<f64>,
    /// Memory of its process that is resident, bytes.
    pub resident_bytes: Option<u64>,
    /// Kernel memory of its maps, bytes.
    pub map_bytes: u64,
    /// Events that were lost because the ring was full; a scan makes up for them.
    pub events_lost: u64,
    /// Switches of sessions' threads of which nothing was measured.
    pub switches_unmeasured: u64,
    /// The kernel programs.
    pub programs: Vec<Program>,
    /// The platforms' sources.
    pub sources: Vec<Source>,
}

/// A platform that knows what sessions are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Source {
    /// kubernetes, logind, libvirt or containers.
    pub name: String,
    /// It answers.
    pub up: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// A kernel program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Whether the agent refuses to run without it.
    pub required: bool,
    /// Whose work it does, when it stands in for another.
    pub stands_in_for: Option<String>,
    /// Loaded and attached.
    pub up: bool,
    /// Why not: a label value of `vdi_agent_probe_up`.
    pub code: Option<String>,
    /// Why not, in words.
    pub reason: Option<String>,
    /// Times that it was passed over.
    pub missed: Option<u64>,
    /// Instructions that the kernel's verifier walked; null before 5.16.
    pub verified_instructions: Option<u32>,
    /// Runs, while BPF statistics are on.
    pub runs: Option<u64>,
    /// Time in it, seconds, while BPF statistics are on.
    pub seconds: Option<f64>,
}

/// A session. Counters are since its adoption; times are seconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Session {
    /// Its id, by which it is asked for: 32 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub session: String,
    /// Its namespace; may be empty.
    pub namespace: String,
    /// What it was made from; may be empty.
    pub template: String,
    /// Pending, Starting, Running, Idle or Terminating; null when it has ended.
    pub phase: Option<String>,
    /// Since when; null where the agent has not seen the phase begin.
    pub phase_start_time: Option<f64>,
    /// Its cgroups are gone; it vanishes after `sessions.linger`.
    pub ended: bool,
    /// When it ended.
    pub end_time: Option<f64>,
    /// How it ended: a label value of `vdi_session_ended_total`; null for the first seconds.
    pub end_reason: Option<String>,
    /// Path of its first cgroup.
    pub cgroup: String,
    /// What told the agent of it.
    pub source: String,
    /// The rule that names it.
    pub rule: String,
    /// What runs it.
    pub runtime: Option<String>,
    /// Uid of its pod.
    pub pod: Option<String>,
    /// Id of its container.
    pub container: Option<String>,
    /// Who uses it, as far as `sessions.user` lets that be told.
    pub user: Option<String>,
    /// What in the platform its names are from.
    pub origins: Origins,
    /// What its platform says besides, in words.
    pub details: BTreeMap<String, String>,
    /// When it began.
    pub start_time: Option<f64>,
    /// From its beginning to each milestone of its start.
    pub startup_seconds: Startup,
    /// How long each phase of its logon took.
    pub logon_seconds: Logon,
    /// How it was left; null unless somebody has logged out of it.
    pub logoff: Option<Logoff>,
    /// How long nobody has used it; null when it has ended.
    pub idle_seconds: Option<f64>,
    /// What held it back over the last minute and the last hour, the heaviest first; null where no history is kept.
    pub findings: Option<Vec<Finding>>,
    /// Processes alive.
    pub processes: Option<u64>,
    /// Threads alive.
    pub threads: Option<u64>,
    /// What they did when all threads of the node were walked last; null before that.
    pub threads_by_state: Option<ThreadStates>,
    /// Processes and threads that it may have; null without a limit.
    pub processes_limit: Option<u64>,
    /// Those that were not made because of a limit of its own; null where it has none.
    pub forks_refused: Option<u64>,
    /// CPU time.
    pub cpu_seconds: f64,
    /// CPUs in use over the last sampling period; 1 is one CPU all the time.
    pub cpu_ratio: Option<f64>,
    /// CPUs that it may use; null without a limit.
    pub cpu_limit: Option<f64>,
    /// Time in which it was not let run because it, or one of its containers, had used up the CPU time of its limit.
    pub cpu_throttled_seconds: Option<f64>,
    /// The same for limits of cgroups above, which others may share; null where there is none.
    pub cpu_throttled_above_seconds: Option<f64>,
    /// Periods of its CPU limit and of those of its containers; null where there was no such limit.
    pub cpu_periods: Option<CpuPeriods>,
    /// Time its runnable threads waited for a CPU.
    pub runqueue_wait: RunqueueWait,
    /// The same, in all, by why they waited.
    pub cpu_wait_seconds: CpuWaitSeconds,
    /// Switches away from its threads.
    pub context_switches: ContextSwitches,
    /// Involuntary switches because somebody else got the CPU, by who that was.
    pub preemptions: Preemptions,
    /// Sessions that took the CPU from it, most often first.
    pub preempted_by: Vec<Preemptor>,
    /// Time lost for want of a resource; null before its cgroup is read for the first time.
    pub pressure_seconds: Option<PressureSeconds>,
    /// Memory of its cgroups; null without the memory controller.
    pub memory_bytes: Option<MemoryBytes>,
    /// How often it was at a limit of memory; null without the memory controller.
    pub memory_events: Option<MemoryEvents>,
    /// Page faults that waited for I/O.
    pub major_faults: u64,
    /// Time its threads spent reclaiming memory themselves.
    pub reclaim_stall: Option<Distribution>,
    /// How long its input waits; null where that is not measured.
    pub input: Option<Input>,
    /// Block I/O; null without the io controller.
    pub block_io: Option<BlockIo>,
    /// Established inbound connections.
    pub clients: Option<u64>,
    /// How its clients came and went; null before the first.
    pub disconnects: Option<Disconnects>,
    /// Data bytes of its sockets.
    pub network_bytes: Option<NetworkBytes>,
    /// TCP by side.
    pub tcp: Option<Tcp>,
    /// UDP datagrams; null where the kernel cannot count them.
    pub udp: Option<Udp>,
    /// GPUs that it has used.
    pub gpus: Vec<OnGpu>,
    /// Xid errors that named one of its processes.
    pub gpu_xid_errors: Vec<XidErrors>,
    /// The last process that the out-of-memory killer killed.
    pub last_oom_kill: Option<OomKill>,
    /// Life cycle of its processes.
    pub process: ProcessCounts,
}

/// What in the platform each name is from; null for those that the rule gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Origins {
    /// The session's name.
    pub session: Option<String>,
    /// The namespace.
    pub namespace: Option<String>,
    /// The template.
    pub template: Option<String>,
    /// The user.
    pub user: Option<String>,
}

/// Seconds from a session's beginning to each milestone; null before it, and for a session that is older than
/// the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Startup {
    /// Its platform found a place for it.
    pub scheduled: Option<f64>,
    /// The sandbox of its pod was there.
    pub sandbox: Option<f64>,
    /// The image of its main container was there.
    pub pulled: Option<f64>,
    /// Its main container was started.
    pub started: Option<f64>,
    /// Its main container was ready.
    pub ready: Option<f64>,
    /// The service manager of who logged in was active.
    pub user_manager: Option<f64>,
    /// A home folder was mounted.
    pub home_mounted: Option<f64>,
    /// A process was moved or born into its cgroup.
    pub first_process: Option<f64>,
    /// One of its sockets began to listen.
    pub first_listener: Option<f64>,
    /// It had done what it does by itself, and waited for its user.
    pub settled: Option<f64>,
    /// A connection to one of its listeners was established.
    pub first_client: Option<f64>,
    /// One of its processes was seen on a GPU.
    pub first_gpu_context: Option<f64>,
    /// One of its processes was seen to encode.
    pub first_encoder: Option<f64>,
}

/// Seconds of each phase of a logon, which together are the whole; null until nothing more can come of it, and of a phase
/// that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Logon {
    /// From the connection until the session was opened.
    pub authentication: Option<f64>,
    /// The user's service manager started.
    pub user_manager: Option<f64>,
    /// What of the user's home is elsewhere was mounted.
    pub home_mounted: Option<f64>,
    /// A node was found.
    pub scheduled: Option<f64>,
    /// Namespaces, network and volumes were made.
    pub sandbox: Option<f64>,
    /// The image was pulled.
    pub pulled: Option<f64>,
    /// The main container was made and started.
    pub started: Option<f64>,
    /// It became ready.
    pub ready: Option<f64>,
    /// From the first process until something listens.
    pub display: Option<f64>,
    /// From then on until the session has settled.
    pub desktop: Option<f64>,
    /// What no phase explains.
    pub unaccounted: Option<f64>,
}

/// The end of a session that somebody has logged out of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Logoff {
    /// From the logout until its last cgroup was gone; null before, and where the logout was not seen.
    pub seconds: Option<f64>,
    /// The last process that was found in it; null where none was.
    pub held_by: Option<Holder>,
}

/// A process that keeps a session there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Holder {
    /// Process id on the node.
    pub pid: u32,
    /// Command name.
    pub command: String,
}

/// A session that took the CPU from another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Preemptor {
    /// Its name.
    pub session: String,
    /// How often.
    pub count: u64,
}

/// A process that the out-of-memory killer killed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct OomKill {
    /// Process id on the node.
    pub pid: u32,
    /// Command name.
    pub command: String,
    /// When it ended.
    pub time: Option<f64>,
}
