//! Why the agent cannot start or go on, or a subcommand cannot answer.
//!
//! Every kind has its own exit code, so that a unit file or a pod's log tells a wrong
//! configuration from an unfit node without parsing text. Every message is one line that names what
//! is at fault and what to do about it. Nothing here exits: `main` alone turns an error into a code.

use std::{fmt::Display, io, path::PathBuf};

use crate::setting::ConfigError;

/// Everything went well, or the agent was asked to stop.
pub const OK: u8 = 0;
const OTHER: u8 = 1;
const CONFIGURATION: u8 = 3;
const NOT_PRIVILEGED: u8 = 4;
const NO_BTF: u8 = 5;
const NO_CGROUP2: u8 = 6;
const CANNOT_LISTEN: u8 = 7;
const PROGRAM: u8 = 8;
const LAYOUT: u8 = 9;
const UNREACHABLE: u8 = 10;
const NO_SESSION: u8 = 11;

/// The exit codes and what they mean.
pub const EXIT_CODES: &[(u8, &str)] = &[
    (OK, "success"),
    (OTHER, "any other error"),
    (2, "wrong usage: an unknown flag or subcommand"),
    (
        CONFIGURATION,
        "configuration: unreadable file, unknown key, wrong type or value, bad rule, bad variable or flag value",
    ),
    (NOT_PRIVILEGED, "not privileged: capabilities are missing"),
    (NO_BTF, "the kernel has no BTF, or it cannot be read"),
    (NO_CGROUP2, "no cgroup v2 hierarchy is mounted"),
    (
        CANNOT_LISTEN,
        "cannot listen: the address is in use or not available",
    ),
    (
        PROGRAM,
        "a required kernel program could not be loaded or attached",
    ),
    (
        LAYOUT,
        "the kernel's layout could not be resolved from BTF, or the self-check failed",
    ),
    (
        UNREACHABLE,
        "`sessions`, `top`, `explain`: no agent answers at the address; `report`: Prometheus or the webhook does not",
    ),
    (
        NO_SESSION,
        "`explain`: no session has the name, or more than one",
    ),
];

/// What ends the agent, or a subcommand.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is not acceptable.
    #[error(transparent)]
    Config(#[from] ConfigError),

    /// The process may not load the programs.
    #[error(
        "not privileged: {missing} missing; run as root, or grant it (AmbientCapabilities= in a unit, \
         securityContext in a pod); check with `sessionscope check`"
    )]
    NotPrivileged {
        /// The capabilities that are missing.
        missing: String,
    },

    /// The kernel's type information is not there.
    #[error(
        "no BTF at {}: {reason}; the kernel needs CONFIG_DEBUG_INFO_BTF=y (all distribution kernels \
         since 2020 have it), or set kernel.btf to a matching file; check with `sessionscope check`",
        path.display()
    )]
    NoBtf {
        /// Where it was looked for.
        path: PathBuf,
        /// Why it is not usable.
        reason: String,
    },

    /// There is no cgroup v2 hierarchy to watch.
    #[error(
        "no cgroup v2 hierarchy in {}: {reason}; mount one (`mount -t cgroup2 none /sys/fs/cgroup/unified`) \
         or set kernel.cgroup_root; check with `sessionscope check`",
        mounts.display()
    )]
    NoCgroup2 {
        /// The list of mounts that was read.
        mounts: PathBuf,
        /// Why none of them serves.
        reason: String,
    },

    /// The address for scrapes cannot be had.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: String,
        /// Why not, and what to do.
        reason: String,
    },

    /// A program without which there is nothing to measure.
    #[error(
        "required kernel program {name} could not be loaded or attached: {reason}; check with \
         `sessionscope check`"
    )]
    Program {
        /// The program.
        name: String,
        /// The loader's or the verifier's reason, in one line.
        reason: String,
    },

    /// The offsets of kernel structures are not known for sure.
    #[error(
        "the kernel's layout is not usable: {reason}; report it with `uname -r` and the output of \
         `sessionscope check --format json`"
    )]
    Layout {
        /// What could not be resolved or did not compare equal.
        reason: String,
    },

    /// Another server than the agent's does not answer as it should.
    #[error("{whom}: {reason}")]
    NoAnswer {
        /// Which.
        whom: String,
        /// Why not, and what to do.
        reason: String,
    },

    /// There is nobody to ask for the sessions.
    #[error(
        "no agent answers at {address}: {reason}; start it, or say with --address where it listens"
    )]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What happened instead.
        reason: String,
    },

    /// There is no one session of a name.
    #[error("session \"{name}\": {reason}")]
    NoSession {
        /// The name.
        name: String,
        /// Why not, and what to do.
        reason: String,
    },

    /// Anything from the operating system that has no kind of its own.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, with its path or address.
        context: String,
        /// What the kernel said.
        source: io::Error,
    },

    /// Anything else, said completely.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// The code to exit with; see [`EXIT_CODES`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => CONFIGURATION,
            Self::NotPrivileged { .. } => NOT_PRIVILEGED,
            Self::NoBtf { .. } => NO_BTF,
            Self::NoCgroup2 { .. } => NO_CGROUP2,
            Self::Listen { .. } => CANNOT_LISTEN,
            Self::Program { .. } => PROGRAM,
            Self::Layout { .. } => LAYOUT,
            Self::Unreachable { .. } | Self::NoAnswer { .. } => UNREACHABLE,
            Self::NoSession { .. } => NO_SESSION,
            Self::Io { .. } | Self::Other(_) => OTHER,
        }
    }

    /// An [`Error::Listen`] for what the kernel said.
    pub fn listen(address: &impl Display, source: &io::Error) -> Self {
        Self::Listen {
            address: address.to_string(),
            reason: listen_reason(source),
        }
    }

    /// An [`Error::Io`], for `map_err`.
    pub fn io(context: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let context = context.into();
        move |source| Self::Io { context, source }
    }
}

