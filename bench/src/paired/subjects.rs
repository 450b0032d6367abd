//! What is compared: a table.

use sessionscope::kernel::object::TaskStore::{PidArray, TaskStorage};
use sessionscope::kernel::programs::name::{
    BLOCK_RQ_COMPLETE, SCHED_SWITCH, SOCK_RECV_LENGTH, SOCK_SEND_LENGTH,
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
    const IN_DETAIL: bool = true;
    const PEERS: &'static [Peer] = &[Peer::Runqlat, Peer::RunqlatBt];
    const WANTED: &'static [Wanted] = &[
        Wanted {
            load: Kind::Pair,
            store: PidArray,
            program: SCHED_SWITCH,
            ns: 50.0,
        },
        Wanted {
            load: Kind::Pair,
            store: TaskStorage,
            program: SCHED_SWITCH,
            ns: 72.0,
        },
        Wanted {
            load: Kind::Ring,
            store: PidArray,
            program: SCHED_SWITCH,
            ns: 65.0,
        },
        Wanted {
            load: Kind::Ring,
            store: TaskStorage,
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
    const IN_DETAIL: bool = false;
    const PEERS: &'static [Peer] = &[Peer::Tcprtt, Peer::Tcpconnlat, Peer::Tcplife];
    const WANTED: &'static [Wanted] = &[
        Wanted {
            load: Kind::Messages,
            store: TaskStorage,
            program: SOCK_SEND_LENGTH,
            ns: 10.0,
        },
        Wanted {
            load: Kind::Messages,
            store: TaskStorage,
            program: SOCK_RECV_LENGTH,
            ns: 10.0,
        },
    ];
}

impl Subject for Block {
    const NAME: &'static str = "block";
    const LOADS: &'static [Kind] = &[Kind::Reads, Kind::Writes];
    const IN_DETAIL: bool = false;
    const PEERS: &'static [Peer] = &[Peer::Biolatency];
    const WANTED: &'static [Wanted] = &[
        Wanted {
            load: Kind::Reads,
            store: TaskStorage,
            program: BLOCK_RQ_COMPLETE,
            ns: 130.0,
        },
        Wanted {
            load: Kind::Writes,
            store: TaskStorage,
            program: BLOCK_RQ_COMPLETE,
            ns: 130.0,
        },
    ];
}

impl Subject for Fork {
    const NAME: &'static str = "fork";
    const LOADS: &'static [Kind] = &[Kind::Threads, Kind::Processes];
    const IN_DETAIL: bool = false;
    const PEERS: &'static [Peer] = &[Peer::Execsnoop, Peer::Exitsnoop];
    const WANTED: &'static [Wanted] = &[];
}
