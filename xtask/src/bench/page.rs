//! `docs/cost.md`: written by people around marked sections, which benchmarks replace.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result};

use crate::command;

/// The page, in the repository.
pub(super) const PATH: &str = "docs/cost.md";

/// What the page begins with where there is none.
const INTRODUCTION: &str = "\
# What the agent costs

Everything on this page is measured by `cargo xtask bench`, which anybody can run on a machine of
their own: `cargo xtask bench all --write-docs` replaces the tables. Compare conditions within a
table, not tables of different machines. Nothing is left out for being unfavourable: each
expectation is listed with what was measured, met or not.

## A context switch

The agent has one program on every context switch, which is where it could hurt. The load is
`perf bench sched pipe`: two processes on one CPU hand a token to and fro, so that they do nothing but
switch, twice per operation. They run inside a session, where every switch is counted; outside of
one the program returns early. Programs that do something work between their switches: a thread that
is switched out a thousand times a second loses, of each second, a thousand times what the column
\"per switch\" says.

<!-- bench:sched -->
<!-- /bench:sched -->

## Memory and scrapes

<!-- bench:memory -->
<!-- /bench:memory -->
";

/// Replaces a benchmark's section of the page, which is made where it is missing.
pub(super) fn write(name: &str, section: &str) -> Result<()> {
    let path = command::repository().join(PATH);
    let page = match fs::read_to_string(&path) {
        Ok(page) => page,
        Err(error) if error.kind() == ErrorKind::NotFound => INTRODUCTION.to_owned(),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(&path, replace(&page, name, section))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn replace(page: &str, name: &str, section: &str) -> String {
    let begin = format!("<!-- bench:{name} -->");
    let end = format!("<!-- /bench:{name} -->");
    let inside = format!("{begin}\n\n{}\n\n{end}", section.trim());
    let present = page.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    match present {
        Some((before, after)) => format!("{before}{inside}{after}"),
        None => format!("{}\n\n{inside}\n", page.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::{INTRODUCTION, replace};

    #[test]
    fn only_the_section_changes() {
        let page = "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb\n";
        let new = replace(page, "x", "new\n");
        assert_eq!(new, "a\n<!-- bench:x -->\n\nnew\n\n<!-- /bench:x -->\nb\n");
        assert_eq!(replace(&new, "x", "new\n"), new);
    }

    #[test]
    fn a_page_without_the_section_gets_it_at_its_end() {
        assert_eq!(
            replace("a\n", "x", "new"),
            "a\n\n<!-- bench:x -->\n\nnew\n\n<!-- /bench:x -->\n"
        );
    }

    #[test]
    fn the_introduction_has_a_place_for_each_benchmark() {
        for name in ["sched", "memory"] {
            let page = replace(INTRODUCTION, name, "table");
            assert_eq!(page.matches(&format!("<!-- bench:{name} -->")).count(), 1);
        }
    }
}
