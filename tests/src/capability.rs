//! What a machine must allow for a test to run at all.
//!
//! As root, and on CI (`CI=true`), a test always runs: what is missing there is a failure. Elsewhere a
//! developer without root can run the rest, and reads `skipped:` with the reason.
//!
//! There is one exception: what the machine's own kernel was built without, as a network that can delay
//! packets, or a driver. That is skipped on CI too, because the guests of `cargo xtask test --kernels` have
//! it: there (`SESSIONSCOPE_TEST_MATRIX=1`) nothing may be skipped.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use lab::command::{find_program, is_root};
use sessionscope::kernel::{allocation::Allocation, btf::Btf};

use crate::{cgroup, collector, logind, rdp, runtimes};

/// Whether programs can be loaded into this kernel and cgroups made; says why not.
pub fn kernel() -> bool {
    let root = is_root();
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

/// Whether this kernel has task storage that the agent can use; says that it has not.
pub fn task_storage() -> bool {
    let types = Btf::from_file(Path::new("/sys/kernel/btf/vmlinux")).expect("the kernel has BTF");
    let usable = Allocation::of(&types) != Allocation::Unusable;
    usable || say_skipped("this kernel has no task storage that the agent can use")
}

/// Whether the v2 hierarchy has a controller; where v1 has it, the guests of the matrix have it in v2.
pub fn controller(name: &str) -> bool {
    let mount = cgroup::v2_mount().expect("cgroup v2 is mounted");
    let controllers = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    if controllers.split_whitespace().any(|there| there == name) {
        return true;
    }
    skip_on_this_kernel(&format!("the {name} controller is not in cgroup v2"))
}

/// The module with the tracepoint of NVIDIA's driver (`tests/xid-module`), which is loaded into guests of
/// the matrix only.
pub fn xid_module() -> Option<PathBuf> {
    let module = env::var_os("SESSIONSCOPE_TEST_XID_MODULE").map(PathBuf::from);
    if module.is_none() {
        skip_on_this_kernel("the module of tests/xid-module is for guests of the kernel matrix");
    }
    module
}

/// A disk that is larger than the memory, which only a guest of the kernel matrix has that may be lost.
pub fn large_disk() -> Option<OsString> {
    let disk = env::var_os("SESSIONSCOPE_TEST_LARGE_DISK");
    if disk.is_none() {
        skip_on_this_kernel("a machine that runs out of memory is a guest of the kernel matrix");
    }
    disk
}

/// Whether there is a collector of traces; says that there is none.
pub fn collector() -> bool {
    collector::program().is_some()
        || skip("no collector of traces: `cargo xtask setup --for test` installs it")
}

/// Whether calls of the agent can be made to fail; says why not.
pub fn strace() -> bool {
    let there = find_program("strace").is_some();
    kernel() && (there || skip("no strace: `cargo xtask setup --for test` installs it"))
}

/// Whether there is a terminal that a test can look at; says why not.
pub fn tmux() -> bool {
    let there = find_program("tmux").is_some();
    there || skip("no tmux: `cargo xtask setup --for test` installs it")
}

/// Whether display servers and their applications are there; says why not.
pub fn displays() -> bool {
    let programs = ["Xtigervnc", "xterm", "weston", "weston-simple-shm"];
    let missing = programs.iter().find(|name| find_program(name).is_none());
    kernel()
        && missing.is_none_or(|name| {
            skip(&format!(
                "no {name}: `cargo xtask setup --for test` installs it"
            ))
        })
}

/// Whether an RDP server and a client can be started besides; says why not.
pub fn rdp() -> bool {
    let missing = if find_program("xrdp").is_none() {
        Some("xrdp")
    } else {
        rdp::client_program().is_none().then_some("xfreerdp")
    };
    displays()
        && missing.is_none_or(|name| {
            skip(&format!(
                "no {name}: `cargo xtask setup --for test` installs it"
            ))
        })
}

/// Whether systemd's logind can be started on a bus of the test's own; says why not.
pub fn logind() -> bool {
    if !is_root() {
        skip("not root")
    } else if find_program("dbus-daemon").is_none() {
        skip("dbus-daemon is not installed")
    } else if logind::program().is_none() {
        skip("systemd-logind is not installed")
    } else {
        true
    }
}

/// Whether Docker and Podman can be run apart from this machine's; says why not.
pub fn runtimes() -> bool {
    if !kernel() {
        return false;
    }
    match runtimes::root() {
        Ok(_) => true,
        Err(error) => skip(&format!("Docker and Podman cannot be fetched: {error:#}")),
    }
}

/// Says that a test is skipped because this machine's kernel was built without something. Panics in the
/// guests of the kernel matrix, which have everything. Always false.
pub fn skip_on_this_kernel(reason: &str) -> bool {
    assert!(
        env::var_os("SESSIONSCOPE_TEST_MATRIX").is_none(),
        "cannot run in the kernel matrix: {reason}"
    );
    say_skipped(reason)
}

/// Panics on CI; elsewhere says that the test is skipped, and why. Always false.
pub fn skip(reason: &str) -> bool {
    assert!(
        env::var_os("CI").is_none_or(|ci| ci != "true"),
        "cannot run on CI: {reason}"
    );
    say_skipped(reason)
}

fn say_skipped(reason: &str) -> bool {
    // Not `eprintln!`, which the test harness swallows when the test passes.
    let _closed = writeln!(io::stderr(), "skipped: {reason}");
    false
}
