//! What can be set of logins.

use crate::{
    discover::settings::Watch,
    setting::{Field, Key, Table, form},
};

/// Logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether logind is asked.
    pub watch: Watch,
    /// Address of the system bus; `None` for the usual places.
    pub bus: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            watch: Watch::Auto,
            bus: None,
        }
    }
}

/// The table `logind`.
pub const TABLE: Table<Settings> = Table {
    name: "logind",
    about: "Names, users and kinds of logins, from systemd-logind.",
    keys: &[
        Key {
            name: "watch",
            flag: None,
            doc: "Ask logind for the users, kinds and idleness of logins over D-Bus. auto: where the bus is there.",
            field: Field::Text {
                form: "`auto`, `on` or `off`",
                get: |settings| Some(settings.watch.name().to_owned()),
                set: |settings, text| {
                    settings.watch = form::choose(text)?;
                    Ok(())
                },
            },
        },
        Key {
            name: "bus",
            flag: None,
            doc: "Address of the D-Bus system bus. Without it, the usual socket, here and in the host's file system.",
            field: Field::Text {
                form: "D-Bus address",
                get: |settings| settings.bus.clone(),
                set: |settings, text| {
                    settings.bus = Some(text.to_owned());
                    Ok(())
                },
            },
        },
    ],
};
