//! Cgroups of the tests' own, removed with everything in them.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::process::signal;

/// How long the kernel may keep a cgroup busy after its last process was killed.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// The name of trees, followed by the test's pid and a number.
const PREFIX: &str = "sessionscope-test";

/// Where cgroup v2 is mounted: alone, or beside the v1 controllers.
pub fn v2_mount() -> Option<PathBuf> {
    mounts()
        .into_iter()
        .find(|(_, kind, _)| kind == "cgroup2")
        .map(|(path, _, _)| path)
}

fn v1_mount(controller: &str) -> Option<PathBuf> {
    let has = |options: &str| options.split(',').any(|option| option == controller);
    mounts()
        .into_iter()
        .find(|(_, kind, options)| kind == "cgroup" && has(options))
        .map(|(path, _, _)| path)
}

/// Mount point, file system type and options of each mount.
fn mounts() -> Vec<(PathBuf, String, String)> {
    let text = fs::read_to_string("/proc/self/mounts").expect("/proc is mounted");
    let fields = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields
        .filter(|fields| fields.len() > 3)
        .map(|fields| (fields[1].into(), fields[2].to_owned(), fields[3].to_owned()))
        .collect()
}

/// A parent cgroup whose children are the sessions of one test. Dropping it kills what is in it and
/// removes it with all below.
#[derive(Debug)]
pub struct Tree {
    root: Cgroup,
}

impl Tree {
    /// An empty tree.
    pub fn new() -> Self {
        let mount = v2_mount().expect("cgroup v2 is mounted");
        Self {
            root: Cgroup::make(mount.join(unique_name())),
        }
    }

    /// Its path within the hierarchy, as rules see it.
    pub fn path(&self) -> String {
        let name = self.root.path.file_name().expect("a tree has a name");
        format!("/{}", name.to_string_lossy())
    }

    /// Makes a cgroup below, of any name; intermediate ones are made too.
    pub fn child(&self, name: impl AsRef<OsStr>) -> Cgroup {
        Cgroup::make(self.root.path.join(name.as_ref()))
    }

    /// Gives the children a controller of the v2 hierarchy.
    pub fn enable(&self, controller: &str) {
        self.root
            .write("cgroup.subtree_control", &format!("+{controller}"));
    }

    /// Limits the memory of what joins the returned cgroup: one of the v1 controller where that is
    /// mounted, else `session` itself.
    pub fn limit_memory(&self, session: &Cgroup, bytes: u64) -> Cgroup {
        if let Some(mount) = v1_mount("memory") {
            let limited = Cgroup::make(mount.join(unique_name()));
            limited.write("memory.limit_in_bytes", &bytes.to_string());
            return limited;
        }
        self.enable("memory");
        session.write("memory.max", &bytes.to_string());
        if session.path.join("memory.swap.max").exists() {
            session.write("memory.swap.max", "0");
        }
        Cgroup {
            path: session.path.clone(),
        }
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

fn unique_name() -> String {
    static TREES: AtomicU32 = AtomicU32::new(0);
    format!(
        "{PREFIX}-{}-{}",
        process::id(),
        TREES.fetch_add(1, Ordering::Relaxed)
    )
}

/// A cgroup. Dropping it kills what is in it and removes it with all below.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    fn make(path: PathBuf) -> Self {
        fs::create_dir_all(&path)
            .unwrap_or_else(|error| panic!("cannot make the cgroup {}: {error}", path.display()));
        Self { path }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves a process with all its threads into it.
    pub fn take(&self, pid: u32) {
        self.write("cgroup.procs", &pid.to_string());
    }

    /// The processes in it and below.
    pub fn processes(&self) -> Vec<u32> {
        processes(&self.path)
    }

    /// `usage_usec` of `cpu.stat`, which every v2 cgroup has, controller or not.
    pub fn cpu_usage(&self) -> Duration {
        let text = self.read("cpu.stat");
        let mut usage = text
            .lines()
            .filter_map(|line| line.strip_prefix("usage_usec "));
        let usage = usage.next().and_then(|usec| usec.parse().ok());
        Duration::from_micros(usage.expect("cpu.stat has usage_usec"))
    }

    /// Ends it now, with what is in it.
    pub fn remove(self) {
        drop(self);
    }

    /// The text of one of its files.
    pub fn read(&self, file: &str) -> String {
        let path = self.path.join(file);
        fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
    }

    /// Writes one of its files.
    pub fn write(&self, file: &str, text: &str) {
        let path = self.path.join(file);
        fs::write(&path, text)
            .unwrap_or_else(|error| panic!("cannot write {text} to {}: {error}", path.display()));
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let began = Instant::now();
        loop {
            for pid in processes(&self.path) {
                signal(pid, Signal::SIGKILL);
            }
            match remove(&self.path) {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return,
                Err(_) if began.elapsed() < PATIENCE => thread::sleep(POLL),
                // A panic here would hide the one that may be under way.
                Err(error) => {
                    eprintln!("cannot remove the cgroup {}: {error}", self.path.display());
                    return;
                }
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
