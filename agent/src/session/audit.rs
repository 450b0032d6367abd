//! The agent's figures against the kernel's own, of one session each second, in turn.
//!
//! The kernel adds up the CPU time of a cgroup by itself (`usage_usec` of `cpu.stat`), and the connections that a network
//! namespace accepts, with nothing of the agent's in between. What both have counted of a session between two looks must
//! be the same. It is compared once there is so much of it that the moment between the two readings does not matter, and
//! what is shown is the worst of the last comparisons of all sessions.
//!
//! Memory is not compared: what is shown of it is the kernel's own file, and no other of its figures is the same (swap
//! cache is of two kinds, and pages of which a part is unmapped of none).

use std::collections::{BTreeMap, HashSet};

use crate::named::named;

named! {
    /// What is compared.
    pub enum Account {
        /// CPU time, against `cpu.stat`.
        Cpu = "cpu",
        /// TCP connections accepted, against the network namespace of its processes, where no other session is in it.
        Connections = "connections",
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
            enough: self.enough.max(earlier.enough),
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
    /// The network namespaces in which sessions were seen, by the serial; `None` of one that has not one of its own.
    namespaces: BTreeMap<u64, Option<u64>>,
    /// How many sessions live.
    living: usize,
    /// Whose turn it was.
    last: u64,
}

impl Audit {
    /// Whose turn it is now, of the sessions that live; the others are forgotten.
    pub fn turn(&mut self, living: impl Iterator<Item = u64>) -> Option<u64> {
        let living: HashSet<u64> = living.collect();
        self.looked.retain(|(serial, _), _| living.contains(serial));
        self.namespaces.retain(|serial, _| living.contains(serial));
        self.living = living.len();
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
        let found = now.since(looked.base).and_then(Figures::discrepancy);
        let Some(discrepancy) = found else {
            // One that was interrupted less is a better beginning; what came until then is not compared.
            if now.enough < looked.base.enough {
                looked.base = now;
            }
            return None;
        };
        *looked = Looked {
            base: now,
            discrepancy: Some(discrepancy),
        };
        Some(discrepancy)
    }

    /// Takes note of the network namespace that a session is in. Whether it is alone there, and was the last time: all
    /// others that live have been looked at, and are elsewhere.
    pub fn is_alone_in(&mut self, serial: u64, namespace: Option<u64>) -> bool {
        let before = self.namespaces.insert(serial, namespace);
        let in_it = self.namespaces.values().filter(|one| **one == namespace);
        namespace.is_some()
            && before.is_none_or(|before| before == namespace)
            && in_it.count() == 1
            && self.namespaces.len() == self.living
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
    fn each_account_is_compared_by_itself() {
        let mut audit = Audit::default();
        for account in Account::ALL {
            look(&mut audit, 1, account, (0, 0));
        }
        look(&mut audit, 1, Account::Cpu, (95 * ENOUGH, 100 * ENOUGH));
        look(&mut audit, 1, Account::Connections, (ENOUGH, ENOUGH));
        let worst = audit.worst();
        assert!((worst[&Account::Cpu] - 0.05).abs() < 1e-9);
        assert!(worst[&Account::Connections] < 1e-9);
        // Too little to say anything leaves what was said.
        look(&mut audit, 1, Account::Cpu, (0, 101 * ENOUGH - 1));
        assert_eq!(audit.worst().len(), 2);
    }

    #[test]
    fn a_look_that_was_interrupted_is_compared_when_there_is_so_much_more() {
        let figures = |agent, kernel, enough| Figures {
            agent,
            kernel,
            enough,
        };
        // As the first of two, and as the second.
        for interrupted in [0, 1] {
            let mut audit = Audit::default();
            let enough = [0, 1].map(|look| if look == interrupted { 50 } else { 1 } * ENOUGH);
            let account = Account::Connections;
            let first = audit.take(1, account, Some(figures(0, 0, enough[0])));
            assert_eq!(first, None);
            let now = figures(49 * ENOUGH, 48 * ENOUGH, enough[1]);
            assert_eq!(audit.take(1, account, Some(now)), None);
            let now = figures(101 * ENOUGH, 100 * ENOUGH, ENOUGH);
            let found = audit.take(1, account, Some(now));
            assert!(found.is_some_and(|found| found < 0.011));
        }
    }

    #[test]
    fn a_session_is_alone_in_a_network_namespace_when_all_others_are_known_to_be_elsewhere() {
        let mut audit = Audit::default();
        let mut look = |serial, namespace| {
            audit.turn([1, 2].into_iter());
            audit.is_alone_in(serial, namespace)
        };
        assert!(!look(1, Some(77)), "nobody has looked at the other one");
        assert!(!look(2, None));
        assert!(look(1, Some(77)));
        assert!(!look(1, Some(78)), "what was counted was of another");
        assert!(look(1, Some(78)));
        assert!(!look(2, Some(78)));
        assert!(!look(1, Some(78)));
        audit.turn([1].into_iter());
        assert!(audit.is_alone_in(1, Some(78)), "the other one has ended");
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
        assert_eq!(audit.worst().len(), 1);
        assert_eq!(audit.turn([1].into_iter()), Some(1));
        assert!(audit.worst().is_empty());
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
