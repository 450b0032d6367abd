//! One test program: what it is called, and a run of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::ending;
use crate::command;
use crate::workspace::Executable;

/// No program of `cargo xtask test` may take longer; the longest takes two minutes.
pub(super) const LIMIT: Duration = Duration::from_mins(10);
/// How often it is looked whether one has ended.
const POLL: Duration = Duration::from_millis(20);
/// The package whose programs are known by their name alone.
const INTEGRATION: &str = "integration-tests";

/// A program of tests that has been built.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) name: String,
    /// Whether it is one of a package's folder `tests`, which loads programs into the kernel and so runs as
    /// root with one test at a time; else it has the unit tests of a library or a program.
    pub(super) is_integration: bool,
    path: PathBuf,
    folder: PathBuf,
}

/// How programs are called.
pub(super) struct Call<'a> {
    pub(super) agent: &'a Path,
    /// Only tests whose name contains this.
    pub(super) filter: Option<&'a str>,
    pub(super) environment: &'a [(&'a str, &'a str)],
    pub(super) limit: Duration,
}

/// How a run has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) name: String,
    /// All that it has printed.
    pub(super) output: String,
    pub(super) took: Duration,
    /// Absent where it was over the limit and has been killed.
    pub(super) status: Option<ExitStatus>,
}

impl Program {
    /// What is to run of what cargo has built.
    pub(super) fn of(executable: Executable) -> Option<Self> {
        let Executable {
            name,
            path,
            is_test,
            kind,
            package,
            folder,
        } = executable;
        let name = match kind.as_str() {
            "test" if package == INTEGRATION => name,
            "test" => format!("{package}.{name}"),
            "bin" => format!("{name}.bin"),
            "lib" | "rlib" | "cdylib" | "proc-macro" => format!("{name}.lib"),
            _ => return None,
        };
        is_test.then_some(Self {
            name,
            is_integration: kind == "test",
            path,
            folder,
        })
    }

    /// Runs it to its end, or to the limit. What it prints goes to a file, so that those that run beside it
    /// can be told apart, and so that it can be read when somebody has interrupted all of them.
    pub(super) fn run(&self, call: &Call<'_>) -> Result<Ended> {
        let file = output_folder()?.join(format!("{}.log", self.name));
        let log =
            File::create(&file).with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = self.command(call);
        command
            .stdin(Stdio::null())
            .stderr(log.try_clone().context("cannot share a file")?)
            .stdout(log);
        let began = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| command::cannot_start(&command))?;
        let status = wait(&mut child, began, call.limit)?;
        let output = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Ended {
            name: self.name.clone(),
            output: String::from_utf8_lossy(&output).into_owned(),
            took: began.elapsed(),
            status,
        })
    }

    fn command(&self, call: &Call<'_>) -> Command {
        let mut command = if self.is_integration {
            command::as_root(&self.path)
        } else {
            Command::new(&self.path)
        };
        if self.is_integration {
            // A test puts its whole process into a session, or looks at what all of the agent does.
            command.arg("--test-threads=1");
        }
        command
            .args(call.filter)
            .current_dir(&self.folder)
            .env("SESSIONSCOPE_BIN", call.agent)
            .envs(call.environment.iter().copied());
        command
    }
}

fn wait(child: &mut Child, began: Instant, limit: Duration) -> Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for a test program")? {
            return Ok(Some(status));
        }
        if began.elapsed() >= limit {
            ending::kill_with_descendants(child.id())?;
            child.wait().context("cannot wait for a test program")?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

/// Where the output of the last run of each program is.
pub(super) fn output_folder() -> Result<PathBuf> {
    let folder = command::repository().join("target/tests");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

impl Ended {
    /// What is wrong, if something is.
    pub(super) fn fault(&self) -> Option<String> {
        match self.status {
            Some(status) if status.success() => None,
            Some(status) => Some(format!("{} ({status})", self.name)),
            None => Some(format!("{} (killed after {:.0?})", self.name, self.took)),
        }
    }

    /// The line with which the program sums up, if it has run any test.
    pub(super) fn summary(&self) -> Option<&str> {
        self.output.lines().find(|line| is_summary(line))
    }

    /// What it says of tests that it has skipped. The test's name may stand before it on the line.
    pub(super) fn skips(&self) -> impl Iterator<Item = &str> {
        let lines = self.output.lines();
        lines.filter_map(|line| line.split_once("skipped: ").map(|(_, reason)| reason))
    }
}

fn is_summary(line: &str) -> bool {
    line.starts_with("test result: ") && !line.contains(" 0 passed; 0 failed; 0 ignored;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(output: &str) -> Ended {
        Ended {
            name: "net".to_owned(),
            output: output.to_owned(),
            took: LIMIT,
            status: None,
        }
    }

    #[test]
    fn a_program_without_tests_has_no_summary() {
        let ran =
            ended("test a ... ok\ntest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured;");
        assert!(ran.summary().is_some_and(|line| line.contains("3 passed")));
        let failed = ended("test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured;");
        assert!(failed.summary().is_some());
        let empty = ended("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured;");
        assert!(empty.summary().is_none());
    }

    #[test]
    fn a_skip_is_found_behind_a_tests_name() {
        let ran = ended("test a ... skipped: no veth\nok\nskipped: not root\ntest b ... ok");
        assert_eq!(ran.skips().collect::<Vec<_>>(), ["no veth", "not root"]);
    }

    #[test]
    fn a_program_over_its_limit_is_named() {
        assert_eq!(ended("").fault().unwrap(), "net (killed after 600s)");
    }

    #[test]
    fn programs_are_named_by_their_package_and_kind() {
        let name = |kind: &str, package: &str, is_test| {
            let program = Program::of(Executable {
                name: "sessions".to_owned(),
                path: PathBuf::new(),
                is_test,
                kind: kind.to_owned(),
                package: package.to_owned(),
                folder: PathBuf::new(),
            });
            program.map(|program| (program.name, program.is_integration))
        };
        let some = |name: &str, is_integration| Some((name.to_owned(), is_integration));
        assert_eq!(name("test", INTEGRATION, true), some("sessions", true));
        let other = name("test", "nvml-scenario", true);
        assert_eq!(other, some("nvml-scenario.sessions", true));
        assert_eq!(name("lib", "any", true), some("sessions.lib", false));
        assert_eq!(name("bin", "any", true), some("sessions.bin", false));
        assert_eq!(name("bin", "any", false), None);
        assert_eq!(name("example", "any", true), None);
    }

    #[test]
    fn a_program_over_the_limit_is_ended_with_its_children() {
        let mut sh = Command::new("sh");
        sh.args(["-c", "sleep 1000 & wait"]).stdin(Stdio::null());
        let mut child = sh.spawn().unwrap();
        let status = wait(&mut child, Instant::now(), Duration::from_millis(200)).unwrap();
        assert!(status.is_none());
        assert_eq!(ending::descendants(child.id()).unwrap(), [child.id()]);
    }
}
