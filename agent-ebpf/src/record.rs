//! The only writer of histograms and shared counters.

use core::arch::asm;

use agent_common::histogram::{BUCKETS, Histogram, bucket_of};

/// Adds an observation. The histogram belongs to this CPU.
#[inline(always)]
pub(crate) fn observe(histogram: &mut Histogram, ns: u64) {
    let mut bucket = bucket_of(ns) as u64;
    // Verifiers up to 6.1 lose the bound that the compiler has already proved, and the compiler drops
    // a check that it has proved: what comes out of assembly has no known bound, so the check stays. An
    // instruction is needed, because an empty statement leaves two line records at one place, which
    // the kernel refuses; this one changes nothing.
    // SAFETY: clears bits that are clear.
    unsafe { asm!("{0} &= 127", inout(reg) bucket, options(pure, nomem, nostack)) };
    const { assert!(BUCKETS <= 128) };
    if bucket < BUCKETS as u64 {
        // SAFETY: checked above.
        unsafe { *histogram.buckets.get_unchecked_mut(bucket as usize) += 1 };
    }
    histogram.sum_ns += ns;
}

/// Adds an observation to a histogram that other CPUs write too; `bucket` is already known.
///
/// # Safety
/// `histogram` is a map value.
#[inline(always)]
pub(crate) unsafe fn observe_shared(histogram: *mut Histogram, bucket: usize, ns: u64) {
    let mut bucket = bucket as u64;
    // SAFETY: as in `observe`.
    unsafe { asm!("{0} &= 127", inout(reg) bucket, options(pure, nomem, nostack)) };
    if bucket < BUCKETS as u64 {
        // SAFETY: checked above; by the contract a map value.
        unsafe {
            let buckets = (&raw mut (*histogram).buckets).cast::<u64>();
            add(buckets.add(bucket as usize), 1);
            add(&raw mut (*histogram).sum_ns, ns);
        }
    }
}

/// Adds one to a counter that other CPUs write too.
///
/// # Safety
/// `counter` is a map value.
#[inline(always)]
pub(crate) unsafe fn increment(counter: *mut u64) {
    // SAFETY: by the contract.
    unsafe { add(counter, 1) };
}

/// Adds one to one of four counters that other CPUs write too.
///
/// # Safety
/// `counters` is a map value.
#[inline(always)]
pub(crate) unsafe fn increment_one_of(counters: *mut [u64; 4], which: usize) {
    let mut which = which as u64;
    // So that no verifier is to be told how large it may be.
    // SAFETY: clears bits that are clear.
    unsafe { asm!("{0} &= 3", inout(reg) which, options(pure, nomem, nostack)) };
    // SAFETY: one of the four; by the contract a map value.
    unsafe { add(counters.cast::<u64>().add(which as usize), 1) };
}

/// Adds to a counter that other CPUs write too.
///
/// # Safety
/// `counter` is a map value.
#[inline(always)]
pub(crate) unsafe fn add(counter: *mut u64, n: u64) {
    // In assembly because the BPF target has no atomic read-modify-write in Rust. This is the plain
    // atomic add that 5.10 has, not the fetching one of 5.12.
    // SAFETY: by the contract; a map value is aligned and lives as long as the program runs.
    unsafe {
        asm!("lock *(u64 *)({counter} + 0) += {n}", counter = in(reg) counter, n = in(reg) n, options(nostack));
    }
}
