//! How often the agent does what grows with the node.

use std::time::{Duration, Instant};

/// When something was done last, and what that took: it is done again when so many times as long has passed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    last: Option<(Instant, Duration)>,
}

impl Pace {
    /// It was begun then, and has just ended.
    pub(super) fn done(&mut self, began: Instant) {
        let now = Instant::now();
        self.last = Some((now, now.duration_since(began)));
    }

    /// When it may be done again, so that it takes a part in so many of the time; now, if it has not been done yet.
    pub(super) fn due_at(&self, part: u32) -> Instant {
        self.last
            .map_or_else(Instant::now, |(ended, took)| ended + took * part)
    }

    /// Whether it may be done now.
    pub(super) fn is_due(&self, now: Instant, part: u32) -> bool {
        self.last
            .is_none_or(|(ended, took)| now >= ended + took * part)
    }

    /// As if it had been done at a time and had taken so long.
    #[cfg(test)]
    pub(super) fn of(ended: Instant, took: Duration) -> Self {
        Self {
            last: Some((ended, took)),
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
