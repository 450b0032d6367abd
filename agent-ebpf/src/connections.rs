//! The live TCP connections of sessions, and what they have carried so far.
//!
//! They are in a map from their SYN to the destruction of their socket. At the sample the agent takes the
//! map's keys and has each socket read by a program that it runs itself. The kernel's own `iter/tcp` would
//! walk the whole hash table of sockets, and only those of one network namespace, while every pod has its
//! own; the map holds what belongs to sessions, whatever its namespace. An iterator over the map
//! (`iter/bpf_map_elem`) is refused by hardened kernels, because it may write to the map's values.
//!
//! Connections that are older than the agent or than the session are found among the open files of all
//! processes, once, when a session is adopted; those that a process brings with it, among its own.

use core::ffi::c_void;

use agent_common::{
    MAX_CONNECTIONS, MAX_LEFT_OUT, MAX_RECENT, NO_SESSION, Slot,
    net::{
        CONNECTIONS_PER_RUN, Connection, ConnectionBatch, ConnectionRecord, Ends, INBOUND, LeftOut,
        ListenPort, OUTBOUND, Traffic,
    },
};
use aya_ebpf::{
    bindings::{BPF_EXIST, BPF_NOEXIST},
    btf_maps::{Array, HashMap, LruHashMap},
    helpers::bpf_ktime_get_boot_ns,
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};

use crate::{
    internal,
    iterator::IterTaskFile,
    kernel::{Cgroup, KernelPtr, chained, constant, number, offset},
    process::EEXIST,
    record, session,
    socket::{self, Socket},
    tcp::{self, CLOSE, ESTABLISHED, IPPROTO_TCP, LISTEN, NEW_SYN_RECV, SYN_SENT, TIME_WAIT},
};

/// `S_IFMT` and `S_IFSOCK` (include/uapi/linux/stat.h).
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// Connections being opened and open, by the socket's address.
#[btf_map]
pub(crate) static CONNECTIONS: HashMap<u64, Connection, { MAX_CONNECTIONS as usize }> =
    HashMap::new();

/// Entries of [`CONNECTIONS`] by slot, and under [`NO_SESSION`] all. Not cleared with a slot: sockets of the session that
/// had it before are still here, and leave one by one.
#[btf_map]
static CONNECTION_COUNTS: Array<u64, 1> = Array::new();

/// Ports that sessions listen on; they tell on which side a connection is that was found open.
#[btf_map]
static LISTEN_PORTS: LruHashMap<ListenPort, u8, { MAX_RECENT as usize }> = LruHashMap::new();

/// Ports that others listen on, in any network namespace, for connections that are carried into a session. By themselves,
/// because whoever listens a lot must not push the sessions' out.
#[btf_map]
static OUTSIDE_PORTS: LruHashMap<u32, u8, { MAX_RECENT as usize }> = LruHashMap::new();

/// Connections that were counted as over the budget, and when, nanoseconds since boot: the walks over open files come to
/// the same ones again and again.
#[btf_map]
static LEFT_OUT: LruHashMap<LeftOut, u64, { MAX_LEFT_OUT as usize }> = LruHashMap::new();

/// Takes note of a listener.
#[inline(always)]
pub(crate) fn listens_on(slot: Slot, port: u32) {
    if slot == NO_SESSION {
        let _full = OUTSIDE_PORTS.insert(&port, &1, 0);
    } else {
        let _full = LISTEN_PORTS.insert(&ListenPort { slot, port }, &1, 0);
    }
}

#[inline(always)]
fn is_listened_on(slot: Slot, port: u32) -> bool {
    // SAFETY: only whether there is one.
    unsafe { LISTEN_PORTS.get(&ListenPort { slot, port }) }.is_some()
}

/// The session that an entered connection belongs to now: that of its cgroup, or the one that it was carried into, while
/// nobody else has its slot.
///
/// # Safety
/// The connection is a value of [`CONNECTIONS`].
#[inline(always)]
pub(crate) unsafe fn owner(socket: Socket, connection: *const Connection) -> Slot {
    // SAFETY: by the contract; each member is read once.
    let (carried, slot, entered_ns) = unsafe {
        (
            (*connection).carried,
            (*connection).slot,
            (*connection).entered_ns,
        )
    };
    if carried == 0 {
        socket.slot()
    } else if session::had_slot(slot, entered_ns) {
        slot
    } else {
        NO_SESSION
    }
}

