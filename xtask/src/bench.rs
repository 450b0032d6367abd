//! `cargo xtask bench`: what the agent costs, measured on this machine; the tables of `docs/cost.md`.
//!
//! Nothing here is a test, because a number from a busy machine must not fail a build. Expectations
//! are printed beside the numbers, met or not. Only measuring needs root: it happens in a process that
//! prints JSON, and whoever called makes tables and files of it, so that root owns nothing in the
//! checkout.

mod conditions;
mod inside;
mod machine;
mod memory;
mod memory_report;
mod page;
mod pipe;
mod programs;
mod sched;
mod sched_report;
mod table;

use std::env;
use std::fs;
use std::process::Stdio;
use std::sync::mpsc::Receiver;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::setup::{self, Purpose};
use crate::{build_ebpf, command, interrupt};

/// The options of `bench`.
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// What the agent adds to a context switch, beside an empty program and runqlat.
    Sched {
        #[command(flatten)]
        sched: sched::Options,
        #[command(flatten)]
        output: Output,
    },
    /// What the agent takes of memory, and its scrapes of time, with 3 and with 250 sessions.
    Memory {
        #[command(flatten)]
        output: Output,
    },
    /// All of them.
    All {
        #[command(flatten)]
        sched: sched::Options,
        #[command(flatten)]
        output: Output,
    },
    /// How a benchmark enters its cgroup.
    #[command(hide = true)]
    Inside(inside::Options),
}

/// What happens with the measurements.
#[derive(Args)]
struct Output {
    /// Write the tables into docs/cost.md.
    #[arg(long)]
    write_docs: bool,
    /// Only measure, with what is built already, and print JSON; how the command continues as root.
    #[arg(long, hide = true)]
    raw: bool,
}

/// What a benchmark has measured.
trait Measurements: Serialize + DeserializeOwned {
    /// Name of the benchmark: of its subcommand, its file in `target/bench` and its section.
    const NAME: &'static str;

    /// The figures that follow from the measurements.
    fn summary(&self) -> serde_json::Value;

    /// The section of `docs/cost.md`.
    fn markdown(&self) -> String;
}

/// Runs `cargo xtask bench`.
pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.benchmark {
        Benchmark::Inside(options) => inside::run(options),
        Benchmark::Sched { sched, output } => {
            let interrupted = prepare(output)?;
            conduct_sched(sched, output, &interrupted)
        }
        Benchmark::Memory { output } => {
            let interrupted = prepare(output)?;
            conduct_memory(output, &interrupted)
        }
        Benchmark::All { sched, output } => {
            let interrupted = prepare(output)?;
            conduct_memory(output, &interrupted)?;
            conduct_sched(sched, output, &interrupted)
        }
    }
}

fn prepare(output: &Output) -> Result<Receiver<()>> {
    let interrupted = interrupt::listen()?;
    if !output.raw {
        setup::prepare(Purpose::Bench)?;
        build_ebpf::build()?;
        build_ebpf::build_floor()?;
        command::build_agent()?;
    }
    Ok(interrupted)
}

fn conduct_sched(
    options: &sched::Options,
    output: &Output,
    interrupted: &Receiver<()>,
) -> Result<()> {
    conduct(output, &options.arguments(), || {
        sched::measure(options, interrupted)
    })
}

fn conduct_memory(output: &Output, interrupted: &Receiver<()>) -> Result<()> {
    conduct(output, &[], || memory::measure(interrupted))
}

fn conduct<M: Measurements>(
    output: &Output,
    arguments: &[String],
    measure: impl FnOnce() -> Result<M>,
) -> Result<()> {
    if output.raw {
        println!("{}", serde_json::to_string(&measure()?)?);
        return Ok(());
    }
    let measurements = if command::is_root() {
        measure()?
    } else {
        measure_as_root(arguments)?
    };
    publish(&measurements, output.write_docs)
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

    let folder = command::repository().join("target/bench");
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
        page::write(M::NAME, &markdown)?;
        eprintln!("wrote {}", page::PATH);
    }
    Ok(())
}

/// The value that a quarter of the values are below.
fn lower_quartile(values: impl IntoIterator<Item = f64>) -> f64 {
    let sorted = sorted(values);
    sorted.get(sorted.len() / 4).copied().unwrap_or(f64::NAN)
}

/// The median, the robust choice where a neighbour on the machine spoils single measurements.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// `met` or `not met`, for lists of expectations.
fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**not met**" }
}

/// A whole number with its thousands apart: `1,000,000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{grouped, lower_quartile, median};

    #[test]
    fn the_median_is_the_middle_or_between_the_two() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median([]).is_nan());
    }

    #[test]
    fn a_quarter_is_below_the_lower_quartile() {
        let values = [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0];
        assert!((lower_quartile(values) - 3.0).abs() < f64::EPSILON);
        assert!((lower_quartile([1.0]) - 1.0).abs() < f64::EPSILON);
        assert!(lower_quartile([]).is_nan());
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(123_456), "123,456");
        assert_eq!(grouped(1_000_000), "1,000,000");
    }
}
