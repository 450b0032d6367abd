//! Which kernel programs a process has, and what to call them.
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
pub(crate) struct Runs {
    pub(crate) count: u64,
    pub(crate) ns: u64,
}

/// The ids of the programs that a process holds. Not each is attached, but only those run that are.
pub(crate) fn held(pid: u32) -> Result<BTreeSet<u32>> {
    let folder = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))?;
    Ok(entries
        .flatten()
        // A file that has been closed meanwhile is none of those we look for.
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .filter_map(|text| program_of(&text))
        .collect())
}

/// What to call these programs. The kernel keeps 15 characters of a name; where `full` has those of
/// whoever loaded them, in the order of loading, they get them back.
pub(crate) fn named(ids: &BTreeSet<u32>, full: &[String]) -> BTreeMap<u32, String> {
    let programs = present().filter(|program| ids.contains(&program.id()));
    let short = programs.map(|program| {
        let name = program.name_as_str().unwrap_or("?").to_owned();
        (program.id(), name)
    });
    lengthen(&short.collect(), full)
}

fn lengthen(short: &BTreeMap<u32, String>, full: &[String]) -> BTreeMap<u32, String> {
    let lengthened = short.iter().map(|(id, name)| {
        let candidates: Vec<_> = full.iter().filter(|one| cut(one) == name).collect();
        // Programs get their numbers in the order of loading.
        let namesakes: Vec<_> = short.iter().filter(|(_, other)| *other == name).collect();
        let at = namesakes.iter().position(|(other, _)| *other == id);
        let same = candidates.len() == namesakes.len();
        let found = at.and_then(|at| candidates.get(at)).filter(|_| same);
        (*id, found.map_or(name, |found| *found).clone())
    });
    lengthened.collect()
}

/// What the kernel keeps of a name: `BPF_OBJ_NAME_LEN` less the NUL.
fn cut(name: &str) -> &str {
    name.get(..15).unwrap_or(name)
}

/// All programs but those that end while they are listed.
fn present() -> impl Iterator<Item = ProgramInfo> {
    loaded_programs().filter_map(Result::ok)
}

/// The program that an open program or link belongs to; `None` for other files.
fn program_of(fdinfo: &str) -> Option<u32> {
    fdinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == "prog_id").then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{lengthen, program_of};

    #[test]
    fn names_that_the_kernel_cut_are_told_apart_by_the_order_of_loading() {
        let short = [
            (7, "sched_process_e"),
            (9, "sched_process_e"),
            (8, "census"),
        ];
        let short: BTreeMap<u32, String> = short.map(|(id, name)| (id, name.to_owned())).into();
        let full = ["sched_process_exec", "census", "sched_process_exit"].map(str::to_owned);
        let names: Vec<_> = lengthen(&short, &full).into_values().collect();
        assert_eq!(
            names,
            ["sched_process_exec", "census", "sched_process_exit"]
        );
        let names = lengthen(&short, &full[..1]);
        assert_eq!(names[&9], "sched_process_e");
    }

    #[test]
    fn links_and_programs_name_a_program() {
        let link = "pos:\t0\nlink_type:\traw_tracepoint\nlink_id:\t117\nprog_id:\t139\n";
        assert_eq!(program_of(link), Some(139));
        let loaded = "pos:\t0\nprog_type:\t26\nprog_id:\t139\nrun_cnt:\t0\n";
        assert_eq!(program_of(loaded), Some(139));
        assert_eq!(program_of("pos:\t0\nmnt_id:\t15\n"), None);
    }
}