/// `tcp_destroy_sock(sock *sk)`, net/ipv4/tcp_ipv4.c. Not at CLOSE already: a socket that is closed with a
/// reset sends it afterwards, and its side must still be known.
#[btf_tracepoint(function = "tcp_destroy_sock")]
fn tcp_destroy_sock(ctx: BtfTracePointContext) -> i32 {
    leave(Socket(ctx.arg::<KernelPtr>(0)))
}

/// Does what [`tcp_destroy_sock`] was passed over for: the entry is still there then.
#[btf_tracepoint(function = "tcp_destroy_sock")]
fn tcp_destroy_sock_again(ctx: BtfTracePointContext) -> i32 {
    leave(Socket(ctx.arg::<KernelPtr>(0)))
}

#[inline(always)]
fn leave(socket: Socket) -> i32 {
    let key = socket.0 as u64;
    // SAFETY: three members are read once.
    let Some((slot, closed, ends)) = (unsafe { CONNECTIONS.get(&key) })
        .map(|connection| (connection.slot, connection.closed, connection.ends))
    else {
        return 0;
    };
    // The program of its last change of state was passed over.
    if closed == 0 {
        tcp::closed(socket, CLOSE);
    }
    if CONNECTIONS.remove(&key).is_ok() {
        count(slot, LEFT);
        internal::forget(key, slot, ends);
    }
    0
}

/// Whether an entry may be replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// There was none a moment ago: whoever has made one meanwhile knows more.
    New,
    /// What is there is of an earlier socket, or of another session.
    Any,
}

/// Enters a connection, if its session has a place for it, and says whether it did.
#[inline(never)]
pub(crate) fn enter(key: u64, connection: &Connection, entry: Entry) -> bool {
    // SAFETY: two members are read once.
    let before =
        unsafe { CONNECTIONS.get(&key) }.map(|connection| (connection.slot, connection.ends));
    if let Some((before, ends)) = before {
        if entry == Entry::New
            || CONNECTIONS
                .insert(&key, connection, BPF_EXIST.into())
                .is_err()
        {
            return false;
        }
        internal::forget(key, before, ends);
        if before != connection.slot {
            count(before, LEFT);
            count(connection.slot, 1);
        }
        return true;
    }
    if !has_place(connection.slot) {
        leave_out(key, connection);
        return false;
    }
    match CONNECTIONS.insert(&key, connection, BPF_NOEXIST.into()) {
        Ok(()) => {
            count(connection.slot, 1);
            true
        }
        Err(EEXIST) => false,
        Err(_) => {
            leave_out(key, connection);
            false
        }
    }
}

/// Counts a connection that its session has no place for, once: one that is found open may have been counted when it was
/// made, or when it was found before.
#[inline(always)]
fn leave_out(socket: u64, connection: &Connection) {
    let Connection {
        slot,
        began_ns,
        entered_ns: now_ns,
        ..
    } = *connection;
    if began_ns != 0 || !is_left_out(socket, slot) {
        socket::over_budget(slot);
    }
    mark_left_out(socket, slot, now_ns);
}

/// Whether somebody has counted something of the connection that is not entered.
#[inline(always)]
pub(crate) fn is_left_out(socket: u64, slot: Slot) -> bool {
    let one = LeftOut {
        socket,
        slot: slot.into(),
    };
    // SAFETY: an integer is read once.
    unsafe { LEFT_OUT.get(&one) }.is_some_and(|at_ns| session::had_slot(slot, *at_ns))
}

#[inline(always)]
pub(crate) fn mark_left_out(socket: u64, slot: Slot, now_ns: u64) {
    let one = LeftOut {
        socket,
        slot: slot.into(),
    };
    let _full = LEFT_OUT.insert(&one, &now_ns, 0);
}

