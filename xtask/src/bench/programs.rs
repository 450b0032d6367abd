//! Which kernel programs a process has attached, and the kernel's statistics of them.
//!
//! `/proc/<pid>/fdinfo` tells whose a program is, so that an agent or a tracer that was on the machine
//! before is not taken for the measured one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result};
use aya::programs::{ProgramInfo, loaded_programs};
use serde::{Deserialize, Serialize};

/// Runs of one program and the time in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Runs {
    pub(super) count: u64,
    pub(super) ns: u64,
}

/// The ids of the programs that a process has attached.
pub(super) fn attached(pid: u32) -> Result<BTreeSet<u32>> {
    let folder = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))?;
    Ok(entries
        .flatten()
        // A file that has been closed meanwhile is none of those we look for.
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .filter_map(|text| program_of_link(&text))
        .collect())
}

/// What on the machine looks at scheduling already, by the names of its programs.
pub(super) fn others() -> Vec<String> {
    let mut names = Vec::new();
    for program in present() {
        let name = program.name_as_str().unwrap_or_default();
        if name.contains("sched_") {
            names.push(format!("{name} (id {})", program.id()));
        }
    }
    names
}

/// The statistics of these programs since they were loaded, by name.
pub(super) fn runs(ids: &BTreeSet<u32>) -> BTreeMap<String, Runs> {
    let mut runs: BTreeMap<String, Runs> = BTreeMap::new();
    for program in present().filter(|program| ids.contains(&program.id())) {
        let name = program.name_as_str().unwrap_or("?").to_owned();
        let sum = runs.entry(name).or_default();
        sum.count += program.run_count();
        sum.ns += u64::try_from(program.run_time().as_nanos()).unwrap_or(u64::MAX);
    }
    runs
}

/// All programs but those that end while they are listed.
fn present() -> impl Iterator<Item = ProgramInfo> {
    loaded_programs().filter_map(Result::ok)
}

/// The program that an open link belongs to; `None` for other files.
fn program_of_link(fdinfo: &str) -> Option<u32> {
    let field = |name: &str| {
        fdinfo.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key == name).then(|| value.trim())
        })
    };
    field("link_type")?;
    field("prog_id")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::program_of_link;

    #[test]
    fn only_links_name_attached_programs() {
        let link = "pos:\t0\nlink_type:\traw_tracepoint\nlink_id:\t117\nprog_id:\t139\n";
        assert_eq!(program_of_link(link), Some(139));
        let loaded = "pos:\t0\nprog_type:\t26\nprog_id:\t139\nrun_cnt:\t0\n";
        assert_eq!(program_of_link(loaded), None);
    }
}
