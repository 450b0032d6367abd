//! Users and their passwords.
//!
//! To compare a password takes 60 ms of a CPU at a cost of 10. One is compared at a time, whoever hangs up meanwhile; an
//! address has a few that wait, and who remembers the right one never waits.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use crate::{
    metrics::http::Cache,
    serve::{peer::Peer, traffic::Traffic},
};

/// bcrypt of a password that nobody has, of the cost that the format's documentation uses: who does not exist takes as
/// long to refuse as who does.
const NOBODY: &str = "$2b$10$6Tk4vS8pNGnWIbTnL0Ue4u9EwH9mQ8mWz0qO2sWvY3n1lJxYyOZ2K";
/// Outcomes that are remembered, 40 bytes each.
const REMEMBERED: usize = 1000;
/// Passwords that wait to be compared, of one address and of all: a second of a CPU.
const WAITING: (usize, usize) = (2, 16);

/// What came of showing a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// It is the user's.
    Right,
    /// It is not, or there is no such user.
    Wrong,
    /// It has not been compared: too many wait for that.
    Busy,
}

impl Shown {
    fn of(is_right: bool) -> Self {
        if is_right { Self::Right } else { Self::Wrong }
    }
}

/// Users by name, with the bcrypt hashes of their passwords.
#[derive(Debug, Default)]
pub(super) struct Users {
    hashes: BTreeMap<String, String>,
    compared: Arc<Compared>,
}

/// What has been compared, and what waits for it.
#[derive(Debug, Default)]
struct Compared {
    /// Outcomes, by a digest of name, hash and password.
    outcomes: Mutex<HashMap<[u8; 32], bool>>,
    /// Held by the thread that compares.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// How many wait, by peer.
    waiting: Mutex<HashMap<Peer, usize>>,
}

