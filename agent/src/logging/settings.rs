//! What can be set of the log.

use crate::named::named;
use crate::setting::{Field, Key, Table, form};

/// The log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its form.
    pub format: LogFormat,
    /// A filter that [`super::filter`] accepts.
    pub level: String,
}

named! {
    /// Form of the log.
    pub enum LogFormat {
        /// One readable line a record.
        Text = "text",
        /// One JSON object a record.
        Json = "json",
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".to_owned(),
        }
    }
}

/// The table `log`.
pub const TABLE: Table<Settings> = Table {
    name: "log",
    about: "What the agent says of itself, on stderr.",
    keys: &[
        Key {
            name: "format",
            flag: Some("--log-format"),
            doc: "Form of the log on stderr: text, or one JSON object a line.",
            field: Field::Text {
                form: "`text` or `json`",
                get: |settings| Some(settings.format.name().to_owned()),
                set: |settings, text| {
                    settings.format = form::choose(text)?;
                    Ok(())
                },
            },
        },
        Key {
            name: "level",
            flag: Some("--log-level"),
            doc: "Least level that is logged: off, error, warn, info, debug or trace; modules apart as in \"info,sessionscope::kernel=debug\".",
            field: Field::Text {
                form: "level, or target=level pairs",
                get: |settings| Some(settings.level.clone()),
                set: |settings, text| {
                    super::filter(text)?;
                    text.clone_into(&mut settings.level);
                    Ok(())
                },
            },
        },
    ],
};
