//! The agent's figures against the kernel's own, of one session each second, in turn.
//!
//! The kernel adds up the CPU time of a cgroup by itself (`usage_usec` of `cpu.stat`), its memory by kind (`memory.stat`),
//! and the connections of a network namespace, with nothing of the agent's in between. What both say of a session must be
//! the same: of what is counted what came between two looks, of what is held what is there now. It is compared once there
//! is so much of it that the moment between the two readings does not matter, and what is shown is the worst of the last
//! comparisons of all sessions.

use std::collections::{BTreeMap, HashSet};

use crate::named::named;

named! {
    /// What is compared.
    pub enum Account {
        /// CPU time, against `cpu.stat`.
        Cpu = "cpu",
        /// Memory, against the sum of `memory.stat`.
        Memory = "memory",
        /// TCP connections opened, against the network namespace, if it is the session's alone.
        Connections = "connections",
    }
}

impl Account {
    /// Whether it is what came between two looks that is compared.
    fn is_counted(self) -> bool {
        match self {
            Self::Cpu | Self::Connections => true,
            Self::Memory => false,
        }
    }
}

/// What both sides say of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The agent's figure.
    pub agent: u64,
    /// The kernel's.
    pub kernel: u64,
    /// How much of the kernel's makes the moment between the readings small.
    pub enough: u64,
}

impl Figures {
    /// By what part of the kernel's figure the agent's is off; `None` while that is too little.
    fn discrepancy(self) -> Option<f64> {
        let Self {
            agent,
            kernel,
            enough,
        } = self;
        (kernel >= enough.max(1)).then(|| agent.abs_diff(kernel) as f64 / kernel as f64)
    }

    /// What came since; `None` where a counter went back.
    fn since(self, earlier: Self) -> Option<Self> {
        Some(Self {
            agent: self.agent.checked_sub(earlier.agent)?,
            kernel: self.kernel.checked_sub(earlier.kernel)?,
            enough: self.enough,
        })
    }
}

/// What is known of an account of one session.
#[derive(Clone, Copy, Debug)]
struct Looked {
    /// When it was compared last, or seen first.
    base: Figures,
    discrepancy: Option<f64>,
}

/// The comparisons.
#[derive(Debug, Default)]
pub struct Audit {
    /// By the serial of the session.
    looked: BTreeMap<(u64, Account), Looked>,
    /// The network namespaces in which sessions were seen, by the same.
    namespaces: BTreeMap<u64, u64>,
    /// Whose turn it was.
    last: u64,
}

impl Audit {
    /// Whose turn it is now, of the sessions that live; the others are forgotten.
    pub fn turn(&mut self, living: impl Iterator<Item = u64>) -> Option<u64> {
        let living: HashSet<u64> = living.collect();
        self.looked.retain(|(serial, _), _| living.contains(serial));
        self.namespaces.retain(|serial, _| living.contains(serial));
        let after = living.iter().filter(|serial| **serial > self.last).min();
        let next = after.or(living.iter().min()).copied();
        self.last = next.unwrap_or_default();
        next
    }

    /// Takes what both sides say of a session, `None` where it cannot be compared for now, so that the next time is a
    /// first one; the discrepancy, if there was enough to compare.
    pub fn take(&mut self, serial: u64, account: Account, now: Option<Figures>) -> Option<f64> {
        let Some(now) = now else {
            self.looked.remove(&(serial, account));
            return None;
        };
        let first = Looked {
            base: now,
            discrepancy: None,
        };
        let looked = self.looked.entry((serial, account)).or_insert(first);
        let compared = if account.is_counted() {
            now.since(looked.base)?
        } else {
            now
        };
        let discrepancy = compared.discrepancy()?;
        *looked = Looked {
            base: now,
            discrepancy: Some(discrepancy),
        };
        Some(discrepancy)
    }

    /// Takes note of the network namespace that a session is in; whether no other is, as far as is known.
    pub fn is_alone_in(&mut self, serial: u64, namespace: u64) -> bool {
        self.namespaces.insert(serial, namespace);
        let in_it = self.namespaces.values().filter(|one| **one == namespace);
        in_it.count() == 1
    }

