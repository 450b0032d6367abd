//! What strangers might write: anything at all, and recorded samples with some edits.
//!
//! Bytes at random rarely pass the first check of a parser, so most of what can go wrong is behind a sample that is
//! almost right: parts of it replaced, left out, written again and again, put deeper. A part is a word, a quotation
//! or another byte, so that many edits leave what is still JSON or XML.
//!
//! `PROPTEST_CASES` says how many cases each property has.

use std::ops::Range;

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};

/// So many cases of each property, unless `PROPTEST_CASES` says otherwise: all of them take some seconds.
const CASES: u32 = 4096;
/// Edits of a sample are fewer.
const EDITS: usize = 4;
/// What one edit repeats is not longer, bytes.
const ROOM: usize = 1 << 16;

/// Where numbers, times, texts and the parts of a format end.
const ODD: [&[u8]; 28] = [
    b"",
    b"0",
    b"-1",
    b"+7",
    b"0.1",
    b"4294967296",
    b"9223372036854775807",
    b"18446744073709551616",
    b"1e308",
    b"1e999",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"\"\"",
    b"\"\\ud800\"",
    b"\"9999-12-31T23:59:59.999999999Z\"",
    b"\"-009999-01-01T00:00:00Z\"",
    b"\0",
    b"\n",
    b"\xff",
    b"\xe2\x82",
    b"\xc3\xa9",
    b"\xf0\x9f\x92\xbb",
    b"&#0;",
    b"&lt;",
    b"<![CDATA[",
    b"\\x2d$0${",
];
/// What a part is put into to be deeper.
const AROUND: [(&[u8], &[u8]); 6] = [
    (b"[", b"]"),
    (b"{\"a\":", b"}"),
    (b"<a>", b"</a>"),
    (b"<a xmlns:b='c'>", b"</a>"),
    (b"(?:", b")+"),
    (b"\"", b"\""),
];

