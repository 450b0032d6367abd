//! Everything that must hold before a merge, which is what CI runs.
//!
//! The steps run in the order in which they are cheap to fail, and each says how long it took, so
//! that a pipeline that grows slow shows where.

use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use lab::programs::{AGENT, developed};

use super::events;
use crate::setup::{self, Purpose};
use crate::workspace::Compiler;
use crate::{docs, kernels, lint, workspace};

/// What each step that runs something of the workspace's is compiled by: one build for all of them.
const COMPILER: Compiler = Compiler::Clippy;

type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 5] = [
    ("sources", lint::check_sources),
    ("build and clippy", build),
    ("docs --check", || docs::generate(true, &developed(AGENT))),
    ("test", || super::run_tests(None, COMPILER)),
    ("kernels", || {
        events::check_guests(&kernels::run_for_ci(COMPILER)?)
    }),
];

/// Builds everything, and beside it has the kernel programs checked, which another compiler does in another folder.
fn build() -> Result<()> {
    setup::prepare(Purpose::Test)?;
    thread::scope(|scope| {
        let kernel_programs = scope.spawn(|| {
            let checked = lint::check_kernel_programs().context("clippy of the kernel programs");
            checked.inspect_err(|error| eprintln!("{error:#}"))
        });
        let built = workspace::build(COMPILER);
        let checked = kernel_programs
            .join()
            .map_err(|_| anyhow!("the check of the kernel programs has ended in the middle"))?;
        checked.and(built).map(|_agent| ())
    })
}

/// Runs every step.
pub(super) fn run() -> Result<()> {
    let mut times = Vec::new();
    for (name, step) in STEPS {
        eprintln!("==> {name}");
        let begin = Instant::now();
        step().with_context(|| format!("step `{name}` failed"))?;
        times.push(format!("{name} {:.1} s", begin.elapsed().as_secs_f64()));
    }
    println!("all steps passed: {}", times.join(", "));
    Ok(())
}
