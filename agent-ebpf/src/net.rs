//! TCP and UDP of each session, charged to the cgroup of the socket.
//!
//! TCP pays at the sample and when a connection changes its state, never per packet: the iterator reads
//! live sockets, `inet_sock_set_state` counts openings and takes a closing socket's final values. UDP has
//! no state to read, so its messages are counted as they pass the socket.

use core::ffi::c_void;

use agent_common::{
    MAX_CONNECTIONS, NO_SESSION, Slot,
    histogram::{bucket_of, long_bucket_of},
    net::{
        Connection, ConnectionRecord, INBOUND, LISTENER, ListenPort, NetStats, OUTBOUND,
        TcpSideStats,
    },
};
use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    btf_maps::{Array, HashMap, LruHashMap},
    helpers::{bpf_ktime_get_boot_ns, generated::bpf_seq_write},
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};

use crate::{
    kernel::{Cgroup, KernelPtr, chained, offset},
    record, session,
};

// include/net/tcp_states.h
const ESTABLISHED: i32 = 1;
const SYN_SENT: i32 = 2;
const SYN_RECV: i32 = 3;
const TIME_WAIT: i32 = 6;
const CLOSE: i32 = 7;
const LISTEN: i32 = 10;
const NEW_SYN_RECV: i32 = 12;

const IPPROTO_TCP: u16 = 6;
const IPPROTO_UDP: u16 = 17;
/// `SOCK_DONE` of `enum sock_flags` (include/net/sock.h).
const SOCK_DONE: u64 = 1 << 1;
/// `MSG_PEEK` (include/linux/socket.h).
const MSG_PEEK: i32 = 2;

/// Per slot; resized to the number of slots when loaded.
#[btf_map]
static NET_STATS: Array<NetStats, 1> = Array::new();

