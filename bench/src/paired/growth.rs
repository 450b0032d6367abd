//! `bench growth`: what the agent itself takes of the CPU when there is much of something on the node.

use std::fs;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use lab::agent::Agent;
use lab::cgroup::Tree;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sessionscope::kernel::object::TaskStore;

use super::interval::Interval;
use super::side::Programs;
use super::still::{Kind, Still};
use crate::cost::beside::start_agent;
use crate::cost::measuring::Bench;
use crate::cost::sessions::PARENT;
use crate::interrupt::pause;
use crate::machine::{Machine, process_cpu_time};
use crate::numbers::verdict;
use crate::table::table;

const SESSIONS: [&str; 2] = ["one", "other"];
/// A second has one sample of the agent.
const WINDOW: Duration = Duration::from_secs(1);
/// What adopting a load costs is not what keeping it costs.
const SETTLE: Duration = Duration::from_secs(4);
const THREADS: usize = 20_000;
/// A process may have 65,530 mappings (`vm.max_map_count`), of which a thread takes four, and as many files as its
/// hard limit says.
const PROCESSES: usize = 4;
const CONNECTIONS: usize = 40_000;
const PAIRS: u32 = 16_384;

/// The options of `bench growth`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Seconds of each row.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(5..))]
    seconds: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { seconds: 30 }
    }
}

impl Options {
    /// As they are typed.
    pub(crate) fn arguments(&self) -> Vec<String> {
        vec![format!("--seconds={}", self.seconds)]
    }
}

/// One line of the table.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    what: String,
    unit: String,
    /// Of single seconds, or reads.
    cost: Interval,
    wanted: Option<f64>,
}

/// What `bench growth` measures.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measurements {
    machine: Machine,
    command: String,
    rows: Vec<Row>,
}

/// Takes all measurements.
pub(crate) fn measure(options: &Options, bench: &Bench<'_>) -> Result<Measurements> {
    let mut measured = Measurements {
        machine: Machine::read()?,
        command: bench.command("growth", &options.arguments()),
        rows: Vec::new(),
    };
    let cgroups = Tree::create(PARENT, &SESSIONS)?;
    let [one, other] = SESSIONS.map(|name| cgroups.path_of(name));
    let mut row = |what: &str, wanted: Option<f64>, cost: Interval| {
        eprintln!("{what}: {cost}");
        measured.rows.push(Row {
            what: what.into(),
            unit: "ms a second".into(),
            cost,
            wanted,
        });
    };
    let seconds = Seconds {
        count: options.seconds,
        interrupted: bench.interrupted,
    };
    for state in ["pid-array", "task-storage"] {
        let agent = start_agent(state, SESSIONS.len(), bench.interrupted)?;
        let idle = seconds.of(&agent, |_| Ok(()))?;
        row(&format!("two empty sessions, {state}"), None, idle);
        let threads = (0..PROCESSES)
            .map(|_| Still::start(Kind::Threads, THREADS / PROCESSES, Some(&one), 0))
            .collect::<Result<Vec<_>>>()?;
        let cost = seconds.of(&agent, |_| Ok(()))?;
        row(
            &format!("{THREADS} sleeping threads, {state}"),
            Some(3.0),
            cost,
        );
        let mover = Still::start(Kind::Threads, 1, Some(&one), 0)?;
        let cost = seconds.of(&agent, |moment| {
            let to = if moment % 2 == 0 { &other } else { &one };
            enter(to, mover.pid())
        })?;
        let what = format!("beside them 100 moves of a process a second, {state}");
        row(&what, Some(15.0), cost);
        drop((threads, agent));
    }
    let agent = start_agent("auto", SESSIONS.len(), bench.interrupted)?;
    let mut connections = Vec::new();
    for _ in 0..PROCESSES {
        let server = Still::start(Kind::Server, CONNECTIONS / PROCESSES, None, 0)?;
        let port = server.port;
        let clients = Still::start(Kind::Clients, CONNECTIONS / PROCESSES, Some(&one), port)?;
        connections.push((server, clients));
    }
    let without = seconds.of(&agent, |_| Ok(()))?;
    row(
        &format!("{CONNECTIONS} idle connections"),
        Some(25.0),
        without,
    );
    let mut made = 0;
    let cost = seconds.of(&agent, |moment| {
        if moment % EVERY_HALF_SECOND == 0 {
            made += 1;
            cgroups.add(&format!("empty-{made}"))?;
            if made > 1 {
                cgroups.remove(&format!("empty-{}", made - 1))?;
            }
        }
        Ok(())
    })?;
    row(
        "beside them two empty cgroups a second",
        Some(without.high),
        cost,
    );
    drop((connections, agent));
    measured.rows.push(pairs(options)?);
    Ok(measured)
}

