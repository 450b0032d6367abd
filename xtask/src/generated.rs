//! Files that are generated and committed: written, or compared with what they should be.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command;

/// Writes files, each a path in the repository and a text. With `check` it compares them instead and fails when one differs; `remedy` is the
/// command that writes them.
pub(crate) fn write_or_compare(
    files: &[(impl AsRef<Path>, String)],
    check: bool,
    remedy: &str,
) -> Result<()> {
    let mut stale = Vec::new();
    for (path, generated) in files {
        let name = &path.as_ref().to_string_lossy();
        let path = command::repository().join(path);
        if check {
            // A file that is not there yet differs in its first line.
            let present = fs::read_to_string(&path).unwrap_or_default();
            stale.extend(difference(name, &present, generated));
        } else {
            write(&path, generated)?;
            println!("wrote {name}");
        }
    }
    if !stale.is_empty() {
        bail!(
            "generated files are out of date:\n{}\nRun `{remedy}` and commit the result",
            stale.join("\n")
        );
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Describes the first line in which two texts differ.
fn difference(name: &str, present: &str, generated: &str) -> Option<String> {
    if present == generated {
        return None;
    }
    let mut present_lines = present.lines();
    let mut generated_lines = generated.lines();
    let mut number = 0;
    loop {
        number += 1;
        match (present_lines.next(), generated_lines.next()) {
            (None, None) => {
                return Some(format!("{name}: only the line ends differ"));
            }
            (left, right) if left == right => {}
            (left, right) => {
                return Some(format!(
                    "{name}:{number}:\n- {}\n+ {}",
                    left.unwrap_or("(the file ends here)"),
                    right.unwrap_or("(the generated text ends here)"),
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn equal_texts_do_not_differ() {
        assert_eq!(difference("a.md", "x\ny\n", "x\ny\n"), None);
    }

    #[test]
    fn the_first_differing_line_is_named() {
        let message = difference("a.md", "x\nold\n", "x\nnew\n").unwrap();
        assert_eq!(message, "a.md:2:\n- old\n+ new");
    }

    #[test]
    fn a_shorter_file_differs_where_it_ends() {
        let message = difference("a.md", "x\n", "x\ny\n").unwrap();
        assert!(message.starts_with("a.md:2:"), "{message}");
        assert!(message.ends_with("+ y"), "{message}");
    }

    #[test]
    fn a_missing_final_newline_is_a_difference() {
        assert!(difference("a.md", "x", "x\n").is_some());
    }
}
