//! What can be set of the log.

use std::path::PathBuf;

use crate::named::named;
use crate::setting::{Field, Key, Table, form};

/// The log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its form.
    pub format: LogFormat,
    /// A filter that [`super::filter`] accepts.
    pub level: String,
    /// Where the audit log goes.
    pub audit: AuditTo,
    /// Which processes of sessions are in it.
    pub audit_processes: AuditedProcesses,
}

named! {
    /// Which processes of sessions the audit log has.
    pub enum AuditedProcesses {
        /// None.
        None = "none",
        /// Those that fail or are killed.
        Failed = "failed",
        /// These, and each that executes a program.
        All = "all",
    }
}

impl Settings {
    /// Whether somebody wants to know of each program that a session executes.
    pub fn wants_execs(&self) -> bool {
        self.audit != AuditTo::Off && self.audit_processes == AuditedProcesses::All
    }
}

/// Where the audit log goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AuditTo {
    /// There is none.
    #[default]
    Off,
    /// The agent's stdout, on which nothing else is.
    Stdout,
    /// A file of its own.
    File(PathBuf),
}

named! {
    /// Form of the log.
    pub enum LogFormat {
        /// One readable line a record.
        Text = "text",
        /// One JSON object a record.
        Json = "json",
        /// `key=value` pairs, one line a record.
        Logfmt = "logfmt",
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".to_owned(),
            audit: AuditTo::Off,
            audit_processes: AuditedProcesses::None,
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
            doc: "Form of the log on stderr: text for people, one JSON object a line, or logfmt. docs/log.md has its events and fields.",
            field: Field::Text {
                form: "`text`, `json` or `logfmt`",
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
        Key {
            name: "audit",
            flag: None,
            doc: "Where the audit log goes, one JSON object a line: off, stdout, or a file that is made if it is not there. It has who was refused what, and what configuration came into effect; docs/log.md names its events. A file that is moved away is begun anew.",
            field: Field::Text {
                form: "`off`, `stdout` or absolute path",
                get: |settings| {
                    Some(match &settings.audit {
                        AuditTo::Off => "off".to_owned(),
                        AuditTo::Stdout => "stdout".to_owned(),
                        AuditTo::File(path) => path.display().to_string(),
                    })
                },
                set: |settings, text| {
                    settings.audit = match text {
                        "off" => AuditTo::Off,
                        "stdout" => AuditTo::Stdout,
                        path => AuditTo::File(form::absolute(path).map_err(|error| {
                            format!("expected off, stdout or an absolute path: {error}")
                        })?),
                    };
                    Ok(())
                },
            },
        },
        Key {
            name: "audit_processes",
            flag: None,
            doc: "Which processes of sessions the audit log has: none, failed for those that fail or are killed, or all for each that executes a program besides. Of each session some have a line, and how many more there were is said.",
            field: Field::Text {
                form: "`none`, `failed` or `all`",
                get: |settings| Some(settings.audit_processes.name().to_owned()),
                set: |settings, text| {
                    settings.audit_processes = form::choose(text)?;
                    Ok(())
                },
            },
        },
    ],
};
