//! Which agent this is.

use std::sync::LazyLock;

/// Its release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was built from, where the build was told: an archive of the sources has none, and asking git
/// would compile the agent again after each commit.
pub const COMMIT: Option<&str> = match option_env!("SESSIONSCOPE_COMMIT") {
    Some(commit) if !commit.is_empty() => Some(commit),
    _ => None,
};

/// What `--version` prints after the name.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| with_commit(COMMIT));
    &TEXT
}

fn with_commit(commit: Option<&str>) -> String {
    match commit {
        Some(commit) => format!("{VERSION} ({commit})"),
        None => VERSION.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_is_not_known_is_absent() {
        assert_eq!(with_commit(Some("0a1b2c")), format!("{VERSION} (0a1b2c)"));
        assert_eq!(with_commit(None), VERSION);
    }
}
