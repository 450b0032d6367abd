//! Starts the agent beside a load.

use std::sync::mpsc::Receiver;

use anyhow::Result;
use lab::agent::Agent;

use super::sessions::{self, RULES};
use crate::agent;
use crate::waiting::wait_until;

/// Starts an agent that keeps the threads' state there, and waits until it knows so many sessions.
pub(crate) fn start_agent(
    task_state: &str,
    count: usize,
    interrupted: &Receiver<()>,
) -> Result<Agent> {
    let configuration = format!("[kernel]\ntask_state = \"{task_state}\"\n\n{RULES}");
    start_agent_with(&configuration, count, interrupted)
}

/// The same of an agent with this configuration.
pub(crate) fn start_agent_with(
    configuration: &str,
    count: usize,
    interrupted: &Receiver<()>,
) -> Result<Agent> {
    let mut agent = agent::start(configuration, &[], interrupted)?;
    wait_until("the agent knows the sessions", interrupted, || {
        Ok(sessions::of(&mut agent)?.len() == count)
    })?;
    Ok(agent)
}
