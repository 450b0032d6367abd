//! What a process is doing, from its own files: whether it hangs, starves, was stopped, or waits for its memory.
//!
//! What it does at a moment says little of one that is runnable or waits: that is told by what it has done since it was
//! looked at before.
//!
//! Not from `/proc/PID/syscall`, which would name the system call: it waits for a lock that an `execve` holds while it
//! closes files (fs/proc/base.c, `lock_trace`), which on a file system that does not answer takes for ever.

use std::{fs, time::Duration};

use crate::named::named;

use super::sees_host_pids;

named! {
    /// What the first thread of a process does.
    pub enum ThreadState {
        /// It has work, and runs or waits for a CPU: one that does not read starves, or is busy with something else.
        Runnable = "runnable",
        /// It waits for something that may come at any time.
        Sleeping = "sleeping",
        /// It waits for a disk, a server or a driver, and no signal reaches it.
        Uninterruptible = "uninterruptible",
        /// Somebody has stopped it.
        Stopped = "stopped",
        /// It has ended, and its parent has not asked for it.
        Dead = "dead",
    }
}

impl ThreadState {
    /// By the letter of `/proc/PID/stat` (fs/proc/array.c, `task_state_array`).
    pub(super) fn of(letter: char) -> Self {
        match letter {
            'R' => Self::Runnable,
            'D' => Self::Uninterruptible,
            'T' | 't' => Self::Stopped,
            'Z' | 'X' => Self::Dead,
            // `I` is of kernel threads.
            _ => Self::Sleeping,
        }
    }
}

named! {
    /// Why a process does not do what it should.
    pub enum Why {
        /// Somebody has stopped it.
        Stopped = "stopped",
        /// It has ended, and its parent has not asked for it.
        Dead = "dead",
        /// Its memory is read from swap or from files again and again: the session or the node has too little.
        Paging = "paging",
        /// It has work, and mostly no CPU: others have it, or a limit.
        Starved = "starved",
        /// It has a CPU, and works at something else.
        Busy = "busy",
        /// It waits for something that does not come.
        Blocked = "blocked",
    }
}

/// Major faults a second from which on a process hangs for want of memory. One takes 0.1 to 10 ms of swap or of a disk; a
/// program that reads itself from a server for the first time has as many for a second and not for five.
const PAGING: f64 = 10.0;

/// What a process has had since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Page faults that waited for I/O, of all of its threads.
    major_faults: u64,
    /// Nanoseconds on a CPU and on a run queue, of its first thread; `None` from kernels that do not count them.
    ran_and_waited_ns: Option<[u64; 2]>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Command name.
    pub command: String,
    /// State of its first thread.
    pub state: ThreadState,
    /// The function of the kernel that it waits in; `None` when it does not wait, or the agent may not see it.
    pub waits_in: Option<String>,
    /// Bytes of its memory that are in swap.
    pub swapped_bytes: Option<u64>,
    /// For a later look.
    pub usage: Usage,
}

impl Standing {
    /// Of a process, by its id in the initial pid namespace; `None` when it is gone, or the agent sees other ids.
    pub fn of(process: u32) -> Option<Self> {
        if !sees_host_pids() {
            return None;
        }
        let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).ok();
        let (command, state, major_faults) = parsed(&read("stat")?)?;
        let waits_in = read("wchan").filter(|text| !matches!(text.trim(), "" | "0"));
        Some(Self {
            command,
            state,
            waits_in,
            swapped_bytes: read("status").as_deref().and_then(swapped),
            usage: Usage {
                major_faults,
                ran_and_waited_ns: read("schedstat").as_deref().and_then(ran_and_waited),
            },
        })
    }

    /// Why it does not go on, by what it has done since it was looked at so long ago; `None` where that is not known.
    pub fn why(&self, before: Option<&Self>, since: Duration) -> Option<Why> {
        match self.state {
            ThreadState::Stopped => return Some(Why::Stopped),
            ThreadState::Dead => return Some(Why::Dead),
            ThreadState::Runnable | ThreadState::Sleeping | ThreadState::Uninterruptible => {}
        }
        let before = before?.usage;
        // Another process has the number now.
        let faults = self.usage.major_faults.checked_sub(before.major_faults)?;
        if faults as f64 > PAGING * since.as_secs_f64() {
            return Some(Why::Paging);
        }
        let ([ran, waited], [ran_before, waited_before]) =
            (self.usage.ran_and_waited_ns?, before.ran_and_waited_ns?);
        let half = since.as_nanos() / 2;
        let ran = u128::from(ran.checked_sub(ran_before)?) >= half;
        // A wait that has not ended is not counted yet (kernel/sched/stats.h, `sched_info_arrive`).
        let waited = u128::from(waited.checked_sub(waited_before)?) >= half;
        Some(match (ran, waited) {
            (true, _) => Why::Busy,
            (false, true) => Why::Starved,
            (false, false) if self.state == ThreadState::Runnable => Why::Starved,
            (false, false) => Why::Blocked,
        })
    }

    /// In words, for people: the state, and what it waits in.
    pub fn words(&self) -> String {
        let state = self.state.name();
        self.waits_in.as_ref().map_or_else(
            || state.to_owned(),
            |name| format!("{state}, waits in {name}"),
        )
    }
}

