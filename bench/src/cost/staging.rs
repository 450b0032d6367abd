//! Many sessions at once, for `bench scrape`, `bench memory`, `bench gpu` and `bench rules`: each with two processes, a
//! listener, connections of which the session holds both ends, one to a display, datagrams and a write to the drive.
//!
//! So every family of figures that does not need a special event has its series, and what a scrape
//! takes is that of sessions in use.

use std::process::{Child, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lab::agent::Agent;
use lab::cgroup::Tree;
use serde_json::Value;

use super::inside::{self, Place};
use super::sessions::{self, NAMESPACE, PARENT, RULES};
use crate::agent;
use crate::machine::process_cpu_time;
use crate::waiting::wait_until;
use crate::workload::{self, CLIENTS, Kind};

/// One session, a node's usual number, and nearly as many as the agent measures without being told
/// otherwise.
pub(super) const SESSIONS: [usize; 3] = [1, 50, 250];
/// Of each session: who serves and who connects.
const PROCESSES: u64 = 2;

/// An agent and so many sessions. Dropped in this order: processes, agent, cgroups.
pub(super) struct Stage {
    processes: Processes,
    pub(super) agent: Agent,
    cgroups: Tree,
}

impl Stage {
    /// Starts all and waits until the agent knows them.
    pub(super) fn set(count: usize, interrupted: &Receiver<()>) -> Result<Self> {
        Self::set_with(count, interrupted, || agent::start(RULES, &[], interrupted))
    }

    /// The same with an agent of the caller's.
    pub(super) fn set_with(
        count: usize,
        interrupted: &Receiver<()>,
        start: impl FnOnce() -> Result<Agent>,
    ) -> Result<Self> {
        let names: Vec<String> = (1..=count).map(session_name).collect();
        let cgroups = Tree::create(PARENT, &names)?;
        let mut agent = start()?;
        let processes = Processes::start(&cgroups, &names)?;
        let mut known = 0;
        let mut connected = 0.0;
        wait_until(
            "the agent knows all processes and clients",
            interrupted,
            || {
                let populated = |session: &&Value| session["processes"].as_u64() == Some(PROCESSES);
                known = sessions::of(&mut agent)?.iter().filter(populated).count();
                let clients = agent.metrics()?.sum("vdi_session_clients", &[NAMESPACE]);
                connected = clients.unwrap_or_default();
                Ok(known == count && connected as usize == count * CLIENTS)
            },
        )
        .with_context(|| {
            format!(
                "it knows {known} of {count} sessions with their processes, and {connected} clients"
            )
        })?;
        Ok(Self {
            processes,
            agent,
            cgroups,
        })
    }

    /// Has so many more sessions come, each with a process that ends at once, and waits until the agent has seen them
    /// end.
    pub(super) fn let_some_end(&mut self, count: usize, interrupted: &Receiver<()>) -> Result<()> {
        let first = self.processes.0.len() + 1;
        let names: Vec<String> = (first..).take(count).map(session_name).collect();
        for name in &names {
            self.cgroups.add(name)?;
            let path = self.cgroups.path_of(name);
            let place = Place::in_cgroup(&path);
            let (output, errors) = (Stdio::null(), Stdio::inherit());
            let mut process = inside::start(place, "true".as_ref(), &[], output, errors)?;
            let status = process.0.wait().context("cannot wait for `true`")?;
            ensure!(status.success(), "`true` in {name} failed ({status})");
        }
        let all = self.processes.0.len() + count;
        let agent = &mut self.agent;
        wait_until("the agent knows the sessions", interrupted, || {
            Ok(sessions::of(agent)?.len() == all)
        })?;
        for name in &names {
            self.cgroups.remove(name)?;
        }
        wait_until("the agent has seen sessions end", interrupted, || {
            let ended = agent
                .metrics()?
                .sum("vdi_session_ended_total", &[NAMESPACE]);
            Ok(ended.unwrap_or_default() as usize == count)
        })
    }

    /// A process of each session, in their order.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.processes.0.iter().map(Child::id).collect()
    }

    /// The CPU time that the agent takes while something else happens, in CPUs.
    pub(super) fn cpus_during(
        &mut self,
        happen: impl FnOnce(&mut Agent) -> Result<()>,
    ) -> Result<f64> {
        let pid = self.agent.pid();
        let (before, begin) = (process_cpu_time(pid)?, Instant::now());
        happen(&mut self.agent)?;
        let watched = begin.elapsed();
        let taken = process_cpu_time(pid)?.saturating_sub(before);
        Ok(taken.as_secs_f64() / watched.as_secs_f64())
    }

    /// Series of the agent's exposition.
    pub(super) fn series(&mut self) -> Result<u64> {
        Ok(self.agent.metrics()?.metric("vdi_agent_series")? as u64)
    }

    /// Those of them that are of a session. The agent's own come as there is something to say: what it has compared
    /// with the kernel's accounts, for one, shows after minutes.
    pub(super) fn series_of_sessions(&mut self) -> Result<u64> {
        let metrics = self.agent.metrics()?;
        let of_sessions = metrics
            .samples
            .iter()
            .filter(|sample| sample.labels.contains_key("session"));
        Ok(of_sessions.count() as u64)
    }
}

/// The name of the session with a number.
pub(super) fn session_name(number: usize) -> String {
    format!("session-{number}")
}

/// What one more session adds, between two numbers of sessions.
pub(super) fn per_session(few: (usize, f64), many: (usize, f64)) -> f64 {
    (many.1 - few.1) / (many.0 as f64 - few.0 as f64)
}

/// The sessions' processes; dropping it ends them.
struct Processes(Vec<Child>);

impl Processes {
    fn start(cgroups: &Tree, names: &[String]) -> Result<Self> {
        let mut processes = Self(Vec::new());
        for name in names {
            let child = workload::start(Kind::Serve, &cgroups.path_of(name), 0)?;
            processes.0.push(child);
        }
        Ok(processes)
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // They hold nothing that an orderly end would save.
            if let Err(error) = child.kill().and_then(|()| child.wait()) {
                eprintln!("warning: cannot end process {}: {error}", child.id());
            }
        }
    }
}
