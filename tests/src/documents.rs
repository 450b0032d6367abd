//! What a document says holds its promises: tests, each in backticks as `path: name`, and rows of a table that
//! are numbered.

use std::{ffi::OsStr, fs, path::Path};

use crate::repository;

/// The text of a document of the repository.
pub fn document(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Path and name of each test that a Markdown text names.
pub fn tests_named(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let code = text.split('`').skip(1).step_by(2);
    code.filter_map(|code| code.split_once(": "))
        .filter(|(path, _)| Path::new(path).extension() == Some(OsStr::new("rs")))
}

/// Number and text of each row whose first cell is a letter and a number.
pub fn numbered_rows(text: &str, letter: char) -> impl Iterator<Item = (u32, &str)> {
    text.lines().filter_map(move |row| {
        let (first, rest) = row.strip_prefix("| ")?.split_once(" | ")?;
        Some((first.strip_prefix(letter)?.parse().ok()?, rest))
    })
}

/// Whether a Rust source has a test of this name.
pub fn has_test(source: &str, name: &str) -> bool {
    let signature = format!("fn {name}(");
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    lines.iter().enumerate().any(|(at, line)| {
        let is_it = line
            .strip_prefix("async ")
            .unwrap_or(line)
            .starts_with(&signature);
        let mut attributes = lines[..at]
            .iter()
            .rev()
            .take_while(|line| line.starts_with('#'));
        is_it
            && attributes.any(|one| one.starts_with("#[test]") || one.starts_with("#[tokio::test"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_with_a_name_is_a_test() {
        let text = "| S1 | `a/b.rs: first`, `a/c.rs` and `key: value` | `d.rs: second` |";
        let named: Vec<_> = tests_named(text).collect();
        assert_eq!(named, [("a/b.rs", "first"), ("d.rs", "second")]);
    }

    #[test]
    fn rows_are_known_by_letter_and_number() {
        let text = "| | promise |\n|---|---|\n| S1 | one | a |\n| T2 | other |\n| Some | word |\n";
        let rows: Vec<_> = numbered_rows(text, 'S').collect();
        assert_eq!(rows, [(1, "one | a |")]);
    }

    #[test]
    fn a_function_is_a_test_by_its_attribute() {
        let source = "#[test]\nfn one() {}\n    #[tokio::test]\n    async fn two() {}\n\
                      #[test]\n#[should_panic]\nfn three() {}\n\nfn four() {}\n";
        let has = |name| has_test(source, name);
        assert!(has("one") && has("two") && has("three"));
        assert!(!has("four") && !has("on") && !has("five"));
    }
}
