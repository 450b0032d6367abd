//! `bench growth`: what the agent itself takes of the CPU when there is much of something on the node.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use lab::agent::Agent;
use lab::cgroup::Tree;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sessionscope::kernel::object::TaskStore;

use super::interval::Interval;
use super::side::Programs;
use super::still::{Kind, Still};
use crate::cost::beside::{start_agent, start_agent_with};
use crate::cost::inside::{self, Place, Running};
use crate::cost::measuring::{self, Bench};
use crate::cost::sessions::{PARENT, RULES};
use crate::interrupt::pause;
use crate::machine::{Machine, process_cpu_time, sleeps};
use crate::numbers::verdict;
use crate::table::table;

const SESSIONS: [&str; 2] = ["one", "other"];
/// A second has one sample of the agent.
const SECOND: Duration = Duration::from_secs(1);
/// A walk over many threads comes every fourteen seconds: each such window has about as many as any other.
const WALKS: Duration = Duration::from_secs(15);
/// A reading of many connections takes 50 ms, and comes with the first sample three seconds after the last one, which
/// is every fourth, now and then the third: such a window has three, or four.
const READINGS: Duration = Duration::from_secs(12);
/// What an interval is made from at least.
const FEWEST_WINDOWS: u32 = 6;
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
    /// Seconds of each row at least; of some as many windows as make an interval take longer.
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
    /// Of windows, or reads.
    cost: Interval,
    wanted: Wanted,
}

/// What is wanted of a cost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Wanted {
    Unsaid,
    /// Not more than so much.
    AtMost(f64),
    /// It is a difference, and there should be none.
    Nothing,
}

impl Wanted {
    /// Whether it is met, as far as the interval tells.
    pub(super) fn verdict(self, cost: Interval) -> String {
        match self {
            Self::Unsaid => String::new(),
            Self::AtMost(most) if cost.low <= most && most < cost.high => {
                format!("≤ {most:.0}: the interval does not tell")
            }
            Self::AtMost(most) => format!("≤ {most:.0}: {}", verdict(cost.high <= most)),
            Self::Nothing if cost.holds_zero => "nothing: not told apart".to_owned(),
            Self::Nothing => format!("nothing: {}", verdict(cost.high <= 0.0)),
        }
    }
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
    let machine = Machine::read()?;
    let stage = Stage {
        cgroups: Tree::create(PARENT, &SESSIONS)?,
        seconds: options.seconds,
        interrupted: bench.interrupted,
    };
    let mut rows = Vec::new();
    for state in ["pid-array", "task-storage"] {
        rows.extend(stage.threads(state)?);
    }
    rows.extend(stage.connections()?);
    rows.push(stage.churn()?);
    rows.push(pairs(options)?);
    Ok(Measurements {
        machine,
        command: measuring::command("growth", &options.arguments()),
        rows,
    })
}

impl Row {
    fn new(what: String, unit: &str, wanted: Wanted, cost: Interval) -> Self {
        eprintln!("{what}: {} {unit}", cost.plain());
        let unit = unit.into();
        Self {
            what,
            unit,
            cost,
            wanted,
        }
    }

    /// Of CPU time.
    fn of_cpu(what: String, wanted: Wanted, cost: Interval) -> Self {
        Self::new(what, "ms a second", wanted, cost)
    }
}

/// The sessions, and how long each row is measured.
struct Stage<'a> {
    cgroups: Tree,
    seconds: u32,
    interrupted: &'a Receiver<()>,
}

