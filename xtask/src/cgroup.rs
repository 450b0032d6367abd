//! Cgroups to demonstrate and to measure: one parent with a child per session, made and removed here.
//!
//! The agent recognises the sessions by these paths alone, exactly as it recognises pods and
//! desktops, so nothing in the agent knows of the demo or of a benchmark.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long processes may take to end by themselves, and cgroups to become removable after that.
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(20);

/// The parent cgroup; dropping it ends what runs inside and removes it.
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Makes the parent and its children, in place of what a killed run left.
    pub(crate) fn create<Name: AsRef<str>>(parent: &str, children: &[Name]) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
        let mount = unified_mount(&mounts).context(
            "no cgroup v2 file system is mounted; `mount -t cgroup2 none /sys/fs/cgroup/unified` \
             mounts one beside the v1 controllers",
        )?;
        let root = mount.join(parent);
        if root.exists() {
            let left = describe(&processes(&root)?);
            if !left.is_empty() {
                bail!(
                    "the cgroup {} of an earlier run still holds processes: {}. End them, or \
                     that run, and try again",
                    root.display(),
                    left.join(", ")
                );
            }
            remove(&root)?;
        }
        fs::create_dir(&root)
            .with_context(|| format!("cannot make the cgroup {}", root.display()))?;
        // From here on an error removes what has been made.
        let tree = Self { root };
        for child in children {
            tree.add(child.as_ref())?;
        }
        Ok(tree)
    }

    /// Makes one more child.
    pub(crate) fn add(&self, name: &str) -> Result<()> {
        let path = self.child(name);
        fs::create_dir(&path).with_context(|| format!("cannot make the cgroup {}", path.display()))
    }

    /// Removes a child whose processes have ended.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        remove(&self.child(name))
    }

    /// The path of a child.
    pub(crate) fn child(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Ends every process inside, politely first.
    fn end_processes(&self) -> Result<()> {
        let begin = Instant::now();
        let mut signal = Signal::SIGTERM;
        let mut signalled: Vec<i32> = Vec::new();
        loop {
            let present = processes(&self.root)?;
            if present.is_empty() {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE && signal == Signal::SIGTERM {
                signal = Signal::SIGKILL;
                signalled.clear();
            }
            if begin.elapsed() > 2 * PATIENCE {
                bail!(
                    "these processes do not end: {}",
                    describe(&present).join(", ")
                );
            }
            // Those that a workload forks while it ends are found in the next round.
            for pid in present
                .into_iter()
                .filter(|pid| !signalled.contains(pid))
                .collect::<Vec<_>>()
            {
                match kill(Pid::from_raw(pid), signal) {
                    Ok(()) | Err(Errno::ESRCH) => signalled.push(pid),
                    Err(error) => bail!("cannot end process {pid}: {error}"),
                }
            }
            thread::sleep(RETRY);
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if let Err(error) = self.end_processes().and_then(|()| remove(&self.root)) {
            eprintln!("warning: a cgroup is left behind: {error:#}");
        }
    }
}

/// The mount point of cgroup v2: `/sys/fs/cgroup`, or a folder below where v1 is mounted too.
fn unified_mount(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(point))
    })
}

/// The processes of a cgroup and of those below it.
fn processes(cgroup: &Path) -> Result<Vec<i32>> {
    let file = cgroup.join("cgroup.procs");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut found: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for child in children(cgroup)? {
        found.extend(processes(&child)?);
    }
    Ok(found)
}

fn children(cgroup: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = || format!("cannot read the cgroup {}", cgroup.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(cgroup).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    Ok(found)
}

/// Removes a cgroup and those below it; the kernel keeps one busy for a moment after its last
/// process has ended.
fn remove(cgroup: &Path) -> Result<()> {
    for child in children(cgroup)? {
        remove(&child)?;
    }
    let begin = Instant::now();
    loop {
        match fs::remove_dir(cgroup) {
            Ok(()) => return Ok(()),
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && begin.elapsed() < PATIENCE =>
            {
                thread::sleep(RETRY);
            }
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot remove the cgroup {}", cgroup.display()));
            }
        }
    }
}

/// `1234 (sleep)` for each process.
fn describe(pids: &[i32]) -> Vec<String> {
    pids.iter()
        .map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("{pid} ({})", name.trim_end())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::unified_mount;

    #[test]
    fn the_unified_mount_is_found_beside_v1_and_alone() {
        let hybrid = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
        assert_eq!(
            unified_mount(hybrid),
            Some(PathBuf::from("/sys/fs/cgroup/unified"))
        );
        let pure = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
        assert_eq!(unified_mount(pure), Some(PathBuf::from("/sys/fs/cgroup")));
        assert_eq!(unified_mount("proc /proc proc rw 0 0\n"), None);
    }
}
