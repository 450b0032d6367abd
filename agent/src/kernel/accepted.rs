//! TCP connections that a network namespace has accepted, as the kernel counts them.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// What one network namespace has accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Tells it from others: the inode of its file (`__proc_create`, fs/proc/generic.c, 6.12), which anybody may ask for,
    /// where the namespace itself is for those who may trace the process.
    pub namespace: u64,
    /// `PassiveOpens` of TCP (RFC 4022) since it was made.
    pub connections: u64,
}

impl Accepted {
    /// That of the namespace that all these processes are in; `None` where they are not in one, where that is the node's,
    /// or nothing is known. Those that have ended meanwhile are passed over.
    pub fn of_processes(proc: &Path, processes: impl IntoIterator<Item = u32>) -> Option<Self> {
        let namespace = |pid: u32| Some(fs::metadata(snmp(proc, pid)).ok()?.ino());
        let of_node = namespace(1)?;
        let mut all = processes
            .into_iter()
            .filter_map(|pid| Some((pid, namespace(pid)?)));
        let (pid, first) = all.next()?;
        if first == of_node || all.any(|(_, other)| other != first) {
            return None;
        }
        let text = fs::read_to_string(snmp(proc, pid)).ok()?;
        Some(Self {
            namespace: first,
            connections: field(&text, "PassiveOpens")?,
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
    fn what_is_accepted_is_known_of_processes_in_one_namespace_that_is_not_the_nodes() {
        let proc = tempfile::tempdir().unwrap();
        let net = |pid: u32| proc.path().join(pid.to_string()).join("net");
        for pid in [1, 7, 9] {
            fs::create_dir_all(net(pid)).unwrap();
            fs::write(net(pid).join("snmp"), TEXT).unwrap();
        }
        fs::create_dir_all(net(8)).unwrap();
        fs::hard_link(net(7).join("snmp"), net(8).join("snmp")).unwrap();
        let of = |processes: &[u32]| {
            let processes = processes.iter().copied();
            Some(Accepted::of_processes(proc.path(), processes)?.connections)
        };
        assert_eq!(of(&[7, 8]), Some(12));
        // One of them has ended.
        assert_eq!(of(&[4, 8]), Some(12));
        assert_eq!(of(&[7, 9]), None);
        assert_eq!(of(&[1]), None);
        assert_eq!(of(&[]), None);
        fs::write(net(7).join("snmp"), "Tcp: PassiveOpens\nTcp: x\n").unwrap();
        assert_eq!(of(&[7]), None);
    }
}
