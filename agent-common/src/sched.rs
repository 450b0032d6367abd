//! What the scheduler program counts, per session and CPU.

use crate::histogram::Histogram;

/// Why a thread was taken from its CPU, and so what its next wait for one follows.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It blocked: the wait begins when it is woken, as that of a new thread does.
    Wakeup = 0,
    /// Something else got the CPU.
    Preemption = 1,
    /// It gave the CPU up itself (`sched_yield`).
    Yield,
    /// A limit of CPU time of its cgroup, or of one above, was used up.
    Throttle,
}

impl After {
    /// How many there are.
    pub const COUNT: usize = 4;
}

/// One CPU's share of a session's scheduler figures. Written only by `sched_switch` on that CPU with
/// the run-queue lock held, and by `settle_running` on it between two switches, so plain additions are exact.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedStats {
    /// Time a runnable thread waited for a CPU, one observation per slice on a CPU.
    pub runqueue_wait: Histogram,
    /// Time on a CPU, nanoseconds, up to each thread's last switch, and of those that run up to the last sample.
    pub cpu_ns: u64,
    /// Page faults that waited for I/O, up to each thread's last switch; one always ends in a switch.
    pub major_faults: u64,
    /// Switches because the thread blocked.
    pub voluntary_switches: u64,
    /// The waits of the histogram, nanoseconds, by [`After`]. What is known to have been for a limit is under `Throttle`,
    /// whatever it followed.
    pub waited_ns: [u64; After::COUNT],
    /// Switches because the thread yielded.
    pub yields: u64,
    /// Switches because a CPU limit was used up.
    pub throttles: u64,
    /// Switches in favour of a thread of the same session.
    pub preempted_by_self: u64,
    /// Switches in favour of a thread of another session.
    pub preempted_by_session: u64,
    /// Switches in favour of something that is not a session.
    pub preempted_by_system: u64,
}

const _: () = assert!(size_of::<SchedStats>() == size_of::<Histogram>() + 12 * 8);

impl SchedStats {
    /// Switches because the CPU went to somebody else who wanted it.
    pub fn preemptions(&self) -> u64 {
        self.preempted_by_self + self.preempted_by_session + self.preempted_by_system
    }

    /// What the kernel calls involuntary (`nivcsw`): all switches of threads that had not blocked.
    pub fn involuntary_switches(&self) -> u64 {
        self.preemptions() + self.yields + self.throttles
    }

    /// The waits that followed something, nanoseconds.
    pub fn waited_ns(&self, after: After) -> u64 {
        self.waited_ns[after as usize]
    }

    /// Adds another CPU's share.
    pub fn add(&mut self, other: &Self) {
        // No `..`: a new field that is not added up here does not compile.
        let Self {
            runqueue_wait,
            cpu_ns,
            major_faults,
            voluntary_switches,
            waited_ns,
            yields,
            throttles,
            preempted_by_self,
            preempted_by_session,
            preempted_by_system,
        } = other;
        self.runqueue_wait.add(runqueue_wait);
        self.cpu_ns = self.cpu_ns.wrapping_add(*cpu_ns);
        self.major_faults += major_faults;
        self.voluntary_switches += voluntary_switches;
        for (sum, share) in self.waited_ns.iter_mut().zip(waited_ns) {
            *sum += share;
        }
        self.yields += yields;
        self.throttles += throttles;
        self.preempted_by_self += preempted_by_self;
        self.preempted_by_session += preempted_by_session;
        self.preempted_by_system += preempted_by_system;
    }
}

/// Key of the map of preemptor pairs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PreemptionPair {
    /// Slot of the session that lost the CPU.
    pub victim: u32,
    /// Slot of the session that got it.
    pub preemptor: u32,
}

const _: () = assert!(size_of::<PreemptionPair>() == 8);

/// What a CPU is doing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnCpu {
    /// Address of the `task_struct` that was switched in last; 0 before the first switch.
    pub running: u64,
    /// That of the CPU's idle thread; 0 before it has been switched out.
    pub idle: u64,
}

const _: () = assert!(size_of::<OnCpu>() == 16);

impl OnCpu {
    /// Whether a thread may be running.
    pub fn is_busy(&self) -> bool {
        self.running == 0 || self.running != self.idle
    }
}

crate::pod!(SchedStats, PreemptionPair, OnCpu);
