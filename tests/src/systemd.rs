//! The systemd unit of `deploy/`: what stands in it, and its capabilities for an agent that a test starts.

use std::{fs, path::Path, process::Command};

use lab::{agent, programs::repository};

/// The values that a section of the unit gives a key, in their order.
///
/// # Panics
/// When there is no unit.
pub fn values(section: &str, key: &str) -> Vec<String> {
    let path = repository().join("deploy/systemd/sessionscope.service");
    let unit = fs::read_to_string(&path).expect("the unit is there");
    let heading = format!("[{section}]");
    let mut inside = false;
    let mut values = Vec::new();
    for line in unit.lines() {
        if line.starts_with('[') {
            inside = line == heading;
        }
        if let Some((name, value)) = line.split_once('=')
            && inside
            && name == key
        {
            values.push(value.to_owned());
        }
    }
    values
}

/// The capabilities that the unit leaves the agent, as `CAP_BPF`.
pub fn capabilities() -> Vec<String> {
    let sets = values("Service", "CapabilityBoundingSet");
    let names = sets.iter().flat_map(|set| set.split_ascii_whitespace());
    names.map(str::to_owned).collect()
}

/// A command that runs the agent with these capabilities and no others, as root, as the unit does.
///
/// # Panics
/// When the unit has none.
pub fn command(binary: &Path) -> Command {
    let mut set = "-all".to_owned();
    for capability in capabilities() {
        let name = capability.strip_prefix("CAP_").expect("a capability");
        set.push_str(",+");
        set.push_str(&name.to_ascii_lowercase());
    }
    assert_ne!(set, "-all", "the unit has no capabilities");
    let mut command = agent::command("setpriv".as_ref());
    command
        .args(["--bounding-set", &set])
        .args(["--inh-caps=-all", "--no-new-privs", "--"])
        .arg(binary);
    command
}
