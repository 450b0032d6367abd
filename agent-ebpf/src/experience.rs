//! What the user of a session feels: how long input waits to be read, and until something is sent back. No protocol is
//! read: bytes become readable, are taken, and others are sent. Measured at the sockets that are marked (`marks.rs`).

use agent_common::{
    Slot,
    experience::{
        CLIENT, ExperienceStats, Late, MarkedRecord, MarkedSocket, QUIET_NS, UNANSWERED_NS,
        UNRESPONSIVE_NS,
    },
    histogram::{Histogram, bucket_of},
};
use aya_ebpf::{
    btf_maps::Array,
    helpers::bpf_ktime_get_boot_ns,
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};

use crate::{
    iterator::{self, IterMeta, IterTaskFile},
    kernel::{KernelPtr, member, number, offset},
    marks::{
        AF_UNIX, connects, displays_are_awaited, give_up_displays, has_unread, marked, sends_first,
        socket_of,
    },
    record, session,
    socket::{SOCK_DONE, Socket},
    tcp::LISTEN,
};

const NS_PER_US: u64 = 1_000;

/// A reader that has taken bytes gets to `sock_recv_length` within this, unless it is kept from its CPU.
const A_MOMENT_NS: u64 = 1_000_000;

/// `MSG_PEEK` (include/linux/socket.h).
const MSG_PEEK: i32 = 2;

/// Per slot; resized to the number of slots when loaded.
#[btf_map]
static EXPERIENCE_STATS: Array<ExperienceStats, 1> = Array::new();

#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: takes no arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Counts a socket that its session has no place for.
#[inline(always)]
pub(crate) fn over_budget(slot: Slot) {
    if let Some(stats) = EXPERIENCE_STATS.get_ptr_mut(slot) {
        // SAFETY: a map value.
        unsafe { record::increment(&raw mut (*stats).over_budget) };
    }
}

/// The figures of the session that a marked socket belongs to, if that session is still there.
///
/// # Safety
/// `value` is what is kept of a marked socket.
#[inline(always)]
unsafe fn stats(value: *mut MarkedSocket) -> Option<*mut ExperienceStats> {
    // SAFETY: by the contract; each member is read once.
    let (slot, marked_ns) = unsafe { ((*value).slot, (*value).marked_ns) };
    if session::had_slot(slot, marked_ns) {
        EXPERIENCE_STATS.get_ptr_mut(slot)
    } else {
        None
    }
}

/// # Safety
/// `histogram` is part of a map value.
#[inline(always)]
unsafe fn observe(histogram: *mut Histogram, ns: u64) {
    // SAFETY: by the contract.
    unsafe { record::observe_shared(histogram, bucket_of(ns), ns) };
}

/// `sk_data_ready(const sock *sk)`, since 6.3: of a Unix socket in its `sock_def_readable`, where the sender has let go of
/// the socket (net/unix/af_unix.c); of TCP in `tcp_data_ready`, with the socket's lock.
#[btf_tracepoint(function = "sk_data_ready")]
fn sk_data_ready(ctx: BtfTracePointContext) -> i32 {
    let socket = ctx.arg::<KernelPtr>(0);
    // SAFETY: the tracepoint's argument, here and below.
    let Some(value) = (unsafe { marked(socket) }) else {
        // SAFETY: as above.
        let (family, state) = unsafe {
            (
                member::<u16>(socket, offset!(sock_family)),
                member::<u8>(socket, offset!(sock_state)),
            )
        };
        if family == AF_UNIX && i32::from(state) == LISTEN {
            connects(socket);
        }
        return 0;
    };
    let now_ns = now_ns();
    // SAFETY: a map value of this socket. Its reader may write it at the same time: then one wait is not observed, or something
    // seems to wait until more comes, which the look at all of them finds to be nothing.
    unsafe {
        if (*value).kind == CLIENT {
            arrives(socket, value, now_ns);
        } else {
            // The last one is what has just come: whoever waited has been read.
            let waiting = member::<u32>(socket, offset!(sock_queue_length));
            if waiting <= 1 || (*value).waiting_ns == 0 {
                begins_to_wait(value, if waiting == 0 { 0 } else { now_ns });
            }
        }
    }
    0
}

/// Bytes wait from now on. What had waited before is being taken, and its reader may not have got to `sock_recv_length` yet.
///
/// # Safety
/// `value` is what is kept of a marked socket.
#[inline(always)]
unsafe fn begins_to_wait(value: *mut MarkedSocket, since_ns: u64) {
    // SAFETY: by the contract.
    unsafe {
        (*value).before_ns = (*value).waiting_ns;
        (*value).waiting_ns = since_ns;
    }
}

