//! Each event of the log is caused by a test, and read back from the log of an agent.
//!
//! The tests' agents log JSON. As one ends, its test reads each line, refuses an event that is not of the list, and adds
//! the events to a file, which is compared with the list when all tests have passed.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::program;
use crate::command;

/// Has tests write there which events they have seen.
pub(super) const VARIABLE: &str = "AGENT_EVENTS_SEEN";

/// The list, for people.
const PAGE: &str = "docs/log.md";

/// Events that no test causes, and why.
const NOT_CAUSED: [(&str, &str); 18] = [
    (
        "open_files_limited",
        "the kernel lets anybody raise the limit as far as the agent does",
    ),
    (
        "capabilities_kept",
        "it takes a filter that refuses capset(2)",
    ),
    ("session_unmeasured", FULL),
    ("cgroup_unmeasured", FULL),
    ("cgroup_with_above", FULL),
    ("figure_differs", "it takes a figure that is wrong"),
    ("program_on", GUEST),
    ("member_absent", GUEST),
    ("store_unusable", GUEST),
    (
        "pid_max_raised",
        "the whole machine would have another kernel.pid_max",
    ),
    ("debug_records_off", FAULT),
    ("kernel_unread", FAULT),
    ("kernel_unwritten", FAULT),
    ("kernel_detail", FAULT),
    ("scan_failed", FAULT),
    ("kernel_log_lost", FAULT),
    (
        "gpus_held",
        "it takes a program that holds a GPU that is suspended",
    ),
    ("answer_failed", "it takes a fault of the agent"),
];
const FULL: &str = "it takes 16,384 cgroups at which a session begins";
const GUEST: &str = "other kernels, or other drivers, do that: guests, whose logs are not gathered";
const FAULT: &str = "it takes a system call that fails for no reason of a test's";

/// The file, emptied.
pub(super) fn begin() -> Result<PathBuf> {
    let path = program::output_folder()?.join("events");
    fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Fails unless all have been seen that can be, and none that is said not to be caused.
pub(super) fn check(path: &PathBuf) -> Result<()> {
    let read = |path: &PathBuf| {
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let page = read(&command::repository().join(PAGE))?;
    let seen = read(path)?;
    let seen: BTreeSet<&str> = seen.lines().collect();
    let left_out: BTreeSet<&str> = NOT_CAUSED.iter().map(|(event, _)| *event).collect();
    let missing: Vec<&str> = events(&page)
        .filter(|event| !seen.contains(event) && !left_out.contains(event))
        .collect();
    ensure!(
        missing.is_empty(),
        "no test has caused these events of the log: {}",
        missing.join(", ")
    );
    let caused: Vec<&str> = left_out.intersection(&seen).copied().collect();
    ensure!(
        caused.is_empty(),
        "these events are caused after all: take them out of NOT_CAUSED in {}: {}",
        file!(),
        caused.join(", ")
    );
    println!("{} events of the log were seen", seen.len());
    Ok(())
}

/// The names in the page's last table.
fn events(page: &str) -> impl Iterator<Item = &str> {
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with("| event |"));
    rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next())
}

#[cfg(test)]
mod tests {
    use super::{NOT_CAUSED, PAGE, events};
    use crate::command;

    #[test]
    fn the_page_has_the_events_and_those_that_are_left_out_are_among_them() {
        let page = std::fs::read_to_string(command::repository().join(PAGE)).unwrap();
        let all: Vec<&str> = events(&page).collect();
        assert!(
            all.contains(&"session_found") && !all.contains(&"ts"),
            "{all:?}"
        );
        for (event, reason) in NOT_CAUSED {
            assert!(all.contains(&event), "{event}");
            assert!(!reason.is_empty(), "{event}");
        }
    }
}
