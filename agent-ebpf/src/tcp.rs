//! TCP of each session, at the moments when a connection changes its state; nothing runs per packet.
//!
//! `inet_sock_set_state` counts openings and takes a closing socket's final values. What a live one has
//! carried is read at the sample (`connections.rs`).

use agent_common::{
    NO_SESSION, Slot,
    histogram::{bucket_of, long_bucket_of},
    net::{
        Connection, Ends, GONE_TO_NS, INBOUND, NetStats, OUTBOUND, TIMED_OUT, TcpSideStats,
        Traffic, UnknownSideStats, gone, how_ended,
    },
};
use aya_ebpf::{
    helpers::bpf_ktime_get_boot_ns, macros::btf_tracepoint, programs::BtfTracePointContext,
};

use crate::{
    connections::{CONNECTIONS, Entry, enter, is_left_out, listens_on, mark_left_out, owner},
    internal,
    kernel::{KernelPtr, constant},
    record,
    socket::{NET_STATS, Socket},
};

// include/net/tcp_states.h
pub(crate) const ESTABLISHED: i32 = 1;
pub(crate) const SYN_SENT: i32 = 2;
const SYN_RECV: i32 = 3;
const FIN_WAIT1: i32 = 4;
pub(crate) const TIME_WAIT: i32 = 6;
pub(crate) const CLOSE: i32 = 7;
pub(crate) const LISTEN: i32 = 10;
pub(crate) const NEW_SYN_RECV: i32 = 12;

pub(crate) const IPPROTO_TCP: u16 = 6;

/// The counters of a slot's side; `side` is one of the two.
#[inline(always)]
fn tcp_stats(slot: Slot, side: usize) -> Option<*mut TcpSideStats> {
    let stats = NET_STATS.get_ptr_mut(slot)?;
    // SAFETY: a map value, and a constant index on each branch.
    Some(unsafe {
        if side == OUTBOUND {
            &raw mut (*stats).tcp[OUTBOUND]
        } else {
            &raw mut (*stats).tcp[INBOUND]
        }
    })
}

/// The counters of a slot's connections of which nothing is known.
#[inline(always)]
fn unknown_stats(slot: Slot) -> Option<*mut UnknownSideStats> {
    let stats = NET_STATS.get_ptr_mut(slot)?;
    // SAFETY: a map value.
    Some(unsafe { &raw mut (*stats).tcp_unknown })
}

macro_rules! add {
    ($stats:expr, $($field:ident).+, $n:expr) => {
        // SAFETY: a map value.
        unsafe { record::add(&raw mut (*$stats).$($field).+, $n) }
    };
}

/// Which of a tracepoint's programs this is.
///
/// From 6.1 on the kernel passes a program over while it is in the middle of a run on that CPU (kernel/trace/bpf_trace.c,
/// `__bpf_trace_run`): a soft interrupt comes in between or, from 7.0 on, whoever preempts it, and then everybody who runs
/// there until it goes on. (To keep it from being preempted with `bpf_preempt_disable` changes nothing: whoever waits
/// comes at `bpf_preempt_enable`, which is in the middle of the run as well.) A second program is counted by itself, and
/// does what the first was passed over for. What has been done shows in the connection's entry, which changes under the
/// lock of its socket; one that was counted without an entry is marked as left out, and the second leaves it to the first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    First,
    Second,
}

/// `inet_sock_set_state(const sock *sk, const int oldstate, const int newstate)`,
/// net/ipv4/af_inet.c; may run in softirq, so only the socket says whose it is.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    let socket = Socket(ctx.arg::<KernelPtr>(0));
    change_state(socket, ctx.arg::<i32>(1), ctx.arg::<i32>(2), Turn::First)
}

/// Does what [`inet_sock_set_state`] was passed over for.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn inet_sock_set_state_again(ctx: BtfTracePointContext) -> i32 {
    let socket = Socket(ctx.arg::<KernelPtr>(0));
    change_state(socket, ctx.arg::<i32>(1), ctx.arg::<i32>(2), Turn::Second)
}

