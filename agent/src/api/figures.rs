//! Figures of a session.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Threads by what they did at the last walk over all threads of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ThreadStates {
    /// They had a CPU or waited for one.
    pub runnable: u64,
    /// They waited for something which no signal but a fatal one may end.
    pub uninterruptible: u64,
}

/// Observations of a time; quantiles in seconds, null without an observation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Distribution {
    /// How many.
    pub count: u64,
    /// Their sum, seconds.
    pub sum_seconds: f64,
    /// Median.
    pub p50: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
}

/// Time runnable threads waited for a CPU, since the session's adoption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RunqueueWait {
    /// All of them.
    #[serde(flatten)]
    pub whole: Distribution,
    /// The last ten seconds; null when the session has ended.
    pub recent: Option<Window>,
    /// The last minute.
    pub minute: Option<Window>,
    /// The last hour, up to ten minutes longer.
    pub hour: Option<Window>,
}

/// Observations in a window that ends now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Window {
    /// Those in the window.
    #[serde(flatten)]
    pub observed: Distribution,
    /// Length of the window so far.
    pub window_seconds: f64,
}

/// Switches away from the session's threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ContextSwitches {
    /// The thread blocked.
    pub voluntary: u64,
    /// It had not blocked; preempted, throttled and yielded.
    pub involuntary: u64,
    /// A CPU limit was used up.
    pub throttled: u64,
    /// It gave the CPU up itself.
    pub yielded: u64,
}

/// Time its threads waited for a CPU, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CpuWaitSeconds {
    /// Others had it when the thread was woken.
    pub woken: f64,
    /// Others had got it.
    pub preempted: f64,
    /// A CPU limit was used up.
    pub throttled: f64,
    /// The thread had given it up itself.
    pub yielded: f64,
}

/// Switches in favour of somebody else who wanted the CPU, by who that was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Preemptions {
    /// Another thread of the session.
    #[serde(rename = "self")]
    pub own: u64,
    /// Another session.
    pub session: u64,
    /// The system.
    pub system: u64,
}

/// Time lost for want of a resource (PSI).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct PressureSeconds {
    /// A CPU.
    pub cpu: Pressure,
    /// Memory.
    pub memory: Pressure,
    /// I/O.
    pub io: Pressure,
}

/// Time lost, seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Pressure {
    /// A thread waited.
    pub some: Option<f64>,
    /// All threads that had work waited; null of the CPU.
    pub full: Option<f64>,
}

/// Memory, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct MemoryBytes {
    /// All that is charged to the session.
    pub current: u64,
    /// The limit; null without one.
    pub limit: Option<u64>,
    /// Anonymous memory.
    pub anon: u64,
    /// Page cache.
    pub file: u64,
    /// What of it is in swap, and not in `current`; null where the kernel does not account swap.
    pub swap: Option<u64>,
}

/// How often a session was at a limit of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct MemoryEvents {
    /// Its threads were throttled and made to reclaim, because it had more than `memory.high`.
    pub high: u64,
    /// It was about to have more than `memory.max`.
    pub max: u64,
}

/// Periods of the CPU limits of a session and of its containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CpuPeriods {
    /// All of them.
    pub all: u64,
    /// Those in which the limit was used up.
    pub throttled: u64,
}

/// Block I/O by operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct BlockIo {
    /// Reads.
    pub read: Operation,
    /// Writes.
    pub write: Operation,
}

/// Requests of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Operation {
    /// From the making of a request to its completion.
    #[serde(flatten)]
    pub latency: Distribution,
    /// Bytes transferred.
    pub bytes: u64,
}

/// How long input waits to be read, and until something is sent back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Input {
    /// From when bytes could be read at a connection to a display until the application took them.
    pub application_delay: Distribution,
    /// The same at the connections of clients.
    pub server_delay: Distribution,
    /// On a client's connection, from the first bytes after a pause until bytes were sent.
    pub response: Distribution,
    /// From an input to the first bytes of its answer, in stages.
    pub latency: Latency,
    /// Inputs after which nothing was sent for 2 s.
    pub unanswered: u64,
    /// For how long applications have not read their display, added up.
    pub unresponsive_seconds: f64,
    /// Applications that do not now; null where that is not known.
    pub unresponsive: Option<Vec<UnresponsiveApplication>>,
}