/// Moments of a second at which a load may do something.
const MOMENTS: u32 = 100;
const EVERY_HALF_SECOND: u32 = MOMENTS / 2;

struct Seconds<'a> {
    count: u32,
    interrupted: &'a Receiver<()>,
}

impl Seconds<'_> {
    /// The CPU time of the agent in each of so many seconds, milliseconds; `act` is called a hundred times in each.
    fn of(&self, agent: &Agent, mut act: impl FnMut(u32) -> Result<()>) -> Result<Interval> {
        let mut moment = 0;
        let mut pass = |length: Duration| -> Result<()> {
            let begin = Instant::now();
            while begin.elapsed() < length {
                act(moment)?;
                moment += 1;
                pause(WINDOW / MOMENTS, self.interrupted)?;
            }
            Ok(())
        };
        pass(SETTLE)?;
        let mut costs = Vec::new();
        for _ in 0..self.count {
            let (begin, before) = (Instant::now(), process_cpu_time(agent.pid())?);
            pass(WINDOW)?;
            let took = process_cpu_time(agent.pid())?.saturating_sub(before);
            costs.push(took.as_secs_f64() * 1e3 / begin.elapsed().as_secs_f64());
        }
        // What is done every few seconds is in the mean of a second, and not in its median.
        Ok(Interval::of_mean(&costs))
    }
}

fn enter(cgroup: &Path, pid: u32) -> Result<()> {
    let procs = cgroup.join("cgroup.procs");
    fs::write(&procs, pid.to_string()).with_context(|| format!("cannot write {}", procs.display()))
}

/// What reading all preemption pairs takes.
fn pairs(options: &Options) -> Result<Row> {
    let mut programs = Programs::load(TaskStore::TaskStorage, None, false)?;
    programs.fill_preemption_pairs(PAIRS)?;
    let mut costs = Vec::new();
    for _ in 0..options.seconds {
        let begin = Instant::now();
        let read = programs.preemption_pairs();
        costs.push(begin.elapsed().as_secs_f64() * 1e3);
        anyhow::ensure!(read == PAIRS as usize, "{read} pairs of {PAIRS} were read");
    }
    let row = Row {
        what: format!("reading {PAIRS} preemption pairs"),
        unit: "ms a sample".into(),
        cost: Interval::of(&costs),
        wanted: Some(5.0),
    };
    eprintln!("{}: {}", row.what, row.cost);
    Ok(row)
}

impl crate::cost::measuring::Measurements for Measurements {
    const NAME: &'static str = "growth";

    fn summary(&self) -> Value {
        serde_json::json!({ "rows": self.rows })
    }

    fn markdown(&self) -> String {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                let wanted = row.wanted.map_or_else(String::new, |most| {
                    format!("≤ {most:.0}: {}", verdict(row.cost.median <= most))
                });
                vec![
                    row.what.clone(),
                    format!("{} {}", row.cost.plain(), row.unit),
                    wanted,
                ]
            })
            .collect();
        [
            format!("{}. `{}`", self.machine, self.command),
            "CPU time of the agent's process, all of its threads, with its 95 % interval:"
                .to_owned(),
            table(&["what is on the node", "the agent takes", "wanted"], &rows),
        ]
        .join("\n\n")
    }
}
