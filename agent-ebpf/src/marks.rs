//! The sockets at which input is measured: which they are, and how they are found.
//!
//! Two kinds of sockets are marked, in socket storage, so that any other costs a look at one pointer:
//!
//! * the applications' ends of connections to a display server (X11, Wayland), which the path of the listener tells. The
//!   hook of a connection has the listener, not the new socket, so that one is marked when it first sends.
//! * the ends of sessions' clients' connections, when they are established.
//!
//! Those that are older than the agent or than the session are found among the open files of all processes.

use core::{ffi::c_void, ptr, sync::atomic::AtomicU64};

use agent_common::{
    NO_SESSION, Slot,
    experience::{
        AwaitedDisplays, CLIENT, CLIENTS_OF_EACH, DISPLAY, DISPLAYS_OF_EACH, GivenUpDisplays,
        MAX_NEW_DISPLAYS, MarkedCounts, MarkedSocket,
    },
    net::INBOUND,
};
use aya_ebpf::{
    bindings::{
        BPF_F_NO_PREALLOC, BPF_NOEXIST, BPF_SK_STORAGE_GET_F_CREATE,
        bpf_map_type::BPF_MAP_TYPE_SK_STORAGE,
    },
    btf_maps::{Array, HashMap},
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_sk_storage_get, bpf_sock_from_file},
    },
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};

use crate::{
    connections::{CONNECTIONS, owner},
    experience::{now_ns, over_budget},
    iterator::IterTaskFile,
    kernel::{KernelPtr, Task, chained, member, number, offset},
    process::EEXIST,
    record, session,
    socket::Socket,
    tcp::ESTABLISHED,
};

/// `AF_UNIX`, `AF_INET` and `AF_INET6` (include/linux/socket.h).
pub(crate) const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;

/// A BTF map definition, as in `task.rs`. aya-ebpf 0.2 has none for socket storage.
#[repr(C)]
struct SocketStorage {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const MarkedSocket,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: the pointers are placeholders for the loader and are never followed.
unsafe impl Sync for SocketStorage {}

#[unsafe(link_section = ".maps")]
#[unsafe(export_name = "MARKED_SOCKETS")]
static MARKED_SOCKETS: SocketStorage = SocketStorage {
    r#type: ptr::null(),
    key: ptr::null(),
    value: ptr::null(),
    max_entries: ptr::null(),
    map_flags: ptr::null(),
};

/// Marked sockets of each slot: the agent writes how many there are when it looks, and the programs add those that they
/// mark.
#[btf_map]
static MARKED_COUNTS: Array<MarkedCounts, 1> = Array::new();

/// Connections to display servers on which nothing has been sent yet, by the application's socket, and since when,
/// nanoseconds since boot. The agent takes those out on which nothing is sent.
#[btf_map]
static NEW_DISPLAYS: HashMap<u64, u64, { MAX_NEW_DISPLAYS as usize }> = HashMap::new();

/// How many of [`NEW_DISPLAYS`], and of those that it had no room for, may still send.
#[btf_map]
static DISPLAYS_AWAITED: Array<AwaitedDisplays, 1> = Array::new();

/// How many the agent has given up. In a map of its own, because the agent writes a value whole, and would undo what
/// programs add to it meanwhile.
#[btf_map]
static DISPLAYS_GIVEN_UP: Array<GivenUpDisplays, 1> = Array::new();

/// How many connections to display servers may still send, noted or missed; programs alone add to it. Asked at each message
/// of a Unix socket that is not marked, so it is not in a map, where to find it takes longer than the rest.
static MAY_SEND: AtomicU64 = AtomicU64::new(0);

/// Adds to how many may send; the sum wraps.
#[inline(always)]
fn more_may_send(many: u64) {
    // SAFETY: a word of the programs' own, which is read by whole words.
    unsafe { record::add(MAY_SEND.as_ptr(), many) };
}

#[inline(always)]
fn storage(socket: KernelPtr, flags: u64) -> Option<*mut MarkedSocket> {
    let map = (&raw const MARKED_SOCKETS).cast_mut().cast::<c_void>();
    // SAFETY: the map and the socket are what the helper expects; the verifier checks both.
    let value = unsafe { bpf_sk_storage_get(map, socket.cast_mut(), ptr::null_mut(), flags) };
    if value.is_null() {
        None
    } else {
        Some(value.cast())
    }
}

/// What is kept of a marked socket. Asked at each message of every socket, so the look that most end with comes first.
///
/// # Safety
/// `socket` is a tracepoint's argument.
#[inline(always)]
pub(crate) unsafe fn marked(socket: KernelPtr) -> Option<*mut MarkedSocket> {
    // SAFETY: by the contract.
    if unsafe { member::<u64>(socket, offset!(sock_storage)) } == 0 {
        return None;
    }
    storage(socket, 0)
}

/// How somebody comes to a socket that is to be marked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// It has just been connected.
    New,
    /// Among the open files of its process, perhaps again: one that has no place is not counted as that each time.
    Open,
}

