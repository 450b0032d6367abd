//! What the NVIDIA driver writes to the kernel's log: in its place, and as anybody could write it.

use std::{fs, path::PathBuf};

use lab::kernel_log;
pub use lab::kernel_log::line;

use crate::agent::{Agent, Configuration, binary};

/// A log of the test's own, in which the driver's lines are the kernel's.
#[derive(Debug)]
pub struct KernelLog(kernel_log::KernelLog);

impl KernelLog {
    /// An empty one.
    ///
    /// # Panics
    /// When no pipe can be made.
    pub fn new() -> Self {
        Self(kernel_log::KernelLog::create().unwrap_or_else(|error| panic!("{error:#}")))
    }

    /// Starts an agent that reads it in the place of the machine's.
    pub fn start(&self, configuration: &Configuration, environment: &[(&str, PathBuf)]) -> Agent {
        Agent::start_by(self.0.command(&binary()), configuration, environment)
    }

    /// Blames a process for an Xid error. `pci` is the GPU's address without the function, as in
    /// `0000:3b:00`.
    ///
    /// # Panics
    /// When the log cannot be written.
    pub fn blame(&self, pci: &str, code: u32, pid: &str, command: &str) {
        let written = self.0.blame(pci, code, pid, command);
        written.unwrap_or_else(|error| panic!("{error:#}"));
    }
}

impl Default for KernelLog {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes the driver's line to the machine's log. The kernel marks it as a user's.
///
/// # Panics
/// When the log cannot be written, which takes root.
pub fn blame_as_user(pci: &str, code: u32, pid: &str, command: &str) {
    // Without the end of the line the kernel keeps the record back, for what may follow (`LOG_CONT`).
    let line = format!("{}\n", line(pci, code, pid, command));
    fs::write("/dev/kmsg", line).expect("root writes to the kernel's log");
}
