//! Text from outside, no longer than it may be kept.
//!
//! Whoever makes a container or a pod writes its labels, and one of them may have a megabyte. What is kept of such
//! texts, for names and for details, is as long as the label of a series at most.

use super::rules::{LONGEST, label};

/// The text; of one with more than [`LONGEST`] characters what [`label`] makes of it.
pub(super) fn bounded(text: &str) -> String {
    // Others stay as they are: the directory escapes a name, and must not find it escaped.
    if text.chars().nth(LONGEST).is_none() {
        text.to_owned()
    } else {
        label(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_too_long_changes() {
        let longest = r"\xff".repeat(LONGEST / 4);
        assert_eq!(bounded(&longest), longest);
        let (one, other) = (bounded(&"é".repeat(1 << 20)), bounded(&"é".repeat(300)));
        assert_eq!(one.chars().count(), LONGEST);
        assert_eq!(other.chars().count(), LONGEST);
        assert_ne!(one, other);
    }
}