/// Marks a socket of a session, if the session may have another one.
#[inline(always)]
fn mark(socket: KernelPtr, slot: Slot, kind: u32, process: u32, found: Found) {
    if slot == NO_SESSION {
        return;
    }
    let known = storage(socket, 0);
    if let Some(value) = known {
        // SAFETY: the socket's own; each member is read once.
        let (marked_for, marked_ns) = unsafe { ((*value).slot, (*value).marked_ns) };
        if marked_for == slot && session::had_slot(slot, marked_ns) {
            return;
        }
    }
    let Some(counts) = MARKED_COUNTS.get_ptr_mut(slot) else {
        return;
    };
    // SAFETY: a map value, here and below.
    let (count, most) = unsafe {
        if kind == CLIENT {
            (&raw mut (*counts).clients, CLIENTS_OF_EACH)
        } else {
            (&raw mut (*counts).displays, DISPLAYS_OF_EACH)
        }
    };
    // SAFETY: a map value.
    if unsafe { *count } >= most {
        if found == Found::New {
            over_budget(slot);
        }
        return;
    }
    let Some(value) = storage(socket, BPF_SK_STORAGE_GET_F_CREATE.into()) else {
        return;
    };
    let now_ns = now_ns();
    // For how long that has waited already nobody knows.
    let has_unread = found == Found::Open && has_unread(socket, kind);
    // SAFETY: the socket's own, and a map value: two that mark it at once write the same.
    unsafe {
        *value = MarkedSocket {
            waiting_ns: if has_unread { now_ns } else { 0 },
            before_ns: 0,
            asked_ns: 0,
            active_ns: now_ns,
            marked_ns: now_ns,
            arrived: if kind == CLIENT {
                number(socket, offset!(tcp_received))
            } else {
                0
            },
            slot,
            kind,
            process,
        };
        record::increment(count);
    }
}

/// Whether there are bytes that its reader has not taken yet.
#[inline(always)]
pub(crate) fn has_unread(socket: KernelPtr, kind: u32) -> bool {
    if kind == CLIENT {
        number::<u32>(socket, offset!(tcp_received)) != number::<u32>(socket, offset!(tcp_copied))
    } else {
        number::<u32>(socket, offset!(sock_queue_length)) != 0
    }
}

/// Somebody connects to a listening Unix socket: the end of its side is the last in the queue, and knows the other one.
#[inline(always)]
pub(crate) fn connects(listener: KernelPtr) {
    if !is_display(listener) {
        return;
    }
    let client = chained::<KernelPtr>(listener, offset!(sock_queue_tail))
        .and_then(|packet| chained::<KernelPtr>(packet, offset!(skb_sock)))
        .and_then(|accepted| chained::<u64>(accepted, offset!(unix_peer)));
    let Some(client) = client.filter(|client| *client != 0) else {
        return;
    };
    if Socket(client as KernelPtr).slot() == NO_SESSION {
        return;
    }
    match NEW_DISPLAYS.insert(&client, &now_ns(), BPF_NOEXIST.into()) {
        Ok(()) => {
            if let Some(awaited) = DISPLAYS_AWAITED.get_ptr_mut(0) {
                // SAFETY: a map value.
                unsafe { record::increment(&raw mut (*awaited).noted) };
                more_may_send(1);
            }
        }
        // One that was there before, at this address, and has not sent.
        Err(EEXIST) => {}
        Err(_) => {
            if let Some(awaited) = DISPLAYS_AWAITED.get_ptr_mut(0) {
                // SAFETY: a map value.
                unsafe { record::increment(&raw mut (*awaited).missed) };
                more_may_send(1);
            }
        }
    }
}

