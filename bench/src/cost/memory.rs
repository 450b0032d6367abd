//! `bench memory`: what the agent takes of memory with one, with some and with many sessions in use.
//!
//! A real Prometheus asks for one format only; here formats and compression take turns, so that the
//! memory is that of an agent that has had to produce all of them.

use std::fs;
use std::time::Duration;

use agent_common::block::BlockStats;
use agent_common::memory::MemoryStats;
use agent_common::net::NetStats;
use agent_common::process::ProcessStats;
use agent_common::sched::SchedStats;
use agent_common::task::TaskState;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::exposition::{Exposition, scrape};
use super::measuring::{self, Bench};
use super::node_exporter;
use super::sessions;
use super::staging::{SESSIONS, Stage};
use crate::interrupt::pause;
use crate::machine::Machine;

const SCRAPES: usize = 12;
const SCRAPE_PERIOD: Duration = Duration::from_secs(1);

/// What `bench memory` measures.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measurements {
    pub(super) machine: Machine,
    pub(super) command: String,
    pub(super) seconds: u64,
    pub(super) sizes: Sizes,
    pub(super) loads: Vec<Load>,
    /// node_exporter, as it is packaged.
    pub(super) peer: Memory,
}

/// Bytes that the agent's maps take.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sizes {
    /// Per CPU and session.
    pub(super) sched_stats: usize,
    /// Per session.
    pub(super) process_stats: usize,
    pub(super) net_stats: usize,
    pub(super) block_stats: usize,
    pub(super) memory_stats: usize,
    /// Per thread, or per possible pid.
    pub(super) task_state: usize,
}

/// The agent with so many sessions.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Load {
    pub(super) sessions: usize,
    /// Where the kernel programs keep the threads' state.
    pub(super) task_state: String,
    pub(super) resident_bytes: u64,
    pub(super) peak_resident_bytes: u64,
    pub(super) map_bytes: u64,
}

/// Takes all measurements.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Measurements> {
    let mut loads = Vec::new();
    for sessions in SESSIONS {
        eprintln!("{sessions} sessions, {SCRAPES} scrapes");
        loads.push(load(sessions, bench)?);
    }
    Ok(Measurements {
        machine: Machine::read()?,
        command: measuring::command("memory", &[]),
        seconds: SCRAPE_PERIOD.as_secs() * SCRAPES as u64,
        sizes: Sizes {
            sched_stats: size_of::<SchedStats>(),
            process_stats: size_of::<ProcessStats>(),
            net_stats: size_of::<NetStats>(),
            block_stats: size_of::<BlockStats>(),
            memory_stats: size_of::<MemoryStats>(),
            task_state: size_of::<TaskState>(),
        },
        loads,
        peer: of_node_exporter(bench)?,
    })
}

fn load(sessions: usize, bench: &Bench<'_>) -> Result<Load> {
    let mut stage = Stage::set(sessions, bench.interrupted)?;
    let agent = &mut stage.agent;
    for number in 0..SCRAPES {
        pause(SCRAPE_PERIOD, bench.interrupted)?;
        scrape(agent, Exposition::ALL[number % Exposition::ALL.len()])?;
    }
    let metrics = agent.metrics()?;
    let report = sessions::report(agent)?;
    let memory = memory_of(agent.pid())?;
    Ok(Load {
        sessions,
        task_state: report["agent"]["task_state"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        resident_bytes: memory.resident_bytes,
        peak_resident_bytes: memory.peak_resident_bytes,
        map_bytes: metrics.metric("vdi_agent_map_memory_bytes")? as u64,
    })
}

/// That of node_exporter after as many scrapes.
fn of_node_exporter(bench: &Bench<'_>) -> Result<Memory> {
    let peer = node_exporter::start()?;
    for number in 0..SCRAPES {
        pause(SCRAPE_PERIOD, bench.interrupted)?;
        peer.scrape(Exposition::ALL[number % Exposition::ALL.len()])?;
    }
    memory_of(peer.pid())
}

/// The memory of a process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Memory {
    pub(super) resident_bytes: u64,
    pub(super) peak_resident_bytes: u64,
}

/// Asks the kernel for it.
pub(super) fn memory_of(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let bytes = |field: &str| {
        kibibytes(&status, field)
            .map(|kibibytes| kibibytes * 1024)
            .with_context(|| format!("{path} has no {field}"))
    };
    Ok(Memory {
        resident_bytes: bytes("VmRSS")?,
        peak_resident_bytes: bytes("VmHWM")?,
    })
}

fn kibibytes(status: &str, field: &str) -> Option<u64> {
    status.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == field).then(|| value.trim().strip_suffix(" kB")?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::kibibytes;

    #[test]
    fn the_peak_is_read_from_the_status() {
        let status = "Name:\tx\nVmHWM:\t    9012 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(kibibytes(status, "VmHWM"), Some(9012));
        assert_eq!(kibibytes(status, "VmPeak"), None);
    }
}
