//! What a platform knows of its sessions that no cgroup tells: names, user, phase, why they ended.
//!
//! A source (one file of this folder each) runs on its own, keeps what it last heard when its peer is
//! away, and sends [`Update`]s. Every source describes sessions by [`Facts`] under a [`Key`] that can be
//! found in the cgroup's identity, so that a source knows nothing of cgroups, and the registry nothing of
//! the platform.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

/// What joins a platform's session with a cgroup.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A pod by its uid: the identity's `pod`.
    Pod(String),
    /// A container by its id: the identity's `container`.
    Container(String),
    /// A unit of systemd by its name (`session-3.scope`): the last component of the cgroup's path.
    Unit(String),
    /// A virtual machine by its name: the identity's `session`, of the runtime `libvirt`.
    Machine(String),
}

/// What a platform says of one of its sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether the platform's owner wants it measured as a session; otherwise its cgroups are none.
    pub is_session: bool,
    /// The session's name; empty leaves that of the rule.
    pub session: String,
    /// Its namespace; empty leaves that of the rule.
    pub namespace: String,
    /// What it was made from; empty leaves that of the rule.
    pub template: String,
    /// Who uses it, in plain: what becomes of it is for the policy to say.
    pub user: Option<String>,
    /// Where it is in its life, as far as the platform tells.
    pub phase: Option<PlatformPhase>,
    /// When the platform took it on (a pod: created).
    pub created: Option<SystemTime>,
    /// When a place was found for it.
    pub scheduled: Option<SystemTime>,
    /// Whether nobody has used it for some time, and since when.
    pub idle_since: Option<SystemTime>,
    /// Why it ended, once it has.
    pub end: Option<EndReason>,
    /// What else there is to say, for people: `seat`, `type`, `remote`, `image`, …
    pub details: BTreeMap<&'static str, String>,
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
}

/// How a comparison went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is known.
    Success,
    /// It is tried again, with the kind of error from a closed list of each source.
    Error(&'static str),
    /// The peer asked to begin again (an expired resource version).
    Requeue,
}

/// A source and what it says.
#[derive(Debug)]
pub struct Message {
    /// Its name: the label `source`.
    pub source: &'static str,
    /// What it says.
    pub update: Update,
}

/// Where sources send to.
pub type Sender = tokio::sync::mpsc::Sender<Message>;
