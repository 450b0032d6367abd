//! Whether a session has a client, how those that it had went, and for how long it was left without one.
//!
//! A client is an inbound connection that was established, and not one of the session with itself. It is there from when it was established until it is gone:
//! until its end, or where nobody answered any more, until the last that came from it, data or an acknowledgement. The
//! kernel gives such a one up after a quarter of an hour, so the session may have had another for long by then.
//!
//! When all are gone, the one that was gone last decides. Had it closed its connection, or the session had, the session
//! was left. Otherwise it is disconnected until a client comes; one that comes within ten minutes has come back.
//!
//! The kernel counts the ends and keeps who was gone last ([`ClientStats`]); who is there is read at the sample.

use std::time::Duration;

use agent_common::net::{
    CLOSED, ClientStats, ConnectionRecord, ENDS, IDLE, RESET, TIMED_OUT, gone_when_and_how,
};

use super::net::{ESTABLISHED, is_client};
use crate::{kernel::Reading, named::named};

/// A client that comes within this of when the last one was gone has come back.
const COMES_BACK_WITHIN: Duration = Duration::from_mins(10);

named! {
    /// How a client went.
    pub enum How {
        /// It closed the connection, or the session did.
        Closed = "closed",
        /// Either broke it off.
        Reset = "reset",
        /// Nobody answered any more.
        TimedOut = "timed_out",
        /// The session closed it because nothing came.
        Idle = "idle",
    }
}

impl How {
    /// Its part of what is counted for each.
    pub const fn of(self, ended: &[u64; ENDS]) -> u64 {
        ended[match self {
            Self::Closed => CLOSED,
            Self::Reset => RESET,
            Self::TimedOut => TIMED_OUT,
            Self::Idle => IDLE,
        }]
    }
}

/// The clients of a session, as far as they came and went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Those that have ended, by how.
    pub ended: [u64; ENDS],
    /// What came of it; `None` where it is not known who is there.
    pub absences: Option<Absences>,
    /// What is kept between two samples.
    pub between: Between,
}

/// The times without a client that did not begin with a client or the session closing the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Absences {
    /// Those that ended within ten minutes: clients that came back.
    pub reconnects: u64,
    /// All of them together, nanoseconds. Never decreases.
    pub lasted_ns: u64,
    /// Since when it is so now, nanoseconds since boot.
    pub since_ns: Option<u64>,
}

/// What the next sample must know of those before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Between {
    /// Somebody has gone, and nobody has asked yet what that means.
    somebody_went: bool,
    /// The end with which the last absence began, as the kernel has it.
    began_with: u64,
    /// When the last absence that is over was over, nanoseconds since boot.
    over_ns: u64,
    /// The absences so far.
    absences: Absences,
    /// How long those lasted that are over, nanoseconds.
    lasted_ns: u64,
}

impl Presence {
    /// Takes a sample at a moment in nanoseconds since boot: what the kernel counted, and then the live connections.
    pub fn take(&mut self, stats: &ClientStats, live: Reading<&[ConnectionRecord]>, now_ns: u64) {
        self.between.somebody_went |= stats.ended != self.ended;
        self.ended = stats.ended;
        match live {
            Reading::Impossible => {
                self.absences = None;
                return;
            }
            Reading::NotDue => {}
            Reading::Taken(live) => self.between.look(stats, live),
        }
        self.absences = Some(self.between.absences_at(now_ns));
    }
}

impl Between {
    /// Looks who is there.
    fn look(&mut self, stats: &ClientStats, live: &[ConnectionRecord]) {
        let clients = live
            .iter()
            .filter(|connection| is_client(connection) && connection.state == ESTABLISHED);
        let first_ns = clients.map(|client| client.came_ns).min();
        let is_here_since = |ns: u64| first_ns.is_some_and(|first_ns| first_ns <= ns);
        // The first after a moment at which nobody was there; of those that are gone again the last is known.
        let came_after = |ns: u64| {
            let gone_again = Some(stats.last_came_ns).filter(|came_ns| *came_ns > ns);
            first_ns.filter(|first_ns| *first_ns > ns).or(gone_again)
        };
        let (gone_ns, how) = gone_when_and_how(stats.last_gone);
        if let Some(since_ns) = self.absences.since_ns {
            if let Some(came_ns) = came_after(since_ns) {
                self.ends(since_ns, came_ns);
            } else if gone_ns > since_ns || is_here_since(since_ns) {
                // One that went between the two readings had been there.
                self.absences.since_ns = None;
            }
        }
        // Without that, one who has ended since the counters were read would be missing for the sake of somebody who
        // went before.
        if !std::mem::take(&mut self.somebody_went) {
            return;
        }
        let is_known = stats.last_gone <= self.began_with;
        if is_known || how == CLOSED || is_here_since(gone_ns) {
            return;
        }
        self.began_with = stats.last_gone;
        match came_after(gone_ns) {
            Some(came_ns) => self.ends(gone_ns, came_ns),
            None => self.absences.since_ns = Some(gone_ns),
        }
    }

    fn ends(&mut self, since_ns: u64, came_ns: u64) {
        self.lasted_ns += came_ns.saturating_sub(since_ns.max(self.over_ns));
        self.over_ns = came_ns;
        self.absences.since_ns = None;
        if Duration::from_nanos(came_ns - since_ns) <= COMES_BACK_WITHIN {
            self.absences.reconnects += 1;
        }
    }

    fn absences_at(&mut self, now_ns: u64) -> Absences {
        let since_ns = self.absences.since_ns;
        let now = since_ns.map(|since_ns| now_ns.saturating_sub(since_ns.max(self.over_ns)));
        let lasted_ns = self.lasted_ns + now.unwrap_or_default();
        self.absences.lasted_ns = self.absences.lasted_ns.max(lasted_ns);
        self.absences
    }
}

#[cfg(test)]
mod tests;
