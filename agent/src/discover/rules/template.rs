//! The templates of a rule: text with references to the captures of its pattern.
//!
//! The syntax is that of `regex`'s `expand` (`$name`, `${name}`, `$$`), parsed once when the rule is
//! compiled. `expand` itself replaces a reference to a capture that does not exist with nothing; here
//! such a reference is an error, because the session names it would produce are all the same.

use std::borrow::Cow;

use regex::bytes::Regex;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Capture(usize),
}

/// The captures of one match by index, decoded; `None` for a group that took no part in it.
pub(super) type Captured<'p> = [Option<Cow<'p, [u8]>>];

impl Template {
    /// Parses `text`, whose references must be captures of `pattern`.
    pub(super) fn parse(text: &str, pattern: &Regex) -> Result<Self, String> {
        let mut segments = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            literal.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(tail) = after.strip_prefix('$') {
                literal.push('$');
                rest = tail;
            } else if let Some((name, tail)) = reference(after) {
                if !literal.is_empty() {
                    segments.push(Segment::Literal(std::mem::take(&mut literal)));
                }
                segments.push(Segment::Capture(capture_index(name, pattern)?));
                rest = tail;
            } else {
                literal.push('$');
                rest = after;
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            segments.push(Segment::Literal(literal));
        }
        Ok(Self(segments))
    }

    /// The template that is the capture `name`, if `pattern` has it.
    pub(super) fn capture(name: &str, pattern: &Regex) -> Option<Self> {
        named_index(name, pattern).map(|index| Self(vec![Segment::Capture(index)]))
    }

    /// The text for one match; a group that took no part in it is empty.
    pub(super) fn expand(&self, captured: &Captured<'_>) -> Vec<u8> {
        let mut text = Vec::new();
        for segment in &self.0 {
            match segment {
                Segment::Literal(literal) => text.extend_from_slice(literal.as_bytes()),
                Segment::Capture(index) => {
                    if let Some(Some(bytes)) = captured.get(*index) {
                        text.extend_from_slice(bytes);
                    }
                }
            }
        }
        text
    }
}

/// Splits a reference (what follows `$`) from what follows it; the name is as long as can be.
fn reference(text: &str) -> Option<(&str, &str)> {
    if let Some(braced) = text.strip_prefix('{') {
        return braced.split_once('}');
    }
    let end = text
        .find(|character: char| character != '_' && !character.is_ascii_alphanumeric())
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn capture_index(name: &str, pattern: &Regex) -> Result<usize, String> {
    let index = name
        .parse()
        .ok()
        .filter(|index| *index < pattern.captures_len())
        .or_else(|| named_index(name, pattern));
    index.ok_or_else(|| {
        let names: Vec<String> = pattern
            .capture_names()
            .flatten()
            .map(|name| format!("${{{name}}}"))
            .collect();
        let has = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        };
        // Whatever it is, the reason is one line.
        let name = name.escape_debug();
        format!("refers to ${{{name}}}, which the pattern does not capture (it has {has})")
    })
}

fn named_index(name: &str, pattern: &Regex) -> Option<usize> {
    pattern
        .capture_names()
        .position(|candidate| candidate == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern() -> Regex {
        Regex::new("^/(?<user>[a-z]+)-(?<desk>[0-9]+)$").unwrap()
    }

    fn expand(template: &str) -> String {
        let pattern = pattern();
        let captures = pattern.captures(b"/ada-7").unwrap();
        let captured: Vec<_> = captures
            .iter()
            .map(|group| group.map(|group| Cow::Borrowed(group.as_bytes())))
            .collect();
        String::from_utf8(
            Template::parse(template, &pattern)
                .unwrap()
                .expand(&captured),
        )
        .unwrap()
    }

    #[test]
    fn references_expand_as_in_the_regex_crate() {
        let pattern = pattern();
        let captures = pattern.captures(b"/ada-7").unwrap();
        for template in [
            "$user",
            "d-$user/$desk",
            "${user}s",
            "$1",
            "$$user",
            "5$ $",
            "",
            "${0}!",
        ] {
            let mut expected = Vec::new();
            captures.expand(template.as_bytes(), &mut expected);
            assert_eq!(expand(template).as_bytes(), expected, "{template}");
        }
    }

    #[test]
    fn a_reference_to_no_capture_is_refused_and_the_captures_are_named() {
        let reason = Template::parse("$desk_x", &pattern()).unwrap_err();
        assert_eq!(
            reason,
            "refers to ${desk_x}, which the pattern does not capture (it has ${user}, ${desk})"
        );
        assert!(Template::parse("$3", &pattern()).is_err());
        let reason = Template::parse("${desk\n}", &pattern()).unwrap_err();
        assert!(reason.starts_with("refers to ${desk\\n}, "), "{reason}");
    }
}
