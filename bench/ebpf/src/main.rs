//! What `cargo xtask bench` compares with: a program at every context switch that does nothing, and one that takes
//! a known time.
//!
//! What the benchmark loses beside the first is the price of having any program there: the trampoline, and
//! with statistics on two readings of the clock. The rest is what the agent's own work costs.
#![no_std]
#![no_main]

use core::hint::black_box;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

/// On the tracepoint that the agent's scheduler program is on.
#[btf_tracepoint(function = "sched_switch")]
fn floor(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// Multiplications, each of which waits for the one before and goes through the stack.
const STEPS: u32 = 20;

/// Takes some 10 ns more than nothing, and touches nothing but its stack; the kernel's statistics say how many exactly.
#[btf_tracepoint(function = "sched_switch")]
fn planted(_ctx: BtfTracePointContext) -> i32 {
    let mut value = black_box(3_u64);
    for _ in 0..STEPS {
        value = black_box(value.wrapping_mul(0x5851_f42d_4c95_7f2d));
    }
    i32::from(value == 0)
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
