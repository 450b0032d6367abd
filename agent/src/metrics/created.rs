//! When series were 0: what a scraper must know to count what the first value of a series has grown by.
//!
//! A series that comes with its first event was 0 while expositions did not have it. So it was 0 at the last one
//! without it, which a scraper still has in its window when the first event is hours after the beginning.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    mem,
    time::SystemTime,
};

/// The series that there have been, of the sessions that there are and of the node.
#[derive(Debug, Default)]
pub struct Created {
    hasher: RandomState,
    /// When the last whole exposition was made.
    last: Option<SystemTime>,
    /// By a session's labels, and by the series' name and labels: when it was 0.
    known: HashMap<u64, HashMap<u64, SystemTime>>,
    /// The same of the exposition that is being made.
    next: HashMap<u64, HashMap<u64, SystemTime>>,
}

impl Created {
    /// When a series of a whole exposition was 0, which at `since` it was at least.
    pub fn of(&mut self, scope: impl Hash, series: impl Hash, since: SystemTime) -> SystemTime {
        let [scope, series] = [self.hasher.hash_one(scope), self.hasher.hash_one(series)];
        let before = self.known.get(&scope).and_then(|known| known.get(&series));
        // One of the same name that was before it may have begun earlier.
        let at = before
            .copied()
            .or(self.last)
            .map_or(since, |at| at.max(since));
        self.next.entry(scope).or_default().insert(series, at);
        at
    }

    /// A whole exposition has been made at this moment. Series that are not in it now may come back, with what they
    /// had; those of sessions that are gone do not.
    pub fn made(&mut self, at: SystemTime) {
        let mut next = mem::take(&mut self.next);
        for (scope, known) in &mut self.known {
            if let Some(next) = next.get_mut(scope) {
                for (series, at) in known.drain() {
                    next.entry(series).or_insert(at);
                }
            }
        }
        self.known = next;
        self.last = Some(at);
    }

    /// What was told of a series in the last whole exposition.
    pub fn told(&self, scope: impl Hash, series: impl Hash) -> Option<SystemTime> {
        let [scope, series] = [self.hasher.hash_one(scope), self.hasher.hash_one(series)];
        self.known.get(&scope)?.get(&series).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn a_series_was_zero_in_the_last_exposition_without_it() {
        let mut created = Created::default();
        assert_eq!(created.of("desk", "cpu", at(5)), at(5));
        created.made(at(10));
        created.of("desk", "cpu", at(5));
        created.made(at(20));
        // It comes after two expositions without it, and stays what it is.
        for now in [30, 40] {
            assert_eq!(created.of("desk", "cpu", at(5)), at(5));
            assert_eq!(created.of("desk", "exits", at(5)), at(20));
            created.made(at(now));
        }
        // One of a session that has come since then was 0 when that was adopted.
        assert_eq!(created.of("other", "cpu", at(45)), at(45));
        assert_eq!(created.told("desk", "exits"), Some(at(20)));
    }

    #[test]
    fn a_series_that_comes_back_was_not_zero_meanwhile() {
        let mut created = Created::default();
        created.of("desk", "cpu", at(5));
        created.of("desk", "gpu", at(5));
        created.made(at(10));
        created.of("desk", "cpu", at(5));
        created.made(at(20));
        assert_eq!(created.of("desk", "gpu", at(5)), at(5));
    }

    #[test]
    fn what_is_known_of_a_session_goes_with_it() {
        let mut created = Created::default();
        created.of("desk", "cpu", at(5));
        created.made(at(10));
        created.made(at(20));
        assert!(created.known.is_empty());
        // The next of the name begins anew.
        assert_eq!(created.of("desk", "cpu", at(25)), at(25));
    }
}