impl Users {
    /// These. What was compared for those before stands: a digest has the hash in it.
    pub(super) fn new(hashes: BTreeMap<String, String>, before: Option<&Self>) -> Self {
        let compared = before.map(|before| Arc::clone(&before.compared));
        Self {
            hashes,
            compared: compared.unwrap_or_default(),
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Whether a user has a password.
    pub(super) async fn has(
        &self,
        user: &str,
        password: &str,
        peer: Peer,
        traffic: &Arc<Traffic>,
    ) -> Shown {
        let known = self.hashes.get(user);
        let (is_known, hash) = (known.is_some(), known.map_or(NOBODY, String::as_str));
        let digest = digest(&[user, hash, password]);
        if let Some(is_right) = self.compared.outcome(digest, traffic) {
            return Shown::of(is_right);
        }
        let Some(_waits) = Waits::begin(&self.compared, peer) else {
            return Shown::Busy;
        };
        let turn = Arc::clone(&self.compared.turn).lock_owned().await;
        // Somebody with the same may have had the turn before.
        if let Some(is_right) = self.compared.outcome(digest, traffic) {
            return Shown::of(is_right);
        }
        let (hash, password) = (hash.to_owned(), password.to_owned());
        let (compared, traffic) = (Arc::clone(&self.compared), Arc::clone(traffic));
        let is_right = spawn_blocking(move || {
            // The thread has the turn, and not who waits for it, who may hang up.
            let _turn = turn;
            // Compared in any case: who does not exist takes as long as who does.
            let is_same = matches!(bcrypt::verify(password, &hash), Ok(true));
            let is_right = is_known && is_same;
            let entries = compared.remember(digest, is_right);
            traffic.looked_up(Cache::Passwords, false, entries);
            is_right
        });
        Shown::of(is_right.await.unwrap_or(false))
    }
}

impl Compared {
    fn outcome(&self, digest: [u8; 32], traffic: &Traffic) -> Option<bool> {
        let outcomes = lock(&self.outcomes);
        let outcome = outcomes.get(&digest).copied()?;
        traffic.looked_up(Cache::Passwords, true, outcomes.len());
        Some(outcome)
    }

    /// How many are remembered then. Guesses push out guesses before they push out what is right.
    fn remember(&self, digest: [u8; 32], is_right: bool) -> usize {
        let mut outcomes = lock(&self.outcomes);
        if outcomes.len() >= REMEMBERED {
            outcomes.retain(|_, is_right| *is_right);
        }
        if outcomes.len() >= REMEMBERED {
            outcomes.clear();
        }
        outcomes.insert(digest, is_right);
        outcomes.len()
    }
}

/// A password that waits to be compared, or is, and its client is there.
struct Waits {
    compared: Arc<Compared>,
    peer: Peer,
}

impl Waits {
    /// `None` where too many do.
    fn begin(compared: &Arc<Compared>, peer: Peer) -> Option<Self> {
        let mut waiting = lock(&compared.waiting);
        let (of_one, of_all) = WAITING;
        let all: usize = waiting.values().sum();
        let own = waiting.entry(peer).or_default();
        if *own >= of_one || all >= of_all {
            if *own == 0 {
                waiting.remove(&peer);
            }
            return None;
        }
        *own += 1;
        drop(waiting);
        Some(Self {
            compared: Arc::clone(compared),
            peer,
        })
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let mut waiting = lock(&self.compared.waiting);
        if let Some(own) = waiting.get_mut(&self.peer) {
            *own -= 1;
            if *own == 0 {
                waiting.remove(&self.peer);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of some texts, whatever their lengths.
fn digest(texts: &[&str]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn peer(number: u8) -> Peer {
        Peer::Address(Ipv4Addr::new(192, 0, 2, number).into())
    }

    fn users(all: &[(&str, &str)]) -> Users {
        let hash = |password| bcrypt::hash(password, 4).unwrap();
        let all = all
            .iter()
            .map(|(user, password)| ((*user).to_owned(), hash(password)));
        Users::new(all.collect(), None)
    }

    async fn shown(users: &Users, user: &str, password: &str) -> Shown {
        users.has(user, password, peer(1), &Arc::default()).await
    }

    #[tokio::test]
    async fn a_password_is_its_users() {
        let users = users(&[("ada", "one"), ("bob", "two")]);
        // The second time by what is remembered.
        for _ in 0..2 {
            assert_eq!(shown(&users, "ada", "one").await, Shown::Right);
            assert_eq!(shown(&users, "ada", "two").await, Shown::Wrong);
            assert_eq!(shown(&users, "eve", "one").await, Shown::Wrong);
            assert_eq!(shown(&users, "", "").await, Shown::Wrong);
        }
    }

    #[test]
    fn guesses_are_forgotten_before_what_is_right() {
        let compared = Compared::default();
        compared.remember(digest(&["right"]), true);
        for guess in 0..3 * REMEMBERED {
            let entries = compared.remember(digest(&[&guess.to_string()]), false);
            assert!(entries <= REMEMBERED, "{entries}");
        }
        let traffic = Traffic::default();
        assert_eq!(compared.outcome(digest(&["right"]), &traffic), Some(true));
    }

    #[test]
    fn an_address_has_its_share_of_what_waits_and_all_have_a_bound() {
        let compared = Arc::<Compared>::default();
        let begin = |number| Waits::begin(&compared, peer(number));
        let of_one = [begin(1), begin(1), begin(1)];
        assert_eq!(of_one.each_ref().map(Option::is_some), [true, true, false]);
        let of_all: Vec<_> = (2..20).filter_map(begin).collect();
        assert_eq!(of_all.len(), WAITING.1 - 2);
        drop((of_one, of_all));
        assert!(begin(1).is_some());
        assert!(lock(&compared.waiting).is_empty());
    }

    #[tokio::test]
    async fn who_hangs_up_does_not_make_room_for_a_second_comparison() {
        let users = Arc::new(users(&[("ada", "one")]));
        let turn = Arc::clone(&users.compared.turn).lock_owned().await;
        let asking = Arc::clone(&users);
        let asks = tokio::spawn(async move { shown(&asking, "ada", "guess").await });
        tokio::task::yield_now().await;
        asks.abort();
        assert!(asks.await.unwrap_err().is_cancelled());
        assert!(lock(&users.compared.waiting).is_empty());
        drop(turn);
        assert_eq!(shown(&users, "ada", "one").await, Shown::Right);
        // And what was compared stands after the file is read again.
        let again = Users::new(users.hashes.clone(), Some(&users));
        assert_eq!(lock(&again.compared.outcomes).len(), 1);
    }

    #[test]
    fn nobodys_hash_is_one() {
        assert_eq!(bcrypt::verify("", NOBODY).ok(), Some(false));
    }
}
