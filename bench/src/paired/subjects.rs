//! What is compared: a table.

use sessionscope::kernel::object::TaskStore::{self, PidArray, TaskStorage};
use sessionscope::kernel::programs::name::{
    BLOCK_RQ_COMPLETE, SCHED_SWITCH, SK_DATA_READY, SOCK_RECV_LENGTH, SOCK_SEND_LENGTH,
};

use super::comparison::{Subject, Wanted};
use super::operations::Kind;
use crate::cost::peers::Peer;

/// Context switches.
#[derive(Debug)]
pub(crate) struct Sched;

/// The network: sockets, and TCP over loopback, where no card or cable hides what the kernel does.
#[derive(Debug)]
pub(crate) struct Net;

/// Block I/O.
#[derive(Debug)]
pub(crate) struct Block;

/// Processes and threads that come and go.
#[derive(Debug)]
pub(crate) struct Fork;

impl Subject for Sched {
    const NAME: &'static str = "sched";
    const LOADS: &'static [Kind] = &[Kind::Pair, Kind::Ring];
    const AGENTS: &'static [(TaskStore, bool)] =
        &[(PidArray, true), (TaskStorage, true), (TaskStorage, false)];
    const EMPTY_ON: &'static [&'static str] = &[SCHED_SWITCH];
    const SHOWS_EMPTY: bool = true;
    const PEERS: &'static [Peer] = &[Peer::Runqlat, Peer::RunqlatBt];
    const WANTED: &'static [Wanted] = &[
        Wanted {
            load: Kind::Pair,
            store: PidArray,
            in_session: true,
            program: SCHED_SWITCH,
            ns: 50.0,
        },
        Wanted {
            load: Kind::Pair,
            store: TaskStorage,
            in_session: true,
            program: SCHED_SWITCH,
            ns: 72.0,
        },
        Wanted {
            load: Kind::Ring,
            store: PidArray,
            in_session: true,
            program: SCHED_SWITCH,
            ns: 65.0,
        },
        Wanted {
            load: Kind::Ring,
            store: TaskStorage,
            in_session: true,
            program: SCHED_SWITCH,
            ns: 95.0,
        },
    ];
}

impl Subject for Net {
    const NAME: &'static str = "net";
    const LOADS: &'static [Kind] = &[
        Kind::Messages,
        Kind::Stream,
        Kind::Streams,
        Kind::Connections,
    ];
    const AGENTS: &'static [(TaskStore, bool)] = &[(TaskStorage, true)];
    const EMPTY_ON: &'static [&'static str] = &[SCHED_SWITCH];
    const SHOWS_EMPTY: bool = false;
    const PEERS: &'static [Peer] = &[Peer::Tcprtt, Peer::Tcpconnlat, Peer::Tcplife];
    const WANTED: &'static [Wanted] = &[
        Wanted {
            load: Kind::Messages,
            store: TaskStorage,
            in_session: true,
            program: SOCK_SEND_LENGTH,
            ns: 10.0,
        },
        Wanted {
            load: Kind::Messages,
            store: TaskStorage,
            in_session: true,
            program: SOCK_RECV_LENGTH,
            ns: 10.0,
        },
    ];
}

impl Subject for Block {
    const NAME: &'static str = "block";
    const LOADS: &'static [Kind] = &[Kind::Reads, Kind::Writes];
    const AGENTS: &'static [(TaskStore, bool)] = &[(TaskStorage, true)];
    const EMPTY_ON: &'static [&'static str] = &[SCHED_SWITCH];
    const SHOWS_EMPTY: bool = false;
    const PEERS: &'static [Peer] = &[Peer::Biolatency];
    const WANTED: &'static [Wanted] = &[
        Wanted {
            load: Kind::Reads,
            store: TaskStorage,
            in_session: true,
            program: BLOCK_RQ_COMPLETE,
            ns: 130.0,
        },
        Wanted {
            load: Kind::Writes,
            store: TaskStorage,
            in_session: true,
            program: BLOCK_RQ_COMPLETE,
            ns: 130.0,
        },
    ];
}

impl Subject for Fork {
    const NAME: &'static str = "fork";
    const LOADS: &'static [Kind] = &[Kind::Threads, Kind::Processes];
    const AGENTS: &'static [(TaskStore, bool)] = &[(TaskStorage, true)];
    const EMPTY_ON: &'static [&'static str] = &[SCHED_SWITCH];
    const SHOWS_EMPTY: bool = false;
    const PEERS: &'static [Peer] = &[Peer::Execsnoop, Peer::Exitsnoop];
    const WANTED: &'static [Wanted] = &[];
}

/// Messages at sockets where input is measured, and where it is not.
#[derive(Debug)]
pub(crate) struct Input;

impl Input {
    /// Nanoseconds of each of the programs on messages at a socket that is not marked.
    pub(super) const UNMARKED_NS: f64 = 10.0;
    /// The same at one that is.
    pub(super) const MARKED_NS: f64 = 130.0;
    /// The programs on messages, which are on tracepoints of the same names.
    pub(super) const PROGRAMS: [&str; 3] = [SK_DATA_READY, SOCK_SEND_LENGTH, SOCK_RECV_LENGTH];

    const fn wanted(load: Kind, in_session: bool, program: usize, ns: f64) -> Wanted {
        Wanted {
            load,
            store: TaskStorage,
            in_session,
            program: Self::PROGRAMS[program],
            ns,
        }
    }
}

impl Subject for Input {
    const NAME: &'static str = "input";
    const LOADS: &'static [Kind] = &[Kind::Messages, Kind::DisplayMessages];
    const AGENTS: &'static [(TaskStore, bool)] = &[(TaskStorage, true), (TaskStorage, false)];
    const EMPTY_ON: &'static [&'static str] = &Self::PROGRAMS;
    const SHOWS_EMPTY: bool = true;
    const PEERS: &'static [Peer] = &[];
    const WANTED: &'static [Wanted] = &[
        Self::wanted(Kind::Messages, true, 0, Self::UNMARKED_NS),
        Self::wanted(Kind::Messages, true, 1, Self::UNMARKED_NS),
        Self::wanted(Kind::Messages, true, 2, Self::UNMARKED_NS),
        Self::wanted(Kind::Messages, false, 0, Self::UNMARKED_NS),
        Self::wanted(Kind::Messages, false, 1, Self::UNMARKED_NS),
        Self::wanted(Kind::Messages, false, 2, Self::UNMARKED_NS),
        Self::wanted(Kind::DisplayMessages, true, 0, Self::MARKED_NS),
        Self::wanted(Kind::DisplayMessages, true, 1, Self::MARKED_NS),
        Self::wanted(Kind::DisplayMessages, true, 2, Self::MARKED_NS),
    ];
}
