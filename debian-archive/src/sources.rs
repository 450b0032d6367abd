//! Where the machine's packages come from, and the same archive with another suite.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::create;

const FOLDER: &str = "/etc/apt/sources.list.d";

/// What the machine's release of Debian is called.
pub fn codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let mut names = text
        .lines()
        .filter_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let name = names
        .next()
        .context("/etc/os-release has no VERSION_CODENAME")?;
    Ok(name.trim_matches('"').to_owned())
}

/// Writes a file of sources for a suite into a folder.
pub(crate) fn write(folder: &Path, suite: &str, component: &str) -> Result<()> {
    create(folder)?;
    let file = folder.join("suite.sources");
    fs::write(&file, sources(suite, component)?)
        .with_context(|| format!("cannot write {}", file.display()))
}

/// The files of the machine's own sources.
pub(crate) fn files() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(FOLDER).with_context(|| {
        format!("cannot read {FOLDER}: packages come from the Debian archive named there")
    })?;
    let files = entries.flatten().map(|entry| entry.path());
    Ok(files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "sources")
        })
        .collect())
}

/// The machine's own Debian source with suite and component changed.
fn sources(suite: &str, component: &str) -> Result<String> {
    for file in files()? {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        if let Some(sources) = with_suite(&text, suite, component) {
            return Ok(sources);
        }
    }
    bail!(
        "no Debian archive in {FOLDER}/*.sources: write one stanza with URIs, Suites, \
         Components: main and Signed-By there"
    )
}

/// The first stanza that is a Debian archive with `main`, for another suite and component.
fn with_suite(text: &str, suite: &str, component: &str) -> Option<String> {
    text.split("\n\n").find_map(|stanza| {
        let field = |name: &str| {
            let mut values = stanza.lines().filter_map(|line| line.strip_prefix(name));
            values.next().map(str::trim)
        };
        let (uri, key) = (field("URIs:")?, field("Signed-By:")?);
        let main = field("Components:")?
            .split_whitespace()
            .any(|one| one == "main");
        let debian = main && !field("Suites:")?.contains("security");
        debian.then(|| {
            format!(
                "Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {component}\nSigned-By: {key}\n"
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use super::with_suite;

    const MACHINE: &str = "Types: deb\nURIs: mirror/security\nSuites: old-security\nComponents: main\n\
                           Signed-By: /key\n\nTypes: deb\nURIs: mirror/debian\nSuites: old old-updates\n\
                           Components: main contrib\nSigned-By: /key\n";

    #[test]
    fn the_archive_is_taken_and_the_security_one_left() {
        let sources = with_suite(MACHINE, "sid", "main").unwrap();
        assert_eq!(
            sources,
            "Types: deb\nURIs: mirror/debian\nSuites: sid\nComponents: main\nSigned-By: /key\n"
        );
        let other = "Types: deb\nURIs: x\nSuites: s\nComponents: stable\n";
        assert!(with_suite(other, "sid", "main").is_none());
    }

    #[test]
    fn a_component_that_the_machine_does_not_use_can_be_had() {
        let sources = with_suite(MACHINE, "old", "non-free").unwrap();
        assert!(
            sources.contains("Suites: old\nComponents: non-free\n"),
            "{sources}"
        );
    }
}
