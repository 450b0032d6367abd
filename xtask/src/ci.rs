//! `cargo xtask ci`: everything that must hold before a merge.
//!
//! The steps run in the order in which they are cheap to fail, and each says how long it took, so
//! that a pipeline that grows slow shows where.

use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;

use crate::{docs, kernels, lint, test};

/// The options of `ci`.
#[derive(Args)]
pub(crate) struct Options {}

type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 4] = [
    ("lint", lint::check),
    ("docs --check", || docs::generate(true)),
    ("test", || test::run_tests(None)),
    ("kernels", kernels::run_for_ci),
];

/// Runs `cargo xtask ci`.
pub(crate) fn run(_options: &Options) -> Result<()> {
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
