//! The kernel's own accounts of a cgroup, from the files of the v2 hierarchy: memory, throttling, pressure.
//!
//! A file is there when its controller is enabled for the cgroup; what is not there is not known. All
//! readers take the directory, so that tests inject a tree.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Containers of a session that are looked into for a CPU limit of their own.
const CONTAINERS: usize = 64;

/// What a cgroup's files say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CgroupAccounts {
    /// Memory; `None` without the memory controller.
    pub memory: Option<Memory>,
    /// Time in which its threads were not let run because a CPU limit was used up.
    pub throttled: Throttled,
    /// CPUs that the cgroup may use (`cpu.max`), its own limit or that of a cgroup above; `None` without a
    /// limit.
    pub cpu_limit: Option<f64>,
    /// Time lost for want of each resource; `None` where the kernel does not account it.
    pub pressure: Pressures,
    /// Whether the cgroup has the io controller, so that its block I/O is charged to it.
    pub has_io: bool,
}

/// Time in which threads were not let run because a CPU limit was used up, microseconds (`throttled_usec` of `cpu.stat`,
/// which counts for its own cgroup alone).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttled {
    /// A limit of the cgroup or of a container right below it; `None` without the cpu controller.
    pub own_us: Option<u64>,
    /// Limits of cgroups above, which others may share; `None` without the cpu controller there.
    pub above_us: Option<u64>,
    /// Whether a cgroup above has a limit now.
    pub is_limited_above: bool,
}

impl Throttled {
    /// By limits of cgroups above, where there is or was one.
    pub fn by_those_above(&self) -> Option<u64> {
        self.above_us.filter(|us| self.is_limited_above || *us > 0)
    }
}

/// Memory of a cgroup, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All that is charged to it.
    pub current: u64,
    /// Its limit, or that of a cgroup above if that is lower; `None` without one.
    pub limit: Option<u64>,
    /// Anonymous memory.
    pub anon: u64,
    /// Page cache.
    pub file: u64,
}

/// Pressure stall information (Documentation/accounting/psi.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressures {
    /// For want of a CPU.
    pub cpu: Option<Pressure>,
    /// For want of memory.
    pub memory: Option<Pressure>,
    /// For want of I/O.
    pub io: Option<Pressure>,
}

/// Time lost, microseconds since the cgroup was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// At least one thread waited.
    pub some_us: u64,
    /// All threads that had work waited; `None` where the kernel does not say (cpu, before 5.13).
    pub full_us: Option<u64>,
}

impl CgroupAccounts {
    /// Reads the files of the cgroup `directory`, below the hierarchy mounted at `mount`. `None` when the
    /// cgroup is gone.
    pub fn read(mount: &Path, directory: &Path) -> Option<Self> {
        let cpu_stat = text(directory, "cpu.stat")?;
        let above = || {
            directory
                .ancestors()
                .take_while(|ancestor| ancestor.starts_with(mount) && *ancestor != mount)
        };
        let memory = text(directory, "memory.current").map(|current| {
            let stat = text(directory, "memory.stat").unwrap_or_default();
            Memory {
                current: current.trim().parse().unwrap_or(0),
                limit: above().filter_map(memory_limit).min(),
                anon: field(&stat, "anon").unwrap_or(0),
                file: field(&stat, "file").unwrap_or(0),
            }
        });
        Some(Self {
            memory,
            throttled: Throttled {
                own_us: field(&cpu_stat, "throttled_usec").map(|own| {
                    own + containers(directory)
                        .filter_map(|c| throttled(&c))
                        .sum::<u64>()
                }),
                above_us: above().skip(1).filter_map(throttled).reduce(|a, b| a + b),
                is_limited_above: above().skip(1).any(|one| cpu_limit(one).is_some()),
            },
            cpu_limit: above().filter_map(cpu_limit).reduce(f64::min),
            pressure: Pressures {
                cpu: pressure(directory, "cpu.pressure"),
                memory: pressure(directory, "memory.pressure"),
                io: pressure(directory, "io.pressure"),
            },
            has_io: directory.join("io.stat").exists(),
        })
    }