/// Whether a Unix socket that is not marked may be a display's.
#[inline(always)]
pub(crate) fn displays_are_awaited() -> bool {
    // The compiler has no atomic load for these programs; it is a word, and read once.
    // SAFETY: a word of the programs' own.
    unsafe { MAY_SEND.as_ptr().read_volatile() != 0 }
}

/// Takes over what the agent has given up. Called by what the agent runs after it has written that, and nobody else; what
/// was given up was noted seconds ago, so each is added before it is taken off.
#[inline(always)]
pub(crate) fn give_up_displays() {
    if let (Some(awaited), Some(given_up)) = (
        DISPLAYS_AWAITED.get_ptr_mut(0),
        DISPLAYS_GIVEN_UP.get_ptr(0),
    ) {
        // SAFETY: map values; the agent does not write while this runs.
        let less = unsafe {
            let (before, now) = ((*awaited).given_up, *given_up);
            (*awaited).given_up = now;
            before.all().wrapping_sub(now.all())
        };
        more_may_send(less);
    }
}

/// A Unix socket that is not marked sends; marks it if it has just been connected to a display server.
#[inline(always)]
pub(crate) fn sends_first(socket: KernelPtr) {
    let key = socket as u64;
    // SAFETY: only whether there is one. Without a lock, as most that come here are not.
    let is_new = unsafe { NEW_DISPLAYS.get(&key) }.is_some() && NEW_DISPLAYS.remove(&key).is_ok();
    let Some(awaited) = DISPLAYS_AWAITED.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: a map value, of which each member is read once.
    let are_any_missed = unsafe { *awaited }.are_any_missed();
    let found = if is_new {
        // SAFETY: a map value; the sum wraps.
        unsafe { record::add(&raw mut (*awaited).noted, u64::MAX) };
        more_may_send(u64::MAX);
        Found::New
    } else if are_any_missed {
        Found::Open
    } else {
        return;
    };
    // The address may be another socket's by now; and the accepted one has its listener's address.
    let peer: u64 = number(socket, offset!(unix_peer));
    if peer == 0 || !is_display(peer as KernelPtr) {
        return;
    }
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    mark(socket, Socket(socket).slot(), DISPLAY, process, found);
}

/// A number of a display has so many digits at most.
const DIGITS: u64 = 4;

/// Whether a `unix_address` is that of a display server: `…/.X11-unix/X0` (also without a file) or `…/wayland-0`, with other
/// numbers of at most four digits. Exported, because verifiers go through such a function once; and without a branch for
/// each byte, of which they would go both ways.
#[unsafe(no_mangle)]
#[inline(never)]
#[expect(
    clippy::needless_bitwise_bool,
    reason = "a branch is walked both ways by verifiers"
)]
extern "C" fn is_display_address(address: u64) -> i32 {
    let length: u32 = number(address as KernelPtr, offset!(unix_address_length));
    let path = address
        .wrapping_add(offset!(unix_address_name))
        .wrapping_add(size_of::<u16>() as u64);
    // One in the file system ends with a NUL, which counts; one that is not begins with one (net/unix/af_unix.c,
    // `unix_mkname_bsd`).
    let first: u8 = number(path as KernelPtr, 0);
    let around = size_of::<u16>() as u64 + u64::from(first != 0);
    let end = path.wrapping_add(u64::from(length).wrapping_sub(around));
    let (mut found, mut all_digits) = (false, true);
    let mut digits = 1;
    while digits <= DIGITS {
        let number_at = end.wrapping_sub(digits);
        // The file system's is never that short, and what lies before another one is read and is no such name.
        let before = |bytes: u64| number_at.wrapping_sub(bytes) as KernelPtr;
        all_digits &= number::<u8>(number_at as KernelPtr, 0).wrapping_sub(b'0') < 10;
        let x11 = (number::<u64>(before(12), 0) == u64::from_ne_bytes(*b"/.X11-un"))
            & (number::<u32>(before(4), 0) == u32::from_ne_bytes(*b"ix/X"));
        let wayland = (number::<u64>(before(9), 0) == u64::from_ne_bytes(*b"/wayland"))
            & (number::<u8>(before(1), 0) == b'-');
        found |= all_digits & (x11 | wayland);
        digits += 1;
    }
    found.into()
}

