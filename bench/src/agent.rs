//! The agent as the demo, the benchmarks and the comparison on a GPU start it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::Result;
use lab::agent::{self, Agent};
use lab::programs::{AGENT, released};

use crate::interrupt::pause;

/// How often to look whether it is up.
const POLL: Duration = Duration::from_millis(50);

/// Starts the release binary with this configuration and these variables, and waits until it is ready.
pub(crate) fn start(
    configuration: &str,
    environment: &[(&str, PathBuf)],
    interrupted: &Receiver<()>,
) -> Result<Agent> {
    start_binary(&released(AGENT), configuration, environment, interrupted)
}

/// The same with a binary from elsewhere.
pub(crate) fn start_binary(
    binary: &Path,
    configuration: &str,
    environment: &[(&str, PathBuf)],
    interrupted: &Receiver<()>,
) -> Result<Agent> {
    let mut command = agent::command(binary);
    // Ctrl-C reaches the whole foreground group, and it is this program that ends the agent.
    command.process_group(0);
    let pause = || pause(POLL, interrupted);
    Agent::start(command, configuration, environment, pause)
}
