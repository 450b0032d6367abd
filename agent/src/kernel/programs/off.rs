//! Why a program does not run, of a list that is closed: what alerts and dashboards tell apart, where the reason
//! beside it is for people.

use std::{error::Error, io};

use aya::{BtfError, programs::ProgramError};
use serde::Serialize;

use crate::named::named;

/// The kernel's own number for what it does not have (`include/linux/errno.h`), which programs in user space see all
/// the same.
const ENOTSUPP: i32 = 524;

named! {
    /// Why a program does not run.
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum OffCode {
        /// Its controller is not in the cgroup v2 hierarchy.
        NoController = "no_controller",
        /// The driver that it listens to is not loaded.
        NoDriver = "no_driver",
        /// This kernel does not have its hook.
        NoHook = "no_hook",
        /// The agent may not load it, or not read what it needs.
        Denied = "denied",
        /// The verifier refuses it.
        Verifier = "verifier",
        /// The kernel refuses to put it on its hook: it does not have that kind.
        Unsupported = "unsupported",
        /// Anything else.
        Other = "other",
    }
}

impl OffCode {
    /// Of what loading or attaching came to.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(code) = Self::of_one(error) {
                return code;
            }
            next = error.source();
        }
        Self::Other
    }

    fn of_one(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(Self::of_io(error));
        }
        match error.downcast_ref::<ProgramError>()? {
            ProgramError::Btf(
                BtfError::UnknownBtfTypeName { .. } | BtfError::UnknownBtfType { .. },
            ) => Some(Self::NoHook),
            ProgramError::LoadError {
                io_error,
                verifier_log,
            } => {
                let log = verifier_log.to_string();
                Some(if log.trim().is_empty() {
                    Self::of_io(io_error)
                } else if log.contains("unknown func") {
                    // A helper that the kernel does not have.
                    Self::Unsupported
                } else {
                    Self::Verifier
                })
            }
            // Those that pass an error of the system on give no other source than its own.
            ProgramError::IOError(error) => Some(Self::of_io(error)),
            _ => None,
        }
    }

    fn of_io(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Denied,
            Some(libc::ENOENT) => Self::NoHook,
            Some(libc::EOPNOTSUPP | libc::EINVAL | ENOTSUPP) => Self::Unsupported,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_known_by_what_is_behind_it() {
        let io = |number| ProgramError::IOError(io::Error::from_raw_os_error(number));
        let unknown = BtfError::UnknownBtfTypeName {
            type_name: "btf_trace_none".to_owned(),
        };
        for (error, code) in [
            (ProgramError::Btf(unknown), OffCode::NoHook),
            (io(libc::EPERM), OffCode::Denied),
            (io(ENOTSUPP), OffCode::Unsupported),
            (io(libc::ENOMEM), OffCode::Other),
        ] {
            assert_eq!(OffCode::of(&error), code, "{error:?}");
        }
    }
}
