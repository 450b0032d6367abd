//! The live TCP connections of sessions, and what they have carried so far.
//!
//! They are in a map from their SYN to the destruction of their socket, and an iterator over that map
//! reads each socket at the sample. The kernel's own `iter/tcp` would walk the whole hash table of
//! sockets, and only those of one network namespace, while every pod has its own; the map holds what
//! belongs to sessions, whatever its namespace.
//!
//! Connections that are older than the agent or than the session are found among the open files of all
//! processes, once, when a session is adopted.

use agent_common::{
    MAX_CONNECTIONS, NO_SESSION, Slot,
    net::{Connection, ConnectionRecord, INBOUND, ListenPort, OUTBOUND},
};
use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{HashMap, LruHashMap},
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};

use crate::{
    iterator::{self, IterMeta},
    kernel::{KernelPtr, chained, offset},
    socket::Socket,
    tcp::{CLOSE, IPPROTO_TCP, LISTEN, NEW_SYN_RECV, TIME_WAIT},
};

/// `S_IFMT` and `S_IFSOCK` (include/uapi/linux/stat.h).
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// Connections being opened and open, by the socket's address.
#[btf_map]
pub(crate) static CONNECTIONS: HashMap<
    u64,
    Connection,
    { MAX_CONNECTIONS as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

/// Ports that sessions listen on; they tell on which side a connection is that was found open.
#[btf_map]
static LISTEN_PORTS: LruHashMap<ListenPort, u8, 4096> = LruHashMap::new();

/// Takes note of a listener.
#[inline(always)]
pub(crate) fn listens_on(slot: Slot, port: u32) {
    if slot != NO_SESSION {
        let _full = LISTEN_PORTS.insert(&ListenPort { slot, port }, &1, 0);
    }
}

/// `tcp_destroy_sock(sock *sk)`, net/ipv4/tcp_ipv4.c. Not at CLOSE already: a socket that is closed with a
/// reset sends it afterwards, and its side must still be known.
#[btf_tracepoint(function = "tcp_destroy_sock")]
fn tcp_destroy_sock(ctx: BtfTracePointContext) -> i32 {
    let _absent = CONNECTIONS.remove(&(ctx.arg::<KernelPtr>(0) as u64));
    0
}

/// `struct bpf_iter__bpf_map_elem` (kernel/bpf/map_iter.c); the iterator's arguments.
#[repr(C)]
struct IterMapElement {
    meta: *const IterMeta,
    map: KernelPtr,
    key: *const u64,
    value: *const Connection,
}

/// Writes one [`ConnectionRecord`] per entry of `CONNECTIONS`.
#[unsafe(link_section = "iter/bpf_map_elem")]
#[unsafe(no_mangle)]
unsafe extern "C" fn connections(ctx: *const IterMapElement) -> i32 {
    // SAFETY: the kernel passes a valid context.
    let (key, value) = unsafe { ((*ctx).key, (*ctx).value) };
    if key.is_null() || value.is_null() {
        return 0;
    }
    // SAFETY: not null, so an entry of the map, of the sizes that the iterator was attached with.
    let (address, before, side, began_ns) =
        unsafe { (*key, (*value).before, (*value).side, (*value).began_ns) };
    let socket = Socket(address as KernelPtr);
    let state = socket.state();
    let slot = socket.slot();
    if slot == NO_SESSION || state == CLOSE {
        return 0;
    }
    let record = ConnectionRecord {
        socket: address,
        slot,
        side,
        state: state as u32,
        srtt_us: socket.smoothed_rtt_us(),
        traffic: socket.traffic().since(before),
    };
    // The socket may have been destroyed while it was read, and its memory be another's: then the entry is
    // gone, or a newer one.
    // SAFETY: one member is read once.
    let still = unsafe { CONNECTIONS.get(&address) };
    if still.is_some_and(|entry| entry.began_ns == began_ns) {
        // SAFETY: `meta` is the iterator's own.
        unsafe { iterator::write((*ctx).meta, &record) };
    }
    0
}

/// `struct bpf_iter__task_file` (kernel/bpf/task_iter.c); the iterator's arguments.
#[repr(C)]
struct IterTaskFile {
    meta: *const IterMeta,
    task: KernelPtr,
    fd: u64,
    file: KernelPtr,
}

/// Enters the open connections of sessions that are not known yet; needs two runs, because the first may
/// come to a connection before it comes to its listener. An entry that was made for another session is
/// made anew, so that what it has carried until now is not the new one's.
#[unsafe(link_section = "iter/task_file")]
#[unsafe(no_mangle)]
unsafe extern "C" fn open_sockets(ctx: *const IterTaskFile) -> i32 {
    // SAFETY: the kernel passes a valid context.
    let file = unsafe { (*ctx).file };
    if file.is_null() {
        return 0;
    }
    let Some(inode) = chained::<KernelPtr>(file, offset!(file_inode)) else {
        return 0;
    };
    if chained::<u16>(inode, offset!(inode_mode)).unwrap_or(0) & S_IFMT != S_IFSOCK {
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
    let slot = socket.slot();
    if slot == NO_SESSION {
        return 0;
    }
    let port = socket.local_port();
    if state == LISTEN {
        listens_on(slot, port);
        return 0;
    }
    let key = socket.0 as u64;
    // SAFETY: only whether there is one.
    let inbound = unsafe { LISTEN_PORTS.get(&ListenPort { slot, port }) }.is_some();
    let side = if inbound { INBOUND } else { OUTBOUND } as u32;
    if let Some(known) = CONNECTIONS.get_ptr_mut(&key) {
        // SAFETY: a map value; the file keeps the socket, and so the entry.
        unsafe {
            if (*known).slot == slot {
                // Of one that was found open the first run could not know the side.
                if (*known).began_ns == 0 {
                    (*known).side = side;
                }
                return 0;
            }
        }
    }
    let connection = Connection {
        began_ns: 0,
        established_ns: 0,
        before: socket.traffic(),
        side,
        slot,
    };
    let _full = CONNECTIONS.insert(&key, &connection, 0);
    0
}
