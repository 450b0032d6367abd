//! `bench hooks`: what single programs of the agent take above an empty one, by the kernel's statistics, where the
//! load is nothing but their hook.

use anyhow::{Context, Result};
use aya::sys::{Stats, enable_stats};
use lab::cgroup::Tree;
use lab::cpus::allowed;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sessionscope::kernel::object::TaskStore;
use sessionscope::kernel::programs::name::{BLOCK_RQ_COMPLETE, SOCK_RECV_LENGTH, SOCK_SEND_LENGTH};

use super::exchange::{Exchange, Kind};
use super::interval::Interval;
use super::rounds::{Figure, Rounds, Slices};
use super::side::{Floor, Programs, Side};
use crate::cost::measuring::Bench;
use crate::cost::sessions::PARENT;
use crate::machine::Machine;
use crate::numbers::verdict;
use crate::table::table;

const SESSION: &str = "hooks";
/// Programs, the load of each, and what a run may take above an empty one, nanoseconds.
const HOOKS: [(&str, Kind, f64); 3] = [
    (SOCK_SEND_LENGTH, Kind::Messages, 10.0),
    (SOCK_RECV_LENGTH, Kind::Messages, 10.0),
    (BLOCK_RQ_COMPLETE, Kind::Reads, 130.0),
];

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    program: String,
    load: String,
    added: Interval,
    wanted: f64,
}

/// What `bench hooks` measures.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measurements {
    machine: Machine,
    command: String,
    rows: Vec<Row>,
}

/// Takes all measurements.
pub(crate) fn measure(options: &Slices, bench: &Bench<'_>) -> Result<Measurements> {
    let cpu = allowed()?
        .pop()
        .context("no CPU is allowed to this process")?;
    let cgroups = Tree::create(PARENT, &[SESSION])?;
    let session = cgroups.path_of(SESSION);
    let plan = options.plan();
    let _statistics = enable_stats(Stats::RunTime).context("cannot turn the BPF statistics on")?;
    let mut rows = Vec::new();
    for (program, kind, wanted) in HOOKS {
        let mut load = Exchange::start(kind, Some(&session), cpu)?;
        let mut floor = Floor::load(Floor::EMPTY)?;
        let mut agent = match kind {
            Kind::Reads => Programs::load_with_block_io(TaskStore::TaskStorage, true)?,
            _ => Programs::load(TaskStore::TaskStorage, Some(&session), true)?,
        };
        let sides: &mut [&mut dyn Side] = &mut [&mut floor, &mut agent];
        let figure = Figure::Run(program);
        let added =
            Rounds::take(plan, &mut load, sides, figure, bench.interrupted)?.difference(1, 0);
        eprintln!("{program}: {added} ns");
        rows.push(Row {
            program: program.into(),
            load: kind.label().into(),
            added,
            wanted,
        });
    }
    Ok(Measurements {
        machine: Machine::read()?,
        command: bench.command("hooks", &options.arguments()),
        rows,
    })
}

impl crate::cost::measuring::Measurements for Measurements {
    const NAME: &'static str = "hooks";

    fn summary(&self) -> Value {
        serde_json::json!({ "rows": self.rows })
    }

    fn markdown(&self) -> String {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                vec![
                    format!("`{}`", row.program),
                    row.load.clone(),
                    row.added.to_string(),
                    format!(
                        "≤ {:.0}: {}",
                        row.wanted,
                        verdict(row.added.median <= row.wanted)
                    ),
                ]
            })
            .collect();
        [
            format!("{}. `{}`", self.machine, self.command),
            table(
                &[
                    "program",
                    "load",
                    "ns a run above the empty program, and its 95 % interval",
                    "wanted",
                ],
                &rows,
            ),
        ]
        .join("\n\n")
    }
}
