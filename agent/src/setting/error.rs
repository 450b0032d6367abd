//! What is wrong with a configuration, in one line that begins with the place to edit.

use std::{fmt, io, path::PathBuf};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of the file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(formatter, "{}:{line}", path.display()),
            Self::Environment(name) => write!(formatter, "environment variable {name}"),
            Self::Flag(flag) => write!(formatter, "flag {flag}"),
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}; check --config, SESSIONSCOPE_CONFIG, or the key that names it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// What is in a file is not what it must be.
    #[error("{}: {reason}", path.display())]
    Contents {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// The file is no TOML.
    #[error("{origin}: {reason}")]
    Syntax {
        /// Where parsing stopped.
        origin: Origin,
        /// What the parser says.
        reason: String,
    },
    /// The file has a key that means nothing.
    #[error("{origin}: unknown key \"{key}\"{table}; {hint}")]
    UnknownKey {
        /// Where.
        origin: Origin,
        /// The key.
        key: String,
        /// Its table, as ` in [table]`; empty at the top level.
        table: String,
        /// What may have been meant.
        hint: String,
    },
    /// A value has the wrong type, form or range.
    #[error("{origin}: {key}: {reason}")]
    Invalid {
        /// Where.
        origin: Origin,
        /// The key, with its table.
        key: String,
        /// What was expected.
        reason: String,
    },
    /// A value needs another, which is not there.
    #[error("{key}: {reason}")]
    Incomplete {
        /// The key, with its table.
        key: &'static str,
        /// What it needs.
        reason: &'static str,
    },
    /// A rule does not hold together.
    #[error("{origin}: rules[{index}] (\"{name}\"): {reason}")]
    Rule {
        /// Where.
        origin: Origin,
        /// The rule's place, counted from zero.
        index: usize,
        /// The rule's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The environment has a variable that means nothing.
    #[error("unknown environment variable {name}; {hint}")]
    UnknownVariable {
        /// The variable.
        name: String,
        /// What may have been meant.
        hint: String,
    },
}

/// "did you mean …" if one candidate is close to `word`, else all of them.
pub(crate) fn hint<'c>(word: &str, candidates: impl Iterator<Item = &'c str> + Clone) -> String {
    let closest = candidates
        .clone()
        .map(|candidate| (distance(word, candidate), candidate))
        .min();
    match closest {
        Some((distance, candidate)) if distance <= 1 + candidate.len() / 5 => {
            format!("did you mean \"{candidate}\"?")
        }
        _ => format!(
            "expected one of {}",
            candidates.collect::<Vec<_>>().join(", ")
        ),
    }
}

/// The edit distance of Levenshtein, one row at a time.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (deleted, character) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], deleted + 1);
        for (at, candidate) in other.iter().enumerate() {
            let substituted = diagonal + usize::from(character != *candidate);
            diagonal = row[at + 1];
            row[at + 1] = substituted.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_candidate_is_suggested_and_otherwise_all_are_listed() {
        let keys = ["max_sessions", "linger"];
        assert_eq!(hint("lingr", keys.into_iter()), "did you mean \"linger\"?");
        assert_eq!(
            hint("max_session", keys.into_iter()),
            "did you mean \"max_sessions\"?"
        );
        assert_eq!(
            hint("colour", keys.into_iter()),
            "expected one of max_sessions, linger"
        );
    }

    #[test]
    fn the_distance_counts_insertions_deletions_and_substitutions() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
