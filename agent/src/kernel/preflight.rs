//! Whether this node is fit, before anything is loaded.
//!
//! Facts are gathered first and judged afterwards: `run` needs the first fatal judgement as an error,
//! `check` shows all of them with what to do, and tests judge facts that no machine at hand has. All
//! readers take a root directory, so that tests inject a tree.

use std::{
    fmt, fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    Settings,
    capabilities::{CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_RESOURCE, Capabilities},
    log,
};

mod finding;
mod findings;
mod mounts;
mod require;

pub use finding::{Finding, Status, exit_code, render_json, render_text};
pub use findings::findings;
pub use mounts::{Cgroup2Mount, CgroupLayout, find_cgroup2};
pub use require::{require, require_cgroup2};

/// `PROC_PID_INIT_INO`: the inode of the first pid namespace, the same on every kernel since 3.8.
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;
/// `PROC_CGROUP_INIT_INO`.
const INITIAL_CGROUP_NAMESPACE: u64 = 0xEFFF_FFFB;
/// The first bytes of raw BTF, as a little-endian and as a big-endian machine writes them.
const BTF_MAGIC: [[u8; 2]; 2] = [[0x9f, 0xeb], [0xeb, 0x9f]];
const MOUNTS: &str = "/proc/self/mounts";

/// The first two numbers of a kernel's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KernelVersion(pub(super) u32, pub(super) u32);

impl fmt::Display for KernelVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.0, self.1)
    }
}

impl KernelVersion {
    fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|character: char| !character.is_ascii_digit());
        Some(Self(
            numbers.next()?.parse().ok()?,
            numbers.next()?.parse().ok()?,
        ))
    }
}

/// What is known about the node. `None`, where it may be, is "cannot be told", which is no fault.
#[derive(Debug, Clone)]
pub struct Facts {
    /// `uname -r`, or `unknown`.
    pub kernel_release: String,
    /// The effective user id.
    pub euid: Option<u32>,
    /// The effective capabilities.
    pub capabilities: Option<Capabilities>,
    /// Where BTF was looked for.
    pub btf_path: PathBuf,
    /// Its size in bytes, or why it is not usable.
    pub btf: Result<u64, String>,
    /// The list of mounts that was read.
    pub mounts: PathBuf,
    /// The cgroup v2 hierarchy, or why there is none.
    pub cgroup2: Result<Cgroup2Mount, String>,
    /// `net.core.bpf_jit_enable`.
    pub bpf_jit: Option<u32>,
    /// `kernel.unprivileged_bpf_disabled`.
    pub unprivileged_bpf_disabled: Option<u32>,
    /// The lockdown mode: `none`, `integrity` or `confidentiality`.
    pub lockdown: Option<String>,
    /// Whether pids are those of the node.
    pub initial_pid_namespace: Option<bool>,
    /// Whether cgroup paths are those of the node.
    pub initial_cgroup_namespace: Option<bool>,
    /// Whether the kernel accounts run-queue waits (`CONFIG_SCHED_INFO`).
    pub sched_info: bool,
    /// Whether NVIDIA's driver is loaded.
    pub nvidia: bool,
    /// Whether the kernel's log may be read, or why not.
    pub kernel_log: Result<(), String>,
}

impl Facts {
    /// Reads them from the running system.
    pub fn gather(kernel: &Settings) -> Self {
        Self::gather_below(Path::new("/"), kernel)
    }

    /// Reads them from a tree that looks like the system's root.
    pub fn gather_below(root: &Path, kernel: &Settings) -> Self {
        let read = |path: &str| fs::read_to_string(below(root, Path::new(path))).ok();
        let number = |path: &str| read(path).and_then(|text| text.trim().parse().ok());
        let namespace = |kind: &str| {
            let path = format!("/proc/self/ns/{kind}");
            fs::metadata(below(root, Path::new(&path)))
                .ok()
                .map(|metadata| metadata.ino())
        };
        let status = read("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(
                line.strip_prefix(':')?
                    .split_ascii_whitespace()
                    .collect::<Vec<_>>(),
            )
        };
        Self {
            kernel_release: read("/proc/sys/kernel/osrelease")
                .map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned()),
            // Real, effective, saved, file system.
            euid: field("Uid").and_then(|ids| ids.get(1)?.parse().ok()),
            capabilities: field("CapEff")
                .and_then(|bits| u64::from_str_radix(bits.first()?, 16).ok())
                .map(Capabilities),
            btf_path: kernel.btf.clone(),
            btf: btf_size(&below(root, &kernel.btf)),
            mounts: PathBuf::from(MOUNTS),
            cgroup2: match fs::read(below(root, Path::new(MOUNTS))) {
                Ok(mounts) => mounts::choose(
                    &String::from_utf8_lossy(&mounts),
                    kernel.cgroup_root.as_deref(),
                ),
                Err(error) => Err(error.to_string()),
            },
            bpf_jit: number("/proc/sys/net/core/bpf_jit_enable"),
            unprivileged_bpf_disabled: number("/proc/sys/kernel/unprivileged_bpf_disabled"),
            lockdown: read("/sys/kernel/security/lockdown").and_then(|text| selected(&text)),
            initial_pid_namespace: namespace("pid").map(|inode| inode == INITIAL_PID_NAMESPACE),
            initial_cgroup_namespace: namespace("cgroup")
                .map(|inode| inode == INITIAL_CGROUP_NAMESPACE),
            sched_info: below(root, Path::new("/proc/self/schedstat")).exists(),
            nvidia: below(root, Path::new("/proc/driver/nvidia/version")).exists(),
            kernel_log: fs::File::open(below(root, Path::new(log::PATH)))
                .map(drop)
                .map_err(|error| error.to_string()),
        }
    }

    pub(super) fn kernel(&self) -> Option<KernelVersion> {
        KernelVersion::parse(&self.kernel_release)
    }
}

