//! The agent as the demo, the benchmarks and the comparison on a GPU start it.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
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
    let command = agent::command(&released(AGENT));
    start_by(command, configuration, environment, interrupted)
}

/// The same by a command that is, or becomes, an agent from elsewhere.
pub(crate) fn start_by(
    mut command: Command,
    configuration: &str,
    environment: &[(&str, PathBuf)],
    interrupted: &Receiver<()>,
) -> Result<Agent> {
    // Ctrl-C reaches the whole foreground group, and it is this program that ends the agent.
    command.process_group(0);
    let pause = || pause(POLL, interrupted);
    Agent::start(command, configuration, environment, pause)
}
