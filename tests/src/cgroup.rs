//! Cgroups of the tests' own, as [`lab::cgroup`] makes and removes them; what fails is a panic.

use std::{
    ffi::OsStr,
    path::Path,
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

pub use lab::cgroup::v2_mount;
use lab::cgroup::{cpu_time, v1_mount};

/// The name of trees, followed by the test's pid and a number. They are slices, below which the built-in rules
/// look for containers and pods.
const PREFIX: &str = "sessionscope-test";

fn unwrap<T>(result: anyhow::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error:#}"))
}

/// A parent cgroup whose children are the sessions of one test. Dropping it kills what is in it and
/// removes it with all below.
#[derive(Debug)]
pub struct Tree(lab::cgroup::Tree);

impl Tree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::called(PREFIX)
    }

    /// One with another name before the test's pid, which rules may go by.
    pub fn called(prefix: &str) -> Self {
        let name = unique_name(prefix);
        Self(unwrap(lab::cgroup::Tree::create::<&str>(&name, &[])))
    }

    /// Its path within the hierarchy, as rules see it.
    pub fn path(&self) -> String {
        let name = self.0.root().path().file_name();
        format!("/{}", name.expect("a tree has a name").to_string_lossy())
    }

    /// Makes a cgroup below, of any name; intermediate ones are made too.
    pub fn child(&self, name: impl AsRef<OsStr>) -> Cgroup {
        Cgroup::make(&self.0.path_of(name.as_ref()))
    }

    /// The text of a file of its own.
    pub fn read(&self, file: &str) -> String {
        unwrap(self.0.root().read(file))
    }

    /// Writes a file of its own.
    pub fn write(&self, file: &str, text: &str) {
        unwrap(self.0.root().write(file, text));
    }

    /// Gives the children a controller of the v2 hierarchy.
    pub fn enable(&self, controller: &str) {
        self.write("cgroup.subtree_control", &format!("+{controller}"));
    }

    /// Limits the memory of what joins the returned cgroup: one of the v1 controller where that is
    /// mounted, else `session` itself. None of it is swapped out.
    pub fn limit_memory(&self, session: &Cgroup, bytes: u64) -> Cgroup {
        let limited = self.limit_resident(session, bytes);
        for file in ["memory.swap.max", "memory.swappiness"] {
            if limited.path().join(file).exists() {
                limited.write(file, "0");
            }
        }
        limited
    }

    /// Likewise, and what is over the limit goes to the machine's swap.
    pub fn limit_resident(&self, session: &Cgroup, bytes: u64) -> Cgroup {
        if let Some(mount) = v1_mount("memory") {
            let limited = Cgroup::make(&mount.join(unique_name(PREFIX)));
            limited.write("memory.limit_in_bytes", &bytes.to_string());
            return limited;
        }
        self.enable("memory");
        // It may be a part of a session whose processes are all in parts.
        let above = session.path().parent();
        if let Some(above) = above.filter(|above| *above != self.0.root().path()) {
            Cgroup::make(above).write("cgroup.subtree_control", "+memory");
        }
        session.write("memory.max", &bytes.to_string());
        Cgroup::make(session.path())
    }

    /// Limits the CPU time of what joins the returned cgroup to a part of one CPU, likewise. Each period is one of
    /// 20 ms.
    pub fn limit_cpu(&self, session: &Cgroup, part: f64) -> Cgroup {
        const PERIOD_US: u64 = 20_000;
        let quota_us = (part * PERIOD_US as f64) as u64;
        if let Some(mount) = v1_mount("cpu") {
            let limited = Cgroup::make(&mount.join(unique_name(PREFIX)));
            limited.write("cpu.cfs_period_us", &PERIOD_US.to_string());
            limited.write("cpu.cfs_quota_us", &quota_us.to_string());
            return limited;
        }
        self.enable("cpu");
        session.write("cpu.max", &format!("{quota_us} {PERIOD_US}"));
        Cgroup::make(session.path())
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

fn unique_name(prefix: &str) -> String {
    static TREES: AtomicU32 = AtomicU32::new(0);
    format!(
        "{prefix}-{}-{}.slice",
        process::id(),
        TREES.fetch_add(1, Ordering::Relaxed)
    )
}

/// A cgroup. Dropping it kills what is in it and removes it with all below.
#[derive(Debug)]
pub struct Cgroup(lab::cgroup::Cgroup);

impl Cgroup {
    fn make(path: &Path) -> Self {
        Self(unwrap(lab::cgroup::Cgroup::make(path.to_owned())))
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Moves a process with all its threads into it.
    pub fn take(&self, pid: u32) {
        self.write("cgroup.procs", &pid.to_string());
    }

    /// The processes in it and below.
    pub fn processes(&self) -> Vec<u32> {
        self.0.processes()
    }

    /// The CPU time of what is and was in it.
    pub fn cpu_usage(&self) -> Duration {
        unwrap(cpu_time(self.path()))
    }

    /// How often its CPU limit was used up, and the time for which it was not let run then; of one that
    /// [`Tree::limit_cpu`] returned.
    pub fn throttled(&self) -> (u64, Duration) {
        let stat = self.read("cpu.stat");
        let field = |name: &str| -> Option<u64> {
            let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
            lines.find(|(key, _)| *key == name)?.1.parse().ok()
        };
        let time = match (field("throttled_usec"), field("throttled_time")) {
            (Some(us), _) => Duration::from_micros(us),
            // Of version 1, nanoseconds.
            (None, Some(ns)) => Duration::from_nanos(ns),
            (None, None) => panic!("cpu.stat has no throttled time: {stat}"),
        };
        (field("nr_throttled").expect("it counts them"), time)
    }

    /// Ends it now, with what is in it.
    pub fn remove(self) {
        drop(self);
    }

    /// The text of one of its files.
    pub fn read(&self, file: &str) -> String {
        unwrap(self.0.read(file))
    }

    /// Writes one of its files.
    pub fn write(&self, file: &str, text: &str) {
        unwrap(self.0.write(file, text));
    }
}
