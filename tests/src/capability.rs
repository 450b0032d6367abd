//! What a machine must allow for a test to run at all.
//!
//! As root, and on CI (`CI=true`), a test always runs: what is missing there is a failure. Elsewhere a
//! developer without root can run the rest, and reads `skipped:` with the reason.

use std::{
    env,
    io::{self, Write},
    path::Path,
};

use crate::cgroup;

/// Whether programs can be loaded into this kernel and cgroups made; says why not.
pub fn kernel() -> bool {
    let root = nix::unistd::geteuid().is_root();
    let missing = if !root {
        Some("not root")
    } else if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        Some("the kernel has no BTF")
    } else if cgroup::v2_mount().is_none() {
        Some("no cgroup v2 hierarchy is mounted")
    } else {
        None
    };
    match missing {
        None => true,
        Some(reason) if root => panic!("cannot run: {reason}"),
        Some(reason) => skip(reason),
    }
}

/// Panics on CI; elsewhere says that the test is skipped, and why. Always false.
pub fn skip(reason: &str) -> bool {
    assert!(
        env::var_os("CI").is_none_or(|ci| ci != "true"),
        "cannot run on CI: {reason}"
    );
    // Not `eprintln!`, which the test harness swallows when the test passes.
    let _closed = writeln!(io::stderr(), "skipped: {reason}");
    false
}
