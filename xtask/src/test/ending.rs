//! Ends a test program that does not end by itself, with its agent and whatever else it has started.
//!
//! They stay in the terminal's own group of processes, so that Ctrl-C reaches them; so they are found by
//! who started whom.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

use crate::command;

/// Kills a process and all that descend from it. All are stopped first, so that none starts another.
pub(super) fn kill_with_descendants(pid: u32) -> Result<()> {
    let mut stopped = Vec::new();
    loop {
        let found = descendants(pid)?;
        if found == stopped {
            break;
        }
        signal("STOP", &found);
        stopped = found;
    }
    signal("KILL", &stopped);
    Ok(())
}

/// One that has ended meanwhile is no error. Test programs are root's, their caller may not be.
fn signal(name: &str, pids: &[u32]) {
    let mut kill = command::as_root("kill");
    kill.args(["-s", name])
        .args(pids.iter().map(u32::to_string));
    let _gone = kill.status();
}

/// The process and all that descend from it, ordered by id.
pub(super) fn descendants(pid: u32) -> Result<Vec<u32>> {
    let parents = parents().context("cannot read /proc")?;
    let descends = |mut one: u32| {
        while one != pid {
            match parents.get(&one) {
                Some(parent) => one = *parent,
                None => return false,
            }
        }
        true
    };
    let others = parents.keys().copied().filter(|one| *one != pid);
    let mut found: Vec<u32> = others.filter(|one| descends(*one)).chain([pid]).collect();
    found.sort_unstable();
    Ok(found)
}

/// Each process with its parent.
fn parents() -> Result<BTreeMap<u32, u32>> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that has ended since the folder was read has no such file.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if let Some(parent) = parent(&stat) {
            parents.insert(pid, parent);
        }
    }
    Ok(parents)
}

/// From `/proc/<pid>/stat`: `pid (command) state parent …`, where the command may contain anything.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parent;

    #[test]
    fn the_parent_is_found_behind_any_command() {
        assert_eq!(parent("7 (a) b (c)) S 3 7 7 0"), Some(3));
        assert_eq!(parent(""), None);
    }
}
