//! Who is alive in each session: counted by a walk over all threads of the node now and then, and from there on by
//! what comes and goes.
//!
//! A walk costs 0.7 to 1.1 µs a thread of the node. So it is taken as seldom as their number says: [`ROUTINE`] of the
//! time at most, and [`SOON`] while processes move that only a walk can count.

use std::time::{Duration, Instant};

use agent_common::{
    Slot,
    census::{CensusRecord, LEADER, RUNNABLE, THREAD, UNINTERRUPTIBLE},
    process::ProcessStats,
};

use super::pace::Pace;

/// Threads and processes of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Processes alive.
    pub processes: u64,
    /// Threads alive.
    pub threads: u64,
    /// What they did at the last walk; `None` before the session's first one. Nothing reckons it on between two walks.
    pub by_state: Option<ThreadStates>,
}

/// Threads by what they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadStates {
    /// They have a CPU or wait for one.
    pub runnable: u64,
    /// They wait for something that no signal they could handle ends.
    pub uninterruptible: u64,
}

/// The part of the time that walks take at most: 20,000 threads are walked every fourteen seconds.
const ROUTINE: u32 = 900;
/// The same while there are processes that came in a way that is not counted one by one: of several threads, or
/// into a session that the kernel was told of late.
const SOON: u32 = 100;

/// What a walk costs for each thread of the node.
const A_THREAD: Duration = Duration::from_nanos(800);
/// Walks that are taken soon until one of them is not amid forks. Then they are routine again.
const ATTEMPTS: u32 = 4;

/// What a walk has found, less what had come and gone by then.
#[derive(Clone, Copy, Debug)]
struct Base {
    processes: u64,
    threads: u64,
    /// Nothing has come or gone that is not counted one by one since it was found, and nothing while it was.
    exact: bool,
    /// What the threads that the last walk found did.
    by_state: Option<ThreadStates>,
}

impl Base {
    /// That of a slot that nobody is in.
    const EMPTY: Self = Self {
        processes: 0,
        threads: 0,
        exact: true,
        by_state: None,
    };

    /// By what a walk has found, and what had come and gone before it and after it: it has seen half of the
    /// difference, as far as anybody knows.
    fn of(found: Census, before: &ProcessStats, after: &ProcessStats, exact: bool) -> Self {
        let middle =
            |from: u64, to: u64| from.wrapping_add_signed(to.wrapping_sub(from) as i64 / 2);
        let processes = middle(before.processes(), after.processes());
        let threads = middle(before.threads(), after.threads());
        Self {
            processes: found.processes.wrapping_sub(processes),
            threads: found.threads.wrapping_sub(threads),
            exact,
            by_state: found.by_state,
        }
    }

    /// Whether what is reckoned from it is no further from what a walk has found than those that came and went
    /// meanwhile.
    fn is_near(&self, found: Census, after: &ProcessStats, changes: u64) -> bool {
        let reckoned = self.with(after);
        reckoned.processes.abs_diff(found.processes) <= changes
            && reckoned.threads.abs_diff(found.threads) <= changes
    }

    fn with(&self, stats: &ProcessStats) -> Census {
        // Below 0 is one that an inexact walk missed and whose end was counted.
        let sum = |base: u64, since: u64| (base.wrapping_add(since) as i64).max(0) as u64;
        Census {
            processes: sum(self.processes, stats.processes()),
            threads: sum(self.threads, stats.threads()),
            by_state: self.by_state,
        }
    }
}

/// The walks so far.
#[derive(Debug, Default)]
pub(super) struct Walks {
    /// By slot. The sums wrap: a session may have been adopted with processes that have ended since.
    bases: Vec<Base>,
    pace: Pace,
    /// Something happened that only a walk can count.
    overdue: bool,
    /// Walks that are taken soon for that, because the ones before were amid forks.
    attempts: u32,
}

impl Walks {
    /// Something happened that only a walk can count, in whichever session.
    pub(super) fn want(&mut self) {
        self.overdue = true;
        self.attempts = ATTEMPTS;
        for base in &mut self.bases {
            base.exact = false;
        }
    }

