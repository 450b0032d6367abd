//! How often the agent does what grows with the node.

use std::time::{Duration, Instant};

/// When something was done last, and what that costs: it is done again when so many times as long has passed. The
/// cost is reckoned from how much there was and not timed, so that what is done each second on a node with little
/// is done each second however slow the node is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    last: Option<(Instant, Duration)>,
}

impl Pace {
    /// It has just been done, and costs so much.
    pub fn done(&mut self, cost: Duration) {
        self.last = Some((Instant::now(), cost));
    }

    /// When it may be done again, so that it takes a part in so many of the time; now, if it has not been done yet.
    pub(super) fn due_at(&self, part: u32) -> Instant {
        self.last
            .map_or_else(Instant::now, |(ended, cost)| ended + cost * part)
    }

    /// Whether it may be done now.
    pub fn is_due(&self, now: Instant, part: u32) -> bool {
        self.last
            .is_none_or(|(ended, cost)| now >= ended + cost * part)
    }

    /// As if it had been done at a time and cost so much.
    #[cfg(test)]
    pub(super) fn of(ended: Instant, cost: Duration) -> Self {
        Self {
            last: Some((ended, cost)),
        }
    }
}

/// What comes of a reading that is not taken at each sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading<T> {
    /// The kernel cannot tell.
    Impossible,
    /// It is too early for the next one: the last one holds.
    NotDue,
    /// It has been taken.
    Taken(T),
}

impl<T> Reading<T> {
    /// The same with a part of what was read.
    pub fn part<'a, U: ?Sized>(&'a self, of: impl FnOnce(&'a T) -> &'a U) -> Reading<&'a U> {
        match self {
            Self::Impossible => Reading::Impossible,
            Self::NotDue => Reading::NotDue,
            Self::Taken(all) => Reading::Taken(of(all)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_a_second_is_done_after_as_many_seconds_as_its_part_says() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        assert!(Pace::default().is_due(now, 100));
        let pace = Pace::of(now, second);
        assert!(!pace.is_due(now + 99 * second, 100));
        assert!(pace.is_due(now + 100 * second, 100));
        assert_eq!(pace.due_at(100), now + 100 * second);
    }
}