impl Stage<'_> {
    fn agent(&self, state: &str) -> Result<Agent> {
        start_agent(state, SESSIONS.len(), self.interrupted)
    }

    /// An idle node; one with many threads; one with many threads on which one process moves.
    fn threads(&self, state: &str) -> Result<Vec<Row>> {
        let [one, other] = SESSIONS.map(|name| self.cgroups.path_of(name));
        let agent = self.agent(state)?;
        let mut rows = Vec::new();
        let idle = self.cpu(&agent, SECOND, |_| Ok(()))?;
        let what = format!("two empty sessions, {state}");
        rows.push(Row::of_cpu(what, Wanted::Unsaid, idle));
        let pid = agent.pid();
        let wakeups = self.of(SECOND, || Ok(sleeps(pid)? as f64), |_| Ok(()))?;
        let what = format!("the same, {state}");
        let unit = "wakeups of its threads a second";
        rows.push(Row::new(what, unit, Wanted::Unsaid, wakeups));
        let _threads = (0..PROCESSES)
            .map(|_| Still::start(Kind::Threads, THREADS / PROCESSES, Some(&one), 0))
            .collect::<Result<Vec<_>>>()?;
        let cost = self.cpu(&agent, WALKS, |_| Ok(()))?;
        let what = format!("{THREADS} sleeping threads, {state}");
        rows.push(Row::of_cpu(what, Wanted::AtMost(3.0), cost));
        let mover = Still::start(Kind::Threads, 1, Some(&one), 0)?;
        let cost = self.cpu(&agent, SECOND, |moment| {
            let to = if moment % 2 == 0 { &other } else { &one };
            enter(to, mover.pid())
        })?;
        let what = format!("beside them {MOMENTS} moves of a process a second, {state}");
        rows.push(Row::of_cpu(what, Wanted::AtMost(15.0), cost));
        Ok(rows)
    }

    /// Many connections; with and without them, cgroups that come and go without a process. Each is a session, so it
    /// costs what a session costs, and not more because of the connections.
    fn connections(&self) -> Result<Vec<Row>> {
        let agent = start_agent_with(&forgetful(), SESSIONS.len(), self.interrupted)?;
        let one = self.cgroups.path_of(SESSIONS[0]);
        let counter = cpu_of(&agent);
        let (_, alone) = self.empty_cgroups(SECOND, &counter)?;
        let mut connections = Vec::new();
        for _ in 0..PROCESSES {
            let server = Still::start(Kind::Server, CONNECTIONS / PROCESSES, None, 0)?;
            let port = server.port;
            let clients = Still::start(Kind::Clients, CONNECTIONS / PROCESSES, Some(&one), port)?;
            connections.push((server, clients));
        }
        let (without, beside) = self.empty_cgroups(READINGS, &counter)?;
        let of_one = alone.len() / beside.len();
        let mean = |some: &[f64]| some.iter().sum::<f64>() / some.len() as f64;
        let more: Vec<f64> = alone
            .chunks_exact(of_one)
            .zip(&beside)
            .map(|(alone, beside)| beside - mean(alone))
            .collect();
        Ok(vec![
            Row::of_cpu(
                "what two empty cgroups a second add".into(),
                Wanted::Unsaid,
                Interval::of_mean(&alone),
            ),
            Row::of_cpu(
                format!("{CONNECTIONS} idle connections"),
                Wanted::AtMost(25.0),
                Interval::of_mean(&without),
            ),
            Row::of_cpu(
                "what two empty cgroups a second add more beside them".into(),
                Wanted::Nothing,
                Interval::of_mean(&more),
            ),
        ])
    }

    /// What a second costs without empty cgroups, and what two of them each second add; in windows of so long, in turns.
    fn empty_cgroups(
        &self,
        window: Duration,
        counter: impl Fn() -> Result<f64>,
    ) -> Result<(Vec<f64>, Vec<f64>)> {
        self.pass(SETTLE, |_| Ok(()))?;
        let (mut without, mut added) = (Vec::new(), Vec::new());
        for _ in 0..self.windows(window) {
            let idle = self.window(window, &counter, |_| Ok(()))?;
            let beside = self.window(window, &counter, |moment| {
                if moment % EVERY_HALF_SECOND == 0 {
                    let name = format!("empty-{moment}");
                    self.cgroups.add(&name)?;
                    self.cgroups.remove(&name)?;
                }
                Ok(())
            })?;
            without.push(idle);
            added.push(beside - idle);
        }
        Ok((without, added))
    }

    /// Sessions that come and go, each with a process that ends at once.
    fn churn(&self) -> Result<Row> {
        let agent = start_agent_with(&forgetful(), SESSIONS.len(), self.interrupted)?;
        let mut living: VecDeque<(String, Running)> = VecDeque::new();
        let mut made = 0;
        let cost = self.cpu(&agent, SECOND, |moment| {
            if moment % EVERY_SESSION != 0 {
                return Ok(());
            }
            made += 1;
            let name = format!("brief-{made}");
            self.cgroups.add(&name)?;
            let path = self.cgroups.path_of(&name);
            let place = Place::in_cgroup(&path);
            let process =
                inside::start(place, "true".as_ref(), &[], Stdio::null(), Stdio::inherit())?;
            living.push_back((name, process));
            if living.len() > BRIEF_SESSIONS {
                self.remove(living.pop_front())?;
            }
            Ok(())
        })?;
        while let Some(last) = living.pop_front() {
            self.remove(Some(last))?;
        }
        let a_second = MOMENTS / EVERY_SESSION;
        let what = format!("{a_second} sessions a second that come and go");
        Ok(Row::of_cpu(what, Wanted::Unsaid, cost))
    }

    fn remove(&self, session: Option<(String, Running)>) -> Result<()> {
        let Some((name, mut process)) = session else {
            return Ok(());
        };
        let status = process.0.wait().context("cannot wait for `true`")?;
        ensure!(status.success(), "`true` in {name} failed ({status})");
        self.cgroups.remove(&name)
    }

    /// Milliseconds of CPU time of the agent in a second, in windows of so long; `act` is called [`MOMENTS`] times in each
    /// second.
    fn cpu(
        &self,
        agent: &Agent,
        window: Duration,
        act: impl FnMut(u32) -> Result<()>,
    ) -> Result<Interval> {
        self.of(window, cpu_of(agent), act)
    }

    /// What a counter grows by in a second, in windows of so long.
    fn of(
        &self,
        window: Duration,
        counter: impl Fn() -> Result<f64>,
        mut act: impl FnMut(u32) -> Result<()>,
    ) -> Result<Interval> {
        self.pass(SETTLE, &mut act)?;
        let grown = (0..self.windows(window)).map(|_| self.window(window, &counter, &mut act));
        // What is done every few seconds is in the mean of a second, and not in its median.
        Ok(Interval::of_mean(&grown.collect::<Result<Vec<_>>>()?))
    }

    /// What a counter grows by in a second, in one window.
    fn window(
        &self,
        window: Duration,
        counter: impl Fn() -> Result<f64>,
        act: impl FnMut(u32) -> Result<()>,
    ) -> Result<f64> {
        let (begin, before) = (Instant::now(), counter()?);
        self.pass(window, act)?;
        Ok((counter()? - before) / begin.elapsed().as_secs_f64())
    }

    /// Lets so much time pass; what `act` takes is made up for.
    fn pass(&self, length: Duration, mut act: impl FnMut(u32) -> Result<()>) -> Result<()> {
        let begin = Instant::now();
        let moments = (length.as_secs_f64() * f64::from(MOMENTS)) as u32;
        for moment in 0..moments {
            act(moment)?;
            let next = SECOND / MOMENTS * (moment + 1);
            pause(next.saturating_sub(begin.elapsed()), self.interrupted)?;
        }
        Ok(())
    }

    /// Windows of so long: as many as fill the seconds that a row has, and six at least.
    fn windows(&self, window: Duration) -> u32 {
        let seconds = Duration::from_secs(self.seconds.into());
        FEWEST_WINDOWS.max((seconds.as_secs_f64() / window.as_secs_f64()) as u32)
    }
}

