//! Users and their passwords.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use crate::{metrics::http::Cache, serve::traffic::Traffic};

/// bcrypt of a password that nobody has, of the cost that the format's documentation uses: who does not exist takes as
/// long to refuse as who does.
const NOBODY: &str = "$2b$10$6Tk4vS8pNGnWIbTnL0Ue4u9EwH9mQ8mWz0qO2sWvY3n1lJxYyOZ2K";
/// Outcomes that are remembered, so that a scraper's password is compared once: 60 ms of a CPU at a cost of 10.
const REMEMBERED: usize = 100;

/// Users by name, with the bcrypt hashes of their passwords.
#[derive(Debug, Default)]
pub(super) struct Users {
    hashes: BTreeMap<String, String>,
    /// Outcomes, by a digest of name, hash and password.
    remembered: Mutex<HashMap<[u8; 32], bool>>,
    /// Held while one is compared: requests with passwords take one CPU at most.
    comparing: Arc<tokio::sync::Mutex<()>>,
}

impl Users {
    /// These.
    pub(super) fn new(hashes: BTreeMap<String, String>) -> Self {
        Self {
            hashes,
            ..Self::default()
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Whether a user has a password.
    pub(super) async fn has(&self, user: &str, password: &str, traffic: &Traffic) -> bool {
        let known = self.hashes.get(user);
        let hash = known.map_or(NOBODY, String::as_str);
        let digest = digest(&[user, hash, password]);
        if let Some(outcome) = self.remember(digest, traffic) {
            return outcome;
        }
        let turn = self.comparing.lock().await;
        // Somebody with the same may have had the turn before.
        if let Some(outcome) = self.remember(digest, traffic) {
            return outcome;
        }
        let (hash, password) = (hash.to_owned(), password.to_owned());
        let compared = spawn_blocking(move || bcrypt::verify(password, &hash)).await;
        drop(turn);
        let is_right = known.is_some() && matches!(compared, Ok(Ok(true)));
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Guesses do not push out what is right for long: it is compared again.
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_, is_right| *is_right);
        }
        if remembered.len() < REMEMBERED {
            remembered.insert(digest, is_right);
        }
        is_right
    }

    fn remember(&self, digest: [u8; 32], traffic: &Traffic) -> Option<bool> {
        let remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let outcome = remembered.get(&digest).copied();
        traffic.looked_up(Cache::Passwords, outcome.is_some(), remembered.len());
        outcome
    }
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
    use super::*;

    #[tokio::test]
    async fn a_password_is_its_users() {
        let hash = |password| bcrypt::hash(password, 4).unwrap();
        let users = Users::new(
            [("ada", "one"), ("bob", "two")]
                .map(|(user, password)| (user.to_owned(), hash(password)))
                .into(),
        );
        // The second time by what is remembered.
        for _ in 0..2 {
            assert!(users.has("ada", "one", &Traffic::default()).await);
            assert!(!users.has("ada", "two", &Traffic::default()).await);
            assert!(!users.has("eve", "one", &Traffic::default()).await);
            assert!(!users.has("", "", &Traffic::default()).await);
        }
    }

    #[tokio::test]
    async fn guesses_are_forgotten_before_what_is_right() {
        let users = Users::new([("ada".to_owned(), bcrypt::hash("one", 4).unwrap())].into());
        assert!(users.has("ada", "one", &Traffic::default()).await);
        for guess in 0..REMEMBERED + 10 {
            assert!(
                !users
                    .has("ada", &guess.to_string(), &Traffic::default())
                    .await
            );
        }
        let remembered = users.remembered.lock().unwrap();
        assert!(remembered.len() <= REMEMBERED);
        assert!(remembered.values().any(|is_right| *is_right));
    }

    #[test]
    fn nobodys_hash_is_one() {
        assert_eq!(bcrypt::verify("", NOBODY).ok(), Some(false));
    }
}
