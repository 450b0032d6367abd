//! Pages of `docs/` that are written by people around marked sections, which measurements replace.

use std::fs;

use anyhow::{Context, Result};
use lab::programs::repository;

/// Replaces a section of a page, which is named by its path in the repository.
pub(crate) fn write(page: &str, name: &str, section: &str) -> Result<()> {
    let path = repository().join(page);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = replace(&text, name, section)
        .with_context(|| format!("{} has no section `{name}`", path.display()))?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("wrote {page}");
    Ok(())
}

fn replace(page: &str, name: &str, section: &str) -> Option<String> {
    let begin = format!("<!-- {name} -->");
    let end = format!("<!-- /{name} -->");
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
        let page = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n";
        let new = replace(page, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- x -->\n\nnew\n\n<!-- /x -->\nb\n");
        assert_eq!(replace(&new, "x", "new\n").unwrap(), new);
        assert!(replace(page, "y", "new").is_none());
    }

    #[test]
    fn the_pages_have_a_place_for_each_measurement() {
        let page = include_str!("../../docs/measurements.md");
        for name in [
            "sched",
            "size",
            "growth",
            "resolution",
            "net",
            "input",
            "block",
            "fork",
            "storm",
            "scrape",
            "memory",
            "gpu",
            "rules",
        ] {
            let section = format!("bench:{name}");
            assert!(replace(page, &section, "").is_some(), "{name}");
        }
        let page = include_str!("../../docs/gpu.md");
        assert!(replace(page, "test:gpu", "").is_some());
    }
}