#[inline(always)]
fn change_state(socket: Socket, old: i32, new: i32, turn: Turn) -> i32 {
    if socket.protocol() != IPPROTO_TCP {
        return 0;
    }
    let key = socket.0 as u64;
    match (old, new) {
        (_, SYN_SENT) | (LISTEN, SYN_RECV) => {
            let side = if new == SYN_SENT { OUTBOUND } else { INBOUND } as u8;
            begins(socket, key, side, turn);
        }
        (_, LISTEN) => {
            let slot = socket.slot();
            listens_on(slot, socket.local_port());
            // SAFETY: takes no arguments.
            let now_ns = unsafe { bpf_ktime_get_boot_ns() };
            stamp(
                slot,
                |stats| &raw mut stats.milestones.first_listener_ns,
                now_ns,
            );
        }
        (SYN_SENT | SYN_RECV, ESTABLISHED) => established(socket, key, old, turn),
        (ESTABLISHED, FIN_WAIT1) => closes_first(socket, key),
        // A listener that closes has no bytes and no duration.
        (LISTEN, CLOSE) => {}
        (_, CLOSE) if turn == Turn::First || is_entered(key) => closed(socket, old),
        _ => {}
    }
    0
}

#[inline(always)]
fn is_entered(key: u64) -> bool {
    // SAFETY: only whether there is one.
    unsafe { CONNECTIONS.get(&key) }.is_some()
}

/// Enters a connection that is being opened.
#[inline(always)]
fn begins(socket: Socket, key: u64, side: u8, turn: Turn) {
    if turn == Turn::Second {
        // SAFETY: each member is read once.
        let is_done = unsafe { CONNECTIONS.get(&key) }.is_some_and(|known| {
            known.began_ns != 0 && known.established_ns == 0 && known.closed == 0
        });
        if is_done {
            return;
        }
    }
    let slot = socket.slot();
    if slot == NO_SESSION || (turn == Turn::Second && is_left_out(key, slot)) {
        return;
    }
    // SAFETY: takes no arguments.
    let now_ns = unsafe { bpf_ktime_get_boot_ns() };
    let connection = Connection {
        began_ns: now_ns,
        established_ns: 0,
        entered_ns: now_ns,
        before: Traffic::default(),
        side,
        idle: 0,
        closed: 0,
        carried: 0,
        slot,
        ends: Ends::ELSEWHERE,
    };
    let _left_out = enter(key, &connection, Entry::Any);
}

/// Stamps a milestone, once.
#[inline(always)]
fn stamp(slot: Slot, milestone: impl FnOnce(&mut NetStats) -> *mut u64, now_ns: u64) {
    if slot == NO_SESSION {
        return;
    }
    if let Some(stats) = NET_STATS.get_ptr_mut(slot) {
        // SAFETY: a map value; of two that come at the same moment either may be the first.
        unsafe {
            let milestone = milestone(&mut *stats);
            if *milestone == 0 {
                *milestone = now_ns;
            }
        }
    }
}

#[inline(always)]
fn established(socket: Socket, key: u64, old: i32, turn: Turn) {
    let known = CONNECTIONS.get_ptr_mut(&key);
    // SAFETY: a map value, of which each member is read once.
    let (was_established, has_closed) = known.map_or((false, false), |known| unsafe {
        ((*known).established_ns != 0, (*known).closed != 0)
    });
    if turn == Turn::Second && was_established && !has_closed {
        return;
    }
    let slot = socket.slot();
    if slot == NO_SESSION {
        return;
    }
    // An entry of one that has been before at this address, and of which the end was passed over.
    let is_stale = was_established || has_closed;
    let connection = if is_stale { None } else { known };
    if turn == Turn::Second && connection.is_none() && is_left_out(key, slot) {
        return;
    }
    // SAFETY: takes no arguments.
    let now_ns = unsafe { bpf_ktime_get_boot_ns() };
    let side = match connection {
        _ if old == SYN_SENT => OUTBOUND,
        // SAFETY: a map value. Two sockets that connect to each other, or one to itself, go from SYN_SENT to SYN_RECV.
        Some(connection) => usize::from(unsafe { (*connection).side }),
        None => INBOUND,
    };
    let Some(stats) = tcp_stats(slot, side) else {
        return;
    };
    add!(stats, opened, 1);
    if let Some(connection) = connection {
        // SAFETY: a map value of a socket whose state changes under its lock.
        unsafe {
            (*connection).established_ns = now_ns;
            (*connection).side = side as u8;
            // When one began that was found on its way, nobody knows.
            if side == OUTBOUND && (*connection).began_ns != 0 {
                let took_ns = now_ns.saturating_sub((*connection).began_ns);
                record::observe_shared(&raw mut (*stats).connect, bucket_of(took_ns), took_ns);
            }
        }
    } else {
        let entry = if is_stale { Entry::Any } else { Entry::New };
        enter_established(key, slot, side as u8, now_ns, entry);
    }
    let is_internal = internal::meets_own(socket);
    if side == INBOUND && !is_internal {
        client_came(slot, now_ns);
    }
}

