//! The processes of a session, when somebody asks: what `/proc` has of those that are in its cgroups.
//!
//! Nothing of it is kept, and none of it is a series. Two looks are half a second apart, so that a process has the CPU time
//! that it took, and waited for, in between: of all of its threads, to the nanosecond, where `/proc/PID/stat` counts in
//! hundredths of a second.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use procfs::process::{Process, Stat};

use super::{
    accounts, sees_host_pids,
    standing::{ThreadState, ran_and_waited},
};
use crate::clock;

/// Between the two looks.
const APART: Duration = Duration::from_millis(500);
/// Cgroups, processes and threads that are looked at, at most: a session may have as many as it likes.
const MOST: Bounds = Bounds {
    cgroups: 1_000,
    processes: 1_000,
    threads: 4_000,
};

#[derive(Clone, Copy, Debug)]
struct Bounds {
    cgroups: usize,
    processes: usize,
    threads: usize,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Between the looks.
    pub over: Duration,
    /// Those that used the CPU most first.
    pub processes: Vec<ProcessFigures>,
    /// Processes, or the threads of some, that were not looked at: there are too many.
    pub is_cut: bool,
}

/// A process.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessFigures {
    /// Its id.
    pub pid: u32,
    /// Command name.
    pub command: String,
    /// State of its first thread.
    pub state: ThreadState,
    /// Threads.
    pub threads: u64,
    /// CPUs that it used; `None` of one that came or ended in between, and where the kernel does not count it.
    pub cpus: Option<f64>,
    /// Threads that waited for a CPU, on average; likewise.
    pub waiting: Option<f64>,
    /// CPU time since it began.
    pub cpu_time: Duration,
    /// Memory that is resident, bytes.
    pub resident_bytes: u64,
    /// When it began.
    pub began: Option<SystemTime>,
}

/// Looks at the processes of the session with these roots, and not at those below the roots of others.
///
/// `None` where the agent sees ids of another pid namespace. It takes half a second, and reads files: not for a thread that others wait for.
pub fn look(roots: &[PathBuf], of_others: &BTreeSet<PathBuf>) -> Option<Found> {
    if !sees_host_pids() {
        return None;
    }
    let (pids, is_cut) = pids(roots, of_others, MOST);
    let (before, some_left) = times(&pids, MOST.threads);
    let began = Instant::now();
    thread::sleep(APART);
    let (after, others_left) = times(&pids, MOST.threads);
    let over = began.elapsed();
    let mut processes: Vec<ProcessFigures> = pids
        .iter()
        .filter_map(|pid| {
            let stat = Process::new(i32::try_from(*pid).ok()?).ok()?.stat().ok()?;
            let share = |which: usize| {
                let [one, other] = [before.get(pid)?, after.get(pid)?].map(|times| times[which]);
                Some(other.checked_sub(one)? as f64 / over.as_nanos() as f64)
            };
            Some(figures(*pid, stat, [share(0), share(1)]))
        })
        .collect();
    let order = |one: &ProcessFigures| (one.cpus.unwrap_or(0.0), one.cpu_time);
    processes.sort_by(|a, b| {
        let ((a, a_all), (b, b_all)) = (order(a), order(b));
        b.total_cmp(&a).then(b_all.cmp(&a_all))
    });
    Some(Found {
        over,
        processes,
        is_cut: is_cut || some_left || others_left,
    })
}

fn figures(pid: u32, stat: Stat, [cpus, waiting]: [Option<f64>; 2]) -> ProcessFigures {
    let ticks = procfs::ticks_per_second();
    let cpu = (stat.utime + stat.stime) as f64 / ticks as f64;
    let began_ns = u128::from(stat.starttime) * 1_000_000_000 / u128::from(ticks);
    ProcessFigures {
        pid,
        command: stat.comm,
        state: ThreadState::of(stat.state),
        threads: u64::try_from(stat.num_threads).unwrap_or(0),
        cpus,
        waiting,
        cpu_time: Duration::from_secs_f64(cpu),
        resident_bytes: stat.rss * procfs::page_size(),
        began: u64::try_from(began_ns).ok().and_then(clock::wall_of_boot),
    }
}