/// Bytes of a client have come.
///
/// # Safety
/// `value` is what is kept of a marked socket.
#[inline(always)]
unsafe fn arrives(socket: KernelPtr, value: *mut MarkedSocket, now_ns: u64) {
    // An end is not an input.
    if number::<u64>(socket, offset!(sock_flags)) & SOCK_DONE != 0 {
        return;
    }
    let received: u32 = number(socket, offset!(tcp_received));
    let copied: u32 = number(socket, offset!(tcp_copied));
    // SAFETY: by the contract, in all of this.
    unsafe {
        // What had come before has been read, by whatever way.
        let all_taken = (copied.wrapping_sub((*value).arrived) as i32) >= 0;
        if (*value).waiting_ns == 0 || all_taken {
            begins_to_wait(value, now_ns);
        }
        (*value).arrived = received;
        let (asked_ns, active_ns) = ((*value).asked_ns, (*value).active_ns);
        if asked_ns != 0 && now_ns.saturating_sub(asked_ns) > UNANSWERED_NS {
            was_not_answered(value);
        }
        // A viewer that asks for the next picture when it has got one does so a round trip after it was sent.
        let quiet_ns = now_ns.saturating_sub(active_ns);
        if (*value).asked_ns == 0
            && quiet_ns >= QUIET_NS
            && quiet_ns >= QUIET_NS + u64::from(Socket(socket).smoothed_rtt_us()) * NS_PER_US
        {
            (*value).asked_ns = now_ns;
        }
        (*value).active_ns = now_ns;
    }
}

/// # Safety
/// `value` is what is kept of a marked socket.
#[inline(always)]
unsafe fn was_not_answered(value: *mut MarkedSocket) {
    // SAFETY: by the contract; the session's are a map value.
    unsafe {
        (*value).asked_ns = 0;
        if let Some(stats) = stats(value) {
            record::increment(&raw mut (*stats).unanswered);
        }
    }
}

/// A reader has taken bytes (`sock_recv_length`).
///
/// # Safety
/// `socket` is the tracepoint's argument.
#[inline(always)]
pub(crate) unsafe fn taken(socket: KernelPtr, length: i32, flags: i32) {
    // SAFETY: by the contract.
    let Some(value) = (unsafe { marked(socket) }) else {
        return;
    };
    if length < 0 || flags & MSG_PEEK != 0 {
        return;
    }
    // SAFETY: a map value of this socket, and the session's.
    unsafe {
        let (mut waiting_ns, before_ns) = ((*value).waiting_ns, (*value).before_ns);
        if waiting_ns == 0 {
            return;
        }
        let is_client = (*value).kind == CLIENT;
        let more = if is_client {
            has_unread(socket, CLIENT)
        } else {
            member::<u32>(socket, offset!(sock_queue_length)) != 0
        };
        if length == 0 {
            // An end, or a message without bytes; who asks for no bytes has taken none.
            if !more {
                ((*value).waiting_ns, (*value).before_ns) = (0, 0);
            }
            return;
        }
        let now_ns = now_ns();
        // What came a moment ago, and is there still, came while the reader took what was there before. If it is gone, it is
        // what was taken now, and what was there before has been taken without a call that is seen, as by `splice`.
        if before_ns != 0 {
            (*value).before_ns = 0;
            if more && now_ns.saturating_sub(waiting_ns) < A_MOMENT_NS {
                waiting_ns = before_ns;
            }
        }
        (*value).waiting_ns = if more { now_ns } else { 0 };
        let Some(stats) = stats(value) else {
            return;
        };
        let delay_ns = now_ns.saturating_sub(waiting_ns);
        if is_client {
            observe(&raw mut (*stats).server_delay, delay_ns);
            return;
        }
        observe(&raw mut (*stats).application_delay, delay_ns);
        if delay_ns >= UNRESPONSIVE_NS {
            responds_again(&raw mut (*stats).late, (*value).process, waiting_ns, now_ns);
        }
    }
}

/// An application has read what had waited for long. One that has several connections reads from them one after the other,
/// and what it has waited for at one of them counts no second time.
///
/// # Safety
/// `late` is part of a map value.
#[inline(always)]
unsafe fn responds_again(late: *mut Late, process: u32, waiting_ns: u64, now_ns: u64) {
    // SAFETY: by the contract. Two processes at the same time may count a moment twice.
    unsafe {
        let counted_ns = if (*late).process == process {
            (*late).until_ns
        } else {
            0
        };
        ((*late).process, (*late).until_ns) = (process, now_ns);
        let since_ns = if counted_ns > waiting_ns {
            counted_ns
        } else {
            waiting_ns
        };
        record::add(&raw mut (*late).sum_ns, now_ns.saturating_sub(since_ns));
    }
}

