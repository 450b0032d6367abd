//! What a platform knows of its sessions that no cgroup tells: names, user, phase, why they ended.
//!
//! A source (one file of this folder each) runs on its own, keeps what it last heard when its peer is
//! away, and sends [`Update`]s. Every source describes sessions by [`Facts`] under a [`Key`] that can be
//! found in the cgroup's identity, so that a source knows nothing of cgroups, and the registry nothing of
//! the platform.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use agent_common::histogram::{Histogram, bucket_of};
use serde::{Deserialize, Serialize};

use crate::named::named;

/// What joins a platform's session with a cgroup.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Key {
    /// A pod by its uid: the identity's `pod`.
    Pod(String),
    /// A container by its id: the identity's `container`.
    Container(String),
    /// A unit of systemd by its name (`session-3.scope`): the last component of the cgroup's path.
    Unit(String),
    /// A virtual machine by libvirt's driver and id (`qemu-3`), which no two that run have in common: the
    /// identity's `machine`. Its name is shortened in the cgroup's.
    Machine(String),
}

impl Key {
    /// What the platform calls it.
    pub fn text(&self) -> &str {
        let (Self::Pod(text) | Self::Container(text) | Self::Unit(text) | Self::Machine(text)) =
            self;
        text
    }

    /// Of a pod's or a container's id the first eight characters, which are enough to tell two apart; the others
    /// whole.
    pub fn short(&self) -> &str {
        let text = self.text();
        match self {
            Self::Pod(_) | Self::Container(_) => text
                .char_indices()
                .nth(8)
                .map_or(text, |(at, _)| &text[..at]),
            Self::Unit(_) | Self::Machine(_) => text,
        }
    }
}

/// What a platform says of one of its sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether the platform's owner wants it measured as a session; otherwise its cgroups are none.
    pub is_session: bool,
    /// The session's name; without it that of the rule stays.
    pub session: Option<Named>,
    /// A name that no other session has, for when another has the first.
    pub unique: Option<Named>,
    /// Its namespace; without it that of the rule stays.
    pub namespace: Option<Named>,
    /// What it was made from; without it that of the rule stays.
    pub template: Option<Named>,
    /// Who uses it, in plain: what becomes of it is for the policy to say.
    pub user: Option<Named>,
    /// Where it is in its life, as far as the platform tells.
    pub phase: Option<PlatformPhase>,
    /// When the platform took it on (a pod: created).
    pub created: Option<SystemTime>,
    /// When a place was found for it.
    pub scheduled: Option<SystemTime>,
    /// How it started, as far as the platform tells more than that.
    pub start: Option<Start>,
    /// Since when nobody has used it.
    pub idle_since: Option<SystemTime>,
    /// Since when a login is being ended, nanoseconds since boot; absent where that moment was not seen.
    pub closing_ns: Option<u64>,
    /// Why it ended, once it has.
    pub end: Option<EndReason>,
    /// The platform has forgotten it: nothing more will be said.
    pub gone: bool,
    /// What else there is to say, for people: `seat`, `type`, `remote host`, `image`, …
    pub details: BTreeMap<&'static str, String>,
}

impl Facts {
    /// It has ended or is about to.
    pub fn is_over(&self) -> bool {
        self.gone || self.end.is_some() || self.phase == Some(PlatformPhase::Terminating)
    }
}

/// How a session started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Somebody has logged in.
    Login(LoginStart),
    /// A kubelet has started containers.
    Pod(PodStart),
}

/// How a login went. Moments are nanoseconds since boot: the clocks that tell them are not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoginStart {
    /// When the process that leads it was forked for the connection; absent where somebody sits at the machine, whose
    /// leader may have waited for days.
    pub connected_ns: Option<u64>,
    /// When the session was opened: whoever it is has been authenticated.
    pub opened_ns: u64,
    /// From when to when the user's service manager was started, if it was for this login.
    pub manager_ns: Option<(u64, u64)>,
    /// When the first file system was mounted for the user after that.
    pub home_ns: Option<u64>,
    /// Whether there is to be a picture.
    pub is_graphical: bool,
}

