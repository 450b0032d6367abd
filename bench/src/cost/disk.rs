//! A load of `bench block`: `fio` on a file, past the page cache, inside a session.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use anyhow::{Context, Result};
use lab::command;
use serde_json::Value;

use super::inside::{Place, Printing};
use super::load::{Description, Load, Run, Unit};

/// What the design promises: throughput with the agent over throughput without.
const LEAST: f64 = 0.97;
/// Small enough to be written in a moment, large enough that no drive has it in one place.
const SIZE: &str = "--size=256M";
const SECONDS: &str = "--runtime=1";

/// The file; dropping it removes it.
pub(super) struct File(PathBuf);

impl File {
    /// In this folder, which must be on a drive.
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self(folder.join("bench-block.tmp"))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // There is none if nothing has been written yet.
        if self.0.exists()
            && let Err(error) = fs::remove_file(&self.0)
        {
            eprintln!("warning: cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Random reads or writes of 4 KiB, so many at once.
pub(super) struct Disk<'a> {
    pub(super) file: &'a File,
    pub(super) cgroup: PathBuf,
    pub(super) cpu: usize,
    pub(super) access: Access,
    pub(super) depth: u32,
}

/// What is done with the file.
#[derive(Clone, Copy)]
pub(super) enum Access {
    Read,
    Write,
}

impl Access {
    /// As fio and its report name it.
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

impl Disk<'_> {
    fn arguments(&self) -> Vec<String> {
        let constant = [
            "--name=bench",
            SIZE,
            SECONDS,
            "--time_based",
            "--bs=4k",
            "--direct=1",
            "--ioengine=libaio",
            "--output-format=json",
        ];
        let mut arguments: Vec<String> = constant.map(str::to_owned).into();
        arguments.extend([
            format!("--rw=rand{}", self.access.name()),
            format!("--iodepth={}", self.depth),
            format!("--filename={}", self.file.0.display()),
        ]);
        arguments
    }
}

impl Load for Disk<'_> {
    fn description(&self) -> Description {
        Description {
            label: format!(
                "`fio`, random {}s of 4 KiB with O_DIRECT, {} at once",
                self.access.name(),
                self.depth
            ),
            operation: self.access.name().into(),
            unit: Unit::OperationsPerSecond,
            promise: Some(LEAST),
        }
    }

    fn runs(&self) -> usize {
        2
    }

    fn run(&self, interrupted: &Receiver<()>) -> Result<Run> {
        let fio = command::find_program("fio").context("there is no program `fio`")?;
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let place = Place::new(&self.cgroup, self.cpu);
        let output = Printing::start(place, &fio, &arguments)?.finish(interrupted)?;
        let report = report(&output).context("the report of fio is not JSON")?;
        done(&report, self.access).context("the report of fio does not say what was done")
    }

    fn counted(&self) -> Option<(&'static str, f64)> {
        // Where the drive's cgroups are of version 1, not every request has a session.
        None
    }
}

/// fio may say something before its report.
fn report(output: &str) -> Result<Value> {
    let begin = output.find('{').context("there is no report")?;
    Ok(serde_json::from_str(&output[begin..])?)
}

fn done(report: &Value, access: Access) -> Option<Run> {
    let done = &report["jobs"][0][access.name()];
    Some(Run {
        operations: done["total_ios"].as_u64().filter(|count| *count > 0)?,
        seconds: done["runtime"].as_f64()? / 1000.0,
    })
}

#[cfg(test)]
mod tests {
    use super::{Access, done, report};

    #[test]
    fn the_report_follows_what_fio_notes() {
        let output = "note: something\n{\"jobs\": [{\"read\": {\"total_ios\": 500, \
                      \"runtime\": 2001}, \"write\": {\"total_ios\": 0, \"runtime\": 0}}]}";
        let report = report(output).unwrap();
        let run = done(&report, Access::Read).unwrap();
        assert_eq!(run.operations, 500);
        assert!((run.seconds - 2.001).abs() < f64::EPSILON);
        assert!(done(&report, Access::Write).is_none());
    }
}