fn listen_reason(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            "address in use; stop what uses it or choose another with --listen".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this node has the address; choose another with --listen".to_owned()
        }
        _ => format!("{source}; choose another address with --listen"),
    }
}

/// The exit codes as a table for the configuration's reference.
pub fn exit_codes_markdown() -> String {
    let rows = EXIT_CODES
        .iter()
        .map(|(code, meaning)| format!("| {code} | {meaning} |\n"));
    format!(
        "| code | meaning |\n|---|---|\n{}",
        rows.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of_each() -> Vec<Error> {
        let text = || "x".to_owned();
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        vec![
            Error::Config(ConfigError::Unreadable {
                path: "a.toml".into(),
                source: io(io::ErrorKind::NotFound),
            }),
            Error::NotPrivileged {
                missing: "CAP_BPF".to_owned(),
            },
            Error::NoBtf {
                path: "/sys/kernel/btf/vmlinux".into(),
                reason: text(),
            },
            Error::NoCgroup2 {
                mounts: "/proc/self/mounts".into(),
                reason: text(),
            },
            Error::listen(&"127.0.0.1:9709", &io(io::ErrorKind::AddrInUse)),
            Error::Program {
                name: "sched_switch".to_owned(),
                reason: text(),
            },
            Error::Layout { reason: text() },
            Error::Unreachable {
                address: "127.0.0.1:9709".to_owned(),
                reason: text(),
            },
            Error::NoSession {
                name: "desk".to_owned(),
                reason: text(),
            },
            Error::Io {
                context: text(),
                source: io(io::ErrorKind::Other),
            },
        ]
    }

    #[test]
    fn every_kind_has_its_own_documented_code() {
        let mut codes: Vec<u8> = one_of_each().iter().map(Error::exit_code).collect();
        codes.extend([OK, 2]);
        codes.sort_unstable();
        let documented: Vec<u8> = EXIT_CODES.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, documented);
    }

    #[test]
    fn messages_are_one_line() {
        for error in one_of_each() {
            let message = error.to_string();
            assert!(
                !message.contains('\n') && !message.contains("  "),
                "{message:?}"
            );
        }
    }

    #[test]
    fn an_address_in_use_says_what_to_do() {
        let error = Error::listen(&"127.0.0.1:9709", &io::ErrorKind::AddrInUse.into());
        assert_eq!(
            error.to_string(),
            "cannot listen on 127.0.0.1:9709: address in use; stop what uses it or choose another with --listen"
        );
    }
}