/// How many cases there are. Nothing is kept of those that fail: one that is of use becomes a test of its own.
pub(crate) fn config() -> ProptestConfig {
    ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Any bytes, or one of the samples with some edits.
pub(crate) fn bytes_like(samples: &[&[u8]]) -> impl Strategy<Value = Vec<u8>> + use<> {
    prop_oneof![1 => vec(any::<u8>(), 0..600), 4 => edited(samples)]
}

/// Any text, or one of the samples with some edits.
pub(crate) fn text_like(samples: &[&str]) -> impl Strategy<Value = String> + use<> {
    let samples: Vec<&[u8]> = samples.iter().map(|sample| sample.as_bytes()).collect();
    let any = vec(any::<char>(), 0..200).prop_map(String::from_iter);
    let edited = edited(&samples).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    prop_oneof![1 => any, 4 => edited]
}

fn edited(samples: &[&[u8]]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let samples: Vec<Vec<u8>> = samples.iter().map(|sample| sample.to_vec()).collect();
    (select(samples), vec(edit(), 0..EDITS)).prop_map(|(mut text, edits)| {
        for edit in &edits {
            edit.apply(&mut text);
        }
        text
    })
}

/// A change at a place of a text.
#[derive(Clone, Debug)]
struct Edit {
    /// Its parts are single bytes.
    bytewise: bool,
    at: Index,
    change: Change,
}

/// What is done to the parts that begin at a place.
#[derive(Clone, Debug)]
enum Change {
    Replace(Vec<u8>),
    Insert(Vec<u8>),
    /// So many of them.
    Remove(usize),
    /// So many of them, so many times more.
    Repeat(usize, usize),
    /// Replaces one by another of the same text.
    Copy(Index),
    /// Puts one, or what is in its brackets, so deep into something.
    Nest(usize, Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let odd = || {
        let bytes = vec(any::<u8>(), 1..8);
        let odd = any::<Index>().prop_map(|which| which.get(&ODD).to_vec());
        prop_oneof![3 => odd, 1 => bytes]
    };
    let times = || prop_oneof![4 => 1..4_usize, 1 => 100..1000_usize];
    let change = prop_oneof![
        3 => odd().prop_map(Change::Replace),
        2 => odd().prop_map(Change::Insert),
        2 => (1..12_usize).prop_map(Change::Remove),
        2 => (1..12_usize, times()).prop_map(|(parts, times)| Change::Repeat(parts, times)),
        2 => any::<Index>().prop_map(Change::Copy),
        2 => (times(), any::<Index>()).prop_map(|(times, around)| Change::Nest(times, around)),
    ];
    let bytewise = prop::bool::weighted(0.3);
    (bytewise, any::<Index>(), change).prop_map(|(bytewise, at, change)| Edit {
        bytewise,
        at,
        change,
    })
}

impl Edit {
    fn apply(&self, text: &mut Vec<u8>) {
        let parts = if self.bytewise {
            let byte = |at| Range {
                start: at,
                end: at + 1,
            };
            (0..text.len()).map(byte).collect()
        } else {
            parts(text)
        };
        let (place, new) = if parts.is_empty() {
            (0..text.len(), self.change.of_nothing())
        } else {
            self.change.of(text, &parts, self.at.index(parts.len()))
        };
        drop(text.splice(place, new));
    }
}

impl Change {
    /// Of a text without parts there is nothing but what is new.
    fn of_nothing(&self) -> Vec<u8> {
        match self {
            Self::Replace(new) | Self::Insert(new) => new.clone(),
            Self::Remove(_) | Self::Repeat(..) | Self::Copy(_) | Self::Nest(..) => Vec::new(),
        }
    }

    /// What of a text is changed, and into what.
    fn of(&self, text: &[u8], parts: &[Range<usize>], at: usize) -> (Range<usize>, Vec<u8>) {
        let part = parts[at].clone();
        let several = |count: usize| part.start..parts[(at + count).min(parts.len()) - 1].end;
        match self {
            Self::Replace(new) => (part, new.clone()),
            Self::Insert(new) => (part.start..part.start, new.clone()),
            Self::Remove(count) => (several(*count), Vec::new()),
            Self::Repeat(count, times) => {
                let again = &text[several(*count)];
                let times = (*times).min(ROOM / again.len().max(1));
                (part.start..part.start, again.repeat(times))
            }
            Self::Copy(from) => (part, text[from.get(parts).clone()].to_vec()),
            Self::Nest(times, around) => nest(text, &part, *times, *around.get(&AROUND)),
        }
    }
}

/// A part, with what is in its brackets if it opens some, and what it becomes when it is put so deep.
fn nest(
    text: &[u8],
    part: &Range<usize>,
    times: usize,
    (open, close): (&[u8], &[u8]),
) -> (Range<usize>, Vec<u8>) {
    let whole = part.start..end_of(text, part);
    let inner = text[whole.clone()].to_vec();
    (
        whole,
        [open.repeat(times), inner, close.repeat(times)].concat(),
    )
}

/// The words, quotations and other bytes of a text; not what is between them.
fn parts(text: &[u8]) -> Vec<Range<usize>> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(&first) = text.get(at) {
        let mut rest = text[at + 1..].iter().copied();
        let more = match first {
            b'"' | b'\'' => rest.position(|byte| byte == first).map_or(0, |end| end + 1),
            word if is_word(word) => rest.take_while(|byte| is_word(*byte)).count(),
            _ => 0,
        };
        let end = at + 1 + more;
        if !first.is_ascii_whitespace() {
            parts.push(at..end);
        }
        at = end;
    }
    parts
}

/// Where a part ends, with what is in its brackets if it opens some.
fn end_of(text: &[u8], part: &Range<usize>) -> usize {
    let (open, close) = match text[part.start] {
        b'{' => (b'{', b'}'),
        b'[' => (b'[', b']'),
        _ => return part.end,
    };
    let mut depth = 0;
    for (at, byte) in text.iter().enumerate().skip(part.start) {
        if *byte == open {
            depth += 1;
        } else if *byte == close {
            depth -= 1;
            if depth == 0 {
                return at + 1;
            }
        }
    }
    part.end
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = br#"{"a b": [1, {}], "c": 22}"#;

    fn changed((place, new): (Range<usize>, Vec<u8>)) -> String {
        let mut text = SAMPLE.to_vec();
        drop(text.splice(place, new));
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn parts_are_words_quotations_and_other_bytes() {
        let texts = |text: &'static [u8]| -> Vec<&[u8]> {
            parts(text).into_iter().map(|part| &text[part]).collect()
        };
        let of_json: [&[u8]; 14] = [
            b"{", b"\"a b\"", b":", b"[", b"1", b",", b"{", b"}", b"]", b",", b"\"c\"", b":",
            b"22", b"}",
        ];
        assert_eq!(texts(SAMPLE), of_json);
        assert_eq!(texts(b"it's\xff").len(), 4);
        assert!(texts(b" \n").is_empty());
    }

    #[test]
    fn an_edit_leaves_the_rest_as_it_is() {
        use Change::{Insert, Remove, Repeat, Replace};
        for (change, at, text) in [
            (Replace(b"null".to_vec()), 1, r#"{null: [1, {}], "c": 22}"#),
            (Insert(b"0".to_vec()), 12, r#"{"a b": [1, {}], "c": 022}"#),
            (Remove(2), 4, r#"{"a b": [ {}], "c": 22}"#),
            (Remove(99), 1, "{"),
            (Repeat(2, 2), 4, r#"{"a b": [1,1,1, {}], "c": 22}"#),
        ] {
            assert_eq!(
                changed(change.of(SAMPLE, &parts(SAMPLE), at)),
                text,
                "{change:?}"
            );
        }
    }

    #[test]
    fn what_is_put_deeper_keeps_its_brackets() {
        let deeper = |at: usize, around| changed(nest(SAMPLE, &parts(SAMPLE)[at], 2, around));
        assert_eq!(deeper(12, AROUND[0]), r#"{"a b": [1, {}], "c": [[22]]}"#);
        assert_eq!(
            deeper(3, AROUND[1]),
            r#"{"a b": {"a":{"a":[1, {}]}}, "c": 22}"#
        );
    }
}