/// Connections being opened and open, by the socket's address.
#[btf_map]
static CONNECTIONS: HashMap<
    u64,
    Connection,
    { MAX_CONNECTIONS as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

/// Ports that sessions listen on, as the iterator saw them last; they tell on which side a connection
/// is that was open before the agent.
#[btf_map]
static LISTEN_PORTS: LruHashMap<ListenPort, u8, 4096> = LruHashMap::new();

/// A socket: `struct sock *`.
#[derive(Clone, Copy)]
struct Socket(KernelPtr);

impl Socket {
    #[inline(always)]
    fn state(self) -> i32 {
        chained::<u8>(self.0, offset!(sock_state))
            .unwrap_or(0)
            .into()
    }

    #[inline(always)]
    fn protocol(self) -> u16 {
        chained(self.0, offset!(sock_protocol)).unwrap_or(0)
    }

    /// The session of the socket's cgroup, which is that of the process that made it, or of the
    /// listener for an accepted one.
    #[inline(always)]
    fn slot(self) -> Slot {
        let cgroup: u64 = chained(self.0, offset!(sock_cgroup)).unwrap_or(0);
        // Before 5.15 the lowest bit says that this is a class id, not a pointer.
        if cgroup == 0 || cgroup & 1 != 0 {
            return NO_SESSION;
        }
        Cgroup(cgroup as KernelPtr)
            .id()
            .map_or(NO_SESSION, session::slot_of_cgroup)
    }

    /// Data bytes sent, each once.
    #[inline(always)]
    fn sent_bytes(self) -> u64 {
        let sent: u64 = chained(self.0, offset!(tcp_bytes_sent)).unwrap_or(0);
        let again: u64 = chained(self.0, offset!(tcp_bytes_retransmitted)).unwrap_or(0);
        sent.saturating_sub(again)
    }

    /// Data bytes received; the kernel counts a FIN as one (net/ipv4/tcp_input.c, `tcp_fin`).
    #[inline(always)]
    fn received_bytes(self) -> u64 {
        let received: u64 = chained(self.0, offset!(tcp_bytes_received)).unwrap_or(0);
        let flags: u64 = chained(self.0, offset!(sock_flags)).unwrap_or(0);
        received.saturating_sub(u64::from(flags & SOCK_DONE != 0))
    }

    #[inline(always)]
    fn retransmits(self) -> u32 {
        chained(self.0, offset!(tcp_total_retransmits)).unwrap_or(0)
    }

    #[inline(always)]
    fn side(self) -> Option<usize> {
        // SAFETY: the value is copied before anything can remove it.
        unsafe { CONNECTIONS.get(&(self.0 as u64)) }.map(|c| c.side as usize)
    }
}

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

macro_rules! add {
    ($stats:expr, $field:ident, $n:expr) => {
        // SAFETY: a map value.
        unsafe { record::add(&raw mut (*$stats).$field, $n) }
    };
}

/// `inet_sock_set_state(const sock *sk, const int oldstate, const int newstate)`,
/// net/ipv4/af_inet.c; may run in softirq, so only the socket says whose it is.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    let socket = Socket(ctx.arg::<KernelPtr>(0));
    if socket.protocol() != IPPROTO_TCP {
        return 0;
    }
    let (old, new) = (ctx.arg::<i32>(1), ctx.arg::<i32>(2));
    // SAFETY: takes no arguments.
    let now_ns = unsafe { bpf_ktime_get_boot_ns() };
    let key = socket.0 as u64;
    match (old, new) {
        (_, SYN_SENT) | (LISTEN, SYN_RECV) => {
            let slot = socket.slot();
            if slot != NO_SESSION {
                let side = if new == SYN_SENT { OUTBOUND } else { INBOUND } as u64;
                let connection = Connection {
                    began_ns: now_ns,
                    established_ns: 0,
                    side,
                };
                let _full = CONNECTIONS.insert(&key, &connection, 0);
            }
        }
        (_, LISTEN) => {
            stamp(
                socket.slot(),
                |stats| &raw mut stats.milestones.first_listener_ns,
                now_ns,
            );
        }
        (SYN_SENT | SYN_RECV, ESTABLISHED) => established(socket, key, old, now_ns),
        // A listener that closes has no bytes and no duration.
        (LISTEN, CLOSE) => {}
        (_, CLOSE) => closed(socket, key, old, now_ns),
        _ => {}
    }
    0
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
fn established(socket: Socket, key: u64, old: i32, now_ns: u64) {
    let slot = socket.slot();
    let side = if old == SYN_SENT { OUTBOUND } else { INBOUND };
    let Some(stats) = tcp_stats(slot, side) else {
        return;
    };
    if slot == NO_SESSION {
        return;
    }
    add!(stats, opened, 1);
    if side == INBOUND {
        stamp(
            slot,
            |stats| &raw mut stats.milestones.first_client_ns,
            now_ns,
        );
    }
    if let Some(connection) = CONNECTIONS.get_ptr_mut(&key) {
        // SAFETY: a map value of a socket whose state changes under its lock.
        unsafe {
            (*connection).established_ns = now_ns;
            if side == OUTBOUND {
                let took_ns = now_ns.saturating_sub((*connection).began_ns);
                record::observe_shared(&raw mut (*stats).connect, bucket_of(took_ns), took_ns);
            }
        }
    }
}

#[inline(always)]
fn closed(socket: Socket, key: u64, old: i32, now_ns: u64) {
    let slot = socket.slot();
    // SAFETY: the value is copied at once.
    let connection = unsafe { CONNECTIONS.get(&key) }.copied();
    if slot == NO_SESSION {
        return;
    }
    let side = match connection {
        Some(connection) => connection.side as usize,
        None => INBOUND,
    };
    let Some(stats) = tcp_stats(slot, side) else {
        return;
    };
    if old == SYN_SENT {
        add!(stats, connect_failures, 1);
    }
    add!(stats, closed_sent_bytes, socket.sent_bytes());
    add!(stats, closed_received_bytes, socket.received_bytes());
    add!(stats, closed_retransmits, socket.retransmits().into());
    if let Some(connection) = connection
        && connection.established_ns != 0
    {
        let lasted_ns = now_ns.saturating_sub(connection.established_ns);
        // SAFETY: a map value.
        unsafe {
            record::observe_shared(
                &raw mut (*stats).duration,
                long_bucket_of(lasted_ns),
                lasted_ns,
            )
        };
    }
}

/// `tcp_destroy_sock(sock *sk)`, net/ipv4/tcp_ipv4.c. Not at CLOSE already: a socket that is closed with a
/// reset sends it afterwards, and its side must still be known.
#[btf_tracepoint(function = "tcp_destroy_sock")]
fn tcp_destroy_sock(ctx: BtfTracePointContext) -> i32 {
    let _absent = CONNECTIONS.remove(&(ctx.arg::<KernelPtr>(0) as u64));
    0
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
    let slot = socket.slot();
    if slot == NO_SESSION {
        return;
    }
    if let Some(stats) = tcp_stats(slot, socket.side().unwrap_or(INBOUND)) {
        add!(stats, resets, 1);
    }
}

/// `sock_send_length(sock *sk, int ret, int flags)`, net/socket.c since 6.3.
#[btf_tracepoint(function = "sock_send_length")]
fn sock_send_length(ctx: BtfTracePointContext) -> i32 {
    let socket = Socket(ctx.arg::<KernelPtr>(0));
    let length = ctx.arg::<i32>(1);
    if length >= 0
        && let Some(stats) = udp_stats(socket)
    {
        // SAFETY: a map value.
        unsafe {
            record::add(&raw mut (*stats).udp_transmit.datagrams, 1);
            record::add(&raw mut (*stats).udp_transmit.bytes, length as u64);
        }
    }
    0
}

/// `sock_recv_length(sock *sk, int ret, int flags)`, net/socket.c since 6.3.
#[btf_tracepoint(function = "sock_recv_length")]
fn sock_recv_length(ctx: BtfTracePointContext) -> i32 {
    let socket = Socket(ctx.arg::<KernelPtr>(0));
    let (length, flags) = (ctx.arg::<i32>(1), ctx.arg::<i32>(2));
    if length >= 0
        && flags & MSG_PEEK == 0
        && let Some(stats) = udp_stats(socket)
    {
        // SAFETY: a map value.
        unsafe {
            record::add(&raw mut (*stats).udp_receive.datagrams, 1);
            record::add(&raw mut (*stats).udp_receive.bytes, length as u64);
        }
    }
    0
}

/// `udp_fail_queue_rcv_skb(int rc, sock *sk, …)`, net/ipv4/udp.c: the receive queue is full.
#[btf_tracepoint(function = "udp_fail_queue_rcv_skb")]
fn udp_fail_queue_rcv_skb(ctx: BtfTracePointContext) -> i32 {
    if let Some(stats) = udp_stats(Socket(ctx.arg::<KernelPtr>(1))) {
        // SAFETY: a map value.
        unsafe { record::add(&raw mut (*stats).udp_receive.drops, 1) };
    }
    0
}

#[inline(always)]
fn udp_stats(socket: Socket) -> Option<*mut NetStats> {
    if socket.protocol() != IPPROTO_UDP {
        return None;
    }
    let slot = socket.slot();
    if slot == NO_SESSION {
        None
    } else {
        NET_STATS.get_ptr_mut(slot)
    }
}

/// `struct bpf_iter__tcp` (net/ipv4/tcp_ipv4.c); the iterator's arguments.
#[repr(C)]
struct IterTcp {
    meta: *const IterMeta,
    socket: KernelPtr,
}

/// `struct bpf_iter_meta` (include/linux/bpf.h), as far as it is used.
#[repr(C)]
struct IterMeta {
    seq: *mut c_void,
}

/// Writes one [`ConnectionRecord`] per TCP socket of a session.
#[unsafe(link_section = "iter/tcp")]
#[unsafe(no_mangle)]
unsafe extern "C" fn connections(ctx: *const IterTcp) -> i32 {
    // SAFETY: the kernel passes a valid context.
    let socket = Socket(unsafe { (*ctx).socket });
    if socket.0.is_null() {
        return 0;
    }
    let state = socket.state();
    // Minisocks (TIME_WAIT, a handshake on a listener) are not `struct sock`.
    if matches!(state, TIME_WAIT | NEW_SYN_RECV) {
        return 0;
    }
    let slot = socket.slot();
    if slot == NO_SESSION {
        return 0;
    }
    let listens = state == LISTEN;
    let port: u32 = chained::<u16>(socket.0, offset!(sock_local_port))
        .unwrap_or(0)
        .into();
    let listen_port = ListenPort { slot, port };
    let side = if listens {
        let _full = LISTEN_PORTS.insert(&listen_port, &1, 0);
        LISTENER
    } else if let Some(side) = socket.side() {
        side as u32
    } else {
        // Open before the agent was. The kernel lists listeners first.
        // SAFETY: only whether there is one.
        let inbound = unsafe { LISTEN_PORTS.get(&listen_port) }.is_some();
        let side = if inbound { INBOUND } else { OUTBOUND };
        let connection = Connection {
            began_ns: 0,
            established_ns: 0,
            side: side as u64,
        };
        let _full = CONNECTIONS.insert(&(socket.0 as u64), &connection, BPF_NOEXIST.into());
        side as u32
    };
    let record = ConnectionRecord {
        slot,
        side,
        state: state as u32,
        local_port: port,
        srtt_us: if listens {
            0
        } else {
            chained::<u32>(socket.0, offset!(tcp_srtt)).unwrap_or(0) >> 3
        },
        retransmits: if listens { 0 } else { socket.retransmits() },
        sent_bytes: if listens { 0 } else { socket.sent_bytes() },
        received_bytes: if listens { 0 } else { socket.received_bytes() },
    };
    // SAFETY: `seq` is the iterator's own; the record is on the stack.
    unsafe {
        let seq = (*(*ctx).meta).seq;
        bpf_seq_write(
            seq.cast(),
            (&raw const record).cast(),
            size_of::<ConnectionRecord>() as u32,
        );
    }
    0
}