/// What is added for an entry that is gone; the sum wraps.
const LEFT: u64 = u64::MAX;

#[inline(always)]
fn count(slot: Slot, change: u64) {
    for of in [slot, NO_SESSION] {
        if let Some(count) = CONNECTION_COUNTS.get_ptr_mut(of) {
            // SAFETY: a map value.
            unsafe { record::add(count, change) };
        }
    }
}

#[inline(always)]
fn has_place(slot: Slot) -> bool {
    let [all, own] =
        [NO_SESSION, slot].map(|of| CONNECTION_COUNTS.get(of).copied().unwrap_or_default());
    own < constant!(connections_of_each) || own < SHARE * POOL.saturating_sub(all)
}

/// Places that are for whoever comes; the others are a part for each slot.
const POOL: u64 = MAX_CONNECTIONS as u64 / 4 * 3;
/// A session may have so many times as many as are free there.
const SHARE: u64 = 5;

/// What [`connections`] is asked and answers.
#[btf_map]
static CONNECTION_BATCH: Array<ConnectionBatch, 1> = Array::new();

/// Reads the sockets of `CONNECTION_BATCH`. Never attached: the agent runs it (`BPF_PROG_TEST_RUN`).
#[unsafe(link_section = "raw_tp/on_demand")]
#[unsafe(no_mangle)]
extern "C" fn connections(_: *const c_void) -> i32 {
    for place in 0..CONNECTIONS_PER_RUN {
        if answer(place as u32) == END_OF_BATCH {
            break;
        }
    }
    0
}

const END_OF_BATCH: i32 = 1;

const _: () = assert!(CONNECTIONS_PER_RUN.is_power_of_two());

/// Reads the socket at a place of `CONNECTION_BATCH`. Exported, because verifiers go through such a function once, and
/// not for each place.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn answer(place: u32) -> i32 {
    let Some(batch) = CONNECTION_BATCH.get_ptr_mut(0) else {
        return END_OF_BATCH;
    };
    let place = place as usize & (CONNECTIONS_PER_RUN - 1);
    // SAFETY: a map value, and a place in it.
    let record = unsafe { &raw mut (*batch).records[place] };
    // SAFETY: as above.
    let address = unsafe { (*record).socket };
    if address == 0 {
        return END_OF_BATCH;
    }
    // SAFETY: as above.
    unsafe { *record = read(address) };
    0
}

/// The connection with its socket at an address, of the session that it was entered for: a look-up of the socket's own
/// would be walked by verifiers for each of a run.
#[inline(always)]
fn read(address: u64) -> ConnectionRecord {
    let nothing = ConnectionRecord {
        socket: address,
        slot: NO_SESSION,
        side: 0,
        internal: 0,
        state: 0,
        srtt_us: 0,
        came_ns: 0,
        min_rtt_us: 0,
        unsent_bytes: 0,
        traffic: Traffic::NONE,
    };
    // SAFETY: each member is read once.
    let Some((before, side, closed, slot, entered_ns, established_ns, ends)) =
        (unsafe { CONNECTIONS.get(&address) }).map(|entry| {
            let Connection {
                before,
                side,
                closed,
                slot,
                entered_ns,
                established_ns,
                ends,
                ..
            } = *entry;
            (before, side, closed, slot, entered_ns, established_ns, ends)
        })
    else {
        return nothing;
    };
    // What it has carried is with the closed ones. One that is closed without that has been passed over, and is still
    // to be counted here, until its socket is destroyed.
    if closed != 0 {
        return nothing;
    }
    let socket = Socket(address as KernelPtr);
    let state = socket.state();
    let record = ConnectionRecord {
        socket: address,
        slot,
        side: side.into(),
        internal: ends.internal,
        state: state as u32,
        srtt_us: socket.smoothed_rtt_us(),
        came_ns: if established_ns == 0 {
            entered_ns
        } else {
            established_ns
        },
        min_rtt_us: socket.min_rtt_us(),
        unsent_bytes: socket.unsent_bytes(),
        traffic: socket.traffic().since(before),
    };
    // The socket may have been destroyed while it was read, and its memory be another's: then the entry is
    // gone, or a newer one.
    // SAFETY: one member is read once.
    let still = unsafe { CONNECTIONS.get(&address) };
    if still.is_some_and(|entry| entry.entered_ns == entered_ns) {
        record
    } else {
        nothing
    }
}

