//! The bytes that cross between the kernel programs and the agent, each defined once.
//!
//! Everything here is `no_std`, `#[repr(C)]` and free of padding (asserted at compile time in each
//! module), so that the two sides cannot disagree: a field that is added is added for both.
//!
//! * [`histogram`]: bucket arithmetic of the latency histograms, exact to the nanosecond
//! * [`sched`]: what the scheduler program counts per session and CPU
//! * [`process`]: process life-cycle counters per session
//! * [`net`]: network counters per session, and one record per live TCP connection
//! * [`block`]: block I/O per session
//! * [`memory`]: stalls of a session for want of memory
//! * [`experience`]: how long input waits, and until something is sent back
//! * [`task`]: the state kept per thread between two context switches
//! * [`cgroup`]: when a cgroup was made and got its first process
//! * [`census`]: one record per live thread, written by the task iterator
//! * [`event`]: the records of the ring buffer
//! * [`self_check`]: what the kernel programs read of the agent itself, to prove the layout
//! * [`layout`]: member offsets of kernel structures, resolved by the agent from the kernel's BTF
//! * [`constants`]: these and others, as the agent writes them into the programs' instructions
//! * [`xid`]: field offsets of the NVIDIA driver's tracepoint, from its format file
#![no_std]

pub mod block;
pub mod census;
pub mod cgroup;
pub mod constants;
pub mod event;
pub mod experience;
pub mod histogram;
pub mod layout;
pub mod memory;
pub mod net;
pub mod process;
pub mod sched;
pub mod self_check;
pub mod task;
pub mod xid;

/// The dense number of a session: an index into every per-session map.
///
/// Allocated by the agent's registry, published to the kernel through the map `CGROUP_SLOTS`.
pub type Slot = u32;

/// The slot of everything that is not a session. It is never allocated, and nothing is counted in it.
pub const NO_SESSION: Slot = 0;

// The maps with a capacity below are allocated whole when they are loaded. Programs that run under the
// run-queue lock insert into them: before 6.1 an element allocated there is a `kmalloc`, which may want to wake a
// thread and so that lock, and the kernel warns at the load of a raw tracepoint (check_map_prog_compatibility,
// kernel/bpf/verifier.c, 5.10).

/// Capacity of the cgroup-to-slot map: the cgroups at which a session begins, or ends within another.
pub const MAX_CGROUPS: u32 = 16_384;

/// Deepest level of the hierarchy at which a session can begin; the root's is 0. Whatever is below is of the session
/// that is above, however deep. Platforms make theirs at levels 1 to 8: the programs walk up no further than this.
pub const MAX_LEVEL: u32 = 32;

/// Capacity of the map of preemptor pairs. When it is full, further pairs are missing from the
/// list of preemptors; the counters by kind stay exact.
pub const MAX_PREEMPTION_PAIRS: u32 = 16_384;

/// Capacity of the map of live TCP connections of sessions. A quarter of it is divided among the slots, so that each has
/// some places for its own; of the rest a session may have five times as many as are free. Further ones are counted
/// when they open and close, but not timed and not measured while they live.
pub const MAX_CONNECTIONS: u32 = 65_536;

/// Capacity of the map of connections that were counted as over a session's budget. Of more than these, one that is found
/// open again is counted again.
pub const MAX_LEFT_OUT: u32 = 16_384;

/// Capacity of the map of threads that are reclaiming memory at this moment. The stalls of further ones
/// are not measured.
pub const MAX_RECLAIMING: u32 = 8_192;

/// Capacity of the map of processes that have entered a session since the agent looked at their open files, which it does
/// once a second. When there are more it walks those of all processes.
pub const MAX_ENTERED: u32 = 1024;

/// Capacity of the maps that keep what is of interest for a moment and let go what was used least recently:
/// cgroups that were made, processes that have ended, ports that are listened on.
pub const MAX_RECENT: u32 = 4096;

/// Size of the ring buffer in bytes.
pub const RING_BYTES: u32 = 1 << 20;

/// Marks types that the kernel reads and writes as plain bytes.
#[cfg(feature = "user")]
macro_rules! pod {
    ($($name:ty),+ $(,)?) => {
        $(
            // SAFETY: `#[repr(C)]`, made of integers only, and its size is asserted to be the sum
            // of its fields', so there is no padding and every bit pattern is valid.
            #[expect(unsafe_code, reason = "the one place where a type is declared plain bytes")]
            unsafe impl aya::Pod for $name {}
        )+
    };
}

#[cfg(not(feature = "user"))]
macro_rules! pod {
    ($($name:ty),+ $(,)?) => {};
}

pub(crate) use pod;
