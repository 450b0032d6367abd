//! Connections of a session with itself: its processes talk to each other over the node's own addresses, as a notebook
//! server does to its kernels. Neither end is a client's.
//!
//! The end that connects is established first (net/ipv4/tcp_input.c, `tcp_rcv_synsent_state_process`: it answers only then),
//! so whoever comes second finds the other one. Of those that are found open either may be the second.

use agent_common::{
    MAX_CONNECTIONS, Slot,
    net::{Connection, EndKey, Ends, LocalEnd},
};
use aya_ebpf::{btf_maps::HashMap, macros::btf_map};

use crate::{
    connections::CONNECTIONS,
    kernel::{KernelPtr, number, offset},
    marks::AF_INET6,
    socket::Socket,
};

/// The ends of established connections that both ends of may be a session's. None is here without its entry in
/// [`CONNECTIONS`], which has the key.
#[btf_map]
static LOCAL_ENDS: HashMap<EndKey, LocalEnd, { MAX_CONNECTIONS as usize }> = HashMap::new();

/// The first byte of `127.0.0.0/8`.
const LOOPBACK: u8 = 127;

/// An address of either family: of IPv4 the mapped one of IPv6, `::ffff:127.0.0.1`.
type Address = [u64; 2];

const fn mapped(v4: u32) -> Address {
    let [a, b, c, d] = v4.to_ne_bytes();
    [0, u64::from_ne_bytes([0, 0, 0xff, 0xff, a, b, c, d])]
}

/// The addresses of a socket: its own end's, and the other one's.
#[inline(always)]
fn addresses(socket: Socket) -> [Address; 2] {
    if socket.family() == AF_INET6 {
        return [offset!(sock_local_v6), offset!(sock_remote_v6)]
            .map(|at| [0, 8].map(|part| number(socket.0, at + part)));
    }
    let both: u64 = number(socket.0, offset!(sock_addresses));
    [mapped((both >> 32) as u32), mapped(both as u32)]
}

#[inline(always)]
fn is_loopback_v4(address: Address) -> bool {
    let half = address[1].to_ne_bytes();
    address[0] == 0 && half[2] == 0xff && half[3] == 0xff && half[4] == LOOPBACK
}

/// Whether both ends of a socket have an address of this node: the same, as the kernel chooses it for whoever connects to
/// one of its own, or both one of the loopback's.
#[inline(always)]
fn is_local([own, remote]: [Address; 2]) -> bool {
    own[1] != 0 && (own == remote || (is_loopback_v4(own) && is_loopback_v4(remote)))
}

/// Whether two sockets, whose ports are known to be each other's, are the ends of one connection. Another network namespace,
/// or another address of the loopback's, may have the same ports.
#[inline(always)]
fn are_ends_of_one(one: Socket, [own, remote]: [Address; 2], other: Socket) -> bool {
    let namespaces = [one, other].map(|socket| number::<u64>(socket.0, offset!(sock_net)));
    let [others_own, others_remote] = addresses(other);
    namespaces[0] == namespaces[1] && own == others_remote && remote == others_own
}

/// Takes note of an established connection's end, after its connection was entered, and says whether the other one is the
/// same session's.
#[inline(never)]
pub(crate) fn meets_own(socket: Socket) -> bool {
    let key = socket.0 as u64;
    let Some(connection) = CONNECTIONS.get_ptr_mut(&key) else {
        return false;
    };
    let addresses = addresses(socket);
    if !is_local(addresses) {
        return false;
    }
    let remote: u16 = number(socket.0, offset!(sock_remote_port));
    let (local_port, remote_port) = (socket.local_port() as u16, u16::from_be(remote));
    // SAFETY: a map value, here and below, of which each member is read once.
    let (slot, entered_ns) = unsafe { ((*connection).slot, (*connection).entered_ns) };
    let mut ends = Ends::between(local_port, remote_port);
    if let Some((there, other)) = end(slot, remote_port, local_port)
        && are_ends_of_one(socket, addresses, there)
    {
        // SAFETY: as above. Only whether it is one is written; nobody takes it back.
        unsafe { (*other).ends.internal = 1 };
        ends.internal = 1;
    }
    // SAFETY: as above; one socket's changes of state come one after the other.
    unsafe { (*connection).ends = ends };
    let own = EndKey {
        slot,
        local_port,
        remote_port,
    };
    let end = LocalEnd {
        socket: key,
        entered_ns,
    };
    let _full = LOCAL_ENDS.insert(&own, &end, 0);
    ends.internal != 0
}

/// The connection with such ports, if it is there and nobody else's by now.
#[inline(always)]
fn end(slot: Slot, local_port: u16, remote_port: u16) -> Option<(Socket, *mut Connection)> {
    let key = EndKey {
        slot,
        local_port,
        remote_port,
    };
    // SAFETY: each member is read once.
    let (socket, entered_ns) =
        unsafe { LOCAL_ENDS.get(&key) }.map(|end| (end.socket, end.entered_ns))?;
    let connection = CONNECTIONS.get_ptr_mut(&socket)?;
    // SAFETY: a map value; each member is read once.
    let is_it = unsafe { (*connection).entered_ns == entered_ns && (*connection).slot == slot };
    is_it.then_some((Socket(socket as KernelPtr), connection))
}

/// Forgets the end of a connection whose entry goes.
#[inline(always)]
pub(crate) fn forget(socket: u64, slot: Slot, ends: Ends) {
    if ends.remote_port == 0 {
        return;
    }
    let key = EndKey {
        slot,
        local_port: ends.local_port,
        remote_port: ends.remote_port,
    };
    // SAFETY: one member is read once.
    let is_own = unsafe { LOCAL_ENDS.get(&key) }.is_some_and(|end| end.socket == socket);
    if is_own {
        let _gone = LOCAL_ENDS.remove(&key);
    }
}
