//! Fetches a newer Prometheus than the machine's suite has, into `target/tools`, installing nothing.
//!
//! apt does the work, with sources, lists and cache of its own in a scratch folder: the mirror and the
//! keyring are those of the machine, so the signature is checked and no address is written here.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::target_directory;

const SUITE: &str = "sid";
const PACKAGE: &str = "prometheus";

/// The binary, fetched on first use; an error says why it cannot be had.
pub fn binary() -> Result<PathBuf, String> {
    let folder = target_directory().join("tools/prometheus-3");
    let binary = folder.join("usr/bin/prometheus");
    if !binary.is_file() {
        fetch(&folder)?;
    }
    Ok(binary)
}

/// Its version: major and minor.
pub fn version(binary: &Path) -> (u32, u32) {
    let output = Command::new(binary)
        .arg("--version")
        .output()
        .expect("Prometheus starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let number = said.split_once("version ").map_or("", |(_, rest)| rest);
    let mut parts = number.split('.').filter_map(|part| part.parse().ok());
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => (major, minor),
        _ => panic!("no version: {said}"),
    }
}

fn fetch(folder: &Path) -> Result<(), String> {
    let io = |error: std::io::Error| error.to_string();
    let scratch = tempfile::tempdir().map_err(io)?;
    let inside = |name: &str| scratch.path().join(name);
    for name in ["parts", "lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(inside(name)).map_err(io)?;
    }
    fs::write(inside("parts/newer.sources"), sources()?).map_err(io)?;
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.current_dir(scratch.path()).arg("--quiet");
        for (option, path) in [
            ("Dir::Etc::sourceparts", inside("parts")),
            ("Dir::State::lists", inside("lists")),
            ("Dir::Cache", inside("cache")),
        ] {
            apt.args(["-o", &format!("{option}={}", path.display())]);
        }
        apt.args([
            "-o",
            "Dir::Etc::sourcelist=/dev/null",
            "-o",
            "APT::Sandbox::User=root",
        ]);
        apt.args(arguments);
        run(&mut apt)
    };
    apt(&["update"])?;
    apt(&["download", PACKAGE])?;
    let mut packages = fs::read_dir(scratch.path())
        .map_err(io)?
        .flatten()
        .map(|entry| entry.path());
    let package = packages
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or("apt-get downloaded nothing")?;
    // Beside its place and renamed, so that what is there is whole.
    let parent = folder.parent().ok_or("no parent")?;
    fs::create_dir_all(parent).map_err(io)?;
    let unpacked = tempfile::tempdir_in(parent).map_err(io)?;
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .arg(&package)
        .arg(unpacked.path()))?;
    fs::rename(unpacked.keep(), folder).map_err(io)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}: {}", output.status, said.trim()))
}

/// The machine's own Debian source with the suite changed.
fn sources() -> Result<String, String> {
    let parts = fs::read_dir("/etc/apt/sources.list.d").map_err(|error| error.to_string())?;
    let files = parts.flatten().map(|entry| entry.path());
    for file in files.filter(|path| {
        path.extension()
            .is_some_and(|extension| extension == "sources")
    }) {
        let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        if let Some(sources) = with_suite(&text) {
            return Ok(sources);
        }
    }
    Err("no Debian archive in /etc/apt/sources.list.d/*.sources".to_owned())
}

/// The first stanza that is a Debian archive with `main`, for another suite.
fn with_suite(text: &str) -> Option<String> {
    let field = |stanza: &str, name: &str| {
        let mut values = stanza.lines().filter_map(|line| line.strip_prefix(name));
        values.next().map(|value| value.trim().to_owned())
    };
    text.split("\n\n").find_map(|stanza| {
        let (uri, key) = (field(stanza, "URIs:")?, field(stanza, "Signed-By:")?);
        let components = field(stanza, "Components:")?;
        let suites = field(stanza, "Suites:")?;
        let debian = components
            .split_whitespace()
            .any(|component| component == "main")
            && !suites.contains("security");
        debian.then(|| {
            format!(
                "Types: deb\nURIs: {uri}\nSuites: {SUITE}\nComponents: main\nSigned-By: {key}\n"
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use super::with_suite;

    #[test]
    fn the_archive_is_taken_and_the_security_one_left() {
        let text = "Types: deb\nURIs: mirror/security\nSuites: old-security\nComponents: main\n\
                    Signed-By: /key\n\nTypes: deb\nURIs: mirror/debian\nSuites: old old-updates\n\
                    Components: main contrib\nSigned-By: /key\n";
        let sources = with_suite(text).unwrap();
        assert!(
            sources.contains("URIs: mirror/debian\nSuites: sid\n"),
            "{sources}"
        );
        assert!(with_suite("Types: deb\nURIs: x\nSuites: s\nComponents: stable\n").is_none());
    }
}
