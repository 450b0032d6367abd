//! Which tests may be skipped in CI, exactly.
//!
//! A test that says `skipped:` has passed for its test program. Where everything must run, a skip that is
//! not in this list fails, and so does one more than there are: else a test that has lost what it needs
//! would go on passing for years.

use anyhow::{Result, ensure};

use super::program::Ended;

/// A skip that is right on a machine of CI.
struct Allowed {
    program: &'static str,
    /// What the reason begins with; the rest may be the kernel's own words.
    reason: &'static str,
    /// Tests that say so.
    at_most: usize,
}

const fn allowed(program: &'static str, reason: &'static str, at_most: usize) -> Allowed {
    Allowed {
        program,
        reason,
        at_most,
    }
}

/// Each is for what the machine's own kernel was built without, or is for a machine that may be lost: the
/// guests of `cargo xtask test --kernels` have it, and may skip nothing.
const ALLOWED: [Allowed; 11] = [
    allowed("block", "the io controller is not in cgroup v2", 3),
    allowed(
        "logon",
        "a machine that is booted for the test is a guest of the kernel matrix",
        1,
    ),
    allowed("limits", "the cpu controller is not in cgroup v2", 1),
    allowed("memory", "the cpu controller is not in cgroup v2", 2),
    allowed("memory", "the memory controller is not in cgroup v2", 1),
    allowed("memory", "the pids controller is not in cgroup v2", 1),
    allowed(
        "memory_pressure",
        "a machine that runs out of memory is a guest of the kernel matrix",
        4,
    ),
    allowed("netem", "no veth or netem:", 4),
    // A machine with the driver has `cargo xtask test --gpu` instead.
    allowed("nvml_real", "the driver of NVIDIA is loaded", 2),
    allowed(
        "truth",
        "this kernel has no task storage that the agent can use",
        1,
    ),
    allowed(
        "xid",
        "the module of tests/xid-module is for guests of the kernel matrix",
        3,
    ),
];

/// Fails for each skip that is not allowed.
pub(super) fn check(ended: &[Ended]) -> Result<()> {
    let wrong = not_allowed(ended);
    ensure!(
        wrong.is_empty(),
        "skipped, and not in the list of xtask/src/test/skips.rs: {}",
        wrong.join("; ")
    );
    Ok(())
}

fn not_allowed(ended: &[Ended]) -> Vec<String> {
    let of_program = |program: &Ended| {
        let mut left: Vec<(&str, usize)> = ALLOWED
            .iter()
            .filter(|allowed| allowed.program == program.name)
            .map(|allowed| (allowed.reason, allowed.at_most))
            .collect();
        let mut wrong = Vec::new();
        for reason in program.skips() {
            let place = left
                .iter_mut()
                .find(|(begin, count)| reason.starts_with(begin) && *count > 0);
            match place {
                Some((_, count)) => *count -= 1,
                None => wrong.push(format!("{}: {reason}", program.name)),
            }
        }
        wrong
    };
    ended.iter().flat_map(of_program).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ended(name: &str, skips: &[&str]) -> Ended {
        let lines = skips.iter().map(|reason| format!("skipped: {reason}\n"));
        Ended {
            name: name.to_owned(),
            output: lines.collect(),
            took: Duration::ZERO,
            status: None,
        }
    }

    #[test]
    fn only_the_skips_of_the_list_are_allowed_and_no_more_of_them() {
        let reason = "no veth or netem: No such file or directory (os error 2)";
        assert!(not_allowed(&[ended("netem", &[reason; 4])]).is_empty());
        assert_eq!(not_allowed(&[ended("netem", &[reason; 5])]).len(), 1);
        let elsewhere = not_allowed(&[ended("net", &[reason])]);
        assert_eq!(elsewhere, [format!("net: {reason}")]);
        assert_eq!(not_allowed(&[ended("netem", &["not root"])]).len(), 1);
    }
}
