//! What can be set of rhythms.

use std::time::Duration;

use crate::setting::{FOREVER, Field, Key, Table};

/// Rhythms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Time between two samples.
    pub period: Duration,
    /// Time between two walks of the cgroup tree.
    pub rescan: Duration,
    /// Time between two readings of a session's cgroup files.
    pub accounts: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            period: Duration::from_secs(1),
            rescan: Duration::from_secs(30),
            accounts: Duration::from_secs(5),
        }
    }
}

/// The table `sampling`.
pub const TABLE: Table<Settings> = Table {
    name: "sampling",
    about: "How often the agent looks.",
    keys: &[
        Key {
            name: "period",
            flag: None,
            doc: "How often what has no event is sampled.",
            field: Field::Duration {
                range: Duration::from_millis(200)..=Duration::from_mins(1),
                get: |settings| settings.period,
                set: |settings, value| settings.period = value,
            },
        },
        Key {
            name: "rescan",
            flag: None,
            doc: "How often the cgroup tree is walked in full, to find what an event was lost for.",
            field: Field::Duration {
                range: Duration::from_secs(1)..=FOREVER,
                get: |settings| settings.rescan,
                set: |settings, value| settings.rescan = value,
            },
        },
        Key {
            name: "accounts",
            flag: None,
            doc: "How often the kernel's own accounts of each session's cgroup are read: memory, throttled time, pressure. A reading costs about 0.1 ms a session.",
            field: Field::Duration {
                range: Duration::from_millis(200)..=Duration::from_mins(10),
                get: |settings| settings.accounts,
                set: |settings, value| settings.accounts = value,
            },
        },
    ],
};
