//! The table: each capability that a feature needs, when, and on which nodes.

use std::{fs, os::unix::fs::MetadataExt as _};

use super::{
    CAP_BPF, CAP_CHOWN, CAP_DAC_READ_SEARCH, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_PTRACE,
    CAP_SYS_RESOURCE, CAP_SYSLOG, Capability,
};
use crate::kernel::{
    Settings,
    preflight::{Facts, KernelVersion},
};

/// When a capability is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Until the programs are attached.
    AtStart,
    /// For as long as the agent runs.
    Always,
}

/// What must be so for a capability to be needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// `gpu.enabled`.
    Gpus,
    /// `kernel.statistics`.
    Statistics,
    /// The first process has another root directory, as for an agent in a container with the host's pids.
    OtherRoot,
    /// `gpu.enabled`, the driver is not loaded yet, and this kernel lets nobody but administrators open a perf event
    /// ([`perf_is_for_administrators`](super::perf_is_for_administrators)).
    AdministratorsPerf,
    /// `socket.owner`.
    SocketOwner,
}

/// What a feature needs a capability for.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// The capability.
    pub capability: Capability,
    /// What is not there without it.
    pub feature: &'static str,
    /// Which call asks for it.
    pub why: &'static str,
    /// When it is asked for.
    pub when: When,
    /// The first kernel that does not ask for it any more.
    before: Option<KernelVersion>,
    /// The nodes that it is asked for on.
    only: Option<Condition>,
}

/// The first kernel whose `bpf(2)` asks for `CAP_BPF` only where a map or a program is made (`__sys_bpf`,
/// kernel/bpf/syscall.c). A distribution may have brought that to an older one; there the capability stays, which
/// costs no figure.
const BPF_FOR_MAKING_ALONE: KernelVersion = KernelVersion(5, 19);
/// The first kernel that charges maps to the memory cgroup and not to `RLIMIT_MEMLOCK`.
const WITHOUT_MEMLOCK: KernelVersion = KernelVersion(5, 11);

/// Every need, those of one capability side by side.
pub const NEEDS: [Need; 11] = [
    Need {
        capability: CAP_BPF,
        feature: "kernel programs",
        why: "makes maps and loads programs (map_create and bpf_prog_load, kernel/bpf/syscall.c)",
        when: When::AtStart,
        before: None,
        only: None,
    },
    Need {
        capability: CAP_BPF,
        feature: "reading what the programs count",
        why: "until Linux 5.18 bpf(2) refuses every call without it where kernel.unprivileged_bpf_disabled is set \
              (kernel/bpf/syscall.c)",
        when: When::Always,
        before: Some(BPF_FOR_MAKING_ALONE),
        only: None,
    },
    Need {
        capability: CAP_PERFMON,
        feature: "kernel programs",
        why: "lets programs of tracepoints and iterators be loaded (bpf_prog_load, kernel/bpf/syscall.c)",
        when: When::AtStart,
        before: None,
        only: None,
    },
    Need {
        capability: CAP_PERFMON,
        feature: "the tracepoint of NVIDIA's driver, whenever that is loaded",
        why: "opens the tracepoint's event (perf_allow_cpu, kernel/events/core.c)",
        when: When::Always,
        before: None,
        only: Some(Condition::Gpus),
    },
    Need {
        capability: CAP_SYS_ADMIN,
        feature: "the tracepoint of NVIDIA's driver, where that is loaded after the agent's start",
        why: "opens the tracepoint's event on kernels of distributions that want it for every event where \
              kernel.perf_event_paranoid is more than 2 (Ubuntu; Debian's 5.10)",
        when: When::Always,
        before: None,
        only: Some(Condition::AdministratorsPerf),
    },
    Need {
        capability: CAP_SYS_ADMIN,
        feature: "kernel.statistics",
        why: "turns the statistics on; they stay on while a descriptor is open (bpf_enable_stats, \
              kernel/bpf/syscall.c)",
        when: When::AtStart,
        before: None,
        only: Some(Condition::Statistics),
    },
    Need {
        capability: CAP_SYS_RESOURCE,
        feature: "the memory of the programs",
        why: "raises RLIMIT_MEMLOCK, to which maps are charged before Linux 5.11",
        when: When::AtStart,
        before: Some(WITHOUT_MEMLOCK),
        only: None,
    },
    Need {
        capability: CAP_DAC_READ_SEARCH,
        feature: "cgroups that their users have closed; files of other owners",
        why: "enters directories and reads files whatever their mode (generic_permission, fs/namei.c)",
        when: When::Always,
        before: None,
        only: None,
    },
    Need {
        capability: CAP_SYSLOG,
        feature: "whose an Xid error is",
        why: "opens /dev/kmsg where kernel.dmesg_restrict is set; reads are not asked again (devkmsg_open, \
              kernel/printk/printk.c)",
        when: When::AtStart,
        before: None,
        only: Some(Condition::Gpus),
    },
    Need {
        capability: CAP_SYS_PTRACE,
        feature: "the host's files from a container: sockets of platforms, NVIDIA's library",
        why: "follows /proc/1/root (proc_fd_access_allowed, fs/proc/base.c)",
        when: When::Always,
        before: None,
        only: Some(Condition::OtherRoot),
    },
    Need {
        capability: CAP_CHOWN,
        feature: "socket.owner",
        why: "gives the socket to another user, or to a group that the agent is not in (setattr_prepare, fs/attr.c)",
        when: When::AtStart,
        before: None,
        only: Some(Condition::SocketOwner),
    },
];