/// Enters a connection whose beginning was passed over, or had no place, or was somebody else's.
#[inline(always)]
fn enter_established(key: u64, slot: Slot, side: u8, now_ns: u64, entry: Entry) {
    let connection = Connection {
        began_ns: 0,
        established_ns: now_ns,
        entered_ns: now_ns,
        before: Traffic::NONE,
        side,
        idle: 0,
        closed: 0,
        carried: 0,
        slot,
        ends: Ends::ELSEWHERE,
    };
    if enter(key, &connection, entry) {
        return;
    }
    if let Some(found) = CONNECTIONS.get_ptr_mut(&key) {
        // Among open files, just now.
        // SAFETY: a map value.
        unsafe {
            (*found).established_ns = now_ns;
            (*found).side = side;
        }
    } else {
        mark_left_out(key, slot, now_ns);
    }
}

/// Takes note of a client that has come.
#[inline(always)]
fn client_came(slot: Slot, at_ns: u64) {
    stamp(
        slot,
        |stats| &raw mut stats.milestones.first_client_ns,
        at_ns,
    );
    if let Some(stats) = NET_STATS.get_ptr_mut(slot) {
        // SAFETY: a map value; of two that come at the same moment either may be the last.
        unsafe { (*stats).clients.last_came_ns = at_ns };
    }
}

/// The session closes a connection, and its client has not: was that one idle? At its end it may have answered.
#[inline(always)]
fn closes_first(socket: Socket, key: u64) {
    if !is_idle(socket) {
        return;
    }
    if let Some(connection) = CONNECTIONS.get_ptr_mut(&key) {
        // SAFETY: a map value of a socket whose state changes under its lock.
        unsafe { (*connection).idle = 1 };
    }
}

#[inline(always)]
fn is_idle(socket: Socket) -> bool {
    socket.without_data_ns() >= constant!(idle_after_ms) * 1_000_000
}

/// Counts a client that has gone, and had come at `came_ns`; `was_idle` when the session closed its connection.
#[inline(always)]
fn client_went(socket: Socket, slot: Slot, old: i32, was_idle: bool, came_ns: u64) {
    let Some(stats) = NET_STATS.get_ptr_mut(slot) else {
        return;
    };
    // A session that breaks it off does not say so before.
    let is_idle = was_idle || (matches!(old, ESTABLISHED | CLOSE) && is_idle(socket));
    let how = how_ended(socket.error(), old, is_idle);
    // SAFETY: takes no arguments.
    let now_ns = unsafe { bpf_ktime_get_boot_ns() };
    // The kernel waits a quarter of an hour for one that does not answer any more.
    let waited_ns = if how == TIMED_OUT {
        socket.silent_ns()
    } else {
        0
    };
    // In ticks, so that what came at once seems to have come before the client did. It must not be its own successor.
    let gone_ns = now_ns.saturating_sub(waited_ns).max(came_ns + GONE_TO_NS);
    let went = gone(gone_ns, how);
    // Before it is counted: whoever reads the count reads who was gone last, too.
    // SAFETY: a map value; of two that go at the same moment either may be the last.
    unsafe {
        let last = &raw mut (*stats).clients.last_gone;
        if *last < went {
            *last = went;
        }
        record::increment_one_of(&raw mut (*stats).clients.ended, how);
    }
}

