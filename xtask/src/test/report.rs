//! What test programs have said, together.

use std::env;

use anyhow::{Result, ensure};

use super::program::{self, Call, Ended, Program};
use super::{lanes, skips};

/// How all of them have ended.
pub(super) struct Report {
    ended: Vec<Ended>,
}

impl Report {
    /// Runs them and prints how each has ended.
    pub(super) fn of(programs: Vec<Program>, call: &Call<'_>) -> Result<Self> {
        let ended = lanes::run(programs, call)?;
        println!("\nresults of all test programs:");
        for program in &ended {
            if let Some(summary) = program.summary() {
                println!("  {:<24} {summary}", program.name);
            }
        }
        let skips: usize = ended.iter().map(|program| program.skips().count()).sum();
        if skips > 0 {
            println!("{skips} tests were skipped: their output says why");
        }
        Ok(Self { ended })
    }

    /// Fails unless all have passed and, in CI, none was skipped that must run there.
    pub(super) fn check(&self) -> Result<()> {
        let faults: Vec<_> = self.ended.iter().filter_map(Ended::fault).collect();
        ensure!(
            faults.is_empty(),
            "tests failed: {}; their output is above, under `failures:`, and in {}",
            faults.join(", "),
            program::output_folder()?.display()
        );
        if env::var_os("CI").is_some_and(|ci| ci == "true") {
            skips::check(&self.ended)?;
        }
        Ok(())
    }
}
