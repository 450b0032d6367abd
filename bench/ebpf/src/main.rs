//! What `cargo xtask bench` compares with: a program at every context switch that does nothing, and one that takes
//! a known time.
//!
//! What the benchmark loses beside the first is the price of having any program there: the trampoline, and
//! with statistics on two readings of the clock. The rest is what the agent's own work costs.
#![no_std]
#![no_main]

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext};

/// On the tracepoint that the agent's scheduler program is on.
#[btf_tracepoint(function = "sched_switch")]
fn floor(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// Reads the clock once: some 50 ns on a virtual machine; the kernel's statistics say it exactly.
#[btf_tracepoint(function = "sched_switch")]
fn planted(_ctx: BtfTracePointContext) -> i32 {
    // SAFETY: takes no arguments.
    i32::from(unsafe { bpf_ktime_get_ns() } == 0)
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
