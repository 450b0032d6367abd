//! Judges facts: what is right, what limits the agent, and what keeps it from starting.
//!
//! The three fatal findings come first and in the order in which `require` checks them, so that
//! `check` and `run` end with the same exit code on the same node.

use super::{
    CAP_SYS_ADMIN, CAP_SYS_RESOURCE, Capabilities, CgroupLayout, Facts, KernelVersion,
    finding::Finding,
    mounts,
    require::{check_btf, check_privilege, require_cgroup2},
};
use crate::{error::Error, kernel::log};

/// The oldest kernel that the agent is tested on.
const OLDEST: KernelVersion = KernelVersion(5, 10);
/// From here on map memory is charged to the memory cgroup, and no longer to `RLIMIT_MEMLOCK`.
const WITHOUT_MEMLOCK: KernelVersion = KernelVersion(5, 11);

/// All judgements, the fatal ones first.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    vec![
        privilege(facts),
        btf(facts),
        cgroup2(facts),
        kernel(facts),
        sched_info(facts),
        pid_namespace(facts),
        cgroup_namespace(facts),
        lockdown(facts),
        jit(facts),
        unprivileged(facts),
        memlock(facts),
        kernel_log(facts),
    ]
}

fn privilege(facts: &Facts) -> Finding {
    let subject = "privilege";
    match (check_privilege(facts), facts.capabilities) {
        (Err(error), _) => {
            let missing = match &error {
                Error::NotPrivileged { missing } => format!("{missing} missing"),
                other => other.to_string(),
            };
            let remedy = "run as root, or grant the capabilities (AmbientCapabilities= in a unit, \
                          securityContext in a pod)";
            Finding::failure(subject, missing, remedy, &error)
        }
        (Ok(()), Some(capabilities)) => {
            let user = facts.euid.map_or("?".to_owned(), |euid| euid.to_string());
            let held = if capabilities.has(CAP_SYS_ADMIN) {
                "CAP_SYS_ADMIN"
            } else {
                "CAP_BPF and CAP_PERFMON"
            };
            Finding::ok(subject, format!("user {user}, {held}"))
        }
        (Ok(()), None) => Finding::warning(
            subject,
            "capabilities are not known: /proc/self/status cannot be read",
            "mount proc on /proc",
        ),
    }
}

fn btf(facts: &Facts) -> Finding {
    let subject = "BTF";
    let path = facts.btf_path.display();
    match (&facts.btf, check_btf(facts)) {
        (Err(reason), Err(error)) => Finding::failure(
            subject,
            format!("{path}: {reason}"),
            "boot a kernel with CONFIG_DEBUG_INFO_BTF=y (all distribution kernels since 2020 have \
             it), mount sysfs, or set kernel.btf to a matching file",
            &error,
        ),
        (_, size) => Finding::ok(
            subject,
            format!("{path}, {} KiB", size.unwrap_or_default() / 1024),
        ),
    }
}

fn cgroup2(facts: &Facts) -> Finding {
    let subject = "cgroup v2";
    match (&facts.cgroup2, require_cgroup2(facts)) {
        (Ok(mount), _) if mount.layout == CgroupLayout::Hybrid => Finding::warning(
            subject,
            mounts::describe(mount),
            "figures of controllers that version 1 holds are absent; boot with \
             systemd.unified_cgroup_hierarchy=1 to have them all",
        ),
        (Err(reason), Err(error)) => Finding::failure(
            subject,
            format!("{}: {reason}", facts.mounts.display()),
            "mount one: mount -t cgroup2 none /sys/fs/cgroup/unified",
            &error,
        ),
        (Ok(mount), _) => Finding::ok(subject, mounts::describe(mount)),
        (Err(reason), Ok(_)) => Finding::ok(subject, reason.clone()),
    }
}

fn kernel(facts: &Facts) -> Finding {
    let subject = "kernel";
    let release = facts.kernel_release.clone();
    match facts.kernel() {
        Some(version) if version >= OLDEST => Finding::ok(subject, release),
        Some(_) => Finding::warning(
            subject,
            format!("{release} is older than {OLDEST}"),
            "boot a newer kernel: on this one programs may be refused",
        ),
        None => Finding::warning(subject, release, "mount proc on /proc"),
    }
}

fn sched_info(facts: &Facts) -> Finding {
    let subject = "scheduler accounting";
    if facts.sched_info {
        Finding::ok(subject, "/proc/self/schedstat is there")
    } else {
        Finding::warning(
            subject,
            "/proc/self/schedstat is missing: no run-queue waits",
            "boot a kernel with CONFIG_SCHED_INFO=y (CONFIG_SCHEDSTATS or CONFIG_TASK_DELAY_ACCT \
             select it)",
        )
    }
}

