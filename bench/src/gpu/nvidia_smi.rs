//! What `nvidia-smi` says, which the agent is compared with.
//!
//! It reads the same library as the agent but is NVIDIA's own reading of it. Its tables are parsed by
//! their headings, because drivers of different age order columns differently.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use lab::command;

/// Columns of `--query-gpu`, in the order in which [`devices`] reads them.
const DEVICE_COLUMNS: &str =
    "index,uuid,name,driver_version,utilization.gpu,memory.used,memory.total";
const PROCESS_COLUMNS: &str = "gpu_uuid,pid,used_memory";

/// A GPU.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Device {
    pub(super) index: u32,
    pub(super) uuid: String,
    pub(super) name: String,
    pub(super) driver: String,
    /// Share of the time in which a kernel ran, 0 to 1.
    pub(super) utilization: Option<f64>,
    /// In bytes, rounded to MiB.
    pub(super) memory_used: Option<f64>,
    pub(super) memory_total: Option<f64>,
}

/// A process with a context on a GPU.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProcessMemory {
    pub(super) uuid: String,
    pub(super) pid: u32,
    /// In bytes, rounded to MiB.
    pub(super) memory: Option<f64>,
}

/// A process and what it made of a GPU lately.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProcessUtilization {
    pub(super) gpu: u32,
    pub(super) pid: u32,
    /// Share of the time in which its kernels ran, 0 to 1.
    pub(super) sm: Option<f64>,
}

/// The program.
#[derive(Clone)]
pub(super) struct NvidiaSmi {
    program: PathBuf,
}

impl NvidiaSmi {
    /// The program of this path.
    pub(super) fn at(program: &Path) -> Self {
        Self {
            program: program.to_owned(),
        }
    }

    /// All GPUs.
    pub(super) fn devices(&self) -> Result<Vec<Device>> {
        devices(&self.query(&format!("--query-gpu={DEVICE_COLUMNS}"))?)
    }

    /// The processes with a context, on all GPUs.
    pub(super) fn process_memory(&self) -> Result<Vec<ProcessMemory>> {
        process_memory(&self.query(&format!("--query-compute-apps={PROCESS_COLUMNS}"))?)
    }

    /// The processes and their utilisation, on all GPUs.
    pub(super) fn process_utilization(&self) -> Result<Vec<ProcessUtilization>> {
        let mut pmon = Command::new(&self.program);
        pmon.args(["pmon", "-c", "1", "-s", "um"]);
        process_utilization(&command::output(&mut pmon)?)
    }

    fn query(&self, query: &str) -> Result<String> {
        let mut program = Command::new(&self.program);
        program.args([query, "--format=csv,noheader,nounits"]);
        command::output(&mut program)
    }
}

fn devices(text: &str) -> Result<Vec<Device>> {
    let rows = rows(text).map(|cells| {
        let [index, uuid, name, driver, utilization, used, total] = columns(&cells)?;
        Ok(Device {
            index: integer(index)?,
            uuid: uuid.to_owned(),
            name: name.to_owned(),
            driver: driver.to_owned(),
            utilization: number(utilization)?.map(|percent| percent / 100.0),
            memory_used: number(used)?.map(mebibytes),
            memory_total: number(total)?.map(mebibytes),
        })
    });
    rows.collect::<Result<_>>()
        .context("cannot read what `nvidia-smi --query-gpu` prints")
}

fn process_memory(text: &str) -> Result<Vec<ProcessMemory>> {
    let rows = rows(text).map(|cells| {
        let [uuid, pid, memory] = columns(&cells)?;
        Ok(ProcessMemory {
            uuid: uuid.to_owned(),
            pid: integer(pid)?,
            memory: number(memory)?.map(mebibytes),
        })
    });
    rows.collect::<Result<_>>()
        .context("cannot read what `nvidia-smi --query-compute-apps` prints")
}

fn process_utilization(text: &str) -> Result<Vec<ProcessUtilization>> {
    let parse = || {
        let headings = text
            .lines()
            .find_map(|line| line.strip_prefix('#'))
            .context("it has no headings")?;
        let headings: Vec<_> = headings.split_whitespace().collect();
        let position = |name: &str| {
            let found = headings.iter().position(|heading| *heading == name);
            found.with_context(|| format!("it has no column {name}"))
        };
        let (gpu, pid, sm) = (position("gpu")?, position("pid")?, position("sm")?);
        let mut processes = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            // The command, which may contain blanks, is the last column.
            let cells: Vec<_> = line.split_whitespace().collect();
            let cell = |position: usize| {
                let cell = cells.get(position).copied();
                cell.with_context(|| format!("a line has too few columns: {line:?}"))
            };
            // A GPU without processes has a line of dashes.
            if cells.is_empty() || cell(pid)? == "-" {
                continue;
            }
            processes.push(ProcessUtilization {
                gpu: integer(cell(gpu)?)?,
                pid: integer(cell(pid)?)?,
                sm: number(cell(sm)?)?.map(|percent| percent / 100.0),
            });
        }
        Ok(processes)
    };
    let processes: Result<_> = parse();
    processes.context("cannot read what `nvidia-smi pmon` prints")
}

fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| line.split(',').map(str::trim).collect())
}

fn columns<'a, const COUNT: usize>(cells: &[&'a str]) -> Result<[&'a str; COUNT]> {
    <[&str; COUNT]>::try_from(cells.to_vec())
        .ok()
        .with_context(|| format!("a line has not {COUNT} columns: {:?}", cells.join(", ")))
}

fn integer(cell: &str) -> Result<u32> {
    cell.parse()
        .with_context(|| format!("{cell:?} is no whole number"))
}

/// A number, or `None` where it says that there is none.
fn number(cell: &str) -> Result<Option<f64>> {
    const NONE: [&str; 5] = [
        "-",
        "N/A",
        "Not Supported",
        "Insufficient Permissions",
        "Unknown Error",
    ];
    let plain = cell.trim_matches(['[', ']']);
    if NONE.contains(&plain) {
        return Ok(None);
    }
    match plain.parse::<f64>() {
        Ok(number) => {
            ensure!(number.is_finite(), "{cell:?} is no number");
            Ok(Some(number))
        }
        Err(_) => bail!("{cell:?} is no number"),
    }
}

fn mebibytes(number: f64) -> f64 {
    number * f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::{devices, number, process_memory, process_utilization};

    const MIB: f64 = 1_048_576.0;

    #[test]
    fn a_gpu_is_read_and_what_is_not_supported_is_unknown() {
        let text = "0, GPU-1, NVIDIA H200, 580.159.03, 37, 1024, 143771\n\
                    1, GPU-2, NVIDIA T4, 580.159.03, [N/A], [Not Supported], 15360\n\n";
        let devices = devices(text).unwrap();
        assert_eq!(devices[0].name, "NVIDIA H200");
        assert_eq!(devices[0].utilization, Some(0.37));
        assert_eq!(devices[0].memory_used, Some(1024.0 * MIB));
        assert_eq!(devices[1].index, 1);
        assert_eq!(devices[1].utilization, None);
        assert_eq!(devices[1].memory_used, None);
    }

    #[test]
    fn processes_are_read_with_and_without_memory() {
        let processes = process_memory("GPU-1, 4711, 518\nGPU-1, 4712, [N/A]\n").unwrap();
        assert_eq!(processes[0].pid, 4711);
        assert_eq!(processes[0].memory, Some(518.0 * MIB));
        assert_eq!(processes[1].memory, None);
        assert_eq!(process_memory("").unwrap(), []);
    }

    #[test]
    fn pmon_is_read_by_its_headings() {
        let old = "# gpu        pid  type    fb    sm   mem   enc   dec   command\n\
                   # Idx          #   C/G    MB     %     %     %     %   name\n\
                   \x20   0       4711     C   518    98    12     -     -   python3 a b\n\
                   \x20   0       4712     C    20     -     -     -     -   python3\n\
                   \x20   1          -     -     -     -     -     -     -   -\n";
        let new = "# gpu         pid   type     sm    mem    enc    dec    jpg    ofa     fb   ccpm    command \n\
                   # Idx           #    C/G      %      %      %      %      %      %     MB     MB    name \n\
                   \x20   0       4711     C     98     12      -      -      -      -    518      0    python3\n\
                   \x20   0       4712     C      -      -      -      -      -      -     20      0    python3\n";
        for text in [old, new] {
            let processes = process_utilization(text).unwrap();
            assert_eq!(processes.len(), 2);
            assert_eq!(processes[0].pid, 4711);
            assert_eq!(processes[0].sm, Some(0.98));
            assert_eq!(processes[1].sm, None);
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error_that_shows_it() {
        let error = devices("0, GPU-1\n").unwrap_err();
        assert!(format!("{error:#}").contains("0, GPU-1"), "{error:#}");
        let error = process_utilization("Not supported on the device(s)\n").unwrap_err();
        assert!(format!("{error:#}").contains("no headings"), "{error:#}");
        assert!(number("many").is_err());
        assert!(number("[Insufficient Permissions]").unwrap().is_none());
    }
}