/// Enters the open connections of sessions that are not known yet; needs two runs, because the first may
/// come to a connection before it comes to its listener. An entry that was made for another session is
/// made anew, so that what it has carried until now is not the new one's.
///
/// One that was made outside all sessions belongs to the first whose process holds it: `sshd` accepts a connection and
/// moves to the session of who logs in.
#[unsafe(link_section = "iter/task_file")]
#[unsafe(no_mangle)]
unsafe extern "C" fn open_sockets(ctx: *const IterTaskFile) -> i32 {
    // SAFETY: the kernel passes a valid context.
    let (task, file) = unsafe { ((*ctx).task, (*ctx).file) };
    if task.is_null() || file.is_null() {
        return 0;
    }
    let Some(inode) = chained::<KernelPtr>(file, offset!(file_inode)) else {
        return 0;
    };
    if number::<u16>(inode, offset!(inode_mode)) & S_IFMT != S_IFSOCK {
        return 0;
    }
    let sock = chained::<KernelPtr>(file, offset!(file_private))
        .and_then(|socket| chained::<KernelPtr>(socket, offset!(socket_sock)));
    let Some(socket) = sock.filter(|sock| !sock.is_null()).map(Socket) else {
        return 0;
    };
    if socket.protocol() != IPPROTO_TCP {
        return 0;
    }
    let state = socket.state();
    if matches!(state, 0 | CLOSE | TIME_WAIT | NEW_SYN_RECV) {
        return 0;
    }
    let own = socket.slot();
    let slot = if own == NO_SESSION {
        slot_of_holder(task)
    } else {
        own
    };
    let carried = slot != own;
    let port = socket.local_port();
    if state == LISTEN {
        listens_on(slot, port);
        return 0;
    }
    if slot == NO_SESSION {
        return 0;
    }
    let key = socket.0 as u64;
    // SAFETY: only whether there is one.
    let outside = || unsafe { OUTSIDE_PORTS.get(&port) }.is_some();
    let inbound = is_listened_on(slot, port) || (carried && outside());
    // One on its way out may have a port that is listened on as well.
    let inbound = inbound && state != SYN_SENT;
    let side = if inbound { INBOUND } else { OUTBOUND } as u8;
    let known = CONNECTIONS.get_ptr_mut(&key);
    if let Some(known) = known {
        // SAFETY: a map value; the file keeps the socket, and so the entry.
        unsafe {
            let belongs_to = owner(socket, known);
            if belongs_to != NO_SESSION && (*known).slot == belongs_to {
                // Of one that was found open the first run could not know the side.
                let was_found = (*known).began_ns == 0 && (*known).established_ns == 0;
                if was_found && belongs_to == slot {
                    (*known).side = side;
                }
                return 0;
            }
        }
    }
    let connection = Connection {
        began_ns: 0,
        established_ns: 0,
        // SAFETY: takes no arguments.
        entered_ns: unsafe { bpf_ktime_get_boot_ns() },
        before: socket.traffic(),
        side,
        idle: 0,
        closed: 0,
        carried: carried.into(),
        slot,
        ends: Ends::ELSEWHERE,
    };
    // The lock of the socket is not held.
    let entry = if known.is_some() {
        Entry::Any
    } else {
        Entry::New
    };
    if enter(key, &connection, entry) && state == ESTABLISHED {
        internal::meets_own(socket);
    }
    0
}

/// The session of the process that has a file open.
#[inline(always)]
fn slot_of_holder(task: KernelPtr) -> Slot {
    let css_set = chained::<KernelPtr>(task, offset!(task_cgroups));
    let cgroup = css_set.and_then(Cgroup::of_css_set);
    cgroup.map_or(NO_SESSION, session::slot_of_cgroup)
}
