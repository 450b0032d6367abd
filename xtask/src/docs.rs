//! `cargo xtask docs`: writes the pages of `docs/` that the agent generates.
//!
//! Metric names and configuration keys are declared once, in the agent; the pages are what it
//! prints about them. `--check` fails when a page and the agent differ, so neither can drift.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use clap::Args;

use crate::workspace::{self, Compiler};
use crate::{command, generated};

/// The options of `docs`.
#[derive(Args)]
pub(crate) struct Options {
    /// Compare instead of writing, and fail when a page is out of date.
    #[arg(long)]
    check: bool,
}

/// A page and the arguments with which the agent prints it.
const PAGES: [(&str, &[&str]); 3] = [
    ("docs/metrics.md", &["metrics", "--format", "markdown"]),
    ("docs/configuration.md", &["configuration"]),
    ("docs/log.md", &["events"]),
];

/// Runs `cargo xtask docs`.
pub(crate) fn run(options: &Options) -> Result<()> {
    generate(options.check, &workspace::build(Compiler::Plain)?)
}

/// Writes the pages that this agent prints, or compares them.
pub(crate) fn generate(check: bool, agent: &Path) -> Result<()> {
    let mut pages = Vec::new();
    for (page, arguments) in PAGES {
        let text = command::output(Command::new(agent).args(arguments))?;
        ensure!(!text.is_empty(), "the agent printed nothing for {page}");
        pages.push((page, text));
    }
    generated::write_or_compare(&pages, check, "cargo xtask docs")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Stdio;

    use super::*;

    /// How CONTRIBUTING adds a key, applied to a copy of the files that it names.
    #[test]
    fn a_key_is_added_to_two_files_as_contributing_shows() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let page = fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
        let (_, rest) = page.split_once("```diff\n").unwrap();
        let (diff, _) = rest.split_once("```\n").unwrap();
        let names = diff.lines().filter_map(|line| line.strip_prefix("+++ b/"));
        let names: Vec<&str> = names.collect();
        assert_eq!(names.len(), 2, "{names:?}");
        let copy = tempfile::tempdir().unwrap();
        for name in &names {
            let to = copy.path().join(name);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(root.join(name), to).unwrap();
        }
        fs::write(copy.path().join("diff"), diff).unwrap();
        let apply = Command::new("git")
            .args(["apply", "--unidiff-zero", "diff"])
            .current_dir(copy.path())
            .stdout(Stdio::null())
            .status();
        assert!(
            apply.unwrap().success(),
            "the diff does not apply: make it anew"
        );
        for name in &names {
            let path = copy.path().join(name);
            assert_ne!(fs::read(&path).unwrap(), fs::read(root.join(name)).unwrap());
            // It is the language still, and formatted.
            let format = Command::new("rustfmt")
                .args(["--check", "--edition", "2024"])
                .arg(&path)
                .stdout(Stdio::null())
                .status();
            assert!(format.unwrap().success(), "{name}");
        }
    }
}
