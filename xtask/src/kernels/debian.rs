//! A Debian that a guest boots: systemd with its logind, and the programs by which somebody logs in.
//!
//! It is unpacked and never installed, so what packages' scripts would make is here: the links and the users. It has
//! no unit that no test asks for.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use debian_archive::{Archive as Packages, Selection, own_architecture};

use super::cpio::Archive;

/// The folder that becomes the guest's root.
pub(super) const ROOT: &str = "debian/";
/// Where its programs are.
pub(super) const PROGRAMS: &str = "debian/usr/bin/";

const INIT: &str = include_str!("init-debian.sh");

/// The suite whose C library is as new as that of the machines that the tests are built on.
const SUITE: &str = "trixie";
const PACKAGES: [&str; 10] = [
    "bash",
    "coreutils",
    "dbus",
    "libpam-systemd",
    "login",
    "mount",
    "openssh-client",
    "openssh-server",
    "systemd",
    "systemd-sysv",
];

/// What is not taken along: two thirds of it, which no program of the tests reads. Units that are wanted by others
/// are those of a machine with disks, a journal and a network.
const NOT_TAKEN: [&str; 9] = [
    "usr/bin/perl",
    "usr/lib/systemd/system/local-fs.target.wants",
    "usr/lib/systemd/system/multi-user.target.wants",
    "usr/lib/systemd/system/sockets.target.wants",
    "usr/lib/systemd/system/sysinit.target.wants",
    "usr/lib/systemd/system/timers.target.wants",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/x86_64-linux-gnu/perl-base",
    "var/lib/dpkg",
];
/// Of the folder `usr/share` this is taken: who may say what on the bus.
const SHARED: &str = "usr/share/dbus-1";

/// Files that no package has, and their contents.
const FILES: [(&str, &str); 6] = [
    (
        "etc/passwd",
        "root:x:0:0::/root:/bin/bash\n\
         messagebus:x:100:100::/:/bin/false\n\
         sshd:x:101:65534::/run/sshd:/bin/false\n\
         nobody:x:65534:65534::/:/bin/false\n",
    ),
    (
        "etc/group",
        "root:x:0:\ntty:x:5:\nutmp:x:43:\nmessagebus:x:100:\nnogroup:x:65534:\n",
    ),
    (
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nshadow: files\n",
    ),
    ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    (
        "etc/systemd/system/tests.target",
        "[Unit]\n\
         Description=What the tests need, and they\n\
         Wants=dbus.socket systemd-logind.service sys-kernel-tracing.mount tests.service\n",
    ),
    (
        "etc/systemd/system/tests.service",
        "[Unit]\n\
         Description=Tests\n\
         After=basic.target systemd-logind.service sys-kernel-tracing.mount\n\
         [Service]\n\
         Type=exec\n\
         ExecStart=/usr/bin/busybox sh /tests.sh\n\
         Environment=HOME=/tmp\n\
         StandardOutput=tty\n\
         StandardError=tty\n\
         TTYPath=/dev/console\n",
    ),
];

/// Where its packages are unpacked.
pub(super) fn unpack(work: &Path) -> Result<PathBuf> {
    let folder = work.join(format!("tools/{SUITE}"));
    if !folder.is_dir() {
        eprintln!("fetching a Debian to boot from {SUITE}");
        let selection = Selection {
            suite: SUITE,
            component: "main",
            architecture: &own_architecture()?,
        };
        Packages::open(&work.join("apt"), &selection)?
            .unpack_with_dependencies(&PACKAGES, &folder)?;
    }
    Ok(folder)
}

/// Adds it to what a guest boots into.
pub(super) fn add(archive: &mut Archive, files: &Path, busybox: &[u8]) -> Result<()> {
    let root = ROOT.trim_end_matches('/');
    let mut add = || -> io::Result<()> {
        archive.file("init", INIT.as_bytes())?;
        archive.tree(root, files, &is_taken)?;
        archive.file(&format!("{PROGRAMS}busybox"), busybox)?;
        archive.link(&format!("{PROGRAMS}sh"), "bash")?;
        archive.link(&format!("{ROOT}var/run"), "/run")?;
        // logind waits for graphics cards' drivers, which a guest has not.
        let unit = format!("{ROOT}etc/systemd/system/modprobe@drm.service");
        archive.link(&unit, "/dev/null")?;
        for (path, content) in FILES {
            archive.file_with(&format!("{ROOT}{path}"), 0o644, content.as_bytes())?;
        }
        Ok(())
    };
    add().with_context(|| format!("cannot pack {}", files.display()))
}

/// Whether a path of the packages goes into a guest.
fn is_taken(path: &str) -> bool {
    let is_in = |folder: &str| Path::new(path).starts_with(folder);
    let is_shared = is_in(SHARED) || Path::new(SHARED).starts_with(path);
    (is_shared || !is_in("usr/share")) && !NOT_TAKEN.into_iter().any(is_in)
}

#[cfg(test)]
mod tests {
    use super::is_taken;

    #[test]
    fn of_what_is_shared_the_bus_has_its_policies() {
        for path in [
            "usr",
            "usr/bin/bash",
            "usr/share",
            "usr/share/dbus-1/system.conf",
            "usr/lib/systemd/system/dbus.socket",
        ] {
            assert!(is_taken(path), "{path}");
        }
        for path in [
            "usr/bin/perl",
            "usr/share/doc",
            "usr/share/dbus-2",
            "var/lib/dpkg/status",
        ] {
            assert!(!is_taken(path), "{path}");
        }
    }
}
