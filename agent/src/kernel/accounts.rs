//! The kernel's own accounts of a cgroup, from the files of the v2 hierarchy: memory, throttling, pressure, limits.
//!
//! A file is there when its controller is enabled for the cgroup; what is not there is not known. All
//! readers take the directory, so that tests inject a tree.
//!
//! A reading of a session reads a file once, which takes five system calls: with all controllers twelve files of its own
//! cgroup, `cpu.stat` of each container, and `cpu.stat`, `cpu.max`, `memory.max` and `pids.max` of each cgroup above.
//! `pids.events` comes on top where the session has a limit of processes.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Containers of a session that are looked into for a CPU limit of their own, and cgroups below one for refused forks.
const CONTAINERS: usize = 64;

/// What a cgroup's files say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CgroupAccounts {
    /// Memory; `None` without the memory controller.
    pub memory: Option<Memory>,
    /// How often it was at a limit of memory; `None` without the memory controller.
    pub memory_events: Option<MemoryEvents>,
    /// Time in which its threads were not let run because a CPU limit was used up.
    pub throttled: Throttled,
    /// Periods of its CPU limit and of those of its containers; `None` where there is and was no such limit.
    pub periods: Option<Periods>,
    /// CPUs that the cgroup may use (`cpu.max`), its own limit or that of a cgroup above; `None` without a
    /// limit.
    pub cpu_limit: Option<f64>,
    /// How many processes and threads it may have.
    pub processes: ProcessLimit,
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

/// Periods of CPU limits, each as long as `cpu.max` has it (`nr_periods` and `nr_throttled` of `cpu.stat`, which count for
/// their own cgroup alone, and only while it has a limit and something to run: `do_sched_cfs_period_timer`,
/// kernel/sched/fair.c).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Periods {
    /// All of them.
    pub all: u64,
    /// Those in which the limit was used up.
    pub throttled: u64,
}

/// A limit of processes, threads included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessLimit {
    /// As many as there may be (`pids.max`), by the cgroup's own limit or that of a cgroup above; `None` without one.
    pub most: Option<u64>,
    /// Forks that were refused; `None` where the cgroup has no limit of its own, or too many cgroups below it to ask each
    /// (before Linux 6.11).
    pub refused_forks: Option<u64>,
}

/// How often a cgroup, or one below it, was at a limit of memory (`memory.events`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    /// Its threads were throttled and made to reclaim, because it had more than `memory.high`.
    pub high: u64,
    /// It was about to have more than `memory.max`.
    pub max: u64,
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
    /// What of it is in swap, and not in `current`; `None` where the kernel does not account swap.
    pub swap: Option<u64>,
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
                limit: above().filter_map(|one| number(one, "memory.max")).min(),
                anon: field(&stat, "anon").unwrap_or(0),
                file: field(&stat, "file").unwrap_or(0),
                swap: number(directory, "memory.swap.current"),
            }
        });
        let limit = cpu_limit(directory);
        let limit_above = above().skip(1).filter_map(cpu_limit).reduce(f64::min);
        let own = CpuStat::of(&cpu_stat).map(|own| {
            let containers = below(directory, "cpu").take(CONTAINERS);
            let stats = containers.filter_map(|one| CpuStat::of(&text(&one, "cpu.stat")?));
            stats.fold(own, CpuStat::with)
        });
        // A container whose limit has not seen a period yet is not asked whether it has one: that would be another
        // file of each container.
        let is_limited = |periods: &Periods| limit.is_some() || periods.all > 0;
        Some(Self {
            memory,
            memory_events: memory.and_then(|_| MemoryEvents::read(directory)),
            throttled: Throttled {
                own_us: own.map(|own| own.throttled_us),
                above_us: above().skip(1).filter_map(throttled).reduce(|a, b| a + b),
                is_limited_above: limit_above.is_some(),
            },
            periods: own.and_then(|own| own.periods).filter(is_limited),
            cpu_limit: [limit, limit_above].into_iter().flatten().reduce(f64::min),
            processes: ProcessLimit::read(directory, above().skip(1)),
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
                swap: sum(a.swap, b.swap),
            })
        };
        let (events, others) = (self.memory_events, other.memory_events);
        let (processes, theirs) = (self.processes, other.processes);
        Self {
            memory: memory(self.memory, other.memory),
            memory_events: events.zip(others).map(|(a, b)| a.with(b)),
            throttled: Throttled {
                own_us: sum(self.throttled.own_us, other.throttled.own_us),
                // They may have the same above them.
                above_us: self.throttled.above_us.max(other.throttled.above_us),
                is_limited_above: self.throttled.is_limited_above
                    || other.throttled.is_limited_above,
            },
            periods: Periods::of_either(self.periods, other.periods),
            cpu_limit: self.cpu_limit.zip(other.cpu_limit).map(|(a, b)| a + b),
            processes: ProcessLimit {
                most: sum(processes.most, theirs.most),
                refused_forks: sum(processes.refused_forks, theirs.refused_forks),
            },
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

impl Periods {
    /// The sum of two; one without a limit has none.
    fn of_either(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let both = [one, other].into_iter().flatten();
        both.reduce(|a, b| Self {
            all: a.all + b.all,
            throttled: a.throttled + b.throttled,
        })
    }
}

impl MemoryEvents {
    /// Of a cgroup and of all below it, unless the hierarchy is mounted with `memory_localevents`.
    fn read(directory: &Path) -> Option<Self> {
        let events = text(directory, "memory.events")?;
        Some(Self {
            high: field(&events, "high")?,
            max: field(&events, "max")?,
        })
    }

    fn with(self, other: Self) -> Self {
        Self {
            high: self.high + other.high,
            max: self.max + other.max,
        }
    }
}

impl ProcessLimit {
    fn read<'a>(directory: &Path, above: impl Iterator<Item = &'a Path>) -> Self {
        let own = number(directory, "pids.max");
        let limits = above.filter_map(|one| number(one, "pids.max"));
        Self {
            most: limits.chain(own).min(),
            // Since 6.11 a cgroup is not told of forks that a limit above it refuses.
            refused_forks: own.and_then(|_| refused_forks(directory)),
        }
    }
}

