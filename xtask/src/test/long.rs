//! `cargo xtask test --long <name>`: what takes too long for every run.
//!
//! Each is a test that every run has in a short form, told by its environment to go on for longer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Report;
use super::program::{Call, Program};
use crate::kernels;

struct Long {
    name: &'static str,
    work: Work,
}

enum Work {
    /// A test program with a variable that makes it longer, and its limit.
    Program(&'static str, (&'static str, &'static str), Duration),
    /// The same of the agent's unit tests with this in their names.
    Units(&'static str, (&'static str, &'static str), Duration),
    Guests(fn() -> Result<()>),
}

/// The program with the agent's unit tests.
const UNITS: &str = "sessionscope.lib";

/// CONTRIBUTING.md says what each is.
const LONG: [Long; 8] = [
    Long {
        name: "on-call",
        work: Work::Program(
            "on_call",
            ("SESSIONSCOPE_TEST_ON_CALL", "whole"),
            Duration::from_mins(10),
        ),
    },
    Long {
        name: "churn",
        work: Work::Program(
            "gpu_churn",
            ("SESSIONSCOPE_TEST_CHURN_SECONDS", "70"),
            Duration::from_mins(5),
        ),
    },
    Long {
        name: "soak",
        work: Work::Program(
            "gpu_churn",
            ("SESSIONSCOPE_TEST_CHURN_SECONDS", "1800"),
            Duration::from_mins(40),
        ),
    },
    Long {
        name: "crowd",
        work: Work::Program(
            "crowd",
            ("SESSIONSCOPE_TEST_CROWD", "10000"),
            Duration::from_mins(30),
        ),
    },
    Long {
        name: "hostile",
        work: Work::Program(
            "hostile",
            ("SESSIONSCOPE_TEST_HOSTILE_SECONDS", "3600"),
            Duration::from_mins(65),
        ),
    },
    Long {
        name: "runtimes",
        work: Work::Program(
            "runtimes",
            ("SESSIONSCOPE_TEST_RUNTIMES", "20"),
            Duration::from_mins(20),
        ),
    },
    Long {
        name: "histories",
        work: Work::Units(
            "histories",
            ("PROPTEST_CASES", "100000"),
            Duration::from_mins(40),
        ),
    },
    Long {
        name: "pressure",
        work: Work::Guests(kernels::run_under_pressure),
    },
];

/// Runs one. `prepare` builds everything and returns the agent's path and the test programs.
pub(super) fn run(
    name: &str,
    prepare: impl FnOnce() -> Result<(std::path::PathBuf, Vec<Program>)>,
) -> Result<()> {
    let names: Vec<_> = LONG.iter().map(|long| long.name).collect();
    let long = LONG.iter().find(|long| long.name == name);
    let long = long.with_context(|| {
        format!(
            "no long test is called {name}; there are {}",
            names.join(", ")
        )
    })?;
    let (program, filter, variable, limit) = match long.work {
        Work::Guests(run) => return run(),
        Work::Program(program, variable, limit) => (program, None, variable, limit),
        Work::Units(filter, variable, limit) => (UNITS, Some(filter), variable, limit),
    };
    let (agent, mut programs) = prepare()?;
    programs.retain(|one| one.name == program);
    ensure!(
        programs.len() == 1,
        "cargo has not built the tests {program}"
    );
    let call = Call {
        agent: &agent,
        filter,
        environment: &[variable],
        limit,
    };
    Report::of(programs, &call)?.check()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{LONG, Work};
    use crate::command;

    #[test]
    fn every_long_test_is_explained_and_read_by_its_program() {
        let read = |file: &str| fs::read_to_string(command::repository().join(file)).unwrap();
        let contributing = read("CONTRIBUTING.md");
        for long in &LONG {
            let name = format!("| `{}` |", long.name);
            assert!(contributing.contains(&name), "{name} is not explained");
            if let Work::Program(program, (variable, _), _) = long.work {
                let source = read(&format!("tests/tests/{program}.rs"));
                assert!(source.contains(variable), "{program} ignores {variable}");
            }
        }
    }
}
