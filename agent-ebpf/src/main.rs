//! The kernel programs of Sessionscope: one ELF, one module per concern.
//!
//! * [`kernel`]: access to kernel structures through the resolved layout
//! * [`task`]: the state kept per thread, in task storage or in an array by pid
//! * [`session`]: the only look-up of a session's slot
//! * [`record`]: the only writer of histograms and shared counters
//! * [`emit`]: the only writer of the ring buffer
//! * [`iterator`]: the only writer of an iterator's records
//! * [`socket`]: a socket, and whose it is
//! * [`marks`]: which sockets have the user's input
//! * [`experience`]: how long it waits there
//! * [`sched`], [`process`], [`cgroup`], [`census`], [`tcp`], [`connections`], [`udp`], [`block`],
//!   [`memory`], [`xid`]: the programs, each with the maps it owns
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)] // atomic additions and the agent's constants are assembly
#![expect(
    unsafe_code,
    reason = "kernel memory is read through raw pointers that the verifier checks"
)]
#![expect(
    clippy::inline_always,
    reason = "a call would take its arguments through the stack, of which there are 512 bytes for all frames, and \
              hide from the verifier what it knows of them"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "aya's macros call programs with the context by value"
)]
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "the kernel takes keys and values by reference"
)]
#![expect(
    clippy::doc_markdown,
    reason = "paths of the kernel's sources are easier to read bare"
)]

mod block;
mod census;
mod cgroup;
mod connections;
mod emit;
mod experience;
mod internal;
mod iterator;
mod kernel;
mod marks;
mod memory;
mod process;
mod record;
mod sched;
mod session;
mod socket;
mod task;
mod tcp;
mod udp;
mod xid;

/// The kernel gives task storage, and the helpers that read kernel memory, to GPL programs only;
/// "Dual MIT/GPL" is the string it accepts for code under both.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Never linked: every index is checked. A panic path that survives would be an endless loop,
    // which the verifier refuses.
    loop {}
}