/// What `cpu.stat` says of the limit of its cgroup.
#[derive(Clone, Copy)]
struct CpuStat {
    throttled_us: u64,
    periods: Option<Periods>,
}

impl CpuStat {
    /// `None` without the cpu controller.
    fn of(stat: &str) -> Option<Self> {
        let periods = field(stat, "nr_periods").zip(field(stat, "nr_throttled"));
        Some(Self {
            throttled_us: field(stat, "throttled_usec")?,
            periods: periods.map(|(all, throttled)| Periods { all, throttled }),
        })
    }

    fn with(self, other: Self) -> Self {
        Self {
            throttled_us: self.throttled_us + other.throttled_us,
            periods: Periods::of_either(self.periods, other.periods),
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

/// The cgroups right below that have a controller, as the containers of a pod do.
fn below(directory: &Path, controller: &str) -> impl Iterator<Item = PathBuf> {
    let controllers = text(directory, "cgroup.subtree_control").unwrap_or_default();
    let is_there = controllers.split_whitespace().any(|one| one == controller);
    let entries = is_there.then(|| fs::read_dir(directory).ok()).flatten();
    let below = entries.into_iter().flatten().flatten();
    below
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
}

/// Forks that were refused in a cgroup and below it. Since Linux 6.11, which has `pids.events.local`, the file counts those
/// that the cgroup's limit or one below it refused; before, those of the cgroup's own processes, whoever's limit it was
/// (`pids_event` and `pids_can_fork`, kernel/cgroup/pids.c), so that each cgroup below is asked, too. With the mount option
/// `pids_localevents` those below are missing.
fn refused_forks(directory: &Path) -> Option<u64> {
    let refused = |one: &Path| field(&text(one, "pids.events")?, "max");
    let mut sum = refused(directory)?;
    if directory.join("pids.events.local").exists() {
        return Some(sum);
    }
    let mut waiting: Vec<PathBuf> = below(directory, "pids").take(CONTAINERS + 1).collect();
    let mut asked = 0;
    while let Some(one) = waiting.pop() {
        asked += 1;
        if asked > CONTAINERS {
            return None;
        }
        // One that has just gone takes its own along.
        sum += refused(&one).unwrap_or(0);
        waiting.extend(below(&one, "pids").take(CONTAINERS + 1));
    }
    Some(sum)
}

fn text(directory: &Path, file: &str) -> Option<String> {
    fs::read_to_string(directory.join(file)).ok()
}

/// A number of a flat keyed file.
fn field(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(name, _)| *name == key)?.1.trim().parse().ok()
}

/// The number of a file with one; of a limit that is not set there is none, but "max".
fn number(directory: &Path, file: &str) -> Option<u64> {
    text(directory, file)?.trim().parse().ok()
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
mod tests;