pub(super) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The size of the type information. The whole is read, because the size that sysfs states for it
/// is not what some kernels let be read.
fn btf_size(path: &Path) -> Result<u64, String> {
    let mut file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut magic = [0; 2];
    file.read_exact(&mut magic)
        .map_err(|error| error.to_string())?;
    if !BTF_MAGIC.contains(&magic) {
        return Err("it is no BTF (its first bytes are not 0xeb9f)".to_owned());
    }
    let rest = io::copy(&mut file, &mut io::sink()).map_err(|error| error.to_string())?;
    Ok(rest + magic.len() as u64)
}

/// The word in brackets, as sysfs marks the choice in effect.
fn selected(choices: &str) -> Option<String> {
    let (_, rest) = choices.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    fn gather(root: &Path) -> Facts {
        Facts::gather_below(root, &Settings::default())
    }

    #[test]
    fn facts_are_read_from_the_tree() {
        let root = tree(&[
            ("proc/sys/kernel/osrelease", b"6.1.0-18-amd64\n"),
            (
                "proc/self/status",
                b"Name:\tx\nUid:\t1000\t0\t0\t0\nCapEff:\t000000c000200000\n",
            ),
            ("proc/self/mounts", b"none /sys/fs/cgroup cgroup2 rw 0 0\n"),
            ("proc/self/schedstat", b"0 0 0\n"),
            ("proc/self/ns/pid", b""),
            ("proc/sys/net/core/bpf_jit_enable", b"1\n"),
            ("proc/sys/kernel/unprivileged_bpf_disabled", b"2\n"),
            (
                "sys/kernel/security/lockdown",
                b"none [integrity] confidentiality\n",
            ),
            ("sys/kernel/btf/vmlinux", b"\x9f\xeb\x01\x00rest"),
            ("proc/driver/nvidia/version", b"NVRM version: x\n"),
            ("dev/kmsg", b""),
        ]);
        let facts = gather(root.path());
        assert_eq!(facts.kernel(), Some(KernelVersion(6, 1)));
        assert_eq!(facts.euid, Some(0));
        let capabilities = facts.capabilities.unwrap();
        assert!(
            [CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN]
                .iter()
                .all(|one| capabilities.has(*one))
        );
        assert!(!capabilities.has(CAP_SYS_RESOURCE));
        assert_eq!(facts.btf, Ok(8));
        assert_eq!(facts.cgroup2.unwrap().layout, CgroupLayout::Pure);
        assert_eq!(
            (facts.bpf_jit, facts.unprivileged_bpf_disabled),
            (Some(1), Some(2))
        );
        assert_eq!(facts.lockdown.as_deref(), Some("integrity"));
        assert_eq!(facts.initial_pid_namespace, Some(false));
        assert_eq!(facts.initial_cgroup_namespace, None);
        assert!(facts.sched_info && facts.nvidia);
        assert_eq!(facts.kernel_log, Ok(()));
    }

    #[test]
    fn what_cannot_be_read_is_unknown_and_not_an_error() {
        let facts = gather(tree(&[]).path());
        assert_eq!(
            (facts.kernel(), facts.euid, facts.capabilities),
            (None, None, None)
        );
        assert_eq!((facts.bpf_jit, facts.lockdown.as_deref()), (None, None));
        assert!(facts.btf.is_err() && facts.cgroup2.is_err() && facts.kernel_log.is_err());
        assert!(!facts.sched_info && !facts.nvidia);
    }

    #[test]
    fn a_file_that_is_no_btf_is_refused() {
        let root = tree(&[("sys/kernel/btf/vmlinux", b"\x7fELF")]);
        assert!(gather(root.path()).btf.unwrap_err().contains("no BTF"));
    }

    #[test]
    fn releases_of_distributions_are_understood() {
        assert_eq!(
            KernelVersion::parse("5.10.0-28-cloud-amd64"),
            Some(KernelVersion(5, 10))
        );
        assert_eq!(KernelVersion::parse("7.2-rc3+"), Some(KernelVersion(7, 2)));
        assert_eq!(KernelVersion::parse("custom"), None);
        assert!(KernelVersion(5, 9) < KernelVersion(5, 10));
    }

    #[test]
    fn the_machine_at_hand_can_be_judged() {
        let facts = gather(Path::new("/"));
        assert!(facts.kernel().is_some() && facts.capabilities.is_some());
        assert!(!findings(&facts).is_empty());
    }
}
