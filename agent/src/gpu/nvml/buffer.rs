//! Memory that the driver fills.
//!
//! The agent is root, and the driver writes entries of the size that its own header has: with a header that
//! differs from ours, it writes past what we think is the end. Behind each list lies a guard as long as the
//! list itself, so that entries of up to twice the size stay inside, and the caller finds out.

use std::{marker::PhantomData, ptr};

/// What the guard is made of: neither a number that drivers hand out nor an address.
const GUARD: u64 = 0xa5c3_5a3c_c3a5_3c5a;

/// Room for a list of entries of the C interface, with its guard.
pub(super) struct Buffer<T> {
    /// Words, because no entry is aligned more strictly.
    words: Vec<u64>,
    /// Entries.
    room: usize,
    /// Where the guard begins, in words.
    guard: usize,
    entries: PhantomData<T>,
}

impl<T: Copy> Buffer<T> {
    /// Room for so many entries, all of them 0.
    pub(super) fn new(room: usize) -> Self {
        const { assert!(align_of::<T>() <= align_of::<u64>()) };
        // Rounded up: what is left of the last word is not looked at.
        let guard = (room * size_of::<T>()).div_ceil(size_of::<u64>());
        let mut words = vec![0; guard];
        words.resize(2 * guard, GUARD);
        Self {
            words,
            room,
            guard,
            entries: PhantomData,
        }
    }

    /// Where the driver writes.
    pub(super) fn as_mut_ptr(&mut self) -> *mut T {
        self.words.as_mut_ptr().cast()
    }

    /// Whether nothing was written behind the last entry that there is room for.
    pub(super) fn is_intact(&self) -> bool {
        self.words[self.guard..].iter().all(|word| *word == GUARD)
    }

    /// The first entries, as many as there is room for at most.
    ///
    /// # Safety
    /// All zeros, and whatever was written to so many entries, are values of `T`.
    pub(super) unsafe fn take(self, count: usize) -> Vec<T> {
        let entries = self.words.as_ptr().cast::<T>();
        (0..count.min(self.room))
            // SAFETY: within the buffer, whose alignment is that of `T` or more; a value by the contract.
            .map(|place| unsafe { ptr::read(entries.add(place)) })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Buffer;

    /// As `nvmlProcessInfo_v2_t`.
    type Entry = [u64; 3];
    /// As the entries of driver 535.54.
    type LongEntry = [u64; 4];

    #[test]
    fn what_fits_is_handed_out() {
        for room in [1, 2, 97, 128] {
            let mut buffer = Buffer::<Entry>::new(room);
            for place in 0..room {
                // SAFETY: there is room.
                unsafe { buffer.as_mut_ptr().add(place).write([place as u64; 3]) };
            }
            assert!(buffer.is_intact());
            // SAFETY: numbers.
            let entries = unsafe { buffer.take(room + 1) };
            assert_eq!(entries.len(), room);
            assert_eq!(entries[room - 1], [room as u64 - 1; 3]);
        }
    }

    #[test]
    fn one_byte_too_many_is_seen() {
        let mut buffer = Buffer::<Entry>::new(5);
        // SAFETY: the guard is part of the memory.
        unsafe { buffer.as_mut_ptr().cast::<u8>().add(5 * 24).write(0) };
        assert!(!buffer.is_intact());
    }

    #[test]
    fn entries_of_32_bytes_stay_within_the_guard_and_are_seen() {
        for (written, intact) in [(96, true), (97, false), (128, false)] {
            let mut buffer = Buffer::<Entry>::new(128);
            for place in 0..written {
                let long = buffer.as_mut_ptr().cast::<LongEntry>();
                // SAFETY: the guard is part of the memory, which so has room for 192.
                unsafe { long.add(place).write([place as u64; 4]) };
            }
            assert_eq!(buffer.is_intact(), intact, "{written} entries");
        }
    }
}