/// Whether a Unix socket has such an address.
#[inline(always)]
fn is_display(socket: KernelPtr) -> bool {
    let address: u64 = number(socket, offset!(unix_address));
    address != 0 && is_display_address(address) != 0
}

/// `inet_sock_set_state(const sock *sk, const int oldstate, const int newstate)`, net/ipv4/af_inet.c: marks the connection of
/// a client, which `inet_sock_set_state` has entered before.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn client_connects(ctx: BtfTracePointContext) -> i32 {
    if ctx.arg::<i32>(2) == ESTABLISHED {
        mark_client(ctx.arg::<KernelPtr>(0), 0, Found::New);
    }
    0
}

/// Marks a connection if it is entered, and a client's: not one of the session with itself.
#[inline(always)]
fn mark_client(socket: KernelPtr, process: u32, found: Found) {
    let Some(entry) = CONNECTIONS.get_ptr_mut(&(socket as u64)) else {
        return;
    };
    // SAFETY: a map value, of which each member is read once.
    let (side, closed, internal) =
        unsafe { ((*entry).side, (*entry).closed, (*entry).ends.internal) };
    if side != INBOUND as u8 || closed != 0 || internal != 0 {
        return;
    }
    // SAFETY: as above.
    let slot = unsafe { owner(Socket(socket), entry) };
    mark(socket, slot, CLIENT, process, found);
}

/// The socket that an open file is.
///
/// # Safety
/// `file` is the argument of an iterator over open files.
#[inline(always)]
pub(crate) unsafe fn socket_of(file: KernelPtr) -> Option<KernelPtr> {
    // SAFETY: by the contract.
    let socket = unsafe { bpf_sock_from_file(file.cast_mut().cast()) } as KernelPtr;
    if socket.is_null() {
        return None;
    }
    // SAFETY: what the helper gives is a `struct socket`.
    let socket = unsafe { member::<KernelPtr>(socket, offset!(socket_sock)) };
    if socket.is_null() { None } else { Some(socket) }
}

/// Marks the open sockets that are to be and are not: those that are older than the agent or than their session. After
/// `open_sockets`, which enters the connections.
#[unsafe(link_section = "iter/task_file")]
#[unsafe(no_mangle)]
unsafe extern "C" fn mark_open_sockets(ctx: *const IterTaskFile) -> i32 {
    // SAFETY: the kernel passes a valid context.
    let (task, file) = unsafe { ((*ctx).task, (*ctx).file) };
    if task.is_null() || file.is_null() {
        return 0;
    }
    // SAFETY: the iterator's argument.
    let Some(socket) = (unsafe { socket_of(file) }) else {
        return 0;
    };
    // SAFETY: as above, and a socket has a family.
    let family = unsafe { member::<u16>(socket, offset!(sock_family)) };
    // SAFETY: the iterator's argument.
    let process = Task(task).tgid();
    if family == AF_UNIX {
        let peer: u64 = number(socket, offset!(unix_peer));
        if peer != 0 && is_display(peer as KernelPtr) {
            let slot = Socket(socket).slot();
            mark(socket, slot, DISPLAY, process, Found::Open);
        }
    } else if matches!(family, AF_INET | AF_INET6) {
        mark_client(socket, process, Found::Open);
    }
    0
}
