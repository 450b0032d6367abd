//! Process life-cycle counters per session.

/// A session's life-cycle counters; one copy for all CPUs, written with atomic additions because
/// forks and exits of one session happen on many CPUs and must not lose one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessStats {
    /// Processes started by fork, vfork or clone; threads are not counted.
    pub forks: u64,
    /// Successful execve calls.
    pub execs: u64,
    /// Processes that ended with status 0.
    pub exits_success: u64,
    /// Processes that ended with another status.
    pub exits_error: u64,
    /// Processes that a signal killed, the out-of-memory killer's excepted.
    pub exits_signal: u64,
    /// Processes that the out-of-memory killer killed.
    pub exits_oom_killed: u64,
    /// Threads made by a clone, the first ones of processes among them.
    pub threads_started: u64,
    /// Threads that ended.
    pub threads_ended: u64,
    /// Processes of one thread that came from another session, or from none.
    pub processes_entered: u64,
    /// Processes of one thread that went to another session, or to none.
    pub processes_left: u64,
    /// CPU time of threads that left the session without having been switched first, nanoseconds.
    pub moved_cpu_ns: u64,
    /// How the process that ended last did: its wait status with [`LAST_EXIT_KNOWN`] and perhaps
    /// [`LAST_EXIT_OOM_KILLED`]; 0 before the first. One word, so that it is never half of two.
    pub last_exit: u64,
}

const _: () = assert!(size_of::<ProcessStats>() == 12 * 8);

impl ProcessStats {
    fn ended(&self) -> u64 {
        self.exits_success + self.exits_error + self.exits_signal + self.exits_oom_killed
    }

    /// How often a process or a thread came or went; while it is the same, nobody did.
    pub fn changes(&self) -> u64 {
        let threads = self.threads_started + self.threads_ended;
        self.forks + self.ended() + threads + self.processes_entered + self.processes_left
    }

    /// Processes that came less those that went, as far as it was seen one by one; it wraps below 0.
    pub fn processes(&self) -> u64 {
        (self.forks + self.processes_entered).wrapping_sub(self.ended() + self.processes_left)
    }

    /// The same of threads.
    pub fn threads(&self) -> u64 {
        (self.threads_started + self.processes_entered)
            .wrapping_sub(self.threads_ended + self.processes_left)
    }
}

/// Set in [`ProcessStats::last_exit`] once a process has ended.
pub const LAST_EXIT_KNOWN: u64 = 1 << 63;
/// Set in [`ProcessStats::last_exit`] when the out-of-memory killer chose the process.
pub const LAST_EXIT_OOM_KILLED: u64 = 1 << 32;

/// Key of the set of multi-threaded processes whose end has been counted. Two threads can be the last
/// to exit at the same moment, and only one of them may count; the start time makes the key unique.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExitedProcess {
    /// Process id.
    pub pid: u64,
    /// Start of the process's first thread, nanoseconds since boot.
    pub start_ns: u64,
}

const _: () = assert!(size_of::<ExitedProcess>() == 16);

crate::pod!(ProcessStats, ExitedProcess);