/// Whoever is in the cgroups, and whether there are more.
fn pids(roots: &[PathBuf], of_others: &BTreeSet<PathBuf>, most: Bounds) -> (BTreeSet<u32>, bool) {
    let mut waiting: Vec<PathBuf> = roots.to_vec();
    let (mut pids, mut looked_at) = (BTreeSet::new(), 0);
    while let Some(directory) = waiting.pop() {
        if looked_at == most.cgroups {
            return (pids, true);
        }
        looked_at += 1;
        for pid in accounts::processes(&directory) {
            // One of another pid namespace is 0.
            if pid != 0 && pids.len() == most.processes {
                return (pids, true);
            }
            pids.extend(Some(pid).filter(|pid| *pid != 0));
        }
        let below = below(&directory).filter(|path| !of_others.contains(path));
        waiting.extend(below);
    }
    (pids, false)
}

fn below(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
}

/// Nanoseconds on a CPU and on a run queue of the threads of each process, and whether some were left out. One of which a
/// thread was is not there.
fn times(pids: &BTreeSet<u32>, mut most: usize) -> (BTreeMap<u32, [u64; 2]>, bool) {
    let mut all = BTreeMap::new();
    let mut some_left = false;
    for pid in pids {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        let mut sum = Some([0_u64; 2]);
        for thread in threads.flatten() {
            if most == 0 {
                (sum, some_left) = (None, true);
                break;
            }
            most -= 1;
            let text = fs::read_to_string(thread.path().join("schedstat"));
            // A thread that has just ended takes its times with it.
            let Some(times) = text.ok().as_deref().and_then(ran_and_waited) else {
                continue;
            };
            sum = sum.map(|[ran, waited]| [ran + times[0], waited + times[1]]);
        }
        all.extend(sum.map(|sum| (*pid, sum)));
    }
    (all, some_left)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cgroup as a folder, with processes.
    fn cgroup(path: &Path, processes: &str) {
        fs::create_dir_all(path).unwrap();
        fs::write(path.join("cgroup.procs"), processes).unwrap();
    }

    #[test]
    fn those_of_nested_sessions_are_not_looked_at_and_neither_are_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        cgroup(&at("pod"), "0\n3\n");
        cgroup(&at("pod/container"), "7\n9\n");
        cgroup(&at("pod/inner"), "11\n");
        cgroup(&at("second"), "13\n");
        let roots = [at("pod"), at("second")];
        let others = BTreeSet::from([at("pod/inner")]);
        let (found, is_cut) = pids(&roots, &others, MOST);
        assert_eq!((found, is_cut), (BTreeSet::from([3, 7, 9, 13]), false));
        for bounds in [
            Bounds {
                processes: 3,
                ..MOST
            },
            Bounds { cgroups: 1, ..MOST },
        ] {
            let (found, is_cut) = pids(&roots, &others, bounds);
            assert!(is_cut && found.len() <= 3, "{found:?}");
        }
    }

    #[test]
    fn the_threads_of_a_process_are_added_up_and_too_many_are_left_out() {
        let own = BTreeSet::from([std::process::id()]);
        let (before, _) = times(&own, MOST.threads);
        let spinner = thread::spawn(|| {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(50) {}
            thread::sleep(Duration::from_millis(200));
        });
        thread::sleep(Duration::from_millis(100));
        let (after, some_left) = times(&own, MOST.threads);
        spinner.join().unwrap();
        assert!(!some_left);
        // Where the kernel counts it.
        let pid = std::process::id();
        if before[&pid][0] > 0 {
            let ran = after[&pid][0] - before[&pid][0];
            assert!(ran > 1_000_000, "{ran}");
        }
        let (none, some_left) = times(&own, 0);
        assert!(none.is_empty() && some_left);
    }
}