/// Takes a closing connection's final values, once.
#[inline(always)]
pub(crate) fn closed(socket: Socket, old: i32) {
    let Some(connection) = CONNECTIONS.get_ptr_mut(&(socket.0 as u64)) else {
        let slot = socket.slot();
        if slot != NO_SESSION {
            closed_unknown(socket, slot, old);
        }
        return;
    };
    // SAFETY: a map value.
    let slot = unsafe { owner(socket, connection) };
    if slot == NO_SESSION {
        return;
    }
    // A whole value and not an `Option`: verifiers before 6.3 refuse a read of the part that `None` leaves unwritten.
    // SAFETY: a map value of a socket whose state changes under its lock.
    let Connection {
        began_ns,
        established_ns,
        before,
        side,
        idle,
        closed,
        carried,
        slot: entered_for,
        ends,
        ..
    } = unsafe { *connection };
    // It has outlived the session that it was entered for, or is in the sum already.
    if entered_for != slot || closed != 0 {
        return;
    }
    // SAFETY: as above.
    unsafe { (*connection).closed = 1 };
    let Some(stats) = tcp_stats(slot, side.into()) else {
        return;
    };
    let traffic = socket.traffic().since(before);
    let mut was_established = true;
    // One that is carried was not begun by the session, and of one that was found open nobody knows when it was.
    if established_ns == 0 && carried == 0 {
        // `CLOSE` is what is left of one whose last change was passed over.
        let came_to_nothing = match old {
            SYN_SENT => true,
            SYN_RECV => began_ns != 0,
            CLOSE => began_ns != 0 && traffic.sent_bytes | traffic.received_bytes == 0,
            _ => false,
        };
        was_established = !came_to_nothing;
        if came_to_nothing {
            if side == OUTBOUND as u8 {
                add!(stats, connect_failures, 1);
            }
        } else if began_ns != 0 {
            // It was established while both programs were passed over (or is one of Fast Open, which carries data
            // before that): how long that took is not known.
            add!(stats, opened, 1);
            if side == INBOUND as u8 {
                client_came(slot, began_ns);
            }
        }
    }
    if side == INBOUND as u8 && was_established && ends.internal == 0 {
        if let Some(stats) = NET_STATS.get_ptr_mut(slot) {
            add!(stats, clients.received_bytes, traffic.received_bytes);
        }
        client_went(socket, slot, old, idle != 0, established_ns);
    }
    // Before the bytes: whoever reads these reads the segments, too.
    add!(stats, closed.segments, traffic.segments);
    add!(stats, closed.sent_bytes, traffic.sent_bytes);
    add!(stats, closed.received_bytes, traffic.received_bytes);
    add!(stats, closed.retransmits, traffic.retransmits);
    if established_ns != 0 {
        // SAFETY: takes no arguments.
        let lasted_ns = unsafe { bpf_ktime_get_boot_ns() }.saturating_sub(established_ns);
        // SAFETY: a map value.
        unsafe {
            record::observe_shared(
                &raw mut (*stats).duration,
                long_bucket_of(lasted_ns),
                lasted_ns,
            );
        }
    }
}

/// One that is not entered: all that it has carried is taken for the session's, and for nobody's side.
#[inline(always)]
fn closed_unknown(socket: Socket, slot: Slot, old: i32) {
    // An attempt that fails is the session's own, whoever knows of it.
    if old == SYN_SENT {
        if let Some(stats) = tcp_stats(slot, OUTBOUND) {
            add!(stats, connect_failures, 1);
        }
        return;
    }
    let traffic = socket.traffic();
    if let Some(stats) = unknown_stats(slot) {
        add!(stats, closed.segments, traffic.segments);
        add!(stats, closed.sent_bytes, traffic.sent_bytes);
        add!(stats, closed.received_bytes, traffic.received_bytes);
        add!(stats, closed.retransmits, traffic.retransmits);
    }
}

/// `tcp_receive_reset(sock *sk)`, net/ipv4/tcp_input.c.
#[btf_tracepoint(function = "tcp_receive_reset")]
fn tcp_receive_reset(ctx: BtfTracePointContext) -> i32 {
    count_reset(Socket(ctx.arg::<KernelPtr>(0)));
    0
}

/// `tcp_send_reset(const sock *sk, …)`, net/ipv4/tcp_ipv4.c and tcp_output.c; without a socket when
/// nothing listens.
#[btf_tracepoint(function = "tcp_send_reset")]
fn tcp_send_reset(ctx: BtfTracePointContext) -> i32 {
    count_reset(Socket(ctx.arg::<KernelPtr>(0)));
    0
}

#[inline(always)]
fn count_reset(socket: Socket) {
    // Kernels from 6.14 on know that `tcp_send_reset` can come without a socket, and want this asked.
    if socket.0.is_null() {
        return;
    }
    // A refused connection is a failed one, and a listener's reset belongs to no connection. Minisocks
    // are not `struct sock`.
    let state = socket.state();
    if matches!(state, 0 | SYN_SENT | TIME_WAIT | LISTEN | NEW_SYN_RECV) {
        return;
    }
    let Some(connection) = CONNECTIONS.get_ptr_mut(&(socket.0 as u64)) else {
        let slot = socket.slot();
        if slot != NO_SESSION
            && let Some(stats) = unknown_stats(slot)
        {
            add!(stats, resets, 1);
        }
        return;
    };
    // SAFETY: a map value, of which two members are read once.
    let (side, entered_for) = unsafe { ((*connection).side, (*connection).slot) };
    // SAFETY: as above.
    let slot = unsafe { owner(socket, connection) };
    if slot == NO_SESSION || entered_for != slot {
        return;
    }
    if let Some(stats) = tcp_stats(slot, side.into()) {
        add!(stats, resets, 1);
    }
}