impl LoginStart {
    /// When the user's wait began, as far as it is known.
    pub fn began_ns(&self) -> u64 {
        self.connected_ns.unwrap_or(self.opened_ns)
    }
}

/// How a pod was started. Kubernetes tells whole seconds, rounded down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodStart {
    /// Its sandbox was there: namespaces, network and volumes.
    pub sandbox: Option<SystemTime>,
    /// Its init containers had run.
    pub initialized: Option<SystemTime>,
    /// Its main container was started for the first time.
    pub started: Option<SystemTime>,
    /// It was ready for the first time.
    pub ready: Option<SystemTime>,
    /// Id of the main container, by which its cgroup is known.
    pub container: Option<String>,
}

/// A name and where the platform has it from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Named {
    /// The name, as the platform writes it.
    pub name: String,
    /// Completes "named by the …": `label hub.jupyter.org/username`.
    pub from: String,
}

impl Named {
    /// A name that is not empty.
    pub fn new(name: impl Into<String>, from: impl Into<String>) -> Option<Self> {
        let (name, from) = (name.into(), from.into());
        (!name.is_empty()).then_some(Self { name, from })
    }
}

/// Where a session is in its life, by its platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlatformPhase {
    /// Taken on; nothing runs.
    Pending,
    /// Being started.
    Starting,
    /// In use, or ready for it.
    Running,
    /// Being ended.
    Terminating,
}

named! {
    /// Why a session ended.
    pub enum EndReason {
        /// Its last process ended with status 0.
        Completed = "completed",
        /// Its last process ended with another status.
        Error = "error",
        /// A signal killed its last process.
        Signal = "signal",
        /// The out-of-memory killer killed its last process.
        OomKilled = "oom_killed",
        /// The platform took its place for something else.
        Evicted = "evicted",
        /// A process that an Xid error named failed after it.
        GpuError = "gpu_error",
        /// Nobody saw how.
        Unknown = "unknown",
    }
}

/// What a source sends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "most updates are changes, each sent once"
)]
pub enum Update {
    /// Everything that the platform has: what is not here is gone.
    All(BTreeMap<Key, Facts>),
    /// One session is new or has changed.
    Changed(Key, Facts),
    /// The platform has forgotten one. What it last said stays with the session.
    Gone(Key),
    /// A comparison of what the platform has with what was known has been made, or has failed.
    Reconciled {
        /// How long it took.
        took: Duration,
        /// How it went.
        outcome: Outcome,
    },
    /// The platform answers.
    Up,
    /// It does not, and why. What it said before still stands.
    Down(String),
}

/// How a comparison went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is known.
    Success,
    /// It is tried again.
    Error(ErrorType),
    /// The peer asked to begin again (an expired resource version).
    Requeue,
}

named! {
    /// Kinds of errors, the same for all sources.
    pub enum ErrorType {
        /// What was asked for is not there.
        NotFound = "not_found",
        /// What was to be made is there already.
        AlreadyExists = "already_exists",
        /// Somebody else changed it.
        Conflict = "conflict",
        /// The answer, or what was asked, is not as it must be.
        Validation = "validation",
        /// The question was refused as wrong.
        BadRequest = "bad_request",
        /// Who asks is not known.
        Unauthorized = "unauthorized",
        /// Who asks may not.
        Forbidden = "forbidden",
        /// No answer in time.
        Timeout = "timeout",
        /// The peer itself waited too long.
        ServerTimeout = "server_timeout",
        /// Nobody answers.
        Unavailable = "unavailable",
        /// Too many questions.
        RateLimited = "rate_limited",
        /// Anything else.
        Internal = "internal",
    }
}

impl ErrorType {
    /// Of an error of the operating system.
    pub fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        match error.kind() {
            Kind::NotFound => Self::NotFound,
            Kind::PermissionDenied => Self::Forbidden,
            Kind::TimedOut | Kind::WouldBlock => Self::Timeout,
            Kind::ConnectionRefused | Kind::ConnectionReset | Kind::ConnectionAborted => {
                Self::Unavailable
            }
            Kind::BrokenPipe | Kind::NotConnected | Kind::UnexpectedEof => Self::Unavailable,
            Kind::InvalidData | Kind::InvalidInput => Self::Validation,
            _ => Self::Internal,
        }
    }
}

