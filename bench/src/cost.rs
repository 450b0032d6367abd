//! `bench`: what the agent costs, measured on this machine; the tables of `docs/measurements.md`.
//!
//! Nothing here is a test, because a number from a busy machine must not fail a build. Expectations
//! are printed beside the numbers, met or not. Only measuring needs root: it happens in a process that
//! prints JSON, and whoever called makes tables and files of it, so that root owns nothing in the
//! checkout.

pub(crate) mod beside;
pub(crate) mod exporters;
mod exposition;
mod gpu;
mod gpu_node;
mod gpu_report;
mod gpu_rhythms;
pub(crate) mod inside;
pub(crate) mod measuring;
mod memory;
mod memory_report;
mod node_exporter;
pub(crate) mod peers;
pub(crate) mod programs;
mod rules;
mod rules_fleet;
mod rules_prometheus;
mod rules_report;
mod scrape;
mod scrape_report;
pub(crate) mod sessions;
mod staging;

use std::env;
use std::fs;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use lab::command;
use lab::programs::repository;

use self::measuring::{Bench, Measurements};
use crate::interrupt::{self, Interrupted};
use crate::page;
use crate::paired::comparison::{self, Subject};
use crate::paired::rounds::Slices;
use crate::paired::subjects::{Block, Fork, Net, Sched};
use crate::paired::{growth, input, resolution, size, storm};

/// The page with the tables.
const PAGE: &str = "docs/measurements.md";

/// The options of `bench`.
#[derive(Args)]
pub(crate) struct Options {
    /// All of them but `resolution` and `rules`, unless one is named.
    #[command(subcommand)]
    benchmark: Option<Benchmark>,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Subcommand)]
enum Benchmark {
    /// What the agent adds to a context switch, beside an empty program and runqlat.
    Sched(Slices),
    /// What the agent takes of the CPU where there is much: threads, connections, moves, pairs.
    Growth(growth::Options),
    /// How large the kernel programs are: instructions, bytes of code, what the verifier walked.
    Size,
    /// Whether `sched` finds what is planted, and nothing where there is nothing.
    Resolution(resolution::Options),
    /// What it adds to sockets and to TCP over loopback, beside tcprtt, tcpconnlat and tcplife.
    Net(Slices),
    /// What measuring input adds to a message on a Unix socket, and takes of a busy desktop.
    Input(Slices),
    /// What it adds to reads and writes of a drive, beside biolatency.
    Block(Slices),
    /// What it adds to threads and processes that come and go, beside execsnoop and exitsnoop.
    Fork(Slices),
    /// Whether it loses a process when as many fail as the machine can make.
    Storm,
    /// What a scrape takes with 1, 50 and 250 sessions: time, bytes and series.
    Scrape,
    /// What the agent takes of memory with 1, 50 and 250 sessions.
    Memory,
    /// What the GPU sampler takes with 1 and 8 GPUs, and what it asks the driver, beside other exporters.
    Gpu,
    /// What the rules cost a Prometheus, of a fleet of 1,000 nodes; takes half an hour.
    Rules(rules::Options),
    /// All of them, but for `resolution` and `rules`.
    All,
}

/// What all benchmarks understand.
#[derive(Args)]
struct Common {
    /// Write the tables into docs/measurements.md.
    #[arg(long, global = true)]
    write_docs: bool,
    /// Only measure and print JSON; how the command continues as root.
    #[arg(long, global = true, hide = true)]
    raw: bool,
}

/// Runs `bench`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let common = &options.common;
    let benchmark = options.benchmark.clone().unwrap_or(Benchmark::All);
    let interrupted = interrupt::listen()?;
    let bench = Bench {
        interrupted: &interrupted,
    };
    if !matches!(benchmark, Benchmark::All) {
        return conduct(&benchmark, common, &bench);
    }
    let mut failed = 0;
    for benchmark in [
        Benchmark::Sched(Slices::default()),
        Benchmark::Size,
        Benchmark::Growth(growth::Options::default()),
        Benchmark::Net(Slices::default()),
        Benchmark::Input(Slices::default()),
        Benchmark::Block(Slices::default()),
        Benchmark::Fork(Slices::default()),
        Benchmark::Storm,
        Benchmark::Scrape,
        Benchmark::Memory,
        Benchmark::Gpu,
    ] {
        let Err(error) = conduct(&benchmark, common, &bench) else {
            continue;
        };
        // Ctrl-C reaches a process of root as well, whose error is not typed.
        if error.is::<Interrupted>() || interrupted.try_recv().is_ok() {
            return Err(error);
        }
        // The others may still be measured.
        eprintln!("error: {error:#}");
        failed += 1;
    }
    ensure!(failed == 0, "{failed} benchmarks could not be measured");
    Ok(())
}

