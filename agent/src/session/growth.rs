//! Counters of a session's cgroups, which do not decrease when one of the cgroups goes.

use crate::kernel::accounts::{CgroupAccounts, MemoryEvents, Periods};

/// A sum of counters of which some may go: what it has grown by. What one grows by between the last reading and its end,
/// and a new one until it has made up for that, is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    last: u64,
    grown: u64,
}

impl Growth {
    /// Of a sum that has grown from 0.
    fn of(now: u64) -> Self {
        Self {
            last: now,
            grown: now,
        }
    }

    /// From a sum on.
    fn since(now: u64) -> Self {
        Self {
            last: now,
            grown: 0,
        }
    }

    /// What it has grown by up to this reading.
    fn take(&mut self, now: u64) -> u64 {
        self.grown += now.saturating_sub(self.last);
        self.last = now;
        self.grown
    }
}

/// What the counters of a session's cgroups have grown by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Grown {
    throttled: Option<Growth>,
    throttled_above: Option<Growth>,
    /// All, and the throttled ones.
    periods: Option<[Growth; 2]>,
    /// High and max.
    memory_events: Option<[Growth; 2]>,
    refused_forks: Option<Growth>,
}

impl Grown {
    /// Puts into a reading what its counters have grown by up to it. What limits above the session had done before it came
    /// is not its own.
    pub fn take(&mut self, accounts: &mut CgroupAccounts) {
        let from_zero = |growth: &mut Option<Growth>, now: u64| {
            let growth = growth.get_or_insert(Growth::of(now));
            growth.take(now)
        };
        let throttled = &mut accounts.throttled;
        throttled.own_us = throttled
            .own_us
            .map(|us| from_zero(&mut self.throttled, us));
        let above = &mut self.throttled_above;
        throttled.above_us = throttled
            .above_us
            .map(|us| above.get_or_insert(Growth::since(us)).take(us));
        accounts.periods = self.take_periods(accounts.periods);
        let events = &mut self.memory_events;
        accounts.memory_events = accounts.memory_events.map(|now| {
            let grown = events.get_or_insert([now.high, now.max].map(Growth::of));
            let [high, max] = grown;
            MemoryEvents {
                high: high.take(now.high),
                max: max.take(now.max),
            }
        });
        let processes = &mut accounts.processes;
        processes.refused_forks = processes
            .refused_forks
            .map(|refused| from_zero(&mut self.refused_forks, refused));
    }

    /// Those of the only container with a limit stay when it has gone.
    fn take_periods(&mut self, now: Option<Periods>) -> Option<Periods> {
        let none = self.periods.map(|_| Periods::default());
        let now = now.or(none)?;
        let [all, throttled] = self
            .periods
            .get_or_insert([now.all, now.throttled].map(Growth::of));
        Some(Periods {
            all: all.take(now.all),
            throttled: throttled.take(now.throttled),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_of_which_a_part_goes_grows_on_from_there() {
        let mut own = Growth::of(100);
        assert_eq!([100, 130].map(|now| own.take(now)), [100, 130]);
        // A container of it has been removed, and another one is made.
        assert_eq!([30, 35].map(|now| own.take(now)), [130, 135]);
        let mut above = Growth::since(5_000);
        assert_eq!([5_000, 5_007].map(|now| above.take(now)), [0, 7]);
    }

    #[test]
    fn periods_events_and_refused_forks_do_not_decrease_when_a_cgroup_goes() {
        let reading = |periods: Option<[u64; 2]>, events: [u64; 2], refused: Option<u64>| {
            let mut accounts = CgroupAccounts {
                periods: periods.map(|[all, throttled]| Periods { all, throttled }),
                memory_events: Some(MemoryEvents {
                    high: events[0],
                    max: events[1],
                }),
                ..CgroupAccounts::default()
            };
            accounts.processes.refused_forks = refused;
            accounts
        };
        let mut grown = Grown::default();
        let mut taken = |mut accounts: CgroupAccounts| {
            grown.take(&mut accounts);
            let periods = accounts.periods.map(|p| [p.all, p.throttled]);
            let events = accounts.memory_events.map(|e| [e.high, e.max]);
            (periods, events, accounts.processes.refused_forks)
        };
        // Without a limit there is nothing, and not 0.
        let first = taken(reading(None, [1, 2], None));
        assert_eq!(first, (None, Some([1, 2]), None));
        let second = taken(reading(Some([50, 20]), [5, 9], Some(3)));
        assert_eq!(second, (Some([50, 20]), Some([5, 9]), Some(3)));
        // One of two cgroups has gone, and it was the one with the CPU limit.
        let third = taken(reading(None, [1, 2], Some(1)));
        assert_eq!(third, (Some([50, 20]), Some([5, 9]), Some(3)));
        let fourth = taken(reading(Some([7, 1]), [2, 4], Some(2)));
        assert_eq!(fourth, (Some([57, 21]), Some([6, 11]), Some(4)));
        // The controllers were taken away.
        let mut gone = CgroupAccounts::default();
        grown.take(&mut gone);
        assert_eq!(gone.memory_events, None);
        assert_eq!(gone.processes.refused_forks, None);
    }
}
