//! `bench sched`: what the agent adds to a context switch, in slices that alternate with nothing, with an empty
//! program and with others.

use anyhow::{Context, Result};
use aya::sys::{Stats, enable_stats};
use lab::cgroup::Tree;
use lab::cpus::allowed;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sessionscope::kernel::object::TaskStore;
use sessionscope::kernel::programs::name::SCHED_SWITCH;

use super::exchange::{Exchange, Kind};
use super::interval::Interval;
use super::rounds::{Figure, Plan, Rounds, Slices};
use super::side::{Floor, Nothing, Programs, Side, Tracer};
use crate::cost::condition::Peer;
use crate::cost::measuring::Bench;
use crate::cost::sessions::PARENT;
use crate::interrupt::Interrupted;
use crate::machine::Machine;
use crate::numbers::verdict;
use crate::table::table;

const SESSION: &str = "switching";
/// A tracer takes half a second to start, so there are fewer rounds with one.
const TRACER_SHARE: usize = 6;
/// What a run of the agent's program may take above an empty one, nanoseconds: hot and cold, with either store.
const WANTED: [(Kind, TaskStore, f64); 4] = [
    (Kind::Pair, TaskStore::PidArray, 50.0),
    (Kind::Pair, TaskStore::TaskStorage, 72.0),
    (Kind::Ring, TaskStore::PidArray, 65.0),
    (Kind::Ring, TaskStore::TaskStorage, 95.0),
];

/// One line of a table.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    load: String,
    side: String,
    /// Nanoseconds a switch, or a run, beside what is compared with.
    added: Interval,
    /// What it may be.
    wanted: Option<f64>,
}

/// What `bench sched` measures.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measurements {
    machine: Machine,
    command: String,
    /// A switch with nothing beside it, nanoseconds, by load.
    alone: Vec<(String, f64)>,
    /// Time of the load.
    switches: Vec<Row>,
    /// Time of the program, above the empty one.
    runs: Vec<Row>,
    /// Tracers that could not be compared, and why.
    absent: Vec<(String, String)>,
}

/// Takes all measurements.
pub(crate) fn measure(options: &Slices, bench: &Bench<'_>) -> Result<Measurements> {
    let cpu = allowed()?
        .pop()
        .context("no CPU is allowed to this process")?;
    let cgroups = Tree::create(PARENT, &[SESSION])?;
    let session = cgroups.path_of(SESSION);
    let plan = options.plan();
    let mut measured = Measurements {
        machine: Machine::read()?,
        command: bench.command("sched", &options.arguments()),
        alone: Vec::new(),
        switches: Vec::new(),
        runs: Vec::new(),
        absent: Vec::new(),
    };
    for kind in [Kind::Pair, Kind::Ring] {
        let mut load = Exchange::start(kind, Some(&session), cpu)?;
        eprintln!("{}", kind.label());
        // Together in one round, so that any two of them can be compared.
        let mut floor = Floor::load(Floor::EMPTY)?;
        let mut array = Programs::load(TaskStore::PidArray, Some(&session), false)?;
        let mut storage = Programs::load(TaskStore::TaskStorage, Some(&session), false)?;
        let mut nobody = Programs::load(TaskStore::TaskStorage, None, false)?;
        let sides: &mut [&mut dyn Side] = &mut [
            &mut Nothing,
            &mut floor,
            &mut array,
            &mut storage,
            &mut nobody,
        ];
        let rounds = Rounds::take(plan, &mut load, sides, Figure::Operation, bench.interrupted)?;
        measured.alone.push((kind.label().into(), rounds.alone(0)));
        for side in 1..sides.len() {
            measured.switches.push(row(kind, &rounds, side, None));
        }
        for peer in [Peer::Runqlat, Peer::RunqlatBt] {
            let mut tracer = Tracer::new(peer, bench.interrupted);
            let plan = Plan {
                rounds: plan.rounds / TRACER_SHARE,
                ..plan
            };
            let label = tracer.label();
            let sides: &mut [&mut dyn Side] = &mut [&mut Nothing, &mut tracer];
            match Rounds::take(plan, &mut load, sides, Figure::Operation, bench.interrupted) {
                Ok(rounds) => measured.switches.push(row(kind, &rounds, 1, None)),
                Err(error) if error.is::<Interrupted>() => return Err(error),
                Err(error) => measured.absent.push((label, format!("{error:#}"))),
            }
        }
        // The kernel counts while this is open, so not even a killed benchmark leaves it on.
        let statistics =
            enable_stats(Stats::RunTime).context("cannot turn the BPF statistics on")?;
        let mut array = Programs::load(TaskStore::PidArray, Some(&session), true)?;
        let mut storage = Programs::load(TaskStore::TaskStorage, Some(&session), true)?;
        let mut nobody = Programs::load(TaskStore::TaskStorage, None, true)?;
        let sides: &mut [&mut dyn Side] = &mut [&mut floor, &mut array, &mut storage, &mut nobody];
        let rounds = Rounds::take(
            plan,
            &mut load,
            sides,
            Figure::Run(SCHED_SWITCH),
            bench.interrupted,
        )?;
        drop(statistics);
        let wanted = |store| {
            let of = |&&(its_kind, its_store, _): &&(Kind, TaskStore, f64)| {
                its_kind == kind && its_store == store
            };
            WANTED.iter().find(of).map(|&(.., ns)| ns)
        };
        for (side, wanted) in [
            (1, wanted(TaskStore::PidArray)),
            (2, wanted(TaskStore::TaskStorage)),
            (3, None),
        ] {
            measured.runs.push(row(kind, &rounds, side, wanted));
        }
    }
    Ok(measured)
}

