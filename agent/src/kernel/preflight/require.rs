//! What the agent cannot start without, in the order in which it is checked: privilege, type
//! information, cgroup v2.

use super::{CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, Cgroup2Mount, Facts};
use crate::error::Error;

/// The cgroup v2 hierarchy of a node that is fit, or the first reason why it is not.
pub fn require(facts: &Facts) -> Result<Cgroup2Mount, Error> {
    check_privilege(facts)?;
    check_btf(facts)?;
    require_cgroup2(facts)
}

pub(super) fn check_privilege(facts: &Facts) -> Result<(), Error> {
    // Where /proc does not tell, the kernel will at the first load.
    let Some(capabilities) = facts.capabilities else {
        return Ok(());
    };
    if capabilities.has(CAP_SYS_ADMIN) {
        return Ok(());
    }
    let needed = [("CAP_BPF", CAP_BPF), ("CAP_PERFMON", CAP_PERFMON)];
    let missing: Vec<&str> = needed
        .iter()
        .filter(|(_, one)| !capabilities.has(*one))
        .map(|(name, _)| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::NotPrivileged {
        missing: format!("{} (or CAP_SYS_ADMIN)", missing.join(" and ")),
    })
}

pub(super) fn check_btf(facts: &Facts) -> Result<u64, Error> {
    facts.btf.clone().map_err(|reason| Error::NoBtf {
        path: facts.btf_path.clone(),
        reason,
    })
}

/// The cgroup v2 hierarchy, or why there is none.
pub fn require_cgroup2(facts: &Facts) -> Result<Cgroup2Mount, Error> {
    let missing = |reason| Error::NoCgroup2 {
        mounts: facts.mounts.clone(),
        reason,
    };
    facts.cgroup2.clone().map_err(missing)
}