fn conduct(benchmark: &Benchmark, common: &Common, bench: &Bench<'_>) -> Result<()> {
    match benchmark {
        Benchmark::Sched(options) => compare::<Sched>(options, common, bench),
        Benchmark::Net(options) => compare::<Net>(options, common, bench),
        Benchmark::Block(options) => compare::<Block>(options, common, bench),
        Benchmark::Fork(options) => compare::<Fork>(options, common, bench),
        Benchmark::Input(options) => {
            let measure = || input::measure(options, bench);
            take(common, &options.arguments(), measure)
        }
        Benchmark::Growth(options) => {
            let measure = || growth::measure(options, bench);
            take(common, &options.arguments(), measure)
        }
        Benchmark::Resolution(options) => {
            let measure = || resolution::measure(options, bench);
            take(common, &options.arguments(), measure)
        }
        Benchmark::Size => take(common, &[], size::measure),
        Benchmark::Storm => take(common, &[], || storm::measure(bench)),
        Benchmark::Scrape => take(common, &[], || scrape::measure(bench)),
        Benchmark::Memory => take(common, &[], || memory::measure(bench)),
        Benchmark::Gpu => take(common, &[], || gpu::measure(bench)),
        Benchmark::Rules(options) => {
            let measure = || rules::measure(options, bench);
            take(common, &options.arguments(), measure)
        }
        // `run` has dealt with it.
        Benchmark::All => Ok(()),
    }
}

fn compare<S: Subject>(options: &Slices, common: &Common, bench: &Bench<'_>) -> Result<()> {
    let measure = || comparison::measure::<S>(options, bench);
    take(common, &options.arguments(), measure)
}

/// Takes the measurements, here or in a process of root, and publishes them.
fn take<M: Measurements>(
    common: &Common,
    arguments: &[String],
    measure: impl FnOnce() -> Result<M>,
) -> Result<()> {
    if common.raw {
        println!("{}", serde_json::to_string(&measure()?)?);
        return Ok(());
    }
    eprintln!("bench {}", M::NAME);
    let measured = if command::is_root() {
        measure()
    } else {
        measure_as_root(arguments)
    };
    let measurements = measured.with_context(|| format!("cannot measure {}", M::NAME))?;
    publish(&measurements, common.write_docs)
}

fn measure_as_root<M: Measurements>(arguments: &[String]) -> Result<M> {
    let program = env::current_exe().context("cannot find this program's own file")?;
    let mut bench = command::as_root(program);
    bench
        .args(["bench", M::NAME, "--raw"])
        .args(arguments)
        .stderr(Stdio::inherit());
    let text = command::output(&mut bench)?;
    serde_json::from_str(&text).context("the measuring process printed something unexpected")
}

fn publish<M: Measurements>(measurements: &M, write_docs: bool) -> Result<()> {
    let markdown = measurements.markdown();
    println!("{markdown}");

    let folder = repository().join("target/bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let file = folder.join(format!("{}.json", M::NAME));
    let json = serde_json::json!({
        "measurements": measurements,
        "summary": measurements.summary(),
    });
    fs::write(&file, format!("{json:#}\n"))
        .with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("wrote {}", file.display());
    if write_docs {
        page::write(PAGE, &format!("bench:{}", M::NAME), &markdown)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_benchmark_that_a_document_names_exists() {
        for (page, text) in [
            ("SPECIFICATION.md", include_str!("../../SPECIFICATION.md")),
            ("CONTRIBUTING.md", include_str!("../../CONTRIBUTING.md")),
            ("docs/cost.md", include_str!("../../docs/cost.md")),
            (
                "docs/measurements.md",
                include_str!("../../docs/measurements.md"),
            ),
            ("docs/security.md", include_str!("../../docs/security.md")),
        ] {
            for rest in text.split("cargo xtask bench ").skip(1) {
                let name = rest.split([' ', '`', '\n']).next().unwrap_or_default();
                let is_one = name.starts_with('-') || Benchmark::has_subcommand(name);
                assert!(is_one, "{page} names the benchmark `{name}`");
            }
        }
    }
}
