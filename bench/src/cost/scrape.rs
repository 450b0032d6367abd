//! `bench scrape`: what a scrape takes with one, with some and with many sessions in use.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::exposition::{Exposition, Scrape, scrape};
use super::measuring::{self, Bench};
use super::node_exporter::{self, Peer};
use super::staging::{SESSIONS, Stage};
use crate::interrupt::pause;
use crate::machine::Machine;

/// Of each format: as many as a percentile needs.
pub(super) const SCRAPES: usize = 100;
/// Between two, for the sessions to go on.
pub(super) const BREAK: Duration = Duration::from_millis(10);
/// While the agent's CPU time is watched there is a scrape a second, as no Prometheus asks for more.
pub(super) const WATCHED_SCRAPES: usize = 10;
pub(super) const WATCHED_PERIOD: Duration = Duration::from_secs(1);
/// What Prometheus asks for then.
pub(super) const WATCHED: Exposition = Exposition::ProtobufGzip;

/// What `bench scrape` measures.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measurements {
    pub(super) machine: Machine,
    pub(super) command: String,
    pub(super) loads: Vec<Load>,
    /// node_exporter, as it is packaged.
    pub(super) peer: Peer,
}

/// The agent with so many sessions.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Load {
    pub(super) sessions: usize,
    pub(super) series: u64,
    /// Those of them that are of a session.
    pub(super) of_sessions: u64,
    /// CPU time of the agent's process with a scrape a second, in CPUs.
    pub(super) cpus: f64,
    pub(super) scrapes: BTreeMap<Exposition, Vec<Scrape>>,
}

/// Takes all measurements.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Measurements> {
    let mut loads = Vec::new();
    for sessions in SESSIONS {
        eprintln!("{sessions} sessions");
        loads.push(load(sessions, bench)?);
    }
    Ok(Measurements {
        machine: Machine::read()?,
        command: measuring::command("scrape", &[]),
        loads,
        peer: node_exporter::start()?.measure(bench.interrupted)?,
    })
}

fn load(sessions: usize, bench: &Bench<'_>) -> Result<Load> {
    let mut stage = Stage::set(sessions, bench.interrupted)?;
    let cpus = stage.cpus_during(|agent| {
        for _ in 0..WATCHED_SCRAPES {
            pause(WATCHED_PERIOD, bench.interrupted)?;
            scrape(agent, WATCHED)?;
        }
        Ok(())
    })?;
    let mut scrapes: BTreeMap<Exposition, Vec<Scrape>> = BTreeMap::new();
    for _ in 0..SCRAPES {
        for exposition in Exposition::ALL {
            pause(BREAK, bench.interrupted)?;
            let scrape = scrape(&mut stage.agent, exposition)?;
            scrapes.entry(exposition).or_default().push(scrape);
        }
    }
    Ok(Load {
        sessions,
        series: stage.series()?,
        of_sessions: stage.series_of_sessions()?,
        cpus,
        scrapes,
    })
}