    /// Nobody is in a slot any more.
    pub(super) fn clear(&mut self, slot: Slot) {
        if let Some(base) = self.bases.get_mut(slot as usize) {
            *base = Base::EMPTY;
        }
    }

    /// When the walk that is wanted may be taken; `None` if none is.
    pub(super) fn wanted_at(&self) -> Option<Instant> {
        self.overdue.then(|| self.pace.due_at(SOON))
    }

    /// Whether it is time for a walk.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.pace
            .is_due(now, if self.overdue { SOON } else { ROUTINE })
    }

    /// A walk could not be taken.
    pub(super) fn failed(&mut self) {
        self.pace.done(Duration::ZERO);
        // The next sample tries again.
        self.overdue = false;
    }

    /// Takes what a walk over so many threads has found; `before` and `after` are what had come and gone by its beginning
    /// and by its end. A session in which somebody came or went meanwhile is seen neither before nor after that: it
    /// keeps the count that it has, if that is exact and not further from what was found than those that came and
    /// went. Otherwise what was found is half right, and there is another walk soon.
    pub(super) fn take(
        &mut self,
        records: &[CensusRecord],
        before: &[ProcessStats],
        after: &[ProcessStats],
        threads: u32,
    ) {
        let mut found = vec![Census::default(); before.len()];
        let mut states = vec![ThreadStates::default(); before.len()];
        for record in records {
            let slot = record.slot as usize;
            if let (Some(census), Some(states)) = (found.get_mut(slot), states.get_mut(slot)) {
                let is = |flag: u32| u64::from(record.flags & flag != 0);
                census.processes += is(LEADER);
                census.threads += is(THREAD);
                states.runnable += is(RUNNABLE);
                states.uninterruptible += is(UNINTERRUPTIBLE);
            }
        }
        for (census, states) in found.iter_mut().zip(states) {
            census.by_state = Some(states);
        }
        let bases = found.iter().zip(before).zip(after).enumerate();
        self.bases = bases
            .map(|(slot, ((&found, before), after))| {
                let changes = after.changes() - before.changes();
                match self.bases.get(slot) {
                    Some(base)
                        if base.exact && changes > 0 && base.is_near(found, after, changes) =>
                    {
                        Base {
                            by_state: found.by_state,
                            ..*base
                        }
                    }
                    _ => Base::of(found, before, after, changes == 0),
                }
            })
            .collect();
        self.pace.done(A_THREAD * threads);
        self.attempts = self.attempts.saturating_sub(1);
        self.overdue = self.attempts > 0 && self.bases.iter().any(|base| !base.exact);
    }

    /// Who is alive by the last walk and what has come and gone since.
    pub(super) fn reckon(&self, now: &[ProcessStats]) -> Vec<Census> {
        let both = self.bases.iter().zip(now);
        both.map(|(base, stats)| base.with(stats)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: usize = 3;

    fn stats(forks: u64, exits: u64) -> ProcessStats {
        ProcessStats {
            forks,
            threads_started: forks,
            exits_success: exits,
            threads_ended: exits,
            ..ProcessStats::default()
        }
    }

    fn alive(slot: Slot, processes: usize) -> Vec<CensusRecord> {
        let flags = LEADER | THREAD;
        vec![CensusRecord { slot, flags }; processes]
    }

    #[test]
    fn from_a_walk_on_it_is_reckoned() {
        let mut walks = Walks::default();
        assert!(walks.is_due(Instant::now()));
        // Adopted with five, of whose forks nothing is known.
        let before = [stats(0, 0); SLOTS];
        walks.take(&alive(1, 5), &before, &before, 100);
        assert_eq!(walks.reckon(&before)[1].processes, 5);
        // All of them have ended, and of two that came one.
        let since = [stats(0, 0), stats(2, 6), stats(0, 0)];
        let reckoned = walks.reckon(&since);
        assert_eq!((reckoned[1].processes, reckoned[1].threads), (1, 1));
        let nobody = Census {
            by_state: Some(ThreadStates::default()),
            ..Census::default()
        };
        assert_eq!(reckoned[2], nobody);
    }

    #[test]
    fn what_threads_do_is_what_the_last_walk_saw() {
        let mut walks = Walks::default();
        let (none, forked) = (
            [stats(0, 0); SLOTS],
            [stats(0, 0), stats(9, 0), stats(0, 0)],
        );
        let doing = |slot, flags: &[u32]| {
            let record = |flag: &u32| CensusRecord {
                slot,
                flags: THREAD | flag,
            };
            flags.iter().map(record).collect::<Vec<_>>()
        };
        let by_state = |walks: &Walks| walks.reckon(&forked)[1].by_state;
        walks.take(
            &doing(1, &[RUNNABLE, RUNNABLE, UNINTERRUPTIBLE, 0]),
            &none,
            &none,
            100,
        );
        let seen = |runnable, uninterruptible| {
            Some(ThreadStates {
                runnable,
                uninterruptible,
            })
        };
        assert_eq!(by_state(&walks), seen(2, 1));
        // Amid forks, so that the number of threads is the one that was known.
        walks.take(
            &doing(1, &[0, 0, 0, UNINTERRUPTIBLE, 0]),
            &none,
            &forked,
            100,
        );
        assert_eq!(walks.reckon(&forked)[1].threads, 13);
        assert_eq!(by_state(&walks), seen(0, 1));
        // Whoever has the slot next has not been walked.
        walks.clear(1);
        assert_eq!(by_state(&walks), None);
    }

    #[test]
    fn one_that_moves_is_counted_on_both_sides() {
        let mut walks = Walks::default();
        let mut stats = [ProcessStats::default(); SLOTS];
        walks.take(&alive(1, 2), &stats, &stats, 100);
        stats[1].processes_left = 1;
        stats[2].processes_entered = 1;
        let reckoned = walks.reckon(&stats);
        assert_eq!((reckoned[1].processes, reckoned[2].processes), (1, 1));
    }

    #[test]
    fn a_slot_that_is_cleared_has_nobody() {
        let mut walks = Walks::default();
        let stats_now = [stats(9, 7); SLOTS];
        walks.take(&alive(1, 2), &stats_now, &stats_now, 100);
        walks.clear(1);
        let cleared = [stats(9, 7), ProcessStats::default(), stats(9, 7)];
        assert_eq!(walks.reckon(&cleared)[1], Census::default());
    }

    #[test]
    fn a_walk_amid_forks_is_believed_only_where_nothing_better_is_known() {
        let mut walks = Walks::default();
        let (none, forked) = (
            [stats(0, 0); SLOTS],
            [stats(0, 0), stats(9, 0), stats(0, 0)],
        );
        walks.take(&alive(1, 1), &none, &none, 100);
        assert_eq!(walks.wanted_at(), None);
        // It saw four of the nine; all of them are counted.
        walks.take(&alive(1, 5), &none, &forked, 100);
        assert_eq!(walks.reckon(&forked)[1].processes, 10);
        assert_eq!(walks.wanted_at(), None);
        // Further off than nine forks and as many threads can be: something was not counted.
        walks.take(&alive(1, 50), &none, &forked, 100);
        assert_eq!(walks.reckon(&forked)[1].processes, 55);
        // Somebody has moved: what was known is not known any more, until a walk is quiet.
        walks.want();
        for _ in 1..ATTEMPTS {
            walks.take(&alive(1, 5), &none, &forked, 100);
            assert!(walks.wanted_at().is_some());
        }
        walks.take(&alive(1, 5), &none, &forked, 100);
        assert_eq!(walks.wanted_at(), None);
        walks.take(&alive(1, 12), &forked, &forked, 100);
        assert_eq!(walks.reckon(&forked)[1].processes, 12);
        assert_eq!(walks.wanted_at(), None);
    }

    #[test]
    fn a_walk_is_taken_sooner_when_processes_have_moved() {
        let mut walks = Walks::default();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        walks.pace = Pace::of(now, second);
        assert!(!walks.is_due(now + second * (ROUTINE - 1)));
        assert!(walks.is_due(now + second * ROUTINE));
        assert_eq!(walks.wanted_at(), None);
        walks.want();
        assert!(!walks.is_due(now + second * (SOON - 1)));
        assert!(walks.is_due(now + second * SOON));
        assert_eq!(walks.wanted_at(), Some(now + second * SOON));
    }
}
