//! Everything that must hold before a merge, which is what CI runs.
//!
//! The steps run in the order in which they are cheap to fail, and each says how long it took, so
//! that a pipeline that grows slow shows where.

use std::time::Instant;

use anyhow::{Context, Result};
use lab::programs::{AGENT, developed};

use crate::workspace::Compiler;
use crate::{docs, kernels, lint, workspace};

/// What each step that runs something of the workspace's is compiled by: one build for all of them.
const COMPILER: Compiler = Compiler::Clippy;

type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 6] = [
    ("sources", lint::check_sources),
    ("clippy of the kernel programs", lint::check_kernel_programs),
    ("build and clippy", || {
        workspace::build(COMPILER).map(|_agent| ())
    }),
    ("docs --check", || docs::generate(true, &developed(AGENT))),
    ("test", || super::run_tests(None, COMPILER)),
    ("kernels", || kernels::run_for_ci(COMPILER)),
];

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
