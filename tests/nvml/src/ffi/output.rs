//! How answers reach the caller: values, texts, and the two ways in which NVML counts lists.

#![expect(unsafe_code, reason = "writes through the caller's pointers")]

use std::{
    ffi::{c_char, c_uint},
    mem::MaybeUninit,
};

use crate::Code;

/// Where a value goes; null is an error of the caller's that NVML reports.
pub(super) type Out<'a, T> = Option<&'a mut MaybeUninit<T>>;

/// Number of entries: in, what the buffer holds; out, what there is.
pub(super) type Count<'a> = Option<&'a mut c_uint>;

/// A missing reading.
pub(super) fn supported<T>(reading: Option<T>) -> Result<T, Code> {
    reading.ok_or(Code::NOT_SUPPORTED)
}

/// Hands out a value.
pub(super) fn put<T>(out: Out<'_, T>, value: T) -> Result<(), Code> {
    out.ok_or(Code::INVALID_ARGUMENT)?.write(value);
    Ok(())
}

/// Hands out a text with its end.
///
/// # Safety
///
/// `buffer` is null or good for `length` writes.
pub(super) unsafe fn put_text(text: &str, buffer: *mut c_char, length: c_uint) -> Result<(), Code> {
    if buffer.is_null() {
        return Err(Code::INVALID_ARGUMENT);
    }
    if (length as usize) <= text.len() {
        return Err(Code::INSUFFICIENT_SIZE);
    }
    for (position, byte) in text.bytes().chain([0]).enumerate() {
        // SAFETY: position is at most the text's length, which is less than the buffer's.
        unsafe { buffer.add(position).write(c_char::from_ne_bytes([byte])) };
    }
    Ok(())
}

/// Puts a text and its end into a field.
pub(super) fn field<const LENGTH: usize>(text: &str) -> [c_char; LENGTH] {
    let mut field = [0; LENGTH];
    for (to, from) in field.iter_mut().zip(text.bytes().take(LENGTH - 1)) {
        *to = c_char::from_ne_bytes([from]);
    }
    field
}

/// How a list answers a caller that asks for its size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sizing {
    /// With `INSUFFICIENT_SIZE` and the size: processes and their utilisation.
    Insufficient,
    /// With `SUCCESS` and the size: encoder and capture sessions.
    Success,
}

/// Hands out a list, `growth` entries longer than it is for a buffer that would hold it.
///
/// # Safety
///
/// `buffer` is null or good for `count` writes.
pub(super) unsafe fn put_list<T: Copy>(
    entries: &[T],
    growth: usize,
    sizing: Sizing,
    count: Count<'_>,
    buffer: *mut T,
) -> Result<(), Code> {
    let count = count.ok_or(Code::INVALID_ARGUMENT)?;
    let capacity = *count as usize;
    let asks_size = capacity == 0 || (sizing == Sizing::Success && buffer.is_null());
    let needed = if growth > 0 {
        entries.len().max(capacity) + growth
    } else {
        entries.len()
    };
    *count = needed as c_uint;
    if asks_size {
        return match sizing {
            Sizing::Insufficient if needed > 0 => Err(Code::INSUFFICIENT_SIZE),
            _ => Ok(()),
        };
    }
    if buffer.is_null() {
        return Err(Code::INVALID_ARGUMENT);
    }
    if capacity < needed {
        return Err(Code::INSUFFICIENT_SIZE);
    }
    // SAFETY: there are `needed` entries, as nothing grew, and the buffer holds no fewer; it is the
    // caller's, so the two do not overlap.
    unsafe { buffer.copy_from_nonoverlapping(entries.as_ptr(), needed) };
    Ok(())
}
