//! Where a session is in its life, and how that is decided.
//!
//! | phase | when |
//! |---|---|
//! | Terminating | its platform is ending it, or its processes have ended and its cgroup is still there |
//! | Pending | no process has been in it yet; or its platform has not started any of its own (a pod whose image is being pulled has a process that holds its namespaces) |
//! | Starting | it has processes and its platform says that it is starting; or sessions of its template listen, and it does not yet |
//! | Idle | its platform says so; or for `sessions.idle_after` no client has sent anything, no GPU was used and next to no CPU |
//! | Running | otherwise |

use std::time::{Duration, Instant};

use crate::{
    discover::platform::{Facts, PlatformPhase},
    named::named,
};

/// A session that does not listen after this long is not waited for any longer, whatever others of its
/// template did.
const STARTING_AT_MOST: Duration = Duration::from_mins(2);
/// CPUs that a session may use and still be idle: a desktop that nobody touches draws its clock and polls.
const IDLE_CPUS: f64 = 0.05;

named! {
    /// Where a session is in its life.
    #[derive(Default)]
    pub enum Phase {
        /// No process has been in it yet.
        #[default]
        Pending = "Pending",
        /// On its way to be used.
        Starting = "Starting",
        /// In use, or ready for it.
        Running = "Running",
        /// Nobody has used it for some time.
        Idle = "Idle",
        /// Ending.
        Terminating = "Terminating",
    }
}

/// What a session has done up to now, each of which only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Data that clients sent, bytes.
    pub inbound_bytes: u64,
    /// Use of the GPUs' engines.
    pub gpu_busy_ns: u64,
    /// CPU time, nanoseconds.
    pub cpu_ns: u64,
}

/// When a session was last used.
#[derive(Clone, Copy, Debug)]
pub struct Activity {
    used: Instant,
    /// Then, or at the last look.
    seen: Instant,
    work: Work,
}

impl Activity {
    /// A session that begins is in use.
    pub fn new(now: Instant) -> Self {
        Self {
            used: now,
            seen: now,
            work: Work::default(),
        }
    }

    /// Looks at what it has done since the last time.
    pub fn look(&mut self, work: Work, now: Instant) {
        let passed_ns = now.duration_since(self.seen).as_nanos() as f64;
        let cpu_ns = work.cpu_ns.saturating_sub(self.work.cpu_ns) as f64;
        let used = work.inbound_bytes > self.work.inbound_bytes
            || work.gpu_busy_ns > self.work.gpu_busy_ns
            || cpu_ns > passed_ns * IDLE_CPUS;
        if used {
            self.used = now;
        }
        (self.seen, self.work) = (now, work);
    }

    /// How long nobody has used it.
    pub fn idle_for(&self) -> Duration {
        self.seen.duration_since(self.used)
    }
}

/// What decides the phase.
#[derive(Clone, Copy, Debug)]
pub struct Signs<'a> {
    /// Processes alive; `None` where they are not counted.
    pub processes: Option<u64>,
    /// It has had a process.
    pub had_process: bool,
    /// One of its sockets listens or has listened.
    pub has_listened: bool,
    /// Others of its template listen.
    pub template_listens: bool,
    /// Since its cgroup was made, where the agent saw that.
    pub age: Option<Duration>,
    /// How long nobody has used it.
    pub idle_for: Duration,
    /// What its platform says.
    pub platform: Option<&'a Facts>,
}

/// The phase of a living session.
pub fn of(signs: &Signs<'_>, idle_after: Duration) -> Phase {
    let platform = signs.platform.and_then(|facts| facts.phase);
    let none_left = signs.processes == Some(0) && signs.had_process;
    if platform == Some(PlatformPhase::Terminating) || none_left {
        return Phase::Terminating;
    }
    let empty = !signs.had_process && signs.processes.is_none_or(|n| n == 0);
    if platform == Some(PlatformPhase::Pending) || empty {
        return Phase::Pending;
    }
    let awaits_listener = signs.template_listens
        && !signs.has_listened
        && signs.age.is_some_and(|age| age < STARTING_AT_MOST);
    match platform {
        Some(PlatformPhase::Starting) => return Phase::Starting,
        None if awaits_listener => return Phase::Starting,
        _ => {}
    }
    let told_idle = signs
        .platform
        .is_some_and(|facts| facts.idle_since.is_some());
    if told_idle || signs.idle_for >= idle_after {
        Phase::Idle
    } else {
        Phase::Running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE_AFTER: Duration = Duration::from_mins(15);

    fn signs() -> Signs<'static> {
        Signs {
            processes: Some(1),
            had_process: true,
            has_listened: false,
            template_listens: false,
            age: Some(Duration::from_secs(5)),
            idle_for: Duration::ZERO,
            platform: None,
        }
    }

    #[test]
    fn the_kernel_alone_knows_most_phases() {
        let phase = |signs| of(&signs, IDLE_AFTER);
        let empty = Signs {
            processes: Some(0),
            had_process: false,
            ..signs()
        };
        assert_eq!(phase(empty), Phase::Pending);
        assert_eq!(phase(signs()), Phase::Running);
        let listening_template = Signs {
            template_listens: true,
            ..signs()
        };
        assert_eq!(phase(listening_template), Phase::Starting);
        let listens = Signs {
            has_listened: true,
            ..listening_template
        };
        assert_eq!(phase(listens), Phase::Running);
        let long_waited = Signs {
            age: Some(STARTING_AT_MOST),
            ..listening_template
        };
        assert_eq!(phase(long_waited), Phase::Running);
        let untouched = Signs {
            idle_for: IDLE_AFTER,
            ..signs()
        };
        assert_eq!(phase(untouched), Phase::Idle);
        let emptied = Signs {
            processes: Some(0),
            ..signs()
        };
        assert_eq!(phase(emptied), Phase::Terminating);
    }

    #[test]
    fn what_the_platform_says_comes_before_what_is_guessed() {
        let told = |phase, idle_since| Facts {
            phase: Some(phase),
            idle_since,
            ..Facts::default()
        };
        let phase = |facts: &Facts| {
            let signs = Signs {
                platform: Some(facts),
                ..signs()
            };
            of(&signs, IDLE_AFTER)
        };
        assert_eq!(phase(&told(PlatformPhase::Pending, None)), Phase::Pending);
        assert_eq!(phase(&told(PlatformPhase::Starting, None)), Phase::Starting);
        assert_eq!(phase(&told(PlatformPhase::Running, None)), Phase::Running);
        let ending = told(PlatformPhase::Terminating, None);
        assert_eq!(phase(&ending), Phase::Terminating);
        let now = std::time::SystemTime::now();
        assert_eq!(phase(&told(PlatformPhase::Running, Some(now))), Phase::Idle);
    }

    #[test]
    fn a_client_a_gpu_or_a_busy_cpu_is_use_and_a_clock_that_ticks_is_not() {
        let start = Instant::now();
        let mut activity = Activity::new(start);
        let second = Duration::from_secs(1);
        let mut work = Work::default();
        for tick in 1..=60u32 {
            work.cpu_ns += 10_000_000;
            activity.look(work, start + second * tick);
        }
        assert_eq!(activity.idle_for(), second * 60);
        work.inbound_bytes += 1;
        activity.look(work, start + second * 61);
        assert_eq!(activity.idle_for(), Duration::ZERO);
        work.cpu_ns += 900_000_000;
        activity.look(work, start + second * 62);
        work.gpu_busy_ns += 1;
        activity.look(work, start + second * 63);
        assert_eq!(activity.idle_for(), Duration::ZERO);
    }
}
