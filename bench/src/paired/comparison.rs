//! What the agent adds to what a load does, in slices that alternate with nothing, with an empty program and with
//! others; `sched`, `net`, `block` and `fork` are such comparisons, and so is most of `input`.

use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use aya::sys::{Stats, enable_stats};
use lab::cgroup::Tree;
use lab::cpus::allowed;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sessionscope::kernel::object::TaskStore;

use super::exchange::Exchange;
use super::interval::Interval;
use super::operations::Kind;
use super::rounds::{Figure, Plan, Rounds, Slices};
use super::side::{Floors, Nothing, Programs, Side, Tracer};
use crate::cost::measuring::{self, Bench};
use crate::cost::peers::Peer;
use crate::cost::sessions::PARENT;
use crate::interrupt::Interrupted;
use crate::machine::Machine;
use crate::numbers::verdict;
use crate::table::table;

/// What is compared.
pub(crate) trait Subject {
    /// Name of the benchmark.
    const NAME: &'static str;
    /// The loads.
    const LOADS: &'static [Kind];
    /// Those of the agent that are compared: where the state of threads is, and whether the load is in a session.
    const AGENTS: &'static [(TaskStore, bool)];
    /// The tracepoints that the empty program is on.
    const EMPTY_ON: &'static [&'static str];
    /// Whether what the empty program adds is shown too: where one run of a program is what is looked at.
    const SHOWS_EMPTY: bool;
    /// Tracers of others that measure something of the same.
    const PEERS: &'static [Peer];
    /// What is wanted.
    const WANTED: &'static [Wanted];
}

/// What a run of a program may take above an empty one, nanoseconds.
pub(crate) struct Wanted {
    pub(crate) load: Kind,
    pub(crate) store: TaskStore,
    pub(crate) in_session: bool,
    pub(crate) program: &'static str,
    pub(crate) ns: f64,
}

const SESSION: &str = "compared";
/// Of a load, before it is measured.
const FIRST: Duration = Duration::from_millis(1);
/// A tracer takes half a second to start, so there are fewer rounds with one, but as many as an interval wants.
const TRACER_SHARE: usize = 6;
const FEWEST_ROUNDS: usize = 12;
/// A program that runs less often in an operation is not in the table.
const SELDOM: f64 = 0.01;

/// What an operation takes more.
#[derive(Debug, Serialize, Deserialize)]
struct Added {
    load: Kind,
    side: String,
    /// Nanoseconds an operation takes with nothing beside it.
    alone: f64,
    /// Nanoseconds an operation more.
    more: Interval,
}

/// What a run of a program takes.
#[derive(Debug, Serialize, Deserialize)]
struct Run {
    load: Kind,
    side: String,
    program: String,
    /// Runs in an operation.
    often: f64,
    /// Nanoseconds above an empty program.
    above: Interval,
    /// What it may be.
    wanted: Option<f64>,
}

/// What is measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measurements<S> {
    machine: Machine,
    command: String,
    added: Vec<Added>,
    runs: Vec<Run>,
    /// Tracers that could not be compared, and why.
    absent: Vec<(String, String)>,
    #[serde(skip)]
    subject: PhantomData<S>,
}

/// Takes all measurements.
pub(crate) fn measure<S: Subject>(options: &Slices, bench: &Bench<'_>) -> Result<Measurements<S>> {
    let cpu = allowed()?
        .pop()
        .context("no CPU is allowed to this process")?;
    let cgroups = Tree::create(PARENT, &[SESSION])?;
    let session = cgroups.path_of(SESSION);
    let mut measured = Measurements {
        machine: Machine::read()?,
        command: measuring::command(S::NAME, &options.arguments()),
        added: Vec::new(),
        runs: Vec::new(),
        absent: Vec::new(),
        subject: PhantomData,
    };
    for &kind in S::LOADS {
        eprintln!("{}", kind.label());
        let mut load = Exchange::start(kind, Some(&session), cpu)?;
        // Once it answers, its sockets are there.
        load.run(FIRST)?;
        let mut beside = Beside {
            plan: options.plan(),
            kind,
            load,
            session: &session,
            bench,
        };
        beside.add(&mut measured)?;
        for &peer in S::PEERS {
            beside.add_peer(peer, &mut measured)?;
        }
        beside.runs(&mut measured)?;
    }
    Ok(measured)
}

/// A load, and what is measured of it.
struct Beside<'a> {
    plan: Plan,
    kind: Kind,
    load: Exchange,
    session: &'a Path,
    bench: &'a Bench<'a>,
}