named! {
    /// What came of a comparison.
    pub enum ReconcileResult {
        /// What is known is what the source has.
        Success = "success",
        /// It failed.
        Error = "error",
        /// The source wants to be asked anew.
        Requeue = "requeue",
    }
}

impl Outcome {
    /// Without the kind of error.
    pub fn result(self) -> ReconcileResult {
        match self {
            Self::Success => ReconcileResult::Success,
            Self::Requeue => ReconcileResult::Requeue,
            Self::Error(_) => ReconcileResult::Error,
        }
    }
}

/// How a source's comparisons went.
#[derive(Clone, Debug, Default)]
pub struct Reconciles {
    /// How long those took that came to each result.
    pub durations: BTreeMap<ReconcileResult, Histogram>,
    /// How many succeeded.
    pub success: u64,
    /// How often the peer asked to begin again.
    pub requeue: u64,
    /// How many failed, by kind of error.
    pub errors: BTreeMap<ErrorType, u64>,
}

impl Reconciles {
    /// Counts one.
    pub fn add(&mut self, took: Duration, outcome: Outcome) {
        match outcome {
            Outcome::Success => self.success += 1,
            Outcome::Requeue => self.requeue += 1,
            Outcome::Error(kind) => *self.errors.entry(kind).or_default() += 1,
        }
        let took_ns = took.as_nanos() as u64;
        let durations = self.durations.entry(outcome.result()).or_default();
        durations.buckets[bucket_of(took_ns)] += 1;
        durations.sum_ns += took_ns;
    }
}

named! {
    /// A source of platform facts.
    pub enum Source {
        /// The Kubernetes API: [`Key::Pod`].
        Kubernetes = "kubernetes",
        /// logind: [`Key::Unit`].
        Logind = "logind",
        /// libvirt: [`Key::Machine`].
        Libvirt = "libvirt",
        /// Container runtimes: [`Key::Container`].
        Containers = "containers",
    }
}

impl Key {
    /// Who knows it.
    pub fn source(&self) -> Source {
        match self {
            Self::Pod(_) => Source::Kubernetes,
            Self::Container(_) => Source::Containers,
            Self::Unit(_) => Source::Logind,
            Self::Machine(_) => Source::Libvirt,
        }
    }
}

/// A source and what it says.
#[derive(Debug)]
pub struct Message {
    /// Who.
    pub source: Source,
    /// What it says.
    pub update: Update,
}

/// Where a source sends to; an error means that nobody listens any more, and the source ends.
#[derive(Clone, Debug)]
pub struct Sender {
    source: Source,
    messages: tokio::sync::mpsc::Sender<Message>,
}

/// Nobody listens any more.
#[derive(Clone, Copy, Debug)]
pub struct Closed;

impl Sender {
    /// For one source.
    pub fn new(source: Source, messages: tokio::sync::mpsc::Sender<Message>) -> Self {
        Self { source, messages }
    }

    /// Sends; waits while the other side has much to do.
    pub async fn send(&self, update: Update) -> Result<(), Closed> {
        let source = self.source;
        let message = Message { source, update };
        self.messages.send(message).await.map_err(|_| Closed)
    }

    /// Waits until nobody listens any more: for a source that may have nothing to say for long.
    pub async fn closed(&self) {
        self.messages.closed().await;
    }
}

/// A path as it is, or where it is in the host's file system, seen through the first process: for an agent in
/// a container that shares the host's pids. Where the first process may not be followed, what is not there is just
/// absent.
pub fn host_path(path: &Path) -> PathBuf {
    let host = Path::new("/proc/1/root");
    if path.exists() || !host.exists() {
        path.to_owned()
    } else {
        host.join(path.strip_prefix("/").unwrap_or(path))
    }
}
