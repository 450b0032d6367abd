//! What can be set of users.

use std::path::PathBuf;

use crate::named::named;
use crate::setting::{ConfigError, Field, Key, Table, form};

/// What is told of who uses a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How much.
    pub policy: UserPolicy,
    /// The file with the key of [`UserPolicy::Hashed`].
    pub key: Option<PathBuf>,
}

named! {
    /// How much is told of who uses a session.
    pub enum UserPolicy {
        /// Nothing.
        Off = "off",
        /// A keyed hash of the name.
        Hashed = "hashed",
        /// The name.
        Plain = "plain",
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: UserPolicy::Off,
            key: None,
        }
    }
}

impl Settings {
    /// Whether they hold together: a hash needs a key.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.policy == UserPolicy::Hashed && self.key.is_none() {
            return Err(no_key());
        }
        Ok(())
    }
}

/// `sessions.user` is to be hashed, and there is no key.
pub(super) fn no_key() -> ConfigError {
    ConfigError::Incomplete {
        key: "sessions.user",
        reason: "\"hashed\" needs sessions.user_key, a file with 16 random bytes or more \
                 (head -c 32 /dev/urandom)",
    }
}

/// The table `sessions`.
pub const TABLE: Table<Settings> = Table {
    name: "sessions",
    about: "",
    keys: &[
        Key {
            name: "user",
            flag: None,
            doc: "What vdi_session_info says of who uses a session: nothing, a keyed hash that tells users apart without naming them, or the name.",
            field: Field::Text {
                form: "`off`, `hashed` or `plain`",
                get: |settings| Some(settings.policy.name().to_owned()),
                set: |settings, text| {
                    settings.policy = form::choose(text)?;
                    Ok(())
                },
            },
        },
        Key {
            name: "user_key",
            flag: None,
            doc: "File with the key of sessions.user = \"hashed\", 16 bytes or more; the same on every node, so that a user has one hash.",
            field: Field::Text {
                form: "absolute path",
                get: |settings| form::optional_path_text(settings.key.as_ref()),
                set: |settings, text| {
                    settings.key = Some(form::absolute(text)?);
                    Ok(())
                },
            },
        },
    ],
};
