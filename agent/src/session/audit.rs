//! The agent's figures against the kernel's own, of one session each second, in turn.
//!
//! The kernel adds up the CPU time of a cgroup by itself (`usage_usec` of `cpu.stat`), with nothing of the agent's in
//! between. What both have counted of a session between two looks must be the same. It is compared once the session has
//! used so much CPU time that the moment between the two readings does not matter, and what is shown is the worst of the
//! last comparisons of all sessions.

use std::collections::{BTreeMap, HashSet};

use crate::named::named;

/// A session has used so much CPU time when it is compared, nanoseconds. Between the readings of both sides are a
/// millisecond, and on an emulated machine twenty: less than half a percent of it.
const ENOUGH_NS: u64 = 5_000_000_000;

named! {
    /// What is compared.
    pub enum Account {
        /// CPU time, against `cpu.stat`.
        Cpu = "cpu",
    }
}

/// CPU time of a session since it began to be counted by each side, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTime {
    /// The agent's figure.
    pub agent_ns: u64,
    /// The kernel's.
    pub kernel_ns: u64,
}

impl CpuTime {
    /// By what part of the kernel's figure the agent's is off, of what came since; `None` while that is too little.
    fn discrepancy_since(self, earlier: Self) -> Option<f64> {
        let kernel = self.kernel_ns.checked_sub(earlier.kernel_ns)?;
        let agent = self.agent_ns.checked_sub(earlier.agent_ns)?;
        (kernel >= ENOUGH_NS).then(|| agent.abs_diff(kernel) as f64 / kernel as f64)
    }
}

/// What is known of one session.
#[derive(Clone, Copy, Debug)]
struct Looked {
    /// When it was compared last, or seen first.
    base: CpuTime,
    discrepancy: Option<f64>,
}

/// The comparisons.
#[derive(Debug, Default)]
pub struct Audit {
    /// By the serial of the session.
    looked: BTreeMap<u64, Looked>,
    /// Whose turn it was.
    last: u64,
}

impl Audit {
    /// Whose turn it is now, of the sessions that live; the others are forgotten.
    pub fn turn(&mut self, living: impl Iterator<Item = u64>) -> Option<u64> {
        let living: HashSet<u64> = living.collect();
        self.looked.retain(|serial, _| living.contains(serial));
        let after = living.iter().filter(|serial| **serial > self.last).min();
        let next = after.or(living.iter().min()).copied();
        self.last = next.unwrap_or_default();
        next
    }

    /// Takes what both sides say of a session; the discrepancy, if there was enough to compare.
    pub fn take(&mut self, serial: u64, now: CpuTime) -> Option<f64> {
        let first = Looked {
            base: now,
            discrepancy: None,
        };
        let looked = self.looked.entry(serial).or_insert(first);
        let discrepancy = now.discrepancy_since(looked.base)?;
        *looked = Looked {
            base: now,
            discrepancy: Some(discrepancy),
        };
        Some(discrepancy)
    }

    /// A session cannot be compared for now; the next time is a first one.
    pub fn forget(&mut self, serial: u64) {
        self.looked.remove(&serial);
    }

    /// The worst of the last comparisons; nothing before there was one.
    pub fn worst(&self) -> BTreeMap<Account, f64> {
        let all = self.looked.values().filter_map(|looked| looked.discrepancy);
        let worst = all.reduce(f64::max);
        worst.map(|cpu| (Account::Cpu, cpu)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENOUGH: u64 = ENOUGH_NS;

    fn time(agent_ns: u64, kernel_ns: u64) -> CpuTime {
        CpuTime {
            agent_ns,
            kernel_ns,
        }
    }

    #[test]
    fn an_error_of_five_percent_shows_at_the_second_look() {
        let mut audit = Audit::default();
        // It was there before the agent: what the kernel has counted until then is not compared.
        assert_eq!(audit.take(1, time(0, 90 * ENOUGH)), None);
        assert!(audit.worst().is_empty());
        let found = audit.take(1, time(105 * ENOUGH / 100, 91 * ENOUGH));
        assert!((found.unwrap() - 0.05).abs() < 1e-9);
        assert!((audit.worst()[&Account::Cpu] - 0.05).abs() < 1e-9);
        // It is mended, and another session is right.
        audit.take(1, time(205 * ENOUGH / 100, 92 * ENOUGH));
        audit.take(2, time(0, 0));
        audit.take(2, time(2 * ENOUGH, 2 * ENOUGH));
        assert!(audit.worst()[&Account::Cpu] < 1e-9);
    }

    #[test]
    fn what_is_too_little_is_added_up() {
        let mut audit = Audit::default();
        let steps = (0..=10).map(|tenth| audit.take(1, time(0, tenth * ENOUGH / 10)));
        let found: Vec<_> = steps.flatten().collect();
        assert_eq!(found, [1.0]);
    }

    #[test]
    fn every_session_has_its_turn_and_those_that_end_are_forgotten() {
        let mut audit = Audit::default();
        let turns: Vec<_> = (0..4).map(|_| audit.turn([3, 1, 2].into_iter())).collect();
        assert_eq!(turns, [Some(1), Some(2), Some(3), Some(1)]);
        audit.take(3, time(0, 0));
        audit.take(3, time(0, ENOUGH));
        assert_eq!(audit.worst().len(), 1);
        assert_eq!(audit.turn([1].into_iter()), Some(1));
        assert!(audit.worst().is_empty());
        assert_eq!(audit.turn([].into_iter()), None);
    }

    #[test]
    fn a_counter_that_went_back_is_not_compared() {
        let mut audit = Audit::default();
        audit.take(1, time(5, 5 * ENOUGH));
        assert_eq!(audit.take(1, time(9, ENOUGH)), None);
        audit.forget(1);
        assert_eq!(audit.take(1, time(0, ENOUGH)), None);
    }
}