impl Beside<'_> {
    fn take(&mut self, plan: Plan, sides: &mut [&mut dyn Side]) -> Result<Rounds> {
        Rounds::take(plan, &mut self.load, sides, self.bench.interrupted)
    }

    /// The agent, in whose session the load is unless it is in none.
    fn agent(&self, store: TaskStore, in_session: bool, statistics: bool) -> Result<Programs> {
        match self.kind {
            // Where the v2 hierarchy has no io controller the program of block I/O is not loaded otherwise.
            Kind::Reads | Kind::Writes => Programs::load_with_block_io(store, statistics),
            _ => {
                let session = in_session.then_some(self.session);
                let mut programs = Programs::load(store, session, statistics)?;
                let sockets = self.kind.measured_sockets();
                if in_session && sockets > 0 {
                    programs.mark_open_sockets(sockets)?;
                }
                Ok(programs)
            }
        }
    }

    /// Those of the agent that are compared. What one knows of a socket makes any other look at what it knows itself, so
    /// beside such sockets there is none that knows nothing of them.
    fn agents<S: Subject>(&self) -> impl Iterator<Item = (TaskStore, bool)> + use<S> {
        let is_measured = self.kind.measured_sockets() > 0;
        let agents = S::AGENTS.iter().copied();
        agents.filter(move |(_, in_session)| *in_session || !is_measured)
    }

    fn load_agents<S: Subject>(&self, statistics: bool) -> Result<Vec<Programs>> {
        self.agents::<S>()
            .map(|(store, in_session)| self.agent(store, in_session, statistics))
            .collect()
    }

    /// What an operation takes more beside the agent. All in one round, so that any two of them can be compared.
    fn add<S: Subject>(&mut self, measured: &mut Measurements<S>) -> Result<()> {
        let mut floor = Floors::load(S::EMPTY_ON)?;
        let mut agents = self.load_agents::<S>(false)?;
        let mut nothing = Nothing;
        let mut sides: Vec<&mut dyn Side> = vec![&mut nothing];
        if S::SHOWS_EMPTY {
            sides.push(&mut floor);
        }
        sides.extend(agents.iter_mut().map(|agent| -> &mut dyn Side { agent }));
        let rounds = self.take(self.plan, &mut sides)?;
        for side in 1..sides.len() {
            measured.added.push(self.added(&rounds, side)?);
        }
        Ok(())
    }

    fn add_peer<S: Subject>(&mut self, peer: Peer, measured: &mut Measurements<S>) -> Result<()> {
        let mut tracer = Tracer::new(peer, self.bench.interrupted);
        let plan = Plan {
            rounds: (self.plan.rounds / TRACER_SHARE).max(FEWEST_ROUNDS),
            ..self.plan
        };
        let sides: &mut [&mut dyn Side] = &mut [&mut Nothing, &mut tracer];
        match self.take(plan, sides) {
            Ok(rounds) => measured.added.push(self.added(&rounds, 1)?),
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                let absent = (peer.label().to_owned(), format!("{error:#}"));
                if !measured.absent.contains(&absent) {
                    measured.absent.push(absent);
                }
            }
        }
        Ok(())
    }

    fn added(&self, rounds: &Rounds, side: usize) -> Result<Added> {
        let added = Added {
            load: self.kind,
            side: rounds.label(side).into(),
            alone: rounds.alone(0),
            more: rounds.difference(side, 0, Figure::Operation)?,
        };
        eprintln!("  {}: {} ns", added.side, added.more);
        Ok(added)
    }

    /// What runs of the programs take.
    fn runs<S: Subject>(&mut self, measured: &mut Measurements<S>) -> Result<()> {
        // The kernel counts while this is open, so not even a killed benchmark leaves it on.
        let _statistics =
            enable_stats(Stats::RunTime).context("cannot turn the BPF statistics on")?;
        let mut floor = Floors::load(S::EMPTY_ON)?;
        let mut agents = self.load_agents::<S>(true)?;
        let mut sides: Vec<&mut dyn Side> = vec![&mut floor];
        sides.extend(agents.iter_mut().map(|agent| -> &mut dyn Side { agent }));
        let rounds = self.take(self.plan, &mut sides)?;
        for (side, (store, in_session)) in (1..).zip(self.agents::<S>()) {
            for (program, often) in rounds.programs(side) {
                if often < SELDOM {
                    continue;
                }
                // What did not run in each slice is seldom, too.
                let Ok(above) = rounds.difference(side, 0, Figure::Run(program)) else {
                    continue;
                };
                let is_of = |wanted: &&Wanted| {
                    let its = wanted.load == self.kind && wanted.program == program;
                    its && wanted.store == store && wanted.in_session == in_session
                };
                let run = Run {
                    load: self.kind,
                    side: rounds.label(side).into(),
                    program: program.into(),
                    often,
                    above,
                    wanted: S::WANTED.iter().find(is_of).map(|wanted| wanted.ns),
                };
                eprintln!("  {}, {program}: {above} ns a run", run.side);
                measured.runs.push(run);
            }
        }
        Ok(())
    }
}

