//! Limits that the kernel sets the process.

use crate::telemetry::log_event;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit of open files as far as it goes: the usual default of 1,024 is meant for programs that use
/// `select`.
pub fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        log_event!(OpenFilesLimited, %error);
    }
}
