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
    /// Since when nobody has used it.
    pub idle_since: Option<SystemTime>,
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

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndReason {
    /// Its last process ended with status 0.
    Completed,
    /// Its last process ended with another status.
    Error,
    /// A signal killed its last process.
    Signal,
    /// The out-of-memory killer killed its last process.
    OomKilled,
    /// The platform took its place for something else.
    Evicted,
    /// A process that an Xid error named failed after it.
    GpuError,
    /// Nobody saw how.
    Unknown,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Completed,
        Self::Error,
        Self::Signal,
        Self::OomKilled,
        Self::Evicted,
        Self::GpuError,
        Self::Unknown,
    ];

    /// The label value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Error => "error",
            Self::Signal => "signal",
            Self::OomKilled => "oom_killed",
            Self::Evicted => "evicted",
            Self::GpuError => "gpu_error",
            Self::Unknown => "unknown",
        }
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

/// Kinds of errors, the same for all sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorType {
    /// What was asked for is not there.
    NotFound,
    /// What was to be made is there already.
    AlreadyExists,
    /// Somebody else changed it.
    Conflict,
    /// The answer, or what was asked, is not as it must be.
    Validation,
    /// The question was refused as wrong.
    BadRequest,
    /// Who asks is not known.
    Unauthorized,
    /// Who asks may not.
    Forbidden,
    /// No answer in time.
    Timeout,
    /// The peer itself waited too long.
    ServerTimeout,
    /// Nobody answers.
    Unavailable,
    /// Too many questions.
    RateLimited,
    /// Anything else.
    Internal,
}

impl ErrorType {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::NotFound,
        Self::AlreadyExists,
        Self::Conflict,
        Self::Validation,
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Timeout,
        Self::ServerTimeout,
        Self::Unavailable,
        Self::RateLimited,
        Self::Internal,
    ];

    /// The label value.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Conflict => "conflict",
            Self::Validation => "validation",
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Timeout => "timeout",
            Self::ServerTimeout => "server_timeout",
            Self::Unavailable => "unavailable",
            Self::RateLimited => "rate_limited",
            Self::Internal => "internal",
        }
    }

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

/// How a source's comparisons went.
#[derive(Clone, Debug, Default)]
pub struct Reconciles {
    /// How long they took.
    pub duration: Histogram,
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
        self.duration.buckets[bucket_of(took_ns)] += 1;
        self.duration.sum_ns += took_ns;
    }
}

/// A source of platform facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The Kubernetes API: [`Key::Pod`].
    Kubernetes,
    /// logind: [`Key::Unit`].
    Logind,
    /// libvirt: [`Key::Machine`].
    Libvirt,
    /// Container runtimes: [`Key::Container`].
    Containers,
}

impl Source {
    /// The values of the label `source`; `cgroup` is what the hierarchy alone says.
    pub const VALUES: &str = "cgroup, kubernetes, logind, libvirt, containers";

    /// The label value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Logind => "logind",
            Self::Libvirt => "libvirt",
            Self::Containers => "containers",
        }
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
/// a container that shares the host's pids.
pub fn host_path(path: &Path) -> PathBuf {
    let through_init = || Path::new("/proc/1/root").join(path.strip_prefix("/").unwrap_or(path));
    if path.exists() {
        path.to_owned()
    } else {
        through_init()
    }
}