    /// Of two cgroups of one session: what they use adds up, and the time lost is the larger of the two,
    /// because it may be the same time.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        let sum = |a: Option<u64>, b: Option<u64>| Some(a? + b?);
        let memory = |a: Option<Memory>, b: Option<Memory>| {
            let (a, b) = (a?, b?);
            Some(Memory {
                current: a.current + b.current,
                limit: sum(a.limit, b.limit),
                anon: a.anon + b.anon,
                file: a.file + b.file,
            })
        };
        Self {
            memory: memory(self.memory, other.memory),
            throttled: Throttled {
                own_us: sum(self.throttled.own_us, other.throttled.own_us),
                // They may have the same above them.
                above_us: self.throttled.above_us.max(other.throttled.above_us),
                is_limited_above: self.throttled.is_limited_above
                    || other.throttled.is_limited_above,
            },
            cpu_limit: self.cpu_limit.zip(other.cpu_limit).map(|(a, b)| a + b),
            pressure: self.pressure.each(other.pressure),
            has_io: self.has_io && other.has_io,
        }
    }

    /// The same with no counter below an earlier reading: a cgroup of the session may have gone.
    #[must_use]
    pub fn not_below(self, earlier: &Self) -> Self {
        Self {
            pressure: self.pressure.each(earlier.pressure),
            ..self
        }
    }
}

impl Pressures {
    /// The larger of each.
    fn each(self, other: Self) -> Self {
        let larger = |a: Option<Pressure>, b: Option<Pressure>| {
            let (a, b) = (a?, b.unwrap_or_default());
            Some(Pressure {
                some_us: a.some_us.max(b.some_us),
                full_us: a.full_us.max(b.full_us),
            })
        };
        Self {
            cpu: larger(self.cpu, other.cpu),
            memory: larger(self.memory, other.memory),
            io: larger(self.io, other.io),
        }
    }
}

/// CPU time that a cgroup and all below it have used since it was made, nanoseconds; every kernel that has the v2 hierarchy
/// counts it, whatever controllers there are (`cgroup_base_stat_cputime_show`, kernel/cgroup/rstat.c).
pub fn cpu_ns(directory: &Path) -> Option<u64> {
    Some(field(&text(directory, "cpu.stat")?, "usage_usec")? * 1000)
}

/// The processes of a cgroup, without those below it.
pub fn processes(directory: &Path) -> Vec<u32> {
    let text = text(directory, "cgroup.procs").unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn throttled(directory: &Path) -> Option<u64> {
    field(&text(directory, "cpu.stat")?, "throttled_usec")
}

/// The cgroups right below that may have a CPU limit of their own, as the containers of a pod do.
fn containers(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let controllers = text(directory, "cgroup.subtree_control").unwrap_or_default();
    let have_cpu = controllers.split_whitespace().any(|one| one == "cpu");
    let entries = have_cpu.then(|| fs::read_dir(directory).ok()).flatten();
    let below = entries.into_iter().flatten().flatten();
    below
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .take(CONTAINERS)
}

fn text(directory: &Path, file: &str) -> Option<String> {
    fs::read_to_string(directory.join(file)).ok()
}

/// A number of a flat keyed file.
fn field(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(name, _)| *name == key)?.1.trim().parse().ok()
}

fn memory_limit(directory: &Path) -> Option<u64> {
    // "max" is no number: no limit.
    text(directory, "memory.max")?.trim().parse().ok()
}

