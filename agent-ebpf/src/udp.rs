//! UDP of each session. It has no state that could be read at the sample, and no round-trip time: its
//! messages are counted as they pass the socket.
//!
//! Kernels before 6.3 have no tracepoint for that. There the functions themselves are hooked, where the
//! kernel lets programs be attached to functions.

use agent_common::{
    NO_SESSION,
    net::{NetStats, UdpStats},
};
use aya_ebpf::{
    macros::{btf_tracepoint, fentry, fexit},
    programs::{BtfTracePointContext, FEntryContext, FExitContext},
};

use crate::{
    experience,
    kernel::{KernelPtr, member, offset},
    record,
    socket::{NET_STATS, Socket},
};

const IPPROTO_UDP: u16 = 17;
/// `AF_INET6` (include/linux/socket.h).
const AF_INET6: u16 = 10;
/// `MSG_PEEK` (include/linux/socket.h).
const MSG_PEEK: i32 = 2;
/// `MSG_ERRQUEUE` (include/linux/socket.h).
const MSG_ERRQUEUE: i32 = 0x2000;

/// The counters of a UDP socket of a session.
#[inline(always)]
fn stats(socket: Socket) -> Option<*mut NetStats> {
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

/// Counts a message of `length` bytes; a negative one is an error.
#[inline(always)]
fn count(socket: Socket, length: i32, direction: impl FnOnce(*mut NetStats) -> *mut UdpStats) {
    if length >= 0
        && let Some(stats) = stats(socket)
    {
        let direction = direction(stats);
        // SAFETY: a map value.
        unsafe {
            record::add(&raw mut (*direction).datagrams, 1);
            record::add(&raw mut (*direction).bytes, length as u64);
        }
    }
}

#[inline(always)]
fn transmit(stats: *mut NetStats) -> *mut UdpStats {
    // SAFETY: a map value.
    unsafe { &raw mut (*stats).udp_transmit }
}

#[inline(always)]
fn receive(stats: *mut NetStats) -> *mut UdpStats {
    // SAFETY: a map value.
    unsafe { &raw mut (*stats).udp_receive }
}

/// A tracepoint's socket, read directly: its programs run for the messages of every socket, and the checked helper costs
/// thirty times as much.
struct Message {
    socket: KernelPtr,
    family: u16,
    is_udp: bool,
}

impl Message {
    /// # Safety
    /// `socket` is a tracepoint's argument.
    #[inline(always)]
    unsafe fn of(socket: KernelPtr) -> Self {
        // SAFETY: by the contract.
        unsafe {
            Self {
                socket,
                family: member(socket, offset!(sock_family)),
                is_udp: member::<u16>(socket, offset!(sock_protocol)) == IPPROTO_UDP,
            }
        }
    }
}

/// `sock_send_length(sock *sk, int ret, int flags)`, net/socket.c since 6.3.
#[btf_tracepoint(function = "sock_send_length")]
fn sock_send_length(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the tracepoint's argument.
    let message = unsafe { Message::of(ctx.arg::<KernelPtr>(0)) };
    let length = ctx.arg::<i32>(1);
    if message.is_udp {
        count(Socket(message.socket), length, transmit);
    } else {
        // SAFETY: as above.
        unsafe { experience::sent(message.socket, message.family, length) };
    }
    0
}

/// `sock_recv_length(sock *sk, int ret, int flags)`, net/socket.c since 6.3.
#[btf_tracepoint(function = "sock_recv_length")]
fn sock_recv_length(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the tracepoint's argument.
    let message = unsafe { Message::of(ctx.arg::<KernelPtr>(0)) };
    let (length, flags) = (ctx.arg::<i32>(1), ctx.arg::<i32>(2));
    if !message.is_udp {
        // SAFETY: as above.
        unsafe { experience::taken(message.socket, length, flags) };
    } else if flags & (MSG_PEEK | MSG_ERRQUEUE) == 0 {
        // From the error queue come the sender's own datagrams (time stamps, zero copy).
        count(Socket(message.socket), length, receive);
    }
    0
}

/// `int udp_sendmsg(sock *sk, msghdr *msg, size_t len)`, net/ipv4/udp.c.
#[fexit(function = "udp_sendmsg")]
fn udp_sendmsg(ctx: FExitContext) -> i32 {
    let socket = Socket(ctx.arg::<KernelPtr>(0));
    // An IPv6 socket that talks IPv4 comes here by way of `udpv6_sendmsg`, which counts it.
    if socket.family() != AF_INET6 {
        count(socket, ctx.arg::<i32>(3), transmit);
    }
    0
}

/// `int udpv6_sendmsg(sock *sk, msghdr *msg, size_t len)`, net/ipv6/udp.c.
#[fexit(function = "udpv6_sendmsg")]
fn udpv6_sendmsg(ctx: FExitContext) -> i32 {
    count(Socket(ctx.arg::<KernelPtr>(0)), ctx.arg::<i32>(3), transmit);
    0
}

/// `void skb_consume_udp(sock *sk, sk_buff *skb, int len)`, net/ipv4/udp.c: what both families call for each
/// message that was received, with its length, or with a negative one when it was only peeked at.
#[fentry(function = "skb_consume_udp")]
fn skb_consume_udp(ctx: FEntryContext) -> i32 {
    count(Socket(ctx.arg::<KernelPtr>(0)), ctx.arg::<i32>(2), receive);
    0
}

/// `udp_fail_queue_rcv_skb(int rc, sock *sk, …)`, net/ipv4/udp.c: the receive queue is full.
#[btf_tracepoint(function = "udp_fail_queue_rcv_skb")]
fn udp_fail_queue_rcv_skb(ctx: BtfTracePointContext) -> i32 {
    if let Some(stats) = stats(Socket(ctx.arg::<KernelPtr>(1))) {
        // SAFETY: a map value.
        unsafe { record::add(&raw mut (*stats).udp_receive.drops, 1) };
    }
    0
}
