//! How much waits in the ring of events.

use crate::telemetry::log_event;
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::{NonNull, null_mut},
    sync::atomic::{AtomicU64, Ordering},
};

use super::{Kernel, ring::Ring};

/// The positions of the ring's reader and of its writers, which the kernel shows in the first two pages of the map
/// (kernel/bpf/ringbuf.c, `struct bpf_ringbuf`, 5.10 to 7.x), and the most that was between them.
#[derive(Debug)]
pub(super) struct RingFill {
    pages: NonNull<u8>,
    page: usize,
    most: u64,
}

// SAFETY: the pages belong to this value alone, and are read by atomic loads.
#[expect(unsafe_code, reason = "a mapping is not bound to a thread")]
unsafe impl Send for RingFill {}

impl RingFill {
    /// Of a ring buffer's map.
    pub(super) fn of(map: BorrowedFd<'_>) -> io::Result<Self> {
        let page = procfs::page_size() as usize;
        // SAFETY: a mapping of its own, only to read, which the kernel allows of these two.
        #[expect(unsafe_code, reason = "no safe function maps a file")]
        let pages = unsafe {
            libc::mmap(
                null_mut(),
                2 * page,
                libc::PROT_READ,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if pages == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let pages = NonNull::new(pages.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self {
            pages,
            page,
            most: 0,
        })
    }

    fn position(&self, page: usize) -> u64 {
        // SAFETY: the beginning of one of the two pages, which live as long as this value.
        #[expect(unsafe_code, reason = "the kernel writes there")]
        let position = unsafe {
            self.pages
                .add(page * self.page)
                .cast::<AtomicU64>()
                .as_ref()
        };
        position.load(Ordering::Acquire)
    }

    /// Looks at what waits now, bytes with the header of each record.
    pub(super) fn look(&mut self) {
        let (read, written) = (self.position(0), self.position(1));
        self.most = self.most.max(written.saturating_sub(read));
    }

    /// The most that was seen since the last call.
    pub(super) fn take_most(&mut self) -> u64 {
        std::mem::take(&mut self.most)
    }
}

impl Drop for RingFill {
    fn drop(&mut self) {
        // SAFETY: what `of` has mapped, and nobody has a reference to.
        #[expect(unsafe_code, reason = "no safe function unmaps")]
        unsafe {
            libc::munmap(self.pages.as_ptr().cast(), 2 * self.page);
        }
    }
}

impl Kernel {
    /// The events, once: the ring has one reader.
    pub fn take_ring(&mut self) -> Option<Ring> {
        let ring = self.maps.events.take()?;
        // SAFETY: the descriptor is open as long as the ring.
        #[expect(unsafe_code, reason = "aya shows the number of a ring alone")]
        let map = unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) };
        self.ring_fill = RingFill::of(map)
            .inspect_err(|error| log_event!(KernelUnread, what = "fill of the ring", %error))
            .ok();
        Some(Ring::new(ring))
    }

    /// Looks at how much waits in the ring: to be called before it is read.
    pub fn look_at_ring(&mut self) {
        if let Some(fill) = &mut self.ring_fill {
            fill.look();
        }
    }

    /// The most that waited in the ring since the last call, bytes; `None` where that is not known.
    pub fn ring_bytes(&mut self) -> Option<u64> {
        self.ring_fill.as_mut().map(RingFill::take_most)
    }
}
