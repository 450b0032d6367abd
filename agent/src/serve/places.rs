//! Who may have an answer made: so many are under way at a time, and the peers share them.
//!
//! A place is held from a request until the last byte of its answer has been taken. A peer has its share of the
//! places at most; what it asks for beyond is refused at once. Within its share it is never refused because of
//! another peer: it waits, and who has the fewest places is next. A peer that has some gets another one only while
//! more than that are free, so that a few peers that do not read leave room for those that come later.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::peer::Peer;

/// The places.
#[derive(Debug)]
pub(super) struct Places {
    /// How many there are. As many requests may wait for one.
    most: usize,
    /// How many one peer may have, those that it waits for included.
    share: usize,
    tickets: Mutex<Tickets>,
}

#[derive(Debug, Default)]
struct Tickets {
    /// Number of the next one.
    next: u64,
    /// By number: the oldest first.
    all: BTreeMap<u64, Ticket>,
}

#[derive(Debug)]
struct Ticket {
    peer: Peer,
    phase: Phase,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Held,
    Refused,
}

impl Places {
    /// So many places, of which a peer may have so many.
    pub(super) fn new(most: usize, share: usize) -> Self {
        Self {
            most,
            share,
            tickets: Mutex::default(),
        }
    }

    /// A place, once there is one; `None` when the peer has its share.
    pub(super) async fn take(self: &Arc<Self>, peer: Peer) -> Option<Place> {
        let place = self.ask(peer);
        let is_held = poll_fn(|context| place.poll(context)).await;
        is_held.then_some(place)
    }

    fn ask(self: &Arc<Self>, peer: Peer) -> Place {
        let number = self.change(|tickets| {
            let number = tickets.next;
            tickets.next += 1;
            let phase = if tickets.of_peer(peer) < self.share {
                Phase::Waiting
            } else {
                Phase::Refused
            };
            let ticket = Ticket {
                peer,
                phase,
                waker: None,
            };
            tickets.all.insert(number, ticket);
            number
        });
        Place {
            places: Arc::clone(self),
            number,
        }
    }

