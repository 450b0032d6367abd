//! `docs/cost.md`: written by people around marked sections, which benchmarks replace.

use std::fs;

use anyhow::{Context, Result};

use crate::command;

/// The page, in the repository.
pub(super) const PATH: &str = "docs/cost.md";

/// Replaces a benchmark's section of the page.
pub(super) fn write(name: &str, section: &str) -> Result<()> {
    let path = command::repository().join(PATH);
    let page =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let page = replace(&page, name, section)
        .with_context(|| format!("{} has no section `bench:{name}`", path.display()))?;
    fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))
}

fn replace(page: &str, name: &str, section: &str) -> Option<String> {
    let begin = format!("<!-- bench:{name} -->");
    let end = format!("<!-- /bench:{name} -->");
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!(
        "{before}{begin}\n\n{}\n\n{end}{after}",
        section.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::replace;

    #[test]
    fn only_the_section_changes() {
        let page = "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb\n";
        let new = replace(page, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- bench:x -->\n\nnew\n\n<!-- /bench:x -->\nb\n");
        assert_eq!(replace(&new, "x", "new\n").unwrap(), new);
        assert!(replace(page, "y", "new").is_none());
    }

    #[test]
    fn the_page_has_a_place_for_each_benchmark() {
        let page = include_str!("../../../docs/cost.md");
        for name in ["sched", "net", "block", "fork", "scrape", "memory"] {
            assert!(replace(page, name, "").is_some(), "{name}");
        }
    }
}