/// A configuration with which those that have ended are forgotten soon, so that the last second is like the first.
fn forgetful() -> String {
    format!("[sessions]\nlinger = \"1s\"\n\n{RULES}")
}

/// Milliseconds of CPU time that an agent has taken.
fn cpu_of(agent: &Agent) -> impl Fn() -> Result<f64> + use<> {
    let pid = agent.pid();
    move || Ok(process_cpu_time(pid)?.as_secs_f64() * 1e3)
}

/// Moments of a second at which a load may do something.
const MOMENTS: u32 = 100;
const EVERY_HALF_SECOND: u32 = MOMENTS / 2;
/// Twenty a second.
const EVERY_SESSION: u32 = MOMENTS / 20;
/// Sessions that are there at a time: half a second each, so that their processes have ended.
const BRIEF_SESSIONS: usize = 10;

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
        ensure!(read == PAIRS as usize, "{read} pairs of {PAIRS} were read");
    }
    let what = format!("reading {PAIRS} preemption pairs");
    Ok(Row::new(
        what,
        "ms a sample",
        Wanted::AtMost(5.0),
        Interval::of(&costs),
    ))
}

impl measuring::Measurements for Measurements {
    const NAME: &'static str = "growth";

    fn summary(&self) -> Value {
        serde_json::json!({ "rows": self.rows })
    }

    fn markdown(&self) -> String {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                vec![
                    row.what.clone(),
                    format!("{} {}", row.cost.plain(), row.unit),
                    row.wanted.verdict(row.cost),
                ]
            })
            .collect();
        [
            format!("{}. `{}`", self.machine, self.command),
            "Of the agent's process, all of its threads: means with their 95 % intervals, of windows of a second, of 15 \
             where there are many threads, of 12 where there are many connections. The pairs are read by the benchmark itself, by the clock."
                .to_owned(),
            table(&["what is on the node", "the agent takes", "wanted"], &rows),
        ]
        .join("\n\n")
    }
}
