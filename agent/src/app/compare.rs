//! Where the kernel's own accounts of a session are read.

use std::path::Path;

use agent_common::{Slot, net::INBOUND};

use super::Agent;
use crate::{
    discover::cgroup::Hierarchy,
    kernel::{
        Kernel,
        accepted::Accepted,
        accounts::{cpu_ns, processes},
    },
    session::{model::Session, registry::KernelsAccounts},
};

/// So many processes of a session are asked for their network namespace.
const PROCESSES: usize = 64;

impl Agent {
    /// Compares a session's figures with the kernel's.
    pub(super) fn compare(&mut self) {
        self.registry.compare(&Accounts {
            hierarchy: &self.hierarchy,
            kernel: &self.kernel,
        });
    }
}

struct Accounts<'a> {
    hierarchy: &'a Hierarchy,
    kernel: &'a Kernel,
}

impl KernelsAccounts for Accounts<'_> {
    fn cpu_ns(&self, session: &Session) -> Option<u64> {
        let used = |root: &u64| {
            let within = self.hierarchy.subtree(*root);
            let is_whole = within.iter().all(|id| session.cgroups.contains(id));
            is_whole.then(|| cpu_ns(&self.hierarchy.directory(*root)?))?
        };
        session.roots.iter().map(used).sum()
    }

    fn accepted(&self, session: &Session) -> Option<Accepted> {
        let cgroups = session.cgroups.iter();
        let directories = cgroups.filter_map(|id| self.hierarchy.directory(*id));
        let processes = directories.flat_map(|directory| processes(&directory));
        Accepted::of_processes(Path::new("/proc"), processes.take(PROCESSES))
    }

    fn counted(&self, slot: Slot) -> Option<u64> {
        Some(self.kernel.counts(slot).net?.tcp[INBOUND].opened)
    }
}
