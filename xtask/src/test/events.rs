//! Each event of the log is caused by a test, and read back from the log of an agent.
//!
//! The tests' agents log JSON. As one ends, its test reads each line, refuses an event that is not of the list, and adds
//! the events to a file, which is compared with the list when all tests have passed. A unit test adds what it has caused,
//! too, where nothing outside an agent can cause it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::program;
use crate::command;

/// Has tests write there which events they have seen.
pub(crate) const VARIABLE: &str = "AGENT_EVENTS_SEEN";

/// The list, for people.
const PAGE: &str = "docs/log.md";

/// Events that a machine like CI's does not cause, but the guests of [`kernels`](crate::kernels), and by what.
const IN_GUESTS: [(&str, &str); 1] = [("program_on", "a driver that is loaded later")];

/// The file, emptied.
pub(super) fn begin() -> Result<PathBuf> {
    let path = file()?;
    fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn file() -> Result<PathBuf> {
    Ok(program::output_folder()?.join("events"))
}

/// Fails unless the tests of this machine have seen each event but those that take a guest.
pub(super) fn check() -> Result<()> {
    let seen = read(&file()?)?;
    let seen: BTreeSet<&str> = seen.lines().collect();
    let page = read(&command::repository().join(PAGE))?;
    let missing = events(&page)
        .filter(|event| !seen.contains(event) && IN_GUESTS.iter().all(|(one, _)| one != event));
    ensure_none(missing)?;
    println!("{} events of the log were seen", seen.len());
    Ok(())
}

/// Fails unless the guests have seen what is left.
pub(super) fn check_guests(seen: &BTreeSet<String>) -> Result<()> {
    let left = IN_GUESTS.map(|(event, _)| event);
    let missing = left.into_iter().filter(|event| !seen.contains(*event));
    ensure_none(missing)?;
    println!("the guests have seen the rest: {}", left.join(", "));
    Ok(())
}

fn ensure_none<'a>(missing: impl Iterator<Item = &'a str>) -> Result<()> {
    let missing: Vec<_> = missing.collect();
    ensure!(
        missing.is_empty(),
        "no test has caused these events of the log: {}",
        missing.join(", ")
    );
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
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
    use super::{IN_GUESTS, PAGE, events};
    use crate::command;

    #[test]
    fn the_page_has_the_events_and_those_of_guests_are_among_them() {
        let page = std::fs::read_to_string(command::repository().join(PAGE)).unwrap();
        let all: Vec<&str> = events(&page).collect();
        assert!(
            all.contains(&"session_found") && !all.contains(&"ts"),
            "{all:?}"
        );
        for (event, reason) in IN_GUESTS {
            assert!(all.contains(&event), "{event}");
            assert!(!reason.is_empty(), "{event}");
        }
    }
}