impl<S: Subject> Measurements<S> {
    /// What the dearest program takes of those of which something is wanted beside this load, and which it is; `None`
    /// unless each of them has been measured.
    pub(super) fn dearest(&self, load: Kind) -> Option<(&str, Interval)> {
        let runs = self.runs.iter();
        let found = runs.filter(|run| run.load == load && run.wanted.is_some());
        let wanted = S::WANTED.iter().filter(|wanted| wanted.load == load);
        if found.clone().count() != wanted.count() {
            return None;
        }
        found
            .max_by(|one, other| one.above.median.total_cmp(&other.above.median))
            .map(|run| (run.program.as_str(), run.above))
    }
}

impl<S: Subject> measuring::Measurements for Measurements<S> {
    const NAME: &'static str = S::NAME;

    fn summary(&self) -> Value {
        serde_json::json!({ "added": self.added, "runs": self.runs })
    }

    fn markdown(&self) -> String {
        let above = match S::EMPTY_ON {
            [_] => "ns a run above an empty program on switches, and its 95 % interval",
            _ => "ns a run above an empty program at the same hook, and its 95 % interval",
        };
        let mut parts = vec![
            format!("{}. `{}`", self.machine, self.command),
            table(
                &[
                    "load",
                    "alone",
                    "beside it",
                    "ns more, and its 95 % interval",
                    "of that alone",
                ],
                &self.added.iter().map(Added::cells).collect::<Vec<_>>(),
            ),
            "What runs of the programs take that ran in every slice, by the kernel's statistics:"
                .to_owned(),
            table(
                &[
                    "load",
                    "beside it",
                    "program",
                    "runs an operation",
                    above,
                    "wanted",
                ],
                &self.runs.iter().map(Run::cells).collect::<Vec<_>>(),
            ),
        ];
        if !self.absent.is_empty() {
            let lines = self
                .absent
                .iter()
                .map(|(who, why)| format!("- {who}: `{why}`"));
            parts.push(format!(
                "Not compared:\n\n{}",
                lines.collect::<Vec<_>>().join("\n")
            ));
        }
        parts.join("\n\n")
    }
}

impl Added {
    fn cells(&self) -> Vec<String> {
        vec![
            self.load.label().into(),
            format!("{:.0} ns a {}", self.alone, self.load.operation()),
            self.side.clone(),
            self.more.to_string(),
            format!("{:+.1} %", self.more.median / self.alone * 100.0),
        ]
    }
}

impl Run {
    fn cells(&self) -> Vec<String> {
        vec![
            self.load.label().into(),
            self.side.clone(),
            format!("`{}`", self.program),
            format!("{:.2}", self.often),
            self.above.to_string(),
            self.wanted.map_or_else(String::new, |ns| {
                format!("≤ {ns:.0}: {}", verdict(self.above.median <= ns))
            }),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::marker::PhantomData;

    use super::super::interval::Interval;
    use super::super::operations::Kind;
    use super::super::subjects::Sched;
    use super::{Added, Measurements, Run};
    use crate::cost::measuring::Measurements as _;
    use crate::machine::Machine;

    fn measured() -> Measurements<Sched> {
        let side = "the agent, state in an array by pid";
        let added = Added {
            load: Kind::Pair,
            side: side.into(),
            alone: 2000.0,
            more: Interval::of(&[100.0; 8]),
        };
        let run = |program: &str, wanted| Run {
            load: Kind::Pair,
            side: side.into(),
            program: program.into(),
            often: 1.0,
            above: Interval::of(&[20.0; 8]),
            wanted,
        };
        Measurements {
            machine: Machine::example(),
            command: "cargo xtask bench sched".into(),
            added: vec![added],
            runs: vec![
                run("sched_switch", Some(50.0)),
                run("census", None),
                run("slow", Some(19.0)),
            ],
            absent: vec![("bpftrace `runqlat.bt`".into(), "no such file".into())],
            subject: PhantomData,
        }
    }

    #[test]
    fn what_is_added_has_its_share_and_a_run_its_verdict() {
        let text = measured().markdown();
        for expected in [
            "| 2000 ns a switch | the agent, state in an array by pid | +100 (+100 to +100) | +5.0 % |",
            "| `sched_switch` | 1.00 | +20 (+20 to +20) | ≤ 50: met |",
            "| `census` | 1.00 | +20 (+20 to +20) |  |",
            "| `slow` | 1.00 | +20 (+20 to +20) | ≤ 19: **not met** |",
            "- bpftrace `runqlat.bt`: `no such file`",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }

    #[test]
    fn what_root_has_measured_is_read_back() {
        let text = serde_json::to_string(&measured()).unwrap();
        let back: Measurements<Sched> = serde_json::from_str(&text).unwrap();
        assert_eq!(back.markdown(), measured().markdown());
    }
}
