//! What strangers write, for the tests of what reads it.
//!
//! Each reader has a property beside it, `must_hold`: reading ends without a panic, and what comes out has a bound.
//! Tests ask for it with texts of [`edits`]; `fuzz/`, which cargo-fuzz builds, asks with what a fuzzer finds.

#[cfg(test)]
mod edits;

use std::fmt::Debug;

#[cfg(test)]
pub(crate) use edits::{bytes_like, config, text_like};

/// Whether a value is in proportion to the text that it was made of: a name may be in it some times, and escaped,
/// and the value has words of its own.
pub(crate) fn in_proportion(made: &impl Debug, read: usize) -> bool {
    format!("{made:?}").len() <= 40 * read + 4096
}
