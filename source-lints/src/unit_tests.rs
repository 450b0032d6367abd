//! Where unit tests stand: in `mod tests` at the end of the file that they test, and when they are longer than
//! [`LONGEST`] in a file of their own where Rust looks for that module, `<file>/tests.rs`.

use std::path::Path;

use anyhow::Result;

use crate::sources;

/// Lines of tests in the file that they test. Beyond that a reader of the code scrolls past them.
const LONGEST: usize = 200;

const INLINE: &str = "#[cfg(test)]\nmod tests {\n";

/// Checks every file of the crates' sources and returns one line per finding.
pub(crate) fn check(repository: &Path, folders: &[&str]) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for folder in folders {
        for (path, text) in sources::below(&repository.join(folder))? {
            let name = path.strip_prefix(repository).unwrap_or(&path);
            findings.extend(finding(&text).map(|found| format!("{}: {found}", name.display())));
        }
    }
    Ok(findings)
}

fn finding(text: &str) -> Option<String> {
    if let Some((_, tests)) = text.split_once(INLINE) {
        let (body, after) = tests.split_once("\n}\n").unwrap_or((tests, ""));
        let lines = body.lines().count();
        if !after.trim().is_empty() {
            return Some("something follows the unit tests".to_owned());
        }
        if lines > LONGEST {
            return Some(format!(
                "{lines} lines of unit tests: more than {LONGEST} go to `<file>/tests.rs`"
            ));
        }
        return None;
    }
    let (before, after) = text.split_once("\nmod tests;\n")?;
    if before.lines().last() != Some("#[cfg(test)]") {
        return Some(
            "`mod tests;` is preceded by `#[cfg(test)]` alone: its file is `<file>/tests.rs`"
                .to_owned(),
        );
    }
    (!after.trim().is_empty()).then(|| "something follows the unit tests".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{INLINE, finding};

    #[test]
    fn tests_at_the_end_of_the_file_are_in_their_place() {
        assert_eq!(
            finding(&format!("fn f() {{\n}}\n\n{INLINE}    a\n}}\n")),
            None
        );
        assert_eq!(finding("fn f() {}\n\n#[cfg(test)]\nmod tests;\n"), None);
        assert_eq!(finding("fn f() {}\n"), None);
    }

    #[test]
    fn tests_elsewhere_are_found() {
        for (text, expected) in [
            (format!("{INLINE}    a\n}}\n\nfn f() {{}}\n"), "follows"),
            (
                "#[cfg(test)]\nmod tests;\n\nfn f() {}\n".to_owned(),
                "follows",
            ),
            (
                format!("{INLINE}{}}}\n", "    a\n".repeat(300)),
                "300 lines",
            ),
            (
                "#[cfg(test)]\n#[path = \"f_tests.rs\"]\nmod tests;\n".to_owned(),
                "alone",
            ),
        ] {
            let finding = finding(&text).unwrap_or_default();
            assert!(finding.contains(expected), "{text}: {finding}");
        }
    }
}
