//! Starts and ends what runs beside a load: the empty program, the agent, a peer.

use std::process;
use std::sync::mpsc::Receiver;

use anyhow::{Context, Result};
use aya::programs::BtfTracePoint;
use aya::{Btf, Ebpf};
use lab::agent::Agent;
use lab::programs::{FLOOR, repository};

use super::condition::Condition;
use super::inside::Running;
use super::peers;
use super::sessions::{self, RULES};
use crate::agent;
use crate::waiting::wait_until;

/// What is running; dropping it ends it.
pub(crate) struct Beside {
    what: What,
}

enum What {
    /// Held because the program is detached with it.
    Floor(#[expect(dead_code, reason = "held for its drop")] Ebpf),
    Agent(Agent),
    Peer(Running),
}

impl Beside {
    /// Starts a condition and waits until it measures. The agent must know so many sessions.
    pub(crate) fn begin(
        condition: Condition,
        sessions: usize,
        interrupted: &Receiver<()>,
    ) -> Result<Self> {
        let agent = |task_state| start_agent(task_state, sessions, interrupted);
        let what = match condition {
            Condition::Floor => What::Floor(attach_floor()?),
            Condition::Agent => What::Agent(agent("auto")?),
            Condition::PidArray => What::Agent(agent("pid-array")?),
            Condition::TaskStorage => What::Agent(agent("task-storage")?),
            Condition::Peer(peer) => What::Peer(peers::start(peer, interrupted)?),
        };
        Ok(Self { what })
    }

    /// The process that has the kernel programs.
    pub(crate) fn pid(&self) -> u32 {
        match &self.what {
            What::Floor(_) => process::id(),
            What::Agent(agent) => agent.pid(),
            What::Peer(running) => running.0.id(),
        }
    }

    /// The agent, if it is one.
    pub(crate) fn agent(&mut self) -> Option<&mut Agent> {
        match &mut self.what {
            What::Agent(agent) => Some(agent),
            What::Floor(_) | What::Peer(_) => None,
        }
    }
}

fn attach_floor() -> Result<Ebpf> {
    let object = repository().join(format!("target/bpf/{FLOOR}.o"));
    let mut ebpf =
        Ebpf::load_file(&object).with_context(|| format!("cannot load {}", object.display()))?;
    let btf = Btf::from_sys_fs().context("cannot read the kernel's BTF")?;
    let program: &mut BtfTracePoint = ebpf
        .program_mut("floor")
        .context("the object has no program `floor`")?
        .try_into()?;
    program
        .load("sched_switch", &btf)
        .context("cannot load the empty program")?;
    program
        .attach()
        .context("cannot attach the empty program")?;
    Ok(ebpf)
}

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
