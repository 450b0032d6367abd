//! `cargo xtask docs`: writes the pages of `docs/` that the agent generates.
//!
//! Metric names and configuration keys are declared once, in the agent; the pages are what it
//! prints about them. `--check` fails when a page and the agent differ, so neither can drift.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::{build_ebpf, command};

/// The options of `docs`.
#[derive(Args)]
pub(crate) struct Options {
    /// Compare instead of writing, and fail when a page is out of date.
    #[arg(long)]
    check: bool,
}

/// A page and the arguments with which the agent prints it.
const PAGES: [(&str, &[&str]); 2] = [
    ("docs/metrics.md", &["metrics", "--format", "markdown"]),
    ("docs/configuration.md", &["configuration"]),
];

/// Runs `cargo xtask docs`.
pub(crate) fn run(options: &Options) -> Result<()> {
    generate(options.check)
}

/// Writes the pages, or compares them.
pub(crate) fn generate(check: bool) -> Result<()> {
    build_ebpf::build()?;
    let agent = command::build_agent()?;
    let mut stale = Vec::new();
    for (page, arguments) in PAGES {
        let generated = command::output(Command::new(&agent).args(arguments))?;
        ensure!(
            !generated.is_empty(),
            "the agent printed nothing for {page}"
        );
        let path = command::repository().join(page);
        if check {
            // A page that is not there yet differs in its first line.
            let present = fs::read_to_string(&path).unwrap_or_default();
            stale.extend(difference(page, &present, &generated));
        } else {
            write(&path, &generated)?;
            println!("wrote {page}");
        }
    }
    if !stale.is_empty() {
        bail!(
            "documentation and agent differ:\n{}\nRun `cargo xtask docs` and commit the result",
            stale.join("\n")
        );
    }
    Ok(())
}

fn write(path: &Path, page: &str) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
    }
    fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

/// Describes the first line in which two texts differ.
fn difference(page: &str, present: &str, generated: &str) -> Option<String> {
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
                return Some(format!("{page}: only the line ends differ"));
            }
            (left, right) if left == right => {}
            (left, right) => {
                return Some(format!(
                    "{page}:{number}:\n- {}\n+ {}",
                    left.unwrap_or("(the page ends here)"),
                    right.unwrap_or("(the agent's text ends here)"),
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
    fn a_shorter_page_differs_where_it_ends() {
        let message = difference("a.md", "x\n", "x\ny\n").unwrap();
        assert!(message.starts_with("a.md:2:"), "{message}");
        assert!(message.ends_with("+ y"), "{message}");
    }

    #[test]
    fn a_missing_final_newline_is_a_difference() {
        assert!(difference("a.md", "x", "x\n").is_some());
    }
}
