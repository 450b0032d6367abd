//! What a session did over the last quarter of an hour and over the last day, in steps that a person can look at: "it was
//! slow at 9:40" has an answer without Prometheus.
//!
//! Each step has its figures as rates, shares and quantiles of that step alone, so two steps compare whatever their length.
//! A figure takes two bytes, as a logarithm: right to a 2,000th of its value. One that has never been known takes none, so a
//! session without GPUs and limits takes some 20 KiB. With all 32 figures the 468 steps, and what the two rings need to go on,
//! are 32 KiB.

mod step;
mod totals;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use self::{step::Kept, totals::Totals};
use super::model::Counts;

pub use self::step::{Figure, Step};

/// The last quarter of an hour, and the last day.
const RINGS: [(Duration, usize); 2] =
    [(Duration::from_secs(5), 180), (Duration::from_mins(5), 288)];

/// See the module. A session writes it and answers read it: it is not copied with each snapshot, and may be a sample ahead of
/// the one that leads to it.
#[derive(Debug)]
pub struct History {
    rings: Mutex<[Ring; 2]>,
}

/// So many steps more find room at a time.
const GROWS_BY: usize = 36;

/// Steps of one length.
#[derive(Debug)]
struct Ring {
    length: Duration,
    most: usize,
    /// Where the step began that is under way.
    began: Instant,
    /// Counters of a sample at its beginning or somewhat later, and when that was.
    before: (Instant, Totals),
    /// Steps that have ended, those that are forgotten included.
    ended: usize,
    /// By figure, each step at its number modulo `most`; empty for one that has never been known.
    columns: [Vec<Kept>; Figure::ALL.len()],
}

/// Steps of one length, for whoever shows them.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// Of each.
    pub length: Duration,
    /// When the last one ended.
    pub until: SystemTime,
    /// Oldest first.
    pub steps: Vec<Step>,
}

impl History {
    /// Of a session that the agent has adopted.
    pub fn new(now: Instant) -> Self {
        Self {
            rings: Mutex::new(RINGS.map(|(length, most)| Ring {
                length,
                most,
                began: now,
                before: (now, Totals::default()),
                ended: 0,
                columns: [const { Vec::new() }; Figure::ALL.len()],
            })),
        }
    }

    /// Takes a sample: ends the steps that are over.
    pub fn push(&self, now: Instant, counts: &Counts) {
        for ring in self.rings().iter_mut() {
            if now.duration_since(ring.began) >= ring.length {
                ring.end(now, counts);
            }
        }
    }

    /// The last quarter of an hour, and the last day, as they are at a moment.
    pub fn view(&self, now: Instant, wall: SystemTime) -> [Steps; 2] {
        self.rings().each_ref().map(|ring| Steps {
            length: ring.length,
            until: wall
                .checked_sub(now.duration_since(ring.began))
                .unwrap_or(wall),
            steps: ring.last(ring.most),
        })
    }

    /// The last steps of both, so many at most, oldest first.
    pub fn last(&self, most: usize) -> [Vec<Step>; 2] {
        self.rings().each_ref().map(|ring| ring.last(most))
    }

    fn rings(&self) -> MutexGuard<'_, [Ring; 2]> {
        // Nothing in between leaves them half done.
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn end(&mut self, now: Instant, counts: &Counts) {
        let over = now.duration_since(self.began).as_nanos() / self.length.as_nanos();
        let steps = over as usize;
        let totals = Totals::of(counts);
        // Of several that no sample was in nobody knows which of them it was.
        for _ in 1..steps.min(self.most) {
            self.keep(Step::ABSENT);
        }
        let (then, before) = &self.before;
        let seconds = now.duration_since(*then).as_secs_f64();
        let step = totals.step_since(before, counts, seconds);
        self.keep(step);
        self.before = (now, totals);
        // On the beat, so that the ends of steps stay where they are.
        self.began += self.length * steps as u32;
    }

    fn keep(&mut self, step: Step) {
        let held = self.held();
        let at = self.ended % self.most;
        for (column, value) in self.columns.iter_mut().zip(step.0) {
            if column.is_empty() {
                if value == Kept::ABSENT {
                    continue;
                }
                column.reserve_exact(held);
                column.resize(held, Kept::ABSENT);
            }
            if let Some(oldest) = column.get_mut(at) {
                *oldest = value;
                continue;
            }
            if column.len() == column.capacity() {
                // By what is needed, and not by doubling: a node has hundreds of these.
                column.reserve_exact(GROWS_BY.min(self.most - column.len()));
            }
            column.push(value);
        }
        self.ended += 1;
    }

    /// How many steps there are.
    fn held(&self) -> usize {
        self.ended.min(self.most)
    }

    /// The last ones, so many at most, oldest first.
    fn last(&self, most: usize) -> Vec<Step> {
        let many = self.held().min(most);
        let step = |number: usize| {
            let at = number % self.most;
            let kept = |column: &Vec<Kept>| column.get(at).copied().unwrap_or(Kept::ABSENT);
            Step(self.columns.each_ref().map(kept))
        };
        (self.ended - many..self.ended).map(step).collect()
    }
}

#[cfg(test)]
mod tests;