    /// Changes the tickets, and then decides about those that wait.
    fn change<T>(&self, change: impl FnOnce(&mut Tickets) -> T) -> T {
        let mut tickets = self.lock();
        let changed = change(&mut tickets);
        let mut woken = Vec::new();
        while let Some(number) = tickets.next_to_hold(self.most) {
            woken.extend(tickets.decide(number, Phase::Held));
        }
        while let Some(number) = tickets.one_too_many(self.most) {
            woken.extend(tickets.decide(number, Phase::Refused));
        }
        drop(tickets);
        woken.into_iter().for_each(Waker::wake);
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Tickets> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tickets {
    /// Places that a peer has or waits for.
    fn of_peer(&self, peer: Peer) -> usize {
        self.count(|ticket| ticket.peer == peer && ticket.phase != Phase::Refused)
    }

    fn count(&self, is_counted: impl Fn(&Ticket) -> bool) -> usize {
        self.all
            .values()
            .filter(|ticket| is_counted(ticket))
            .count()
    }

    fn waiting(&self) -> impl Iterator<Item = (u64, Peer)> {
        let all = self.all.iter();
        all.filter(|(_, ticket)| ticket.phase == Phase::Waiting)
            .map(|(number, ticket)| (*number, ticket.peer))
    }

    /// The ticket that gets a place, if one is free for it: the oldest of the peer with the fewest.
    fn next_to_hold(&self, most: usize) -> Option<u64> {
        let free = most.saturating_sub(self.count(|ticket| ticket.phase == Phase::Held));
        let held = |peer| self.count(|t| t.peer == peer && t.phase == Phase::Held);
        let next = self.waiting().map(|(number, peer)| (held(peer), number));
        let (held, number) = next.min()?;
        (held < free).then_some(number)
    }

    /// The ticket that is refused where more wait than may: the youngest of the peer with the most.
    fn one_too_many(&self, most: usize) -> Option<u64> {
        if self.waiting().count() <= most {
            return None;
        }
        let all = self.waiting();
        let last = all.map(|(number, peer)| (self.of_peer(peer), number)).max();
        last.map(|(_, number)| number)
    }

    fn decide(&mut self, number: u64, phase: Phase) -> Option<Waker> {
        let ticket = self.all.get_mut(&number)?;
        ticket.phase = phase;
        ticket.waker.take()
    }
}

/// A place, or the wait for one. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
}

impl Place {
    /// Whether it is held, once that is decided.
    fn poll(&self, context: &Context<'_>) -> Poll<bool> {
        let mut tickets = self.places.lock();
        let Some(ticket) = tickets.all.get_mut(&self.number) else {
            return Poll::Ready(false);
        };
        match ticket.phase {
            Phase::Held => Poll::Ready(true),
            Phase::Refused => Poll::Ready(false),
            Phase::Waiting => {
                ticket.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places
            .change(|tickets| tickets.all.remove(&self.number));
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn peer(number: u8) -> Peer {
        Peer::Address(Ipv4Addr::new(192, 0, 2, number).into())
    }

    fn places(most: usize, share: usize) -> Arc<Places> {
        Arc::new(Places::new(most, share))
    }

    impl Place {
        fn phase(&self) -> Phase {
            self.places.lock().all[&self.number].phase
        }
    }

    fn phases(places: &[Place]) -> Vec<Phase> {
        places.iter().map(Place::phase).collect()
    }

    #[test]
    fn a_peer_has_its_share_and_is_refused_what_is_beyond() {
        let places = places(32, 8);
        let held: Vec<Place> = (0..9).map(|_| places.ask(peer(1))).collect();
        assert_eq!(phases(&held[..8]), [Phase::Held; 8]);
        assert_eq!(held[8].phase(), Phase::Refused);
        // Another one does not notice.
        assert_eq!(places.ask(peer(2)).phase(), Phase::Held);
        // What is given back is there again.
        drop(held);
        assert_eq!(places.ask(peer(1)).phase(), Phase::Held);
        assert!(places.lock().all.is_empty());
    }

    #[test]
    fn peers_that_take_all_they_can_leave_places_for_later_ones() {
        let places = places(32, 8);
        let mut held = Vec::new();
        for hog in 1..=6 {
            held.extend((0..8).map(|_| places.ask(peer(hog))));
        }
        let late = places.ask(peer(7));
        assert_eq!(late.phase(), Phase::Held);
        // Nobody is refused within its share.
        assert!(held.iter().all(|place| place.phase() != Phase::Refused));
    }

    #[test]
    fn who_has_the_fewest_places_is_next() {
        let places = places(8, 8);
        // The first peer has four places and the second two; two are free, which only one with fewer may have.
        let mut first: Vec<Place> = (0..5).map(|_| places.ask(peer(1))).collect();
        let second: Vec<Place> = (0..3).map(|_| places.ask(peer(2))).collect();
        assert_eq!(
            (first[3].phase(), first[4].phase()),
            (Phase::Held, Phase::Waiting)
        );
        assert_eq!(
            (second[1].phase(), second[2].phase()),
            (Phase::Held, Phase::Waiting)
        );
        // Of two that wait the one of the second peer is the younger.
        first.remove(0);
        assert_eq!(phases(&second), [Phase::Held; 3]);
        assert_eq!(first[3].phase(), Phase::Waiting);
        drop(second);
        assert_eq!(phases(&first), [Phase::Held; 4]);
    }

    #[test]
    fn where_too_many_wait_the_peer_with_the_most_is_refused() {
        let places = places(2, 3);
        let many: Vec<Place> = (0..3).map(|_| places.ask(peer(1))).collect();
        assert_eq!(phases(&many), [Phase::Held, Phase::Waiting, Phase::Waiting]);
        let others = [2, 3].map(|number| places.ask(peer(number)));
        assert_eq!(phases(&others), [Phase::Held, Phase::Waiting]);
        assert_eq!(phases(&many), [Phase::Held, Phase::Waiting, Phase::Refused]);
    }

    #[tokio::test]
    async fn who_waits_has_the_place_when_it_is_given_back() {
        let places = places(1, 1);
        let held = places.take(peer(1)).await.unwrap();
        assert!(places.take(peer(1)).await.is_none());
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take(peer(2)).await.is_some() }
        });
        tokio::task::yield_now().await;
        drop(held);
        assert!(waiting.await.unwrap());
        // Who no longer waits is forgotten.
        assert!(places.lock().all.is_empty());
    }
}
