//! `cargo xtask test`: all tests, and before them the checks that need no running kernel.
//!
//! Unit tests run as whoever calls. Integration tests load programs into the running kernel, so
//! they need root and run one after the other: each counts events of the whole machine.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Args};

use crate::setup::{self, Purpose};
use crate::workspace::{self, Compiler};
use crate::{ci, command, gpu, kernels};

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
    if options.no_lint || options.filter.is_some() {
        return run_tests(options.filter.as_deref(), Compiler::Plain);
    }
    ci::run(&ci::Options {})
}

/// Builds everything and runs the tests; all of them run even when some fail.
pub(crate) fn run_tests(filter: Option<&str>, compiler: Compiler) -> Result<()> {
    setup::prepare(Purpose::Test)?;
    let agent = workspace::build(compiler)?;

    let mut results = Vec::new();
    let mut unit = workspace::cargo("test", compiler)?;
    unit.args(["--lib", "--bins", "--no-fail-fast"])
        .args(filter);
    let unit_passed = run_and_collect(&mut unit, &mut results)?;

    let mut integration = workspace::cargo("test", compiler)?;
    integration.args(["--test", "*", "--no-fail-fast"]);
    if !command::is_root() {
        // cargo itself stays the caller's, so that root owns nothing in target/.
        let runner = r#"target."cfg(all())".runner=["sudo", "--preserve-env"]"#;
        integration.args(["--config", runner]);
    }
    integration
        .args(filter)
        .args(["--", "--test-threads=1"])
        .env("SESSIONSCOPE_BIN", agent);
    let integration_passed = run_and_collect(&mut integration, &mut results)?;

    println!("\nresults of all test programs:");
    for result in results {
        println!("  {result}");
    }
    if !(unit_passed && integration_passed) {
        bail!("some tests failed: their output is above, under `failures:`");
    }
    Ok(())
}

/// Runs `cargo test`, shows what it prints and keeps the summary line of each test program that
/// had tests to run.
fn run_and_collect(cargo: &mut Command, results: &mut Vec<String>) -> Result<bool> {
    let mut child = cargo
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| command::cannot_start(cargo))?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.context("cannot read what the tests print")?;
            println!("{line}");
            if is_summary(&line) {
                results.push(line);
            }
        }
    }
    Ok(child
        .wait()
        .context("cannot wait for `cargo test`")?
        .success())
}

fn is_summary(line: &str) -> bool {
    line.starts_with("test result: ") && !line.contains(" 0 passed; 0 failed; 0 ignored;")
}

#[cfg(test)]
mod tests {
    use super::is_summary;

    #[test]
    fn summaries_of_programs_without_tests_are_left_out() {
        assert!(is_summary(
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured;"
        ));
        assert!(is_summary(
            "test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured;"
        ));
        assert!(!is_summary(
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured;"
        ));
        assert!(!is_summary("test histogram::buckets ... ok"));
    }
}