/// What of a node and its configuration decides what is needed.
#[derive(Debug, Clone)]
pub struct Node {
    /// `None` where it cannot be told, which counts as old.
    kernel: Option<KernelVersion>,
    conditions: Vec<Condition>,
}

impl Node {
    /// This node, with what other rooms' settings say.
    pub fn new(facts: &Facts, settings: &Settings, others: &[Condition]) -> Self {
        let own = [
            (Condition::Statistics, settings.statistics),
            (Condition::OtherRoot, sees_another_root()),
        ];
        let own = own.into_iter().filter(|(_, is_so)| *is_so);
        Self {
            kernel: facts.kernel(),
            conditions: own
                .map(|(condition, _)| condition)
                .chain(others.iter().copied())
                .collect(),
        }
    }

    /// Whether something is so here.
    pub fn is(&self, condition: Condition) -> bool {
        self.conditions.contains(&condition)
    }

    /// Whether something is needed here.
    pub fn has(&self, need: &Need) -> bool {
        let is_old = |before: KernelVersion| self.kernel.is_none_or(|kernel| kernel < before);
        need.before.is_none_or(is_old) && need.only.is_none_or(|condition| self.is(condition))
    }

    #[cfg(test)]
    pub(super) fn of(kernel: KernelVersion, conditions: &[Condition]) -> Self {
        Self {
            kernel: Some(kernel),
            conditions: conditions.to_vec(),
        }
    }
}

/// Whether the first process is in another root directory than this one, and may be followed there.
fn sees_another_root() -> bool {
    let root = |path: &str| fs::metadata(path).map(|found| (found.dev(), found.ino()));
    match (root("/"), root("/proc/1/root")) {
        (Ok(own), Ok(first)) => own != first,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../../docs/install.md");
    const UNIT: &str = include_str!("../../../../deploy/systemd/sessionscope.service");
    /// What the unit leaves out: it runs on the host, without the statistics, and listens on a port.
    const NOT_OF_THE_UNIT: [Capability; 3] = [CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_CHOWN];

    #[test]
    fn every_capability_of_the_table_is_in_the_document_and_in_the_unit() {
        let unit = UNIT.lines();
        let set = unit.filter_map(|line| line.strip_prefix("CapabilityBoundingSet="));
        let allowed: Vec<&str> = set.flat_map(str::split_ascii_whitespace).collect();
        for need in &NEEDS {
            let name = need.capability.name();
            let mut rows = PAGE.lines().filter(|line| line.starts_with("| `CAP_"));
            assert!(rows.any(|row| row.contains(&format!("`{name}`"))), "{name}");
            assert_eq!(
                allowed.contains(&name),
                !NOT_OF_THE_UNIT.contains(&need.capability),
                "{name}"
            );
        }
        for name in allowed {
            let known = NEEDS.iter().any(|need| need.capability.name() == name);
            assert!(known, "{name}");
        }
    }

    #[test]
    fn a_need_is_one_of_some_kernels_and_settings() {
        let needed = |node: &Node, when: When| {
            let here = NEEDS.iter().filter(|need| need.when == when);
            let here = here.filter(|need| node.has(need));
            here.map(|need| need.capability.name()).collect::<Vec<_>>()
        };
        let new = Node::of(KernelVersion(6, 12), &[]);
        assert_eq!(needed(&new, When::AtStart), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(needed(&new, When::Always), ["CAP_DAC_READ_SEARCH"]);
        let old = Node::of(
            KernelVersion(5, 10),
            &[Condition::Gpus, Condition::Statistics, Condition::OtherRoot],
        );
        let at_start = [
            "CAP_BPF",
            "CAP_PERFMON",
            "CAP_SYS_ADMIN",
            "CAP_SYS_RESOURCE",
            "CAP_SYSLOG",
        ];
        assert_eq!(needed(&old, When::AtStart), at_start);
        let always = [
            "CAP_BPF",
            "CAP_PERFMON",
            "CAP_DAC_READ_SEARCH",
            "CAP_SYS_PTRACE",
        ];
        assert_eq!(needed(&old, When::Always), always);
    }
}
