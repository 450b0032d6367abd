//! How full the maps are that can be full before anything else is.

use agent_common::{MAX_CGROUPS, MAX_CONNECTIONS, MAX_PREEMPTION_PAIRS, NO_SESSION};

use super::Kernel;
use crate::named::named;

named! {
    /// Such a map. Those that let go what was used least recently are always full, and none of them.
    pub enum FilledMap {
        /// Cgroups at which a session begins or ends.
        Cgroups = "cgroups",
        /// Live TCP connections.
        Connections = "connections",
        /// Who took the CPU from whom.
        PreemptionPairs = "preemption_pairs",
    }
}

impl FilledMap {
    /// How many entries it has room for.
    pub fn limit(self) -> u32 {
        match self {
            Self::Cgroups => MAX_CGROUPS,
            Self::Connections => MAX_CONNECTIONS,
            Self::PreemptionPairs => MAX_PREEMPTION_PAIRS,
        }
    }
}

impl Kernel {
    /// Live connections of sessions that have a place.
    pub fn connections_entered(&self) -> u64 {
        let counts = &self.maps.connection_counts;
        counts.get(&NO_SESSION, 0).unwrap_or_default()
    }
}
