//! TCP connections that a network namespace has opened and accepted, as the kernel counts them.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Openings of one network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Openings {
    /// Tells it from others: the inode of its file (`__proc_create`, fs/proc/generic.c, 6.12), which anybody may ask for,
    /// where the namespace itself is for those who may trace the process.
    pub namespace: u64,
    /// `ActiveOpens` and `PassiveOpens` of TCP (RFC 4022) since it was made.
    pub count: u64,
}

impl Openings {
    /// Those of the namespace that a process is in; `None` where that is the node's, or nothing is known.
    pub fn of_process(proc: &Path, pid: u32) -> Option<Self> {
        let path = snmp(proc, pid);
        let namespace = fs::metadata(&path).ok()?.ino();
        if namespace == fs::metadata(snmp(proc, 1)).ok()?.ino() {
            return None;
        }
        let text = fs::read_to_string(path).ok()?;
        Some(Self {
            namespace,
            count: field(&text, "ActiveOpens")? + field(&text, "PassiveOpens")?,
        })
    }
}

fn snmp(proc: &Path, pid: u32) -> PathBuf {
    proc.join(pid.to_string()).join("net/snmp")
}

/// A number of TCP: a line of names, and one of values.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let mut pairs = names.split(' ').zip(values.split(' '));
    pairs.find(|(one, _)| *one == name)?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Ip: Forwarding DefaultTTL\nIp: 1 64\n\
                        Tcp: RtoAlgorithm MaxConn ActiveOpens PassiveOpens\nTcp: 1 -1 30 12\n";

    #[test]
    fn openings_are_those_of_the_process_unless_it_is_in_the_nodes_namespace() {
        let proc = tempfile::tempdir().unwrap();
        let net = |pid: u32| proc.path().join(pid.to_string()).join("net");
        for pid in [1, 7] {
            fs::create_dir_all(net(pid)).unwrap();
            fs::write(net(pid).join("snmp"), TEXT).unwrap();
        }
        let found = Openings::of_process(proc.path(), 7).unwrap();
        assert_eq!(found.count, 42);
        assert_eq!(Openings::of_process(proc.path(), 1), None);
        assert_eq!(Openings::of_process(proc.path(), 8), None);
        fs::write(net(7).join("snmp"), "Tcp: ActiveOpens\nTcp: x\n").unwrap();
        assert_eq!(Openings::of_process(proc.path(), 7), None);
    }
}
