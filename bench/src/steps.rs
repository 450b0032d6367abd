//! Saying how far a longer command is.

/// Says on standard error which part of it begins.
pub(crate) fn step(number: usize, of: usize, what: &str) {
    eprintln!("[{number}/{of}] {what}");
}
