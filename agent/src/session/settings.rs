//! What can be set of sessions: how many, and for how long.

use std::{path::PathBuf, time::Duration};

use crate::{
    named::named,
    setting::{FOREVER, Field, Key, Table, form},
};

/// How many sessions there may be, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Most sessions measured at once, 1 to 4096.
    pub max_sessions: u32,
    /// How long an ended session's series stay.
    pub linger: Duration,
    /// Not used for this long, a session is idle.
    pub idle_after: Duration,
    /// Whether the agent keeps what each living session did over the last day.
    pub history: History,
    /// Where the living sessions are kept for a restart.
    pub state: PathBuf,
}

named! {
    /// Whether there is a history.
    pub enum History {
        /// Of each living session.
        On = "on",
        /// Of none.
        Off = "off",
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_sessions: 256,
            linger: Duration::from_mins(5),
            idle_after: Duration::from_mins(15),
            history: History::On,
            state: PathBuf::from("/run/sessionscope/sessions.json"),
        }
    }
}

/// The table `sessions`.
pub const TABLE: Table<Settings> = Table {
    name: "sessions",
    about: "What counts as a session, how many there may be, and what is told of who uses them.",
    keys: &[
        Key {
            name: "max_sessions",
            flag: Some("--max-sessions"),
            doc: "Most sessions measured at once. The kernel maps are sized by it; sessions beyond it are counted, not measured.",
            field: Field::Integer {
                range: 1..=4096,
                get: |settings| settings.max_sessions,
                set: |settings, value| settings.max_sessions = value,
            },
        },
        Key {
            name: "linger",
            flag: Some("--linger"),
            doc: "How long an ended session's series stay, so that its last values are scraped. At least two scrape intervals.",
            field: Field::Duration {
                range: Duration::from_secs(1)..=FOREVER,
                get: |settings| settings.linger,
                set: |settings, value| settings.linger = value,
            },
        },
        Key {
            name: "idle_after",
            flag: None,
            doc: "How long a session must go without data from a client, GPU use and more than 5 % of a CPU to be idle.",
            field: Field::Duration {
                range: Duration::from_secs(1)..=FOREVER,
                get: |settings| settings.idle_after,
                set: |settings, value| settings.idle_after = value,
            },
        },
        Key {
            name: "history",
            flag: None,
            doc: "Whether the agent keeps what each living session did: the last quarter of an hour in steps of five seconds, the last day in steps of five minutes; some 20 KiB a session. Without it `explain` cannot say what holds a session back.",
            field: Field::Text {
                form: "`on` or `off`",
                get: |settings| Some(settings.history.name().to_owned()),
                set: |settings, text| {
                    settings.history = form::choose(text)?;
                    Ok(())
                },
            },
        },
        Key {
            name: "state",
            flag: None,
            doc: "File in which the living sessions are kept, so that those that end while the agent is away are counted when it is back. One for each agent; in memory is enough.",
            field: Field::Text {
                form: "absolute path",
                get: |settings| Some(form::path_text(&settings.state)),
                set: |settings, text| {
                    settings.state = form::absolute(text)?;
                    Ok(())
                },
            },
        },
    ],
};
