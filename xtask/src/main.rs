//! The project's own commands, `cargo xtask <command>`.
//!
//! They are a Rust program because a fresh checkout has nothing but cargo: the same commands then
//! serve contributors, continuous integration and the documentation. Each command is one file.

mod bench;
mod build_ebpf;
mod command;
mod dashboards;
mod docs;
mod generated;
mod gpu;
mod kernels;
mod lint;
mod manifests;
mod mutants;
mod package;
mod python;
mod release;
mod rules;
mod run;
mod setup;
mod test;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Install what building, testing and benchmarking need.
    Setup(setup::Options),
    /// Build the kernel programs into target/bpf.
    BuildEbpf(build_ebpf::Options),
    /// Build the agent and run it as root: `cargo xtask run -- <agent arguments>`.
    Run(run::Options),
    /// Check the code and the documentation, then run all tests.
    Test(Box<test::Options>),
    /// Check formatting, clippy's findings, the layers, dependencies and their licences, and that dashboards and
    /// manifests are up to date.
    Lint(lint::Options),
    /// Write the generated pages of docs/, or compare them with --check.
    Docs(docs::Options),
    /// Write the Grafana dashboards of dashboards/, or compare them with --check.
    Dashboards(dashboards::Options),
    /// Write the alerts of rules/ and what pages say of them, or compare them with --check.
    Rules(rules::Options),
    /// Write what of deploy/kubernetes/ and deploy/chart/ is generated, or compare it with --check.
    Manifests(manifests::Options),
    /// Make the Debian package of the agent, for glibc 2.28 and later, and the bill of what is in it.
    Package(package::Options),
    /// Put together what a release consists of, below target/; nothing is published.
    Release(release::Options),
    /// Run the agent beside three small workloads and show what it sees.
    #[command(disable_help_flag = true)]
    Demo(bench::Options),
    /// Measure what the agent costs; the tables of docs/measurements.md.
    #[command(disable_help_flag = true)]
    Bench(bench::Options),
    /// Change the code that computes, and see whether the unit tests notice.
    Mutants(mutants::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Setup(options) => setup::run(&options),
        Command::BuildEbpf(options) => build_ebpf::run(&options),
        Command::Run(options) => run::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Lint(options) => lint::run(&options),
        Command::Docs(options) => docs::run(&options),
        Command::Dashboards(options) => dashboards::run(&options),
        Command::Rules(options) => rules::run(&options),
        Command::Manifests(options) => manifests::run(&options),
        Command::Package(options) => package::run(&options),
        Command::Release(options) => release::run(&options),
        Command::Demo(options) => bench::demo(&options),
        Command::Bench(options) => bench::bench(&options),
        Command::Mutants(options) => mutants::run(&options),
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