/// From an input to the first bytes of its answer, in stages that add up: means, seconds. One that is not known is null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Latency {
    /// To the client and back.
    pub round_trip: Option<f64>,
    /// Until the session's server takes the input.
    pub server: Option<f64>,
    /// Until the application takes it.
    pub application: Option<f64>,
    /// The rest of the response: what both compute, draw and encode.
    pub work: Option<f64>,
    /// All of them; null without a response.
    pub whole: Option<f64>,
}

/// An application that has not read what waits at its display for 5 s.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UnresponsiveApplication {
    /// Process id on the node.
    pub pid: u32,
    /// For how long.
    pub seconds: f64,
    /// Command name; null, as all below, where the agent cannot see the process.
    pub command: Option<String>,
    /// What its first thread does: runnable, sleeping, uninterruptible, stopped or dead.
    pub state: Option<String>,
    /// Why it does not read, by what it has done for five seconds: stopped, dead, paging, starved, busy or blocked.
    pub why: Option<String>,
    /// The kernel's function that it waits in.
    pub waits_in: Option<String>,
    /// Bytes of its memory that are in swap.
    pub swapped_bytes: Option<u64>,
}

/// Data bytes by direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NetworkBytes {
    /// Sent.
    pub transmit: Protocols,
    /// Received.
    pub receive: Protocols,
}

/// Data bytes of one direction by protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Protocols {
    /// TCP.
    pub tcp: u64,
    /// UDP; null where the kernel cannot count it.
    pub udp: Option<u64>,
}

/// How clients came and went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Disconnects {
    /// Clients that closed their connection, or the session did.
    pub closed: u64,
    /// Either side broke it off.
    pub reset: u64,
    /// Nobody answered any more.
    pub timed_out: u64,
    /// The session closed it because nothing had come for `sessions.idle_after`.
    pub idle: u64,
    /// Clients that came within ten minutes after the last one was gone without a close; null where it is not known who
    /// is there.
    pub reconnects: Option<u64>,
    /// Time without a client since such a one was gone.
    pub disconnected_seconds: Option<f64>,
    /// Since when it is so now; null while a client is there, or the last one's connection was closed.
    pub disconnected_since: Option<f64>,
}

/// TCP by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Tcp {
    /// Connections accepted on the session's listeners: its clients.
    pub inbound: TcpSide,
    /// Connections that the session opened.
    pub outbound: TcpSide,
}

/// TCP of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TcpSide {
    /// Established now.
    pub connections: Option<u64>,
    /// Connections that were established.
    pub connections_opened: u64,
    /// Connections that could not be opened; outbound only.
    pub connect_failures: u64,
    /// Resets sent and received.
    pub resets: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Segments with data sent, those sent again included; null where the kernel does not count them.
    pub segments: Option<u64>,
    /// Smoothed round-trip time of each live connection, each time they are read.
    pub rtt: Distribution,
    /// The same of the last minute; inbound only, null when the session has ended.
    pub rtt_minute: Option<Window>,
    /// Least round-trip time that an established connection has had in the last minutes; null without one that is measured.
    pub min_rtt_seconds: Option<f64>,
    /// Bytes that wait for being sent on established connections; null without one.
    pub unsent_bytes: Option<u64>,
    /// From SYN to established; outbound only.
    pub connect: Distribution,
}

/// UDP datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Udp {
    /// Sent.
    pub transmit_datagrams: u64,
    /// Received.
    pub receive_datagrams: u64,
    /// Dropped because a receive queue was full.
    pub receive_drops: u64,
}

/// Life cycle of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ProcessCounts {
    /// Processes started.
    pub forks: u64,
    /// Programs executed.
    pub execs: u64,
    /// Processes that ended.
    pub exits: Exits,
}

/// Processes that ended, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Exits {
    /// With status 0.
    pub success: u64,
    /// With another status.
    pub error: u64,
    /// Killed by a signal.
    pub signal: u64,
    /// Killed by the out-of-memory killer.
    pub oom_killed: u64,
}
