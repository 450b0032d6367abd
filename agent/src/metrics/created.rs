//! When series were 0: what a scraper must know to count what the first value of a series has grown by.
//!
//! A series that comes with its first event was 0 while expositions did not have it. So it was 0 at the last one
//! without it, which a scraper still has in its window when the first event is hours after the beginning.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The series that there have been, of the sessions that there are and of the node: 16 bytes each, as there are
/// fifteen thousand.
#[derive(Debug, Default)]
pub struct Created {
    hasher: RandomState,
    /// When the last whole exposition was made.
    last: Option<Moment>,
    /// Whole expositions so far.
    number: u64,
    /// By the labels of a session.
    scopes: HashMap<u64, Scope>,
}

/// Milliseconds since the epoch, which is what Prometheus keeps.
type Moment = u64;

/// The series of a session, or of the node.
#[derive(Debug, Default)]
struct Scope {
    /// The exposition that it was in last.
    seen: u64,
    /// When each was 0, by its name and labels. One that is missing for a while may come back with what it had.
    zeros: HashMap<u64, Moment>,
}

impl Created {
    /// When a series of a whole exposition was 0, which at `since` it was at least.
    pub fn of(&mut self, scope: impl Hash, series: impl Hash, since: SystemTime) -> SystemTime {
        let [scope, series] = [self.hasher.hash_one(scope), self.hasher.hash_one(series)];
        let scope = self.scopes.entry(scope).or_default();
        scope.seen = self.number;
        let since = moment(since);
        let zero = scope.zeros.entry(series);
        let zero = zero.or_insert(self.last.unwrap_or(since));
        // One of the same name that was before it may have begun earlier.
        *zero = since.max(*zero);
        time(*zero)
    }

    /// A whole exposition has been made at this moment: sessions that were not in it are gone.
    pub fn made(&mut self, at: SystemTime) {
        self.scopes.retain(|_, scope| scope.seen == self.number);
        self.number += 1;
        self.last = Some(moment(at));
    }

    /// What was told of a series before.
    pub fn told(&self, scope: impl Hash, series: impl Hash) -> Option<SystemTime> {
        let [scope, series] = [self.hasher.hash_one(scope), self.hasher.hash_one(series)];
        self.scopes
            .get(&scope)?
            .zeros
            .get(&series)
            .copied()
            .map(time)
    }
}

fn moment(time: SystemTime) -> Moment {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

fn time(moment: Moment) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
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
        assert!(created.scopes.is_empty());
        // The next of the name begins anew.
        assert_eq!(created.of("desk", "cpu", at(25)), at(25));
    }
}