fn pid_namespace(facts: &Facts) -> Finding {
    let subject = "pid namespace";
    match facts.initial_pid_namespace {
        Some(true) => Finding::ok(subject, "that of the node"),
        Some(false) => Finding::warning(
            subject,
            "a container's: processes of sessions cannot be looked up by their pid",
            "set hostPID: true in the pod, or --pid=host",
        ),
        None => Finding::warning(subject, "not known", "mount proc on /proc"),
    }
}

fn cgroup_namespace(facts: &Facts) -> Finding {
    let subject = "cgroup namespace";
    match facts.initial_cgroup_namespace {
        Some(true) => Finding::ok(subject, "that of the node"),
        Some(false) => Finding::warning(
            subject,
            "a container's: only its own cgroups are under /sys/fs/cgroup",
            "run privileged or with --cgroupns=host, or mount the node's /sys/fs/cgroup and name it \
             in kernel.cgroup_root",
        ),
        None => Finding::warning(subject, "not known", "mount proc on /proc"),
    }
}

fn lockdown(facts: &Facts) -> Finding {
    let subject = "lockdown";
    match facts.lockdown.as_deref() {
        Some(mode @ "confidentiality") => Finding::warning(
            subject,
            format!("{mode}: programs may not read kernel memory"),
            "boot with lockdown=integrity; until then programs that need it are not loaded",
        ),
        Some(mode) => Finding::ok(subject, mode),
        None => Finding::ok(subject, "not in effect, or not visible"),
    }
}

fn jit(facts: &Facts) -> Finding {
    let subject = "BPF JIT";
    match facts.bpf_jit {
        Some(0) => Finding::warning(
            subject,
            "off: programs are interpreted, several times slower",
            "sysctl net.core.bpf_jit_enable=1",
        ),
        // The sysctl is root's alone, and gone with CONFIG_BPF_JIT_ALWAYS_ON on some kernels.
        Some(_) => Finding::ok(subject, "on"),
        None => Finding::ok(subject, "not visible"),
    }
}

fn unprivileged(facts: &Facts) -> Finding {
    let subject = "unprivileged BPF";
    match facts.unprivileged_bpf_disabled {
        Some(0) => Finding::warning(
            subject,
            "allowed to every user",
            "sysctl kernel.unprivileged_bpf_disabled=2; the agent does not need it",
        ),
        Some(_) => Finding::ok(subject, "disabled"),
        None => Finding::ok(subject, "not visible"),
    }
}

fn memlock(facts: &Facts) -> Finding {
    let subject = "locked memory";
    let charged = facts
        .kernel()
        .is_some_and(|version| version < WITHOUT_MEMLOCK);
    let held = |capabilities: Capabilities| capabilities.has(CAP_SYS_RESOURCE);
    if charged && !facts.capabilities.is_none_or(held) {
        return Finding::warning(
            subject,
            "kernels before 5.11 charge maps to RLIMIT_MEMLOCK, which CAP_SYS_RESOURCE alone raises",
            "grant CAP_SYS_RESOURCE, or set LimitMEMLOCK=infinity in the unit",
        );
    }
    Finding::ok(
        subject,
        if charged {
            "the limit can be raised"
        } else {
            "not limited"
        },
    )
}