    /// The worst of the last comparisons; nothing before there was one.
    pub fn worst(&self) -> BTreeMap<Account, f64> {
        let mut worst = BTreeMap::new();
        for ((_, account), looked) in &self.looked {
            if let Some(discrepancy) = looked.discrepancy {
                let of_account = worst.entry(*account).or_insert(discrepancy);
                *of_account = discrepancy.max(*of_account);
            }
        }
        worst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENOUGH: u64 = 1_000_000;

    fn look(
        audit: &mut Audit,
        serial: u64,
        account: Account,
        (agent, kernel): (u64, u64),
    ) -> Option<f64> {
        let enough = ENOUGH;
        let figures = Figures {
            agent,
            kernel,
            enough,
        };
        audit.take(serial, account, Some(figures))
    }

    #[test]
    fn an_error_of_five_percent_shows_at_the_second_look() {
        for account in [Account::Cpu, Account::Connections] {
            let mut audit = Audit::default();
            // It was there before the agent: what the kernel has counted until then is not compared.
            assert_eq!(look(&mut audit, 1, account, (0, 90 * ENOUGH)), None);
            assert!(audit.worst().is_empty());
            let found = look(&mut audit, 1, account, (105 * ENOUGH / 100, 91 * ENOUGH));
            assert!((found.unwrap() - 0.05).abs() < 1e-9);
            assert!((audit.worst()[&account] - 0.05).abs() < 1e-9);
            // It is mended, and another session is right.
            look(&mut audit, 1, account, (205 * ENOUGH / 100, 92 * ENOUGH));
            look(&mut audit, 2, account, (0, 0));
            look(&mut audit, 2, account, (2 * ENOUGH, 2 * ENOUGH));
            assert!(audit.worst()[&account] < 1e-9);
        }
    }

    #[test]
    fn what_is_held_is_compared_at_once_and_each_account_by_itself() {
        let mut audit = Audit::default();
        let off = look(&mut audit, 1, Account::Memory, (95 * ENOUGH, 100 * ENOUGH));
        assert!((off.unwrap() - 0.05).abs() < 1e-9);
        look(&mut audit, 1, Account::Cpu, (0, 0));
        look(&mut audit, 1, Account::Cpu, (ENOUGH, ENOUGH));
        let worst = audit.worst();
        assert_eq!(worst.len(), 2);
        assert!((worst[&Account::Memory] - 0.05).abs() < 1e-9);
        assert!(worst[&Account::Cpu] < 1e-9);
        // Too little to say anything leaves what was said.
        assert_eq!(look(&mut audit, 1, Account::Memory, (0, ENOUGH - 1)), None);
        assert_eq!(audit.worst().len(), 2);
    }

    #[test]
    fn what_is_too_little_is_added_up() {
        let mut audit = Audit::default();
        let steps = (0..=10).map(|n| look(&mut audit, 1, Account::Cpu, (0, n * ENOUGH / 10)));
        let found: Vec<_> = steps.flatten().collect();
        assert_eq!(found, [1.0]);
    }

    #[test]
    fn every_session_has_its_turn_and_those_that_end_are_forgotten() {
        let mut audit = Audit::default();
        let turns: Vec<_> = (0..4).map(|_| audit.turn([3, 1, 2].into_iter())).collect();
        assert_eq!(turns, [Some(1), Some(2), Some(3), Some(1)]);
        look(&mut audit, 3, Account::Cpu, (0, 0));
        look(&mut audit, 3, Account::Cpu, (0, ENOUGH));
        assert!(audit.is_alone_in(3, 77));
        assert!(!audit.is_alone_in(1, 77));
        assert_eq!(audit.worst().len(), 1);
        assert_eq!(audit.turn([1].into_iter()), Some(1));
        assert!(audit.worst().is_empty());
        assert!(audit.is_alone_in(1, 77), "the other one has ended");
        assert_eq!(audit.turn([].into_iter()), None);
    }

    #[test]
    fn a_counter_that_went_back_is_not_compared() {
        let mut audit = Audit::default();
        look(&mut audit, 1, Account::Cpu, (5, 5 * ENOUGH));
        assert_eq!(look(&mut audit, 1, Account::Cpu, (9, ENOUGH)), None);
        assert_eq!(audit.take(1, Account::Cpu, None), None);
        assert_eq!(look(&mut audit, 1, Account::Cpu, (0, ENOUGH)), None);
    }
}
