//! `bench`: what the agent costs, measured on this machine; the tables of `docs/measurements.md`.
//!
//! Nothing here is a test, because a number from a busy machine must not fail a build. Expectations
//! are printed beside the numbers, met or not. Only measuring needs root: it happens in a process that
//! prints JSON, and whoever called makes tables and files of it, so that root owns nothing in the
//! checkout.

pub(crate) mod beside;
mod block;
mod compare;
mod comparison;
pub(crate) mod condition;
pub(crate) mod connections;
mod costs;
mod disk;
#[cfg(test)]
mod example;
pub(crate) mod exporters;
mod exposition;
mod fork;
mod gpu;
mod gpu_node;
mod gpu_report;
mod gpu_rhythms;
pub(crate) mod inside;
mod iperf;
mod load;
pub(crate) mod measuring;
mod memory;
mod memory_report;
mod net;
mod node_exporter;
pub(crate) mod peers;
mod program_tables;
pub(crate) mod programs;
mod scrape;
mod scrape_report;
pub(crate) mod sessions;
mod shells;
mod staging;
mod tables;

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
use crate::paired::rounds::Slices;
use crate::paired::{growth, hooks, resolution, size, switches};

/// The page with the tables.
const PAGE: &str = "docs/measurements.md";

/// The options of `bench`.
#[derive(Args)]
pub(crate) struct Options {
    /// All of them, unless one is named.
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
    /// What single programs take where the load is nothing but their hook: sockets, block I/O.
    Hooks(Slices),
    /// Whether `sched` finds what is planted, and nothing where there is nothing.
    Resolution(resolution::Options),
    /// What it adds to TCP over loopback, beside tcprtt, tcpconnlat and tcplife.
    Net,
    /// What it adds to reads and writes of a drive, beside biolatency.
    Block(block::Options),
    /// What it adds to fork, exec and exit, beside execsnoop and exitsnoop, and what it loses.
    Fork,
    /// What a scrape takes with 1, 50 and 250 sessions: time, bytes and series.
    Scrape,
    /// What the agent takes of memory with 1, 50 and 250 sessions.
    Memory,
    /// What the GPU sampler takes with 1 and 8 GPUs, and what it asks the driver, beside other exporters.
    Gpu,
    /// All of them.
    All,
}

/// What all benchmarks understand.
#[derive(Args)]
struct Common {
    /// Rounds of net, block and fork; in each, every condition is measured once, and nothing
    /// before and after it.
    #[arg(long, global = true, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Runs that a measurement repeats because others worked on the machine.
    #[arg(long, global = true, default_value_t = 10)]
    repetitions: u32,
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
        rounds: common.rounds,
        repetitions: common.repetitions,
        interrupted: &interrupted,
    };
    if !matches!(benchmark, Benchmark::All) {
        return conduct(&benchmark, common, &bench);
    }
    let mut failed = 0;
    for benchmark in [
        Benchmark::Sched(Slices::default()),
        Benchmark::Size,
        Benchmark::Hooks(Slices::default()),
        Benchmark::Growth(growth::Options::default()),
        Benchmark::Net,
        Benchmark::Block(block::Options::default()),
        Benchmark::Fork,
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
        Benchmark::Sched(options) => {
            let measure = || switches::measure(options, bench);
            take(common, &options.arguments(), measure)
        }
        Benchmark::Hooks(options) => {
            let measure = || hooks::measure(options, bench);
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
        Benchmark::Size => take(common, &[], || size::measure(bench)),
        Benchmark::Net => take(common, &[], || net::measure(bench)),
        Benchmark::Block(options) => {
            let measure = || block::measure(options, bench);
            take(common, &options.arguments(), measure)
        }
        Benchmark::Fork => take(common, &[], || fork::measure(bench)),
        Benchmark::Scrape => take(common, &[], || scrape::measure(bench)),
        Benchmark::Memory => take(common, &[], || memory::measure(bench)),
        Benchmark::Gpu => take(common, &[], || gpu::measure(bench)),
        // `run` has dealt with it.
        Benchmark::All => Ok(()),
    }
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
        measure_as_root(common, arguments)
    };
    let measurements = measured.with_context(|| format!("cannot measure {}", M::NAME))?;
    publish(&measurements, common.write_docs)
}

fn measure_as_root<M: Measurements>(common: &Common, arguments: &[String]) -> Result<M> {
    let program = env::current_exe().context("cannot find this program's own file")?;
    let mut bench = command::as_root(program);
    bench
        .args(["bench", M::NAME, "--raw"])
        .args(["--rounds", &common.rounds.to_string()])
        .args(["--repetitions", &common.repetitions.to_string()])
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
