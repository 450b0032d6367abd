//! What runs the agent beside loads: the benchmarks, the demo and the comparison on a GPU.
//!
//! `cargo xtask` builds what they need, then starts this program with the words that it was given itself.

mod agent;
mod cost;
mod demo;
#[cfg(test)]
mod example;
mod gpu;
mod interrupt;
mod machine;
mod numbers;
mod page;
mod paired;
mod steps;
mod table;
mod waiting;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cost::{exporters, inside};
use crate::paired::{exchange, still};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about,
    arg_required_else_help = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent beside three small workloads and show what it sees.
    Demo(demo::Options),
    /// Measure what the agent costs; the tables of docs/measurements.md.
    Bench(cost::Options),
    /// Compare the agent with nvidia-smi on this machine's NVIDIA GPU.
    Test(gpu::Options),
    /// How a benchmark enters its cgroup.
    #[command(hide = true)]
    Inside(inside::Options),
    /// What the benchmarks' loads do as long as they are told.
    #[command(hide = true)]
    Exchange(exchange::Options),
    /// Threads and connections that do nothing, for `bench growth`.
    #[command(hide = true)]
    Still(still::Options),
    /// What another exporter asks the driver, for `bench gpu`.
    #[command(hide = true)]
    Exporter(exporters::Options),
    /// What the demo and the benchmarks run inside their cgroups.
    #[command(hide = true)]
    Workload(workload::Options),
    /// What `test --gpu` runs inside its cgroups.
    #[command(hide = true)]
    GpuLoad(gpu::load::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Bench(options) => cost::run(&options),
        Command::Test(options) => gpu::run(&options),
        Command::Inside(options) => inside::run(&options),
        Command::Exchange(options) => exchange::run(&options),
        Command::Still(options) => still::run(&options),
        Command::Exporter(options) => exporters::run(&options),
        Command::Workload(options) => workload::run(&options),
        Command::GpuLoad(options) => gpu::load::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
