//! What the user of a session feels: how long input waits to be read, and until something is sent back.

use crate::{Slot, histogram::Histogram};

/// A session's figures; one copy for all CPUs, written with atomic additions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExperienceStats {
    /// From when bytes could be read at a display socket until the application took them.
    pub application_delay: Histogram,
    /// The same at the connection of a client, until the session's server took them.
    pub server_delay: Histogram,
    /// On the connection of a client, from the first bytes that came after a pause ([`QUIET_NS`]) until bytes were sent.
    pub response: Histogram,
    /// How often nothing was sent for [`UNANSWERED_NS`] after such bytes.
    pub unanswered: u64,
    /// Sockets that were not marked, because the session had as many as it may.
    pub over_budget: u64,
    /// Waits at displays that were long, and are over.
    pub late: Late,
}

/// Waits at display sockets of [`UNRESPONSIVE_NS`] and more, when the application has read after all.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Late {
    /// All of them, nanoseconds. What one process has waited for at several connections counts once.
    pub sum_ns: u64,
    /// When the last one ended, nanoseconds since boot.
    pub until_ns: u64,
    /// Process whose that was.
    pub process: u32,
    /// Fills the last word.
    pub unused: u32,
}

/// An application that has not read for so long what waits for it does not respond, nanoseconds: as long as Android gives
/// one that is sent a key. Window managers that ask by themselves wait for ten seconds.
pub const UNRESPONSIVE_NS: u64 = 5_000_000_000;

/// So long, and a round trip longer, neither side has sent anything when an input comes, nanoseconds. Shorter pauses are
/// between the parts of what is under way: a viewer asks for the next picture when it has got one.
pub const QUIET_NS: u64 = 100_000_000;

/// An input after which nothing is sent for so long was not answered, nanoseconds.
pub const UNANSWERED_NS: u64 = 2_000_000_000;

/// Kind of a marked socket: an application's end of a connection to a display server.
pub const DISPLAY: u32 = 1;
/// Kind of a marked socket: a session's end of the connection of a client.
pub const CLIENT: u32 = 2;

/// What is kept of a marked socket, in its own storage: it goes with the socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarkedSocket {
    /// Since when bytes wait to be read, nanoseconds since boot; 0 for "none do".
    pub waiting_ns: u64,
    /// Since when bytes had waited before, where others came while they were being taken, nanoseconds since boot; 0 otherwise.
    pub before_ns: u64,
    /// When the input came that is not answered yet, nanoseconds since boot; 0 for "there is none".
    pub asked_ns: u64,
    /// When something was sent or came last, nanoseconds since boot.
    pub active_ns: u64,
    /// When it was marked, nanoseconds since boot: of before its slot's session it is of an earlier one.
    pub marked_ns: u64,
    /// The sequence number up to which bytes had come when some came last; of TCP.
    pub arrived: u32,
    /// Session that it was marked for.
    pub slot: Slot,
    /// [`DISPLAY`] or [`CLIENT`].
    pub kind: u32,
    /// Process that made the connection, or that was found with it; 0 for one that nobody has been found with.
    pub process: u32,
}

/// A marked socket when the agent looks.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarkedRecord {
    /// Address of the socket.
    pub socket: u64,
    /// For how long bytes have waited to be read, of which the reader has taken none meanwhile, nanoseconds.
    pub unread_ns: u64,
    /// Session that it was marked for.
    pub slot: Slot,
    /// [`DISPLAY`] or [`CLIENT`].
    pub kind: u32,
    /// As in [`MarkedSocket`].
    pub process: u32,
    /// Fills the last word.
    pub unused: u32,
}

/// Applications' connections to displays that a session may have marked between two looks.
pub const DISPLAYS_OF_EACH: u64 = 1024;
/// Connections of clients, likewise. They are counted apart, because whoever reaches a port of a session must not keep its
/// applications out, nor they its clients.
pub const CLIENTS_OF_EACH: u64 = 512;

/// How many sockets of a session are marked.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarkedCounts {
    /// Applications' connections to displays.
    pub displays: u64,
    /// Connections of clients.
    pub clients: u64,
}

/// Capacity of the map of display connections that sessions have made, and on which nothing has been sent yet. While it is
/// full, each Unix socket that sends is asked whether it is one.
pub const MAX_NEW_DISPLAYS: u32 = 1024;

/// How many display connections the programs wait for; only they write it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AwaitedDisplays {
    /// Those that were noted, less those that have sent; the sum wraps.
    pub noted: u64,
    /// Those that there was no room to note.
    pub missed: u64,
    /// How many of these the agent has given up, as it said at its last look.
    pub given_up: GivenUpDisplays,
}

/// How many display connections the agent has given up, because nothing was sent on them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GivenUpDisplays {
    /// Of those that were noted.
    pub noted: u64,
    /// Of those that there was no room to note.
    pub missed: u64,
}

impl GivenUpDisplays {
    /// All of them; the sum wraps.
    #[inline]
    #[must_use]
    pub const fn all(self) -> u64 {
        self.noted.wrapping_add(self.missed)
    }
}

impl AwaitedDisplays {
    /// Whether there is any of those that were not noted: it may be any socket.
    #[inline]
    #[must_use]
    pub const fn are_any_missed(self) -> bool {
        self.missed != self.given_up.missed
    }
}

const _: () = assert!(size_of::<ExperienceStats>() == 3 * size_of::<Histogram>() + 5 * 8);
const _: () = assert!(size_of::<MarkedSocket>() == 56);
const _: () = assert!(size_of::<MarkedRecord>() == 32);
const _: () = assert!(size_of::<AwaitedDisplays>() == 32);

crate::pod!(
    ExperienceStats,
    MarkedSocket,
    MarkedCounts,
    MarkedRecord,
    AwaitedDisplays,
    GivenUpDisplays
);
