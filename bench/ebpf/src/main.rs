//! The floor of `cargo xtask bench sched`: a program at every context switch that does nothing.
//!
//! What the benchmark loses beside it is the price of having any program there: the trampoline, and
//! with statistics on two readings of the clock. The rest is what the agent's own work costs.
#![no_std]
#![no_main]

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

/// On the tracepoint that the agent's scheduler program is on.
#[btf_tracepoint(function = "sched_switch")]
fn floor(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Never linked: nothing here can fail.
    loop {}
}