fn row(kind: Kind, rounds: &Rounds, side: usize, wanted: Option<f64>) -> Row {
    let row = Row {
        load: kind.label().into(),
        side: rounds.label(side).into(),
        added: rounds.difference(side, 0),
        wanted,
    };
    eprintln!("  {}: {} ns", row.side, row.added);
    row
}

impl crate::cost::measuring::Measurements for Measurements {
    const NAME: &'static str = "sched";

    fn summary(&self) -> Value {
        serde_json::json!({ "switches": self.switches, "runs": self.runs })
    }

    fn markdown(&self) -> String {
        let alone: Vec<String> = self
            .alone
            .iter()
            .map(|(load, ns)| format!("{load}: {ns:.0} ns"))
            .collect();
        let mut parts = vec![
            format!("{}. `{}`", self.machine, self.command),
            format!(
                "A switch with nothing beside it takes: {}.",
                alone.join("; ")
            ),
            "What a switch takes more, in CPU time of the load:".to_owned(),
            table(
                &[
                    "load",
                    "beside it",
                    "ns a switch more than with nothing, and its 95 % interval",
                ],
                &self.switches.iter().map(cells).collect::<Vec<_>>(),
            ),
            "What a run of the program at context switches takes more than an empty one, by the \
             kernel's statistics:"
                .to_owned(),
            table(
                &[
                    "load",
                    "beside it",
                    "ns a run above the empty program, and its 95 % interval",
                    "wanted",
                ],
                &self
                    .runs
                    .iter()
                    .map(|row| {
                        let wanted = row.wanted.map_or_else(String::new, |ns| {
                            format!("≤ {ns:.0}: {}", verdict(row.added.median <= ns))
                        });
                        [cells(row), vec![wanted]].concat()
                    })
                    .collect::<Vec<_>>(),
            ),
        ];
        if !self.absent.is_empty() {
            let lines = self
                .absent
                .iter()
                .map(|(who, why)| format!("- {who}: {why}"));
            parts.push(format!(
                "Not compared:\n\n{}",
                lines.collect::<Vec<_>>().join("\n")
            ));
        }
        parts.join("\n\n")
    }
}

fn cells(row: &Row) -> Vec<String> {
    vec![row.load.clone(), row.side.clone(), row.added.to_string()]
}
