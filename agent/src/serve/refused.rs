//! Who was refused what, in the log and the audit log: of each client some lines, and how many more there were, so that one
//! who asks without end hides nobody else.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{extract::Request, http::StatusCode};

use super::{client::Client, peer::Peer};
use crate::{
    metrics::http::{self, AuthMethod, AuthReason, Method},
    telemetry::log_event,
};

/// Lines of a client at once.
const AT_ONCE: u32 = 20;
/// Time until there may be one more.
const EVERY: Duration = Duration::from_secs(1);
/// How often it is said how many had no line.
pub(super) const SUMS: Duration = Duration::from_secs(10);
/// Clients of which something is kept. Beyond them a new one has no line of its own.
const CLIENTS: usize = 1024;

/// What each client has been refused of late.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Accounts>);

#[derive(Debug, Default)]
struct Accounts {
    by_peer: HashMap<Peer, Account>,
    /// Of clients that there was no room for.
    others: u64,
}

#[derive(Debug)]
struct Account {
    /// When all lines may be written again; each puts it off.
    full_at: Instant,
    left_out: u64,
}

impl Refusals {
    /// Logs that a request is refused. A client chooses none of the words.
    pub(super) fn say(
        &self,
        request: &Request,
        status: StatusCode,
        auth: Option<AuthMethod>,
        reason: &str,
    ) {
        let client = request.extensions().get::<Client>();
        let Some(peer) = client.map(Client::peer).filter(|peer| self.take(*peer)) else {
            return;
        };
        log_event!(
            AccessRefused,
            %peer,
            method = Method::of(request.method().as_str()).name(),
            path = http::Path::of(request.uri().path()).name(),
            status = status.as_u16(),
            auth = auth.map(AuthMethod::name),
            reason
        );
    }

    /// Logs that a connection is refused for its certificate.
    pub(super) fn say_of_certificate(&self, peer: Peer, reason: AuthReason) {
        if self.take(peer) {
            log_event!(
                AccessRefused,
                %peer,
                auth = AuthMethod::Certificate.name(),
                reason = reason.name()
            );
        }
    }

    /// Whether a client has a line more.
    fn take(&self, peer: Peer) -> bool {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.take(peer, Instant::now())
    }

    /// Says how many have had no line.
    pub(super) fn tell(&self) {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sums = accounts.sums();
        drop(accounts);
        for (peer, requests) in sums {
            log_event!(
                AccessesRefused,
                peer = peer.map(tracing::field::display),
                requests
            );
        }
    }
}

impl Accounts {
    fn take(&mut self, peer: Peer, now: Instant) -> bool {
        if self.by_peer.len() >= CLIENTS && !self.by_peer.contains_key(&peer) {
            self.by_peer
                .retain(|_, account| account.full_at > now || account.left_out > 0);
            if self.by_peer.len() >= CLIENTS {
                self.others += 1;
                return false;
            }
        }
        let account = self.by_peer.entry(peer).or_insert(Account {
            full_at: now,
            left_out: 0,
        });
        let may = account.full_at <= now + EVERY * (AT_ONCE - 1);
        if may {
            account.full_at = account.full_at.max(now) + EVERY;
        } else {
            account.left_out += 1;
        }
        may
    }

    /// What had no line since it was told last.
    fn sums(&mut self) -> Vec<(Option<Peer>, u64)> {
        let left_out = self
            .by_peer
            .iter_mut()
            .filter(|(_, account)| account.left_out > 0);
        let mut sums: Vec<_> = left_out
            .map(|(peer, account)| (Some(*peer), mem::take(&mut account.left_out)))
            .collect();
        if self.others > 0 {
            sums.push((None, mem::take(&mut self.others)));
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u32) -> Peer {
        Peer::Address(std::net::Ipv4Addr::from(number).into())
    }

    #[test]
    fn one_who_asks_without_end_has_some_lines_and_takes_none_of_anothers() {
        let start = Instant::now();
        let mut accounts = Accounts::default();
        let taken = (0..1000).filter(|_| accounts.take(peer(1), start)).count();
        assert_eq!(taken, 20);
        assert!(accounts.take(peer(2), start));
        assert_eq!(accounts.sums(), [(Some(peer(1)), 980)]);
        let later = start + Duration::from_secs(5);
        let taken = (0..1000).filter(|_| accounts.take(peer(1), later)).count();
        assert_eq!(taken, 5);
        assert_eq!(accounts.sums(), [(Some(peer(1)), 995)]);
        assert_eq!(accounts.sums(), []);
    }

    #[test]
    fn clients_without_number_are_counted_and_not_kept() {
        let now = Instant::now();
        let mut accounts = Accounts::default();
        let taken = (0..5000)
            .filter(|&number| accounts.take(peer(number), now))
            .count();
        assert_eq!((taken, accounts.by_peer.len()), (CLIENTS, CLIENTS));
        assert_eq!(accounts.sums(), [(None, 5000 - CLIENTS as u64)]);
        // Those that have been quiet make room.
        let later = now + EVERY;
        assert!(accounts.take(peer(9999), later));
        assert_eq!(accounts.by_peer.len(), 1);
    }
}
