//! Turns bytes of a cgroup path into label text.
//!
//! Whoever starts a container chooses its name, and the kernel allows any byte but `/`, NUL and
//! newline in it. A label must be UTF-8, must not grow without bound, and two different names must
//! not become one series; everything else about the name is left as it is, because the exposition
//! format escapes quotes and backslashes itself.

use std::{borrow::Cow, fmt::Write as _};

/// Longest label text, in characters.
pub const LONGEST: usize = 200;
/// What a cut costs: the ellipsis and eight hexadecimal digits.
const CUT: usize = 9;

/// `bytes` as label text: bytes that are not UTF-8 become `\xNN`, and a text longer than
/// [`LONGEST`] is cut and ends in a digest of the whole, so that two long names stay distinct.
pub fn label(bytes: &[u8]) -> String {
    let mut text = printable(bytes);
    if text.chars().count() <= LONGEST {
        return text;
    }
    let end = text
        .char_indices()
        .nth(LONGEST - CUT)
        .map_or(text.len(), |(at, _)| at);
    text.truncate(end);
    text.push('…');
    let _ = write!(text, "{:08x}", digest(bytes));
    text
}

/// `bytes` as text of any length: bytes that are not UTF-8 become `\xNN`. Different bytes give different
/// text: a backslash that begins what looks like such an escape becomes `\x5c` itself.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        for (at, character) in valid.char_indices() {
            if character == '\\' && looks_like_an_escape(&valid.as_bytes()[at..]) {
                text.push_str("\\x5c");
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Whether `text` begins with what [`printable`] writes for a byte that is not UTF-8, or for a backslash.
/// systemd's own escapes of ASCII (`\x2d`) are neither, and stay readable.
fn looks_like_an_escape(text: &[u8]) -> bool {
    matches!(
        text,
        [
            b'\\',
            b'x',
            b'8'..=b'9' | b'a'..=b'f',
            b'0'..=b'9' | b'a'..=b'f',
            ..,
        ]
    ) || text.starts_with(b"\\x5c")
}

/// FNV-1a: a digest is part of a series' identity, so it must be the same after an upgrade, which
/// the standard library does not promise of its hashers.
pub fn digest(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// Undoes systemd's escaping of a unit name: `\x2d` becomes `-`. A backslash that does not begin
/// an escape stays.
pub(super) fn systemd_unescape(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.contains(&b'\\') {
        return Cow::Borrowed(bytes);
    }
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        if let [b'\\', b'x', high, low, tail @ ..] = rest
            && let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low))
        {
            plain.push(high << 4 | low);
            rest = tail;
        } else {
            plain.push(first);
            rest = after;
        }
    }
    Cow::Owned(plain)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::Index};

    use super::*;
    use crate::fuzz::{self, bytes_like};

    #[test]
    fn different_names_never_become_the_same_text() {
        let names: [&[u8]; 6] = [
            b"a\xffb",
            b"a\\xffb",
            b"a\\x5cxffb",
            b"a\\x5cb",
            b"a\\b",
            b"a\\x5c\xffb",
        ];
        let texts: std::collections::HashSet<_> = names.iter().map(|n| printable(n)).collect();
        assert_eq!(texts.len(), names.len(), "{texts:?}");
        assert_eq!(
            printable(b"app-gnome\\x2dterminal.scope"),
            "app-gnome\\x2dterminal.scope"
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_become_escapes() {
        assert_eq!(label(b"caf\xc3\xa9"), "café");
        assert_eq!(label(b"caf\xff\xfe!"), r"caf\xff\xfe!");
        assert_ne!(label(b"a\xff"), label(b"a\xfe"));
    }

    #[test]
    fn quotes_backslashes_and_control_characters_stay_as_they_are() {
        assert_eq!(label(b"a\"b\\c\td"), "a\"b\\c\td");
    }

    #[test]
    fn long_names_are_cut_and_stay_distinct() {
        let (one, other) = ("é".repeat(300) + "1", "é".repeat(300) + "2");
        let (one, other) = (label(one.as_bytes()), label(other.as_bytes()));
        assert_eq!(one.chars().count(), LONGEST);
        assert_eq!(other.chars().count(), LONGEST);
        assert_ne!(one, other);
    }

    #[test]
    fn a_name_of_the_longest_length_is_not_cut() {
        let name = "x".repeat(LONGEST);
        assert_eq!(label(name.as_bytes()), name);
    }

    #[test]
    fn systemd_escapes_are_undone_and_other_backslashes_stay() {
        assert_eq!(&*systemd_unescape(br"qemu\x2d1\x2dwin11"), b"qemu-1-win11");
        assert_eq!(&*systemd_unescape(br"a\b\x2"), br"a\b\x2");
        assert_eq!(&*systemd_unescape(br"a\xzz\xC3\xa9"), b"a\\xzz\xc3\xa9");
    }

    /// Names as users choose them: with what is not UTF-8, with what looks like an escape, and too long.
    fn names() -> impl Strategy<Value = Vec<u8>> {
        let long = "é".repeat(300);
        let odd: [&[u8]; 2] = [
            b"a\xff\\x5cxffb\\x\xff",
            br"app-gnome\x2dterminal\xC3\xa9\x5c\x8",
        ];
        bytes_like(&[odd[0], odd[1], long.as_bytes()])
    }

    /// The bytes of which [`printable`] has made a text.
    fn bytes_of(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            if looks_like_an_escape(rest) {
                let digits = str::from_utf8(&rest[2..4]).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &rest[4..];
            } else {
                bytes.push(first);
                rest = after;
            }
        }
        bytes
    }

    proptest! {
        #![proptest_config(fuzz::config())]

        #[test]
        fn whatever_a_name_is_no_other_has_its_text(name in names()) {
            prop_assert_eq!(bytes_of(&printable(&name)), name);
        }

        #[test]
        fn whatever_a_name_is_its_label_is_short_and_its_own(name in names(), at: Index, byte: u8) {
            let text = label(&name);
            prop_assert!(text.chars().count() <= LONGEST);
            if !name.is_empty() {
                let mut other = name.clone();
                *at.get_mut(&mut other) = byte;
                prop_assert_eq!(other == name, label(&other) == text);
            }
        }

        #[test]
        fn whatever_systemd_escapes_is_what_it_was(name in names()) {
            let escaped: Vec<_> = name.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            let escaped = escaped.concat();
            let undone = systemd_unescape(escaped.as_bytes());
            prop_assert_eq!(&*undone, &name[..]);
            prop_assert!(systemd_unescape(&name).len() <= name.len());
        }
    }
}
