//! Sessions of before: what the last ones that ended came to, and why they did. "Why did it die at 9:40?" has an answer
//! after its series are gone.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use agent_common::{
    net::INBOUND,
    process::{LAST_EXIT_KNOWN, ProcessStats},
};

use super::{
    findings::{self, Finding, LOOKED_AT},
    history::{Figure, History},
    model::{OomKill, Session, quantile},
};
use crate::{
    discover::{platform::EndReason, rules::Identity},
    telemetry::TraceId,
};

/// So many are kept: enough for a day of a node, and bounded whoever makes them.
const MOST: usize = 200;
/// More steps than a history has.
const ALL: usize = usize::MAX;

/// One that has ended.
#[derive(Clone, Debug)]
pub struct Past {
    /// What it was called.
    pub identity: Identity,
    /// Its id.
    pub id: TraceId,
    /// Path of its first cgroup.
    pub cgroup: String,
    /// When it began.
    pub started: Option<SystemTime>,
    /// When its last cgroup went.
    pub ended: SystemTime,
    /// How long it was.
    pub lasted: Option<Duration>,
    /// How it ended.
    pub reason: EndReason,
    /// What the last of its processes to end did; `None` where that is not known.
    pub last_exit: Option<LastExit>,
    /// The Xid error after which one of its processes failed.
    pub gpu_fault: Option<u32>,
    /// The last process that the out-of-memory killer killed.
    pub last_oom_kill: Option<OomKill>,
    /// CPU time, nanoseconds.
    pub cpu_ns: u64,
    /// Median and 99 of 100 of its waits for a CPU, seconds.
    pub runqueue_wait: [Option<f64>; 2],
    /// Time in which its own CPU limit did not let it run, microseconds.
    pub throttled_us: Option<u64>,
    /// Data bytes of TCP, sent and received.
    pub tcp_bytes: Option<[u64; 2]>,
    /// Median and 95 of 100 of its clients' round trips, seconds.
    pub round_trip: [Option<f64>; 2],
    /// The most memory that a step of its history has, bytes.
    pub memory: Option<f64>,
    /// How its processes began and ended.
    pub process: ProcessStats,
    /// What held it back in its last minute and its last hour; `None` without a history.
    pub findings: Option<[Vec<Finding>; 2]>,
}

/// What a process returned, or what killed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastExit {
    /// It returned this.
    Status(u8),
    /// This signal killed it.
    Signal(u8),
}

impl LastExit {
    /// Of [`agent_common::process::ProcessStats::last_exit`].
    fn of(last: u64) -> Option<Self> {
        let (signal, status) = ((last & 0x7f) as u8, (last >> 8) as u8);
        let exit = if signal == 0 {
            Self::Status(status)
        } else {
            Self::Signal(signal)
        };
        (last & LAST_EXIT_KNOWN != 0).then_some(exit)
    }
}

impl Past {
    /// Of a session that has been read for the last time.
    pub fn of(
        session: &Session,
        reason: EndReason,
        ago: Duration,
        lasted: Option<Duration>,
    ) -> Self {
        let counts = &session.counts;
        let waits = &counts.sched.runqueue_wait;
        let net = counts.net.as_ref();
        let history = session.history.as_deref();
        let now = SystemTime::now();
        Self {
            identity: session.identity.clone(),
            id: session.id,
            cgroup: session.cgroup.clone(),
            started: session.began(),
            ended: now.checked_sub(ago).unwrap_or(now),
            lasted,
            reason,
            last_exit: LastExit::of(counts.process.last_exit),
            gpu_fault: session.gpu_fault,
            last_oom_kill: counts.last_oom_kill.clone(),
            cpu_ns: counts.cpu_ns,
            runqueue_wait: [0.5, 0.99].map(|q| quantile(waits, q)),
            throttled_us: counts.accounts.as_ref().and_then(|a| a.throttled.own_us),
            tcp_bytes: net.map(|net| {
                let traffic = net.tcp_traffic();
                [traffic.sent_bytes, traffic.received_bytes]
            }),
            round_trip: [0.5, 0.95].map(|q| quantile(&net?.tcp[INBOUND].rtt, q)),
            memory: history.and_then(most_memory),
            process: counts.process,
            findings: history.map(|h| h.last(LOOKED_AT).map(|steps| findings::conclude(&steps))),
        }
    }
}

fn most_memory(history: &History) -> Option<f64> {
    let steps = history.last(ALL);
    let values = steps.iter().flatten().filter_map(|s| s.get(Figure::Memory));
    values.max_by(f64::total_cmp)
}

/// The last ones, the latest last.
#[derive(Clone, Debug, Default)]
pub struct Pasts(Arc<VecDeque<Arc<Past>>>);

impl Pasts {
    /// Takes one more, and forgets the oldest beyond those that are kept.
    pub fn push(&mut self, past: Past) {
        let all = Arc::make_mut(&mut self.0);
        if all.len() == MOST {
            all.pop_front();
        }
        all.push_back(Arc::new(past));
    }

    /// The latest first.
    pub fn latest_first(&self) -> impl Iterator<Item = &Past> {
        self.0.iter().rev().map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_exit_is_a_status_or_a_signal_or_not_known() {
        assert_eq!(LastExit::of(0), None);
        let known = LAST_EXIT_KNOWN;
        assert_eq!(LastExit::of(known), Some(LastExit::Status(0)));
        assert_eq!(LastExit::of(known | 3 << 8), Some(LastExit::Status(3)));
        // With a core dump.
        assert_eq!(LastExit::of(known | 0x8b), Some(LastExit::Signal(11)));
    }
}
