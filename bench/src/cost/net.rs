//! `bench net`: what TCP over loopback costs with the agent and with others beside it. Loopback is the
//! worst case: no card or cable hides what the kernel does.

use anyhow::{Context, Result};
use lab::cgroup::Tree;
use lab::cpus::allowed;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compare::Plan;
use super::comparison::Comparison;
use super::condition::{Condition, Peer};
use super::connections::Connections;
use super::iperf::{Server, Streams};
use super::measuring::Bench;
use super::sessions::PARENT;

const SERVER: &str = "server";
const CLIENT: &str = "client";
const MANY: u32 = 64;

/// What `bench net` measures.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measurements(Comparison);

/// Takes all measurements.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Measurements> {
    let cpus = allowed()?;
    let first = *cpus.first().context("no CPU is allowed to this process")?;
    let last = cpus.last().copied().unwrap_or(first);
    let cgroups = Tree::create(PARENT, &[SERVER, CLIENT])?;
    let (serving, asking) = (cgroups.path_of(SERVER), cgroups.path_of(CLIENT));
    let server = Server::start(&serving, first, bench.interrupted)?;
    let streams = |count| Streams {
        server: &server,
        cgroup: asking.clone(),
        cpu: last,
        count,
    };
    let (one, many) = (streams(1), streams(MANY));
    let connections = Connections::new((serving, first), (asking.clone(), last));
    let plan = Plan {
        loads: vec![&one, &many, &connections],
        conditions: vec![
            Condition::Agent,
            Condition::Peer(Peer::Tcprtt),
            Condition::Peer(Peer::Tcpconnlat),
            Condition::Peer(Peer::Tcplife),
        ],
        cgroup: cgroups.path_of(""),
        sessions: 2,
        rounds: bench.rounds,
        statistics_rounds: 1,
        repetitions: bench.repetitions,
        command: bench.command("net", &[]),
        interrupted: bench.interrupted,
    };
    Ok(Measurements(plan.run()?))
}

impl super::measuring::Measurements for Measurements {
    const NAME: &'static str = "net";

    fn summary(&self) -> Value {
        self.0.summary(None)
    }

    fn markdown(&self) -> String {
        self.0.markdown(None, &[])
    }
}