/// Bytes have been sent (`sock_send_length`).
///
/// # Safety
/// `socket` is the tracepoint's argument.
#[inline(always)]
pub(crate) unsafe fn sent(socket: KernelPtr, family: u16, length: i32) {
    // SAFETY: by the contract.
    let Some(value) = (unsafe { marked(socket) }) else {
        if family == AF_UNIX && displays_are_awaited() {
            sends_first(socket);
        }
        return;
    };
    // SAFETY: a map value of this socket, and the session's.
    unsafe {
        if length <= 0 || (*value).kind != CLIENT {
            return;
        }
        let now_ns = now_ns();
        let asked_ns = (*value).asked_ns;
        (*value).active_ns = now_ns;
        if asked_ns == 0 {
            return;
        }
        let took_ns = now_ns.saturating_sub(asked_ns);
        if took_ns > UNANSWERED_NS {
            was_not_answered(value);
            return;
        }
        (*value).asked_ns = 0;
        if let Some(stats) = stats(value) {
            observe(&raw mut (*stats).response, took_ns);
        }
    }
}

/// `struct bpf_iter__bpf_sk_storage_map` (net/core/bpf_sk_storage.c); the iterator's arguments.
#[repr(C)]
struct IterSocketStorage {
    meta: *const IterMeta,
    map: KernelPtr,
    socket: KernelPtr,
    value: *mut MarkedSocket,
}

/// Writes one [`MarkedRecord`] for each marked socket, and takes those inputs for unanswered that have waited for that long.
/// At the end also the displays that the agent has given up are taken for that.
#[unsafe(link_section = "iter/bpf_sk_storage_map")]
#[unsafe(no_mangle)]
unsafe extern "C" fn marked_sockets(ctx: *const IterSocketStorage) -> i32 {
    // SAFETY: the kernel passes a valid context.
    let (socket, value) = unsafe { ((*ctx).socket, (*ctx).value) };
    if socket.is_null() || value.is_null() {
        // The end, which also comes where none is marked (net/core/bpf_sk_storage.c, `bpf_sk_storage_map_seq_stop`).
        give_up_displays();
        return 0;
    }
    // SAFETY: the iterator's arguments.
    unsafe { look((*ctx).meta, socket, value) };
    0
}

/// Does what [`marked_sockets`] does where the kernel refuses that, which may write to the map's values: by the open files of
/// all processes. A socket that several have open is written as often.
#[unsafe(link_section = "iter/task_file")]
#[unsafe(no_mangle)]
unsafe extern "C" fn marked_open_sockets(ctx: *const IterTaskFile) -> i32 {
    // SAFETY: the kernel passes a valid context.
    let (task, file) = unsafe { ((*ctx).task, (*ctx).file) };
    if task.is_null() || file.is_null() {
        // The end (kernel/bpf/task_iter.c, `task_file_seq_stop`).
        give_up_displays();
        return 0;
    }
    // SAFETY: the iterator's arguments.
    unsafe {
        if let Some(socket) = socket_of(file)
            && let Some(value) = marked(socket)
        {
            look((*ctx).meta, socket, value);
        }
    }
    0
}

/// Looks at a marked socket.
///
/// # Safety
/// `meta` is the iterator's own, and `value` what is kept of the socket.
#[inline(always)]
unsafe fn look(meta: *const IterMeta, socket: KernelPtr, value: *mut MarkedSocket) {
    let now_ns = now_ns();
    // SAFETY: a map value.
    let (slot, kind, process, marked_ns, asked_ns, waiting_ns) = unsafe {
        (
            (*value).slot,
            (*value).kind,
            (*value).process,
            (*value).marked_ns,
            (*value).asked_ns,
            (*value).waiting_ns,
        )
    };
    if !session::had_slot(slot, marked_ns) {
        return;
    }
    if asked_ns != 0 && now_ns.saturating_sub(asked_ns) > UNANSWERED_NS {
        // SAFETY: as above.
        unsafe { was_not_answered(value) };
    }
    // A reader that took all while this began to wait has not taken it back.
    let unread_ns = if waiting_ns == 0 || !has_unread(socket, kind) {
        0
    } else {
        now_ns.saturating_sub(waiting_ns)
    };
    let record = MarkedRecord {
        socket: socket as u64,
        unread_ns,
        slot,
        kind,
        process,
        unused: 0,
    };
    // SAFETY: by the contract.
    unsafe { iterator::write(meta, &record) };
}