fn kernel_log(facts: &Facts) -> Finding {
    let subject = "kernel log";
    match &facts.kernel_log {
        Ok(()) => Finding::ok(subject, format!("{} can be read", log::PATH)),
        Err(error) if facts.nvidia => Finding::warning(
            subject,
            format!(
                "{}: {error}: Xid errors of GPUs are charged to no session",
                log::PATH
            ),
            "grant CAP_SYSLOG, and in a container the node's /dev/kmsg (a privileged one has it)",
        ),
        Err(_) => Finding::ok(subject, "not needed without NVIDIA's driver"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::preflight::{Cgroup2Mount, Status, exit_code, require};

    fn fit() -> Facts {
        Facts {
            kernel_release: "6.12.0".to_owned(),
            euid: Some(0),
            capabilities: Some(Capabilities(1 << 21)),
            btf_path: "/sys/kernel/btf/vmlinux".into(),
            btf: Ok(5 << 20),
            mounts: "/proc/self/mounts".into(),
            cgroup2: Ok(Cgroup2Mount {
                path: "/sys/fs/cgroup".into(),
                layout: CgroupLayout::Pure,
            }),
            bpf_jit: Some(1),
            unprivileged_bpf_disabled: Some(2),
            lockdown: None,
            initial_pid_namespace: Some(true),
            initial_cgroup_namespace: Some(true),
            sched_info: true,
            nvidia: true,
            kernel_log: Ok(()),
        }
    }

    fn warned(facts: &Facts) -> Vec<&'static str> {
        let findings = findings(facts);
        assert_eq!(exit_code(&findings), 0);
        assert!(require(facts).is_ok());
        let grave = findings
            .iter()
            .filter(|finding| finding.status != Status::Ok);
        grave.map(|finding| finding.subject).collect()
    }

    #[test]
    fn a_fit_node_has_nothing_to_remedy() {
        assert_eq!(warned(&fit()), Vec::<&str>::new());
        assert_eq!(
            require(&fit()).unwrap().path.to_str(),
            Some("/sys/fs/cgroup")
        );
    }

    #[test]
    fn bpf_and_perfmon_serve_instead_of_sys_admin() {
        let with = |bits| Facts {
            capabilities: Some(Capabilities(bits)),
            ..fit()
        };
        assert!(require(&with(1 << 38 | 1 << 39)).is_ok());
        let error = require(&with(1 << 39)).unwrap_err().to_string();
        assert!(
            error.starts_with("not privileged: CAP_PERFMON (or CAP_SYS_ADMIN) missing"),
            "{error}"
        );
        let error = require(&with(0)).unwrap_err().to_string();
        assert!(
            error.contains("CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN)"),
            "{error}"
        );
    }

    #[test]
    fn check_and_run_end_with_the_same_code() {
        let unprivileged = Facts {
            capabilities: Some(Capabilities(0)),
            ..fit()
        };
        let no_btf = Facts {
            btf: Err("No such file or directory".to_owned()),
            ..fit()
        };
        let no_cgroup2 = Facts {
            cgroup2: Err("none is mounted".to_owned()),
            ..fit()
        };
        let nothing = Facts {
            capabilities: unprivileged.capabilities,
            btf: no_btf.btf.clone(),
            cgroup2: no_cgroup2.cgroup2.clone(),
            ..fit()
        };
        for (facts, code) in [
            (unprivileged, 4),
            (no_btf, 5),
            (no_cgroup2, 6),
            (nothing, 4),
        ] {
            assert_eq!(require(&facts).unwrap_err().exit_code(), code);
            assert_eq!(exit_code(&findings(&facts)), code);
        }
    }

    #[test]
    fn what_only_limits_the_agent_is_a_warning() {
        let hybrid = Cgroup2Mount {
            path: "/x".into(),
            layout: CgroupLayout::Hybrid,
        };
        let old = Facts {
            kernel_release: "5.4.0".to_owned(),
            capabilities: Some(Capabilities(1 << 38 | 1 << 39)),
            ..fit()
        };
        for (facts, expected) in [
            (
                Facts {
                    cgroup2: Ok(hybrid),
                    ..fit()
                },
                vec!["cgroup v2"],
            ),
            (
                Facts {
                    initial_pid_namespace: Some(false),
                    ..fit()
                },
                vec!["pid namespace"],
            ),
            (
                Facts {
                    initial_cgroup_namespace: Some(false),
                    ..fit()
                },
                vec!["cgroup namespace"],
            ),
            (
                Facts {
                    lockdown: Some("confidentiality".into()),
                    ..fit()
                },
                vec!["lockdown"],
            ),
            (
                Facts {
                    lockdown: Some("integrity".into()),
                    ..fit()
                },
                vec![],
            ),
            (
                Facts {
                    bpf_jit: Some(0),
                    ..fit()
                },
                vec!["BPF JIT"],
            ),
            (
                Facts {
                    unprivileged_bpf_disabled: Some(0),
                    ..fit()
                },
                vec!["unprivileged BPF"],
            ),
            (
                Facts {
                    sched_info: false,
                    ..fit()
                },
                vec!["scheduler accounting"],
            ),
            (
                Facts {
                    kernel_log: Err("Operation not permitted".to_owned()),
                    ..fit()
                },
                vec!["kernel log"],
            ),
            (
                Facts {
                    nvidia: false,
                    kernel_log: Err("No such file or directory".to_owned()),
                    ..fit()
                },
                vec![],
            ),
            (old, vec!["kernel", "locked memory"]),
        ] {
            assert_eq!(warned(&facts), expected);
        }
    }
}
