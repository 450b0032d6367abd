//! Cgroups of tests and benchmarks: made here, and removed with everything in them.
//!
//! The agent recognises sessions by these paths alone, exactly as it recognises pods and desktops, so
//! nothing in the agent knows of a test, of the demo or of a benchmark.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::process::signal;

/// How long the kernel may keep a cgroup busy after its last process was killed.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);
/// Where the kernel lists what is mounted.
const MOUNTS: &str = "/proc/self/mounts";

/// Where cgroup v2 is mounted: alone, or in a folder beside the v1 controllers.
pub fn v2_mount() -> Option<PathBuf> {
    mount(&fs::read_to_string(MOUNTS).ok()?, "cgroup2", |_| true)
}

/// Where a v1 controller is mounted.
pub fn v1_mount(controller: &str) -> Option<PathBuf> {
    let has = |options: &str| options.split(',').any(|option| option == controller);
    mount(&fs::read_to_string(MOUNTS).ok()?, "cgroup", has)
}

/// The first mount of a kind of file system whose options are wanted.
fn mount(mounts: &str, kind: &str, wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, its_kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        (its_kind == kind && wanted(options)).then(|| point.into())
    })
}

/// Moves this process into a cgroup.
pub fn enter(cgroup: &Path) -> Result<()> {
    // 0 is whoever writes.
    write(&cgroup.join("cgroup.procs"), "0")
}

/// The CPU time of a cgroup and of those below it; version 2 counts it without any controller.
pub fn cpu_time(cgroup: &Path) -> Result<Duration> {
    let path = cgroup.join("cpu.stat");
    usage(&read(&path)?).with_context(|| format!("{} has no usage_usec", path.display()))
}

fn usage(stat: &str) -> Option<Duration> {
    let mut lines = stat.lines();
    let microseconds = lines.find_map(|line| line.strip_prefix("usage_usec "))?;
    Some(Duration::from_micros(microseconds.parse().ok()?))
}

/// A parent cgroup whose children are sessions. Dropping it kills what is in it and removes it with all
/// below.
#[derive(Debug)]
pub struct Tree {
    root: Cgroup,
}

impl Tree {
    /// Makes the parent and its children, in place of what a killed run left.
    pub fn create<Name: AsRef<str>>(parent: &str, children: &[Name]) -> Result<Self> {
        let mount = v2_mount().context(
            "no cgroup v2 file system is mounted; `mount -t cgroup2 none /sys/fs/cgroup/unified` \
             mounts one beside the v1 controllers",
        )?;
        let root = mount.join(parent);
        let left = describe(&processes(&root));
        if !left.is_empty() {
            bail!(
                "the cgroup {} of an earlier run still holds processes: {}. End them, or that run, and \
                 try again",
                root.display(),
                left.join(", ")
            );
        }
        clear(&root)?;
        // From here on an error removes what has been made.
        let tree = Self {
            root: Cgroup::make(root)?,
        };
        for child in children {
            tree.add(child.as_ref())?;
        }
        Ok(tree)
    }

    /// The parent.
    pub fn root(&self) -> &Cgroup {
        &self.root
    }

    /// Where a child is, made or not.
    pub fn path_of(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.path.join(name)
    }

    /// Makes one more child, which ends with the tree.
    pub fn add(&self, name: &str) -> Result<()> {
        let path = self.path_of(name);
        fs::create_dir(&path).with_context(|| format!("cannot make the cgroup {}", path.display()))
    }

    /// Removes a child before the tree is.
    pub fn remove(&self, name: &str) -> Result<()> {
        clear(&self.path_of(name))
    }
}

/// A cgroup. Dropping it kills what is in it and removes it with all below.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes it, and those above it that are missing.
    pub fn make(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path)
            .with_context(|| format!("cannot make the cgroup {}", path.display()))?;
        Ok(Self { path })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The processes in it and below.
    pub fn processes(&self) -> Vec<u32> {
        processes(&self.path)
    }

    /// The text of one of its files.
    pub fn read(&self, file: &str) -> Result<String> {
        read(&self.path.join(file))
    }

    /// Writes one of its files.
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        write(&self.path.join(file), text)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A panic here would hide the one that may be under way.
        if let Err(error) = clear(&self.path) {
            eprintln!("warning: a cgroup is left behind: {error:#}");
        }
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {text} to {}", path.display()))
}

/// Kills what is in a cgroup and below until all of it can be removed; one that is not there is no error.
fn clear(cgroup: &Path) -> Result<()> {
    let began = Instant::now();
    loop {
        for pid in processes(cgroup) {
            signal(pid, Signal::SIGKILL);
        }
        match remove(cgroup) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) if began.elapsed() < PATIENCE => thread::sleep(POLL),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot remove the cgroup {}", cgroup.display()));
            }
        }
    }
}

fn processes(cgroup: &Path) -> Vec<u32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let mut found: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for child in children(cgroup) {
        found.extend(processes(&child));
    }
    found
}

fn children(cgroup: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(cgroup) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn remove(cgroup: &Path) -> io::Result<()> {
    for child in children(cgroup) {
        remove(&child)?;
    }
    fs::remove_dir(cgroup)
}

/// `1234 (sleep)` for each process.
fn describe(pids: &[u32]) -> Vec<String> {
    pids.iter()
        .map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("{pid} ({})", name.trim_end())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use super::{mount, usage};

    #[test]
    fn the_unified_mount_is_found_beside_v1_and_alone() {
        let hybrid = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
        let unified = |mounts| mount(mounts, "cgroup2", |_| true);
        assert_eq!(
            unified(hybrid),
            Some(PathBuf::from("/sys/fs/cgroup/unified"))
        );
        let pure = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
        assert_eq!(unified(pure), Some(PathBuf::from("/sys/fs/cgroup")));
        assert_eq!(unified("proc /proc proc rw 0 0\n"), None);
        let controller = mount(hybrid, "cgroup", |options| options.contains("cpu"));
        assert_eq!(controller, Some(PathBuf::from("/sys/fs/cgroup/cpu")));
    }

    #[test]
    fn the_time_of_a_cgroup_is_its_usage() {
        let stat = "usage_usec 1500\nuser_usec 1000\n";
        assert_eq!(usage(stat), Some(Duration::from_micros(1500)));
        assert_eq!(usage("user_usec 1000\n"), None);
    }
}
