//! What a guest's console says about the tests that ran there.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::list::Kernel;

/// The mark of the lines with which the guest's first process speaks to the host.
const MARK: &str = "@@ ";
/// The mark of the line in which the test `report` says what the agent has on this kernel.
const REPORT: &str = "KERNEL-REPORT ";

/// How the tests ended on one kernel; kept in `target/kernels/` for the page.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Its name in the list.
    pub(super) kernel: String,
    pub(super) architecture: String,
    pub(super) suite: String,
    /// `uname -r`.
    pub(super) release: String,
    pub(super) programs: Vec<TestProgram>,
    pub(super) report: Option<Report>,
    /// Events of the agent's log that its tests have seen.
    #[serde(default)]
    pub(super) events: BTreeSet<String>,
    /// Whether the guest came to its end.
    pub(super) done: bool,
    /// What was wrong with the guest itself.
    pub(super) broken: Vec<String>,
    /// Whether the lines are those that name failed tests.
    #[serde(skip)]
    naming_failures: bool,
}

/// A test program.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct TestProgram {
    pub(super) name: String,
    /// Absent until it has ended.
    pub(super) exit_code: Option<i32>,
    pub(super) passed: u64,
    pub(super) failed: Vec<String>,
}

/// What the test `report` found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Report {
    /// The state store that the agent chose by itself, first, and the others that work.
    pub(super) task_states: Vec<String>,
    pub(super) probes: Vec<Probe>,
    /// Metric families whose program does not run.
    pub(super) absent_families: Vec<String>,
}

/// A kernel program.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Probe {
    pub(super) name: String,
    /// Why it does not run.
    pub(super) reason: Option<String>,
}

impl Outcome {
    pub(super) fn of(kernel: &Kernel) -> Self {
        Self {
            kernel: kernel.name.to_owned(),
            architecture: kernel.architecture.name().to_owned(),
            suite: kernel.suite.to_owned(),
            ..Self::default()
        }
    }

    /// Adds what another guest with the same kernel has shown.
    pub(super) fn join(&mut self, other: Self) {
        self.programs.extend(other.programs);
        self.events.extend(other.events);
        self.done &= other.done;
        self.broken.extend(other.broken);
    }

    /// Takes a line of the console; says whether it is one to show.
    pub(super) fn line(&mut self, line: &str) -> bool {
        // With `--nocapture` a test's name and its own output can share a line.
        if let Some((_, report)) = line.split_once(REPORT) {
            match serde_json::from_str(report) {
                Ok(report) => self.report = Some(report),
                Err(error) => self
                    .broken
                    .push(format!("the report cannot be read: {error}")),
            }
            return false;
        }
        if let Some(words) = line.strip_prefix(MARK) {
            self.marked(words);
            return ["end ", "broken ", "said "]
                .iter()
                .any(|shown| words.starts_with(shown));
        }
        let Some(program) = self.programs.last_mut() else {
            return false;
        };
        if line == "failures:" {
            self.naming_failures = true;
        }
        if let Some(result) = line.strip_prefix("test result: ") {
            self.naming_failures = false;
            let count = |what: &str| {
                let mut parts = result.split([';', '.']).map(str::trim);
                parts
                    .find_map(|part| part.strip_suffix(what)?.trim().parse().ok())
                    .unwrap_or(0)
            };
            program.passed = count("passed");
            return program.passed > 0 || count("failed") > 0;
        }
        if self.naming_failures
            && let Some(name) = line.strip_prefix("    ")
            && !program.failed.iter().any(|failed| failed == name)
        {
            program.failed.push(name.to_owned());
        }
        line.contains("panicked at")
    }

    fn marked(&mut self, words: &str) {
        match words.split(' ').collect::<Vec<_>>()[..] {
            ["kernel", release] => release.clone_into(&mut self.release),
            ["begin", name] => self.programs.push(TestProgram {
                name: name.to_owned(),
                ..TestProgram::default()
            }),
            ["end", _, code] => {
                if let Some(program) = self.programs.last_mut() {
                    program.exit_code = code.parse().ok();
                }
            }
            ["event", name] => {
                self.events.insert(name.to_owned());
            }
            ["done"] => self.done = true,
            ["broken", ..] => self.broken.push(words.to_owned()),
            _ => {}
        }
    }

    /// Why the tests have not passed, a line each.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = self.broken.clone();
        if !self.done {
            faults.push("the guest ended before its tests did".to_owned());
        }
        for program in &self.programs {
            match program.exit_code {
                Some(0) => {}
                Some(code) => faults.push(format!(
                    "{} failed (exit code {code}): {}",
                    program.name,
                    program.failed.join(", ")
                )),
                None => faults.push(format!("{} has not ended", program.name)),
            }
        }
        faults
    }

    pub(super) fn passed(&self) -> u64 {
        self.programs.iter().map(|program| program.passed).sum()
    }

    pub(super) fn failed(&self) -> usize {
        self.programs
            .iter()
            .map(|program| program.failed.len())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome;

    fn read(console: &str) -> Outcome {
        let mut outcome = Outcome::default();
        for line in console.lines() {
            outcome.line(line);
        }
        outcome
    }

    #[test]
    fn a_whole_run_has_no_faults() {
        let outcome = read(
            "[0.1] noise\n@@ kernel 6.1.0\n@@ begin net\ntest a ... ok\n\
             test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; finished in 1.0s\n\
             @@ end net 0\n@@ event listening\n@@ event program_on\n@@ done\n",
        );
        assert_eq!(outcome.release, "6.1.0");
        assert!(outcome.events.iter().eq(["listening", "program_on"]));
        assert_eq!((outcome.passed(), outcome.failed()), (5, 0));
        assert!(outcome.faults().is_empty(), "{outcome:?}");
    }

    #[test]
    fn a_failed_test_is_named_and_counted_once() {
        let outcome = read(
            "@@ begin net\nfailures:\n    a::b\n\n\
             test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; finished in 1.0s\n\
             @@ end net 101\n@@ done\n",
        );
        assert_eq!(outcome.faults(), ["net failed (exit code 101): a::b"]);
        assert_eq!((outcome.passed(), outcome.failed()), (4, 1));
    }

    #[test]
    fn a_guest_that_stops_in_the_middle_is_a_fault() {
        let outcome = read("@@ begin net\n");
        assert_eq!(outcome.faults().len(), 2);
    }

    #[test]
    fn the_report_is_found_behind_a_tests_name() {
        let outcome = read(
            "test x ... KERNEL-REPORT {\"task_states\":[\"pid-array\"],\"probes\":\
             [{\"name\":\"census\",\"reason\":null}],\"absent_families\":[]}",
        );
        let report = outcome.report.unwrap();
        assert_eq!(report.probes[0].name, "census");
        assert!(outcome.broken.is_empty());
    }
}
