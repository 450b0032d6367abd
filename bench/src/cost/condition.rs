//! What runs beside a load, as a name: nothing is started here.

use serde::{Deserialize, Serialize};

/// What runs beside a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Condition {
    /// An empty program on the tracepoint of context switches.
    Floor,
    /// The agent as it is without being told anything.
    Agent,
    /// The agent with the threads' state in an array indexed by pid.
    PidArray,
    /// The agent with the threads' state in task storage.
    TaskStorage,
    /// Others that measure something of the same.
    Peer(Peer),
}

/// Programs of others that Debian has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    Runqlat,
    RunqlatBt,
    Tcprtt,
    Tcpconnlat,
    Tcplife,
    Biolatency,
    Execsnoop,
    Exitsnoop,
}

impl Condition {
    /// As tables name it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Floor => "an empty program",
            Self::Agent => "the agent",
            Self::PidArray => "the agent, state in an array by pid",
            Self::TaskStorage => "the agent, state in task storage",
            Self::Peer(Peer::Runqlat) => "libbpf-tools `runqlat`",
            Self::Peer(Peer::RunqlatBt) => "bpftrace `runqlat.bt`",
            Self::Peer(Peer::Tcprtt) => "libbpf-tools `tcprtt`",
            Self::Peer(Peer::Tcpconnlat) => "libbpf-tools `tcpconnlat`",
            Self::Peer(Peer::Tcplife) => "libbpf-tools `tcplife`",
            Self::Peer(Peer::Biolatency) => "libbpf-tools `biolatency`",
            Self::Peer(Peer::Execsnoop) => "libbpf-tools `execsnoop`",
            Self::Peer(Peer::Exitsnoop) => "libbpf-tools `exitsnoop`",
        }
    }

    /// Whether it is the agent, however configured.
    pub(crate) fn is_agent(self) -> bool {
        matches!(self, Self::Agent | Self::PidArray | Self::TaskStorage)
    }
}
