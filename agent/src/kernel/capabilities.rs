//! Capabilities: which the agent needs, for what, and which of them it keeps once its programs are attached.
//!
//! `needs` is the table; `keep` reckons what stays of what is held; `give_up` has the system calls; `report` is what
//! `check --security` prints.
//!
//! A thread has capabilities of its own, and hands them to the threads that it makes (`copy_creds`, kernel/cred.c,
//! Linux 6.12). No call changes those of a whole process. So they are given up on the first thread, before there is
//! a second one.

mod give_up;
mod keep;
mod needs;
mod perf;
mod report;

pub use give_up::give_up;
pub use keep::{bounding, kept};
pub use needs::{Condition, NEEDS, Need, Node, When};
pub use perf::perf_is_for_administrators;
pub use report::{Report, report};

/// The capabilities by number (`include/uapi/linux/capability.h`, Linux 6.12).
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// A capability by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability(u32);

pub(super) const CAP_CHOWN: Capability = Capability(0);
pub(super) const CAP_DAC_OVERRIDE: Capability = Capability(1);
pub(super) const CAP_DAC_READ_SEARCH: Capability = Capability(2);
pub(super) const CAP_FOWNER: Capability = Capability(3);
pub(super) const CAP_SETPCAP: Capability = Capability(8);
pub(super) const CAP_SYS_PTRACE: Capability = Capability(19);
pub(super) const CAP_SYS_ADMIN: Capability = Capability(21);
pub(super) const CAP_SYS_RESOURCE: Capability = Capability(24);
pub(super) const CAP_MKNOD: Capability = Capability(27);
pub(super) const CAP_SYSLOG: Capability = Capability(34);
pub(super) const CAP_PERFMON: Capability = Capability(38);
pub(super) const CAP_BPF: Capability = Capability(39);

impl Capability {
    /// Its name, as `CAP_BPF`.
    pub fn name(self) -> &'static str {
        NAMES.get(self.0 as usize).copied().unwrap_or("unknown")
    }
}

/// A set of capabilities, a bit for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// Whether one is in it.
    pub fn has(self, capability: Capability) -> bool {
        self.0 >> capability.0 & 1 == 1
    }

    /// The set without one.
    #[must_use]
    pub fn without(self, capability: Capability) -> Self {
        Self(self.0 & !(1 << capability.0))
    }

    /// The set with one more.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability.0)
    }

    /// Those that have a name, in the order of their numbers.
    pub fn all(self) -> impl Iterator<Item = Capability> {
        let numbers = (0..).take(NAMES.len());
        numbers.map(Capability).filter(move |one| self.has(*one))
    }

    /// Their names.
    pub fn names(self) -> Vec<&'static str> {
        self.all().map(Capability::name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_has_the_name_of_its_number() {
        for (capability, name) in [
            (CAP_CHOWN, "CAP_CHOWN"),
            (CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"),
            (CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"),
            (CAP_FOWNER, "CAP_FOWNER"),
            (CAP_SETPCAP, "CAP_SETPCAP"),
            (CAP_SYS_PTRACE, "CAP_SYS_PTRACE"),
            (CAP_SYS_ADMIN, "CAP_SYS_ADMIN"),
            (CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE"),
            (CAP_MKNOD, "CAP_MKNOD"),
            (CAP_SYSLOG, "CAP_SYSLOG"),
            (CAP_PERFMON, "CAP_PERFMON"),
            (CAP_BPF, "CAP_BPF"),
        ] {
            assert_eq!(capability.name(), name);
        }
        assert_eq!(Capability(63).name(), "unknown");
    }

    #[test]
    fn a_set_has_what_was_put_into_it() {
        let set = Capabilities::default().with(CAP_BPF).with(CAP_CHOWN);
        assert!(set.has(CAP_BPF) && !set.has(CAP_PERFMON));
        assert_eq!(set.names(), ["CAP_CHOWN", "CAP_BPF"]);
        assert_eq!(Capabilities(u64::MAX).names().len(), NAMES.len());
    }
}
