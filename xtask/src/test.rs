//! `cargo xtask test`: all tests, and before them the checks that need no running kernel.
//!
//! Unit tests run as whoever calls. Integration tests load programs into the running kernel, so
//! they need root. Which of them run beside each other is in [`lanes`].

mod all;
mod ending;
mod events;
mod lanes;
mod long;
mod program;
mod report;
mod skips;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{ArgGroup, Args};

pub(crate) use self::events::VARIABLE as EVENTS_SEEN;
use self::program::{Call, Program};
use self::report::Report;
use crate::setup::{self, Purpose};
use crate::workspace::{self, Compiler};
use crate::{gpu, kernels};

/// The options of `test`.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
#[command(group = ArgGroup::new("page").args(["kernels", "gpu"]))]
pub(crate) struct Options {
    /// Run only the tests whose name contains this, and no lint.
    filter: Option<String>,
    /// Run the tests alone, without `lint`, `docs --check` and the kernels.
    #[arg(long)]
    no_lint: bool,
    /// Run this long test, which is no part of all tests, and nothing else.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["kernels", "gpu", "filter", "no_lint"])]
    long: Option<String>,
    /// Run the integration tests on every kernel of the list, booted in QEMU, and nothing else.
    #[arg(long)]
    kernels: bool,
    /// Compare the agent with nvidia-smi on this machine's NVIDIA GPU, and do nothing else.
    #[arg(long, conflicts_with_all = ["kernels", "filter", "no_lint"])]
    gpu: bool,
    /// Write docs/kernels.md, or docs/gpu.md, from what the run showed; of kernels that were not chosen,
    /// from their last run.
    #[arg(long, requires = "page")]
    write_docs: bool,
    #[command(flatten)]
    matrix: kernels::MatrixOptions,
    #[command(flatten)]
    comparison: gpu::GpuOptions,
}

/// Runs `cargo xtask test`.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.kernels {
        return kernels::run(
            &options.matrix,
            options.filter.as_deref(),
            options.write_docs,
        );
    }
    if options.gpu {
        return gpu::run(&options.comparison, options.write_docs);
    }
    if let Some(name) = &options.long {
        return long::run(name, || prepare(Compiler::Plain));
    }
    if options.no_lint || options.filter.is_some() {
        return run_tests(options.filter.as_deref(), Compiler::Plain);
    }
    all::run()
}

/// Builds everything and runs the tests; all of them run even when some fail.
fn run_tests(filter: Option<&str>, compiler: Compiler) -> Result<()> {
    let (agent, programs) = prepare(compiler)?;
    let seen = events::begin()?;
    let seen_text = seen.display().to_string();
    let call = Call {
        agent: &agent,
        filter,
        environment: &[(EVENTS_SEEN, &seen_text)],
        limit: program::LIMIT,
    };
    Report::of(programs, &call)?.check()?;
    if filter.is_none() {
        events::check()?;
    }
    Ok(())
}

/// Builds everything; returns the agent's path and the test programs.
fn prepare(compiler: Compiler) -> Result<(PathBuf, Vec<Program>)> {
    setup::prepare(Purpose::Test)?;
    let agent = workspace::build(compiler)?;
    let executables = workspace::executables(compiler)?;
    let programs: Vec<_> = executables.into_iter().filter_map(Program::of).collect();
    ensure!(!programs.is_empty(), "cargo has built no test program");
    Ok((agent, programs))
}
