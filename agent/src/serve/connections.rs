//! The connections that are open, and which of them makes room for a new one: never one that is being answered.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::task::AbortHandle;

use super::{activity::Activity, peer::Peer};

/// A connection that has said nothing for less than this may have a request on its way: the peer's own next one
/// does not close it.
const FRESH: Duration = Duration::from_secs(1);

/// How long a connection may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    /// As long as it is used.
    Kept,
    /// For one request, because its peer has its share of connections.
    Brief,
}

/// All that are open.
#[derive(Debug)]
pub(super) struct Connections {
    /// How many there may be.
    most: usize,
    /// How many of one peer are kept.
    share: usize,
    /// In the order in which they came.
    open: VecDeque<Open>,
}

#[derive(Debug)]
struct Open {
    peer: Peer,
    activity: Arc<Activity>,
    task: AbortHandle,
}

impl Open {
    fn is_silent_for(&self, least: Duration) -> bool {
        self.activity
            .silent_for()
            .is_some_and(|silent| silent >= least)
    }
}

impl Connections {
    /// None yet; so many of all peers and so many of one.
    pub(super) fn new(most: usize, share: usize) -> Self {
        Self {
            most,
            share,
            open: VecDeque::new(),
        }
    }

    /// Adds one that has been taken in.
    pub(super) fn add(&mut self, peer: Peer, activity: Arc<Activity>, task: AbortHandle) {
        self.open.push_back(Open {
            peer,
            activity,
            task,
        });
    }

    /// Makes room for a connection of a peer, at the cost of silent ones: of the peer's own that are beyond its
    /// share, then of the peer that has the most. `None` when there is no room.
    pub(super) fn make_room(&mut self, peer: Peer) -> Option<Stay> {
        self.open.retain(|open| !open.task.is_finished());
        while self.of_peer(peer) >= self.share && self.close_own(peer) {}
        // Those that are being answered are few (the places), or answered at once.
        if self.open.len() >= self.most && !self.close_one() && self.open.len() >= 2 * self.most {
            return None;
        }
        let has_room = self.of_peer(peer) < self.share;
        Some(if has_room { Stay::Kept } else { Stay::Brief })
    }

    fn of_peer(&self, peer: Peer) -> usize {
        self.open.iter().filter(|open| open.peer == peer).count()
    }

    /// Closes the oldest of a peer that has been silent for a while.
    fn close_own(&mut self, peer: Peer) -> bool {
        let mut all = self.open.iter();
        let oldest = all.position(|open| open.peer == peer && open.is_silent_for(FRESH));
        oldest.is_some_and(|position| self.close(position))
    }

    /// Closes the oldest silent one of the peer with the most connections.
    fn close_one(&mut self) -> bool {
        let mut of_peers = HashMap::<Peer, usize>::new();
        for open in &self.open {
            *of_peers.entry(open.peer).or_default() += 1;
        }
        // Of equal ones `max_by_key` takes the last.
        let silent = self.open.iter().enumerate().rev();
        let victim = silent
            .filter(|(_, open)| open.is_silent_for(Duration::ZERO))
            .max_by_key(|(_, open)| of_peers[&open.peer])
            .map(|(position, _)| position);
        victim.is_some_and(|position| self.close(position))
    }

    /// Closes one, unless a request has come in the meantime.
    fn close(&mut self, position: usize) -> bool {
        let has_ended = self.open[position].activity.end_if_silent();
        if has_ended && let Some(open) = self.open.remove(position) {
            open.task.abort();
        }
        has_ended
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn peer(number: u8) -> Peer {
        Peer::Address(Ipv4Addr::new(192, 0, 2, number).into())
    }

    /// Lets a connection of a peer in, whose task does not end by itself.
    fn come(connections: &mut Connections, number: u8) -> (Option<Stay>, Arc<Activity>) {
        let stay = connections.make_room(peer(number));
        let activity = Arc::new(Activity::new());
        if stay.is_some() {
            let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
            connections.add(peer(number), Arc::clone(&activity), task);
        }
        (stay, activity)
    }

    #[tokio::test]
    async fn beyond_its_share_a_peer_loses_its_own_old_silent_connections_and_no_others() {
        let mut connections = Connections::new(100, 2);
        let (_, busy) = come(&mut connections, 1);
        busy.begin();
        come(&mut connections, 2);
        come(&mut connections, 1);
        // The second of the peer is fresh: it stays, and the third is for one request.
        assert_eq!(come(&mut connections, 1).0, Some(Stay::Brief));
        tokio::time::sleep(2 * FRESH).await;
        assert_eq!(come(&mut connections, 1).0, Some(Stay::Kept));
        assert_eq!(
            (connections.of_peer(peer(1)), connections.of_peer(peer(2))),
            (2, 1)
        );
        assert!(!busy.end_if_silent(), "what is being answered is cut");
    }

    #[tokio::test]
    async fn where_there_are_too_many_the_peer_with_the_most_makes_room() {
        let mut connections = Connections::new(4, 4);
        come(&mut connections, 2);
        let busy: Vec<_> = (0..2).map(|_| come(&mut connections, 1).1).collect();
        for activity in &busy {
            activity.begin();
        }
        come(&mut connections, 1);
        assert_eq!(come(&mut connections, 3).0, Some(Stay::Kept));
        let of_peers = [1, 2, 3].map(|number| connections.of_peer(peer(number)));
        assert_eq!(of_peers, [2, 1, 1]);
        // The peer with the most has no silent one any more.
        assert_eq!(come(&mut connections, 3).0, Some(Stay::Kept));
        assert_eq!(connections.of_peer(peer(2)), 0);
    }

    #[tokio::test]
    async fn none_is_taken_in_where_all_are_being_answered() {
        let mut connections = Connections::new(2, 8);
        for _ in 0..4 {
            let (stay, activity) = come(&mut connections, 1);
            assert_eq!(stay, Some(Stay::Kept));
            activity.begin();
        }
        assert_eq!(come(&mut connections, 2).0, None);
    }
}
