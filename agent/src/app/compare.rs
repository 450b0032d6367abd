//! Where the kernel's own accounts of a session are read.

use std::path::Path;

use super::Agent;
use crate::{
    discover::cgroup::Hierarchy,
    kernel::{
        accounts::{CgroupAccounts, a_process, cpu_ns, memory_by_kind},
        openings::Openings,
    },
    session::{model::Session, registry::KernelsAccounts},
};

impl Agent {
    /// Compares a session's figures with the kernel's.
    pub(super) fn compare(&mut self) {
        self.registry.compare(&CgroupFiles {
            mount: &self.cgroup_root,
            hierarchy: &self.hierarchy,
            cpus: u64::from(self.kernel.online_cpus()),
        });
    }
}

/// The kernel's accounts of sessions, from the files of their cgroups.
struct CgroupFiles<'a> {
    mount: &'a Path,
    hierarchy: &'a Hierarchy,
    cpus: u64,
}

impl CgroupFiles<'_> {
    /// Of each of the cgroups at which a session begins; `None` if one is gone.
    fn of_all<T>(&self, session: &Session, of: impl Fn(&Path) -> Option<T>) -> Option<Vec<T>> {
        let of = |root: &u64| of(&self.hierarchy.directory(*root)?);
        session.roots.iter().map(of).collect()
    }
}

impl KernelsAccounts for CgroupFiles<'_> {
    fn is_whole(&self, session: &Session) -> bool {
        let within = session
            .roots
            .iter()
            .map(|root| self.hierarchy.subtree(*root));
        within.flatten().all(|id| session.cgroups.contains(&id))
    }
    fn accounts(&self, session: &Session) -> Option<CgroupAccounts> {
        let all = self.of_all(session, |cgroup| CgroupAccounts::read(self.mount, cgroup));
        all?.into_iter().reduce(CgroupAccounts::with)
    }
    fn cpu_ns(&self, session: &Session) -> Option<u64> {
        Some(self.of_all(session, cpu_ns)?.into_iter().sum())
    }
    fn memory_bytes(&self, session: &Session) -> Option<u64> {
        Some(self.of_all(session, memory_by_kind)?.into_iter().sum())
    }
    fn openings(&self, session: &Session) -> Option<Openings> {
        let processes = self.of_all(session, |cgroup| Some(a_process(cgroup)))?;
        let process = processes.into_iter().flatten().next()?;
        Openings::of_process(Path::new("/proc"), process)
    }
    fn cpus(&self) -> u64 {
        self.cpus
    }
}
