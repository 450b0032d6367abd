//! What the C library's allocator keeps of memory that was freed.
//!
//! Parsing BTF and writing an exposition take many times what the agent needs between them. Left alone,
//! glibc keeps a heap of that size for each thread that ever did it.

/// One heap for all threads, and whatever is large given back when it is freed. To be called before there
/// is a second thread. With 250 sessions, scraped in four formats, the agent has 57 MiB resident without
/// this.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes integers; there is one thread.
    #[expect(
        unsafe_code,
        reason = "the C library's allocator has no safe wrapper for this"
    )]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        // Stated, because otherwise it grows with what is freed.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 128 << 10);
    }
}

/// Bytes that are allocated now, those that have a mapping of their own among them, up to 4 GiB of each; `None` where the C
/// library does not tell.
pub fn allocated_bytes() -> Option<u64> {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: takes no arguments; the allocator locks itself.
        #[expect(
            unsafe_code,
            reason = "the C library's allocator has no safe wrapper for this"
        )]
        let info = unsafe { libc::mallinfo() };
        // Of 32 bits, and not of the 64 that `mallinfo2` has: that one came with glibc 2.33, and packages are for 2.28.
        Some(u64::from(info.uordblks as u32) + u64::from(info.hblkhd as u32))
    }
    #[cfg(not(target_env = "gnu"))]
    None
}

/// Gives back what is free now. Parsing BTF takes 25 MB: with them the agent has 28 MB resident at start,
/// without them 10 MB.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers; the allocator locks itself.
    #[expect(
        unsafe_code,
        reason = "the C library's allocator has no safe wrapper for this"
    )]
    unsafe {
        libc::malloc_trim(0);
    }
}
