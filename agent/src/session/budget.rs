//! What a session may take of the agent, and how often it wanted more.
//!
//! Whoever is in a session decides how much it makes. Each has a share of its own of what all have to share, so that
//! one that wants more loses by it, and no other.

use std::collections::BTreeMap;

/// What is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Sessions that a user makes in a service manager.
    Sessions,
    /// Lines of the agent's log.
    LogLines,
    /// Cgroups of which the agent knows.
    Cgroups,
    /// Live TCP connections that are measured.
    Connections,
}

impl Resource {
    /// The label value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::LogLines => "log_lines",
            Self::Cgroups => "cgroups",
            Self::Connections => "connections",
        }
    }
}

/// How often a session wanted more than its share.
pub type Exceeded = BTreeMap<Resource, u64>;