/// Command, state and major faults of `/proc/PID/stat`: a command may have any characters, also parentheses
/// (fs/proc/array.c, `do_task_stat`).
fn parsed(stat: &str) -> Option<(String, ThreadState, u64)> {
    let (_, rest) = stat.split_once(" (")?;
    let (command, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = ThreadState::of(fields.next()?.chars().next()?);
    // ppid, pgrp, session, tty_nr, tpgid, flags, min_flt, cmin_flt, maj_flt.
    let major_faults = fields.nth(8)?.parse().ok()?;
    Some((command.to_owned(), state, major_faults))
}

/// `/proc/PID/schedstat`: on a CPU, on a run queue, slices (fs/proc/base.c, `proc_pid_schedstat`).
pub(super) fn ran_and_waited(schedstat: &str) -> Option<[u64; 2]> {
    let mut fields = schedstat.split(' ').map(str::parse);
    Some([fields.next()?.ok()?, fields.next()?.ok()?])
}

/// `VmSwap` of `/proc/PID/status` (`fs/proc/task_mmu.c`, `task_mem`), which a process that has ended does not have.
fn swapped(status: &str) -> Option<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix("VmSwap:"))?;
    let kib: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_may_look_like_the_end_of_itself() {
        let stat = "7 (a) R (b) D 1 7 7 0 -1 4194560 120 0 42 0 1 2";
        let expected = ("a) R (b".to_owned(), ThreadState::Uninterruptible, 42);
        assert_eq!(parsed(stat), Some(expected));
        assert_eq!(parsed("7 (a"), None);
    }

    #[test]
    fn what_other_files_say_is_read_by_its_place() {
        assert_eq!(ran_and_waited("12 34 5\n"), Some([12, 34]));
        assert_eq!(ran_and_waited("\n"), None);
        let status = "VmData:\t     8 kB\nVmSwap:\t    6748 kB\nThreads:\t1\n";
        assert_eq!(swapped(status), Some(6748 << 10));
        assert_eq!(swapped("State:\tZ (zombie)\n"), None);
    }

    #[test]
    fn why_is_what_was_done_since_the_look_before() {
        const SINCE: Duration = Duration::from_secs(5);
        let looked = |state, major_faults, ran_s: u64, waited_s: u64| Standing {
            command: "app".to_owned(),
            state,
            waits_in: None,
            swapped_bytes: None,
            usage: Usage {
                major_faults,
                ran_and_waited_ns: Some([ran_s, waited_s].map(|s| s * 1_000_000_000)),
            },
        };
        let before = looked(ThreadState::Sleeping, 100, 10, 10);
        for (state, faults, ran, waited, why) in [
            (ThreadState::Stopped, 100, 10, 10, Why::Stopped),
            (ThreadState::Dead, 100, 10, 10, Why::Dead),
            (ThreadState::Runnable, 151, 14, 10, Why::Paging),
            (ThreadState::Uninterruptible, 151, 10, 10, Why::Paging),
            (ThreadState::Runnable, 150, 14, 10, Why::Busy),
            (ThreadState::Sleeping, 150, 13, 12, Why::Busy),
            (ThreadState::Runnable, 100, 11, 14, Why::Starved),
            // It waits still.
            (ThreadState::Runnable, 100, 10, 10, Why::Starved),
            (ThreadState::Sleeping, 100, 11, 13, Why::Starved),
            (ThreadState::Sleeping, 100, 10, 10, Why::Blocked),
            (ThreadState::Uninterruptible, 100, 10, 10, Why::Blocked),
        ] {
            let now = looked(state, faults, ran, waited);
            assert_eq!(now.why(Some(&before), SINCE), Some(why), "{now:?}");
        }
        let another = looked(ThreadState::Runnable, 3, 0, 0);
        assert_eq!(another.why(Some(&before), SINCE), None);
        assert_eq!(another.why(None, SINCE), None);
    }

    #[test]
    fn a_process_sees_itself() {
        let own = Standing::of(std::process::id()).filter(|_| sees_host_pids());
        assert!(own.is_some() || !sees_host_pids());
        assert!(own.is_none_or(|own| own.state != ThreadState::Stopped));
    }
}