/// `cpu.max` is the time that may be used and the period, in microseconds, or "max" and the period.
fn cpu_limit(directory: &Path) -> Option<f64> {
    let text = text(directory, "cpu.max")?;
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    Some(quota / period)
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=7`, and the same for `full`.
fn pressure(directory: &Path, file: &str) -> Option<Pressure> {
    // Reading fails with EOPNOTSUPP where pressure is compiled in but off (psi=0).
    let text = text(directory, file)?;
    let total = |kind: &str| {
        let line = text.lines().find(|line| line.starts_with(kind))?;
        line.rsplit_once("total=")?.1.trim().parse().ok()
    };
    Some(Pressure {
        some_us: total("some")?,
        full_us: total("full"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hierarchy with the cgroup `pod/container`.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("pod/container")).unwrap();
        for (path, content) in files {
            fs::write(root.path().join(path), content).unwrap();
        }
        root
    }

    fn read(root: &tempfile::TempDir) -> Option<CgroupAccounts> {
        CgroupAccounts::read(root.path(), &root.path().join("pod/container"))
    }

    #[test]
    fn a_cgroup_with_all_controllers_is_read_in_full() {
        let psi = "some avg10=1.00 avg60=0.50 avg300=0.10 total=700\nfull avg10=0 avg60=0 avg300=0 total=30\n";
        let root = tree(&[
            (
                "pod/container/cpu.stat",
                "usage_usec 9\nthrottled_usec 42\n",
            ),
            ("pod/container/cpu.max", "max 100000\n"),
            ("pod/cpu.max", "150000 100000\n"),
            ("pod/cpu.stat", "usage_usec 9\nthrottled_usec 7\n"),
            ("pod/container/memory.current", "4096\n"),
            ("pod/container/memory.max", "1000000\n"),
            ("pod/memory.max", "900000\n"),
            (
                "pod/container/memory.stat",
                "anon 1000\nfile 2000\nanon_thp 5\n",
            ),
            ("pod/container/memory.pressure", psi),
            (
                "pod/container/cpu.pressure",
                "some avg10=0 avg60=0 avg300=0 total=5\n",
            ),
            ("pod/container/io.stat", ""),
        ]);
        let accounts = read(&root).unwrap();
        let memory = accounts.memory.unwrap();
        assert_eq!(
            (memory.current, memory.anon, memory.file),
            (4096, 1000, 2000)
        );
        assert_eq!(memory.limit, Some(900_000));
        let throttled = accounts.throttled;
        assert_eq!(throttled.own_us, Some(42));
        assert_eq!(throttled.by_those_above(), Some(7));
        assert_eq!(accounts.cpu_limit, Some(1.5));
        let Pressures { cpu, memory, io } = accounts.pressure;
        assert_eq!(
            memory,
            Some(Pressure {
                some_us: 700,
                full_us: Some(30)
            })
        );
        assert_eq!(
            cpu,
            Some(Pressure {
                some_us: 5,
                full_us: None
            })
        );
        assert_eq!(io, None);
        assert!(accounts.has_io);
    }

    #[test]
    fn limits_of_a_sessions_containers_are_its_own_and_those_above_are_not() {
        let root = tree(&[
            ("pod/cpu.stat", "throttled_usec 100\n"),
            ("pod/cgroup.subtree_control", "cpu memory\n"),
            ("pod/container/cpu.stat", "throttled_usec 20\n"),
            ("cpu.stat", "throttled_usec 5000\n"),
        ]);
        let pod = || CgroupAccounts::read(root.path(), &root.path().join("pod")).unwrap();
        let both = |throttled: Throttled| (throttled.own_us, throttled.by_those_above());
        assert_eq!(both(pod().throttled), (Some(120), None));
        let container = || both(read(&root).unwrap().throttled);
        // The pod has had a limit.
        assert_eq!(container(), (Some(20), Some(100)));
        fs::write(root.path().join("pod/cpu.stat"), "throttled_usec 0\n").unwrap();
        assert_eq!(container(), (Some(20), None));
        fs::write(root.path().join("pod/cpu.max"), "5000 100000\n").unwrap();
        assert_eq!(container(), (Some(20), Some(0)));
        // A session without the controller is held back by a limit above as well.
        fs::write(root.path().join("pod/container/cpu.stat"), "usage_usec 1\n").unwrap();
        assert_eq!(container(), (None, Some(0)));
        // Without the controller below, nobody looks for containers.
        fs::write(root.path().join("pod/cgroup.subtree_control"), "memory\n").unwrap();
        assert_eq!(both(pod().throttled), (Some(0), None));
    }

    #[test]
    fn without_controllers_nothing_is_known_and_nothing_is_zero() {
        let root = tree(&[("pod/container/cpu.stat", "usage_usec 9\n")]);
        assert_eq!(read(&root), Some(CgroupAccounts::default()));
    }

    #[test]
    fn a_cgroup_that_is_gone_has_no_accounts() {
        assert_eq!(read(&tree(&[])), None);
    }

    #[test]
    fn two_cgroups_add_up_and_counters_never_decrease() {
        let one = |current, throttled, some_us| CgroupAccounts {
            memory: Some(Memory {
                current,
                limit: Some(10),
                anon: 1,
                file: 2,
            }),
            throttled: Throttled {
                own_us: Some(throttled),
                above_us: Some(throttled),
                is_limited_above: true,
            },
            pressure: Pressures {
                io: Some(Pressure {
                    some_us,
                    full_us: Some(some_us),
                }),
                ..Pressures::default()
            },
            ..CgroupAccounts::default()
        };
        let both = one(5, 7, 100).with(one(6, 1, 40));
        let memory = both.memory.unwrap();
        assert_eq!((memory.current, memory.limit), (11, Some(20)));
        let throttled = |of: CgroupAccounts| (of.throttled.own_us, of.throttled.above_us);
        // What is above them may be the same.
        assert_eq!(throttled(both), (Some(8), Some(7)));
        assert_eq!(both.pressure.io.unwrap().some_us, 100);
        let later = one(5, 7, 90).not_below(&both);
        assert_eq!(later.pressure.io.unwrap().full_us, Some(100));
        assert_eq!(later.memory.unwrap().current, 5);
    }
}
