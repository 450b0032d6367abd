//! Resolves the layout of the running kernel, and proves it on the agent itself.

use crate::telemetry::log_event;
use std::{fs, os::unix::fs::MetadataExt, path::Path};

use agent_common::{
    layout::{ABSENT, Layout, Need},
    self_check::SelfCheck,
};

pub(super) use agent_common::layout::MEMBERS;

use super::btf::{Btf, BtfError};
use crate::error::Error;

/// The first cgroup namespace of all (`PROC_CGROUP_INIT_INO`, `include/linux/proc_ns.h`).
const INITIAL_NAMESPACE: &str = "cgroup:[4026531835]";

/// Looks every member up; a required one that is missing or ambiguous is an error.
pub fn resolve(btf: &Btf) -> Result<Layout, Error> {
    let mut layout = Layout::UNRESOLVED;
    for member in MEMBERS {
        let mut result = Err(BtfError::NoStructure(member.structure.to_owned()));
        for path in member.paths {
            result = btf.offset_of(member.structure, path);
            // Only a missing member sends us to its older name; anything else is the answer.
            if !matches!(result, Err(BtfError::NoMember { .. })) {
                break;
            }
        }
        match (result, member.need) {
            (Ok(offset), _) => (member.set)(&mut layout, offset),
            (Err(reason), Need::Optional) => {
                log_event!(MemberAbsent, member = member.field, %reason);
                (member.set)(&mut layout, ABSENT);
            }
            (Err(_), Need::Alternative) => (member.set)(&mut layout, ABSENT),
            (Err(reason), Need::Required) => {
                return Err(Error::Layout {
                    reason: format!("{}: {reason}", member.field),
                });
            }
        }
    }
    if layout.cgroup_ancestors == ABSENT && layout.cgroup_ancestor_ids == ABSENT {
        return Err(Error::Layout {
            reason: "cgroup has neither ancestors nor ancestor_ids".to_owned(),
        });
    }
    Ok(layout)
}

/// The kernel's own accounts of the calling thread, from `/proc`.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnAccounts {
    exec_runtime_ns: u64,
    run_delay_ns: u64,
    involuntary_switches: u64,
}

impl OwnAccounts {
    pub(super) fn read() -> Result<Self, Error> {
        let read = |path: &str| {
            fs::read_to_string(path).map_err(|e| Error::Layout {
                reason: format!("self-check cannot read {path}: {e}"),
            })
        };
        let schedstat = read("/proc/thread-self/schedstat")?;
        let mut fields = schedstat.split_whitespace().map(|f| f.parse().unwrap_or(0));
        let status = read("/proc/thread-self/status")?;
        let involuntary_switches = status
            .lines()
            .find_map(|l| l.strip_prefix("nonvoluntary_ctxt_switches:"))
            .and_then(|v| v.trim().parse().ok())
            .unwrap_or(0);
        Ok(Self {
            exec_runtime_ns: fields.next().unwrap_or(0),
            run_delay_ns: fields.next().unwrap_or(0),
            involuntary_switches,
        })
    }
}

/// Compares what the programs read of this thread with the helpers and with `/proc`. `before` and `after`
/// were read around the iterator's run.
pub(super) fn verify(
    check: &SelfCheck,
    before: OwnAccounts,
    after: OwnAccounts,
    cgroup_root: &Path,
) -> Result<(), Error> {
    let mut wrong = Vec::new();
    let mut expect = |what: &str, read: u64, low: u64, high: u64| {
        if !(low..=high).contains(&read) {
            let truth = if low == high {
                low.to_string()
            } else {
                format!("{low} to {high}")
            };
            wrong.push(format!("{what} reads {read}, the kernel says {truth}"));
        }
    };
    let same = |v: u32| (u64::from(v), u64::from(v));
    let (low, high) = same(check.helper_pid);
    expect("task_struct.pid", check.pid.into(), low, high);
    let (low, high) = same(check.helper_tgid);
    expect("task_struct.tgid", check.tgid.into(), low, high);
    expect(
        "cgroup id",
        check.cgroup_id,
        check.helper_cgroup_id,
        check.helper_cgroup_id,
    );
    expect("cgroup_root.hierarchy_id", check.hierarchy_id.into(), 0, 0);
    expect("signal_struct.live", check.live_threads.into(), 1, 4096);
    expect(
        "sched_info.run_delay",
        check.run_delay_ns,
        before.run_delay_ns,
        after.run_delay_ns,
    );
    expect(
        "se.sum_exec_runtime",
        check.exec_runtime_ns,
        before.exec_runtime_ns,
        after.exec_runtime_ns,
    );
    expect(
        "task_struct.nivcsw",
        check.involuntary_switches,
        before.involuntary_switches,
        after.involuntary_switches,
    );
    if let Some(inode) = own_cgroup_inode(cgroup_root) {
        expect("own cgroup", check.cgroup_id, inode, inode);
    }
    if check.stored == 0 {
        wrong.push("the store does not keep the state of a thread".to_owned());
    }
    // Up to the NUL: what follows is left over from a longer name, and some kernels clear it.
    let name = |comm: &[u8]| comm.split(|&b| b == 0).next().map(<[u8]>::to_vec);
    if name(&check.comm) != name(&check.helper_comm) {
        wrong.push("task_struct.comm differs from bpf_get_current_comm".to_owned());
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Error::Layout {
            reason: format!("self-check failed: {}", wrong.join("; ")),
        })
    }
}

/// Inode of the agent's cgroup directory; `None` inside a cgroup namespace, where paths mean nothing.
fn own_cgroup_inode(cgroup_root: &Path) -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|l| l.strip_prefix("0::/"))?;
    let namespace = |pid| fs::read_link(format!("/proc/{pid}/ns/cgroup")).ok();
    // The first process's may be hidden from an agent with few capabilities.
    let own = namespace("self")?;
    let is_outside = own.as_os_str() == INITIAL_NAMESPACE || namespace("1").as_ref() == Some(&own);
    if !is_outside || path.starts_with("..") {
        return None;
    }
    fs::metadata(cgroup_root.join(path)).ok().map(|m| m.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_of_the_running_kernel_resolves() {
        let Ok(btf) = Btf::from_file(Path::new("/sys/kernel/btf/vmlinux")) else {
            println!("skipped: this kernel has no BTF");
            return;
        };
        let layout = resolve(&btf).unwrap();
        for member in MEMBERS.iter().filter(|m| m.need == Need::Required) {
            assert_ne!((member.get)(&layout), ABSENT, "{}", member.field);
        }
    }

    #[test]
    fn a_wrong_offset_is_named() {
        let accounts = OwnAccounts {
            exec_runtime_ns: 5,
            run_delay_ns: 7,
            involuntary_switches: 1,
        };
        let good = SelfCheck {
            pid: 3,
            helper_pid: 3,
            tgid: 2,
            helper_tgid: 2,
            live_threads: 1,
            stored: 1,
            exec_runtime_ns: 5,
            run_delay_ns: 7,
            involuntary_switches: 1,
            ..SelfCheck::default()
        };
        let nowhere = Path::new("/nonexistent");
        assert!(verify(&good, accounts, accounts, nowhere).is_ok());
        let bad = SelfCheck {
            run_delay_ns: 12345,
            ..good
        };
        let error = verify(&bad, accounts, accounts, nowhere)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("sched_info.run_delay reads 12345"),
            "{error}"
        );
    }
}
