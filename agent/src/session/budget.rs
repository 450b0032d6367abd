//! What a session may take of the agent, and how often it wanted more.
//!
//! Whoever is in a session decides how much it makes. Each has a share of its own of what all have to share, so that
//! one that wants more loses by it, and no other.

use std::collections::BTreeMap;

use crate::named::named;

named! {
    /// What is shared.
    pub enum Resource {
        /// Sessions that a user makes in a service manager.
        Sessions = "sessions",
        /// Lines of the agent's log.
        LogLines = "log_lines",
        /// Cgroups of which the agent knows.
        Cgroups = "cgroups",
        /// Live TCP connections that are measured.
        Connections = "connections",
        /// Sockets at which input is measured.
        InputSockets = "input_sockets",
    }
}

/// How often a session wanted more than its share.
pub type Exceeded = BTreeMap<Resource, u64>;
