//! Packages of any suite and architecture, unpacked into `target/` and never installed.
//!
//! apt does the work, with sources, lists and cache of its own: mirror and keyring are those of the
//! machine, so signatures are checked and no address is written here, and the machine's own state
//! does not change.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::list::Architecture;
use crate::command;

const SOURCES: &str = "/etc/apt/sources.list.d";

/// A suite as apt sees it for one architecture.
pub(super) struct Archive {
    /// What errors call it.
    title: String,
    folder: PathBuf,
    options: Vec<String>,
}

impl Archive {
    /// One suite of the Debian archive.
    pub(super) fn suite(work: &Path, suite: &str, architecture: Architecture) -> Result<Self> {
        let folder = folder(work, suite, architecture)?;
        let parts = folder.join("parts");
        create(&parts)?;
        let file = parts.join("suite.sources");
        fs::write(&file, sources(suite)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        let more = [
            "Dir::Etc::sourcelist=/dev/null".to_owned(),
            format!("Dir::Etc::sourceparts={}", parts.display()),
        ];
        Self::open(suite, folder, architecture, &more)
    }

    /// The machine's own sources, for an architecture that may be another than its own.
    pub(super) fn own(work: &Path, architecture: Architecture) -> Result<Self> {
        let folder = folder(work, "own", architecture)?;
        Self::open("the machine's own suite", folder, architecture, &[])
    }

    fn open(
        suite: &str,
        folder: PathBuf,
        architecture: Architecture,
        more: &[String],
    ) -> Result<Self> {
        for name in ["lists/partial", "cache/archives/partial"] {
            create(&folder.join(name))?;
        }
        // Without a status nothing counts as installed, so nothing can conflict.
        let status = folder.join("status");
        fs::write(&status, "").with_context(|| format!("cannot write {}", status.display()))?;
        let mut options = vec![
            format!("Dir::State::lists={}", folder.join("lists").display()),
            format!("Dir::State::status={}", status.display()),
            format!("Dir::Cache={}", folder.join("cache").display()),
            format!("APT::Architecture={}", architecture.debian()),
            format!("APT::Architectures={}", architecture.debian()),
            "APT::Sandbox::User=root".to_owned(),
        ];
        options.extend_from_slice(more);
        let archive = Self {
            title: format!("{suite} ({})", architecture.debian()),
            folder,
            options,
        };
        archive.get(&["update"])?;
        Ok(archive)
    }

    /// The names of all packages that begin so.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let text = command::output(self.apt("apt-cache").args(["pkgnames", prefix]))
            .with_context(|| format!("cannot list the packages of {}", self.title))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Fetches packages without what they depend on, and unpacks them.
    pub(super) fn unpack(&self, packages: &[String], into: &Path) -> Result<()> {
        let download = self.folder.join("download");
        create(&download)?;
        let words: Vec<&str> = packages.iter().map(String::as_str).collect();
        self.get(&[&["download"], words.as_slice()].concat())?;
        unpack_all(&download, into)?;
        fs::remove_dir_all(&download)
            .with_context(|| format!("cannot remove {}", download.display()))
    }

    fn apt(&self, program: &str) -> Command {
        let mut apt = Command::new(program);
        for option in &self.options {
            apt.args(["-o", option]);
        }
        apt
    }

    fn get(&self, arguments: &[&str]) -> Result<()> {
        let download = self.folder.join("download");
        create(&download)?;
        let mut apt = self.apt("apt-get");
        // What it fetches is of no interest; its errors go to standard error.
        apt.current_dir(download)
            .arg("--quiet")
            .args(arguments)
            .stdout(Stdio::null());
        command::run(&mut apt).with_context(|| {
            format!(
                "apt-get failed for {}: is the mirror reachable?",
                self.title
            )
        })
    }
}

/// Fetches packages of the machine's backports with everything they need that the machine does not
/// have, and unpacks it all: for programs whose packages cannot be installed beside what is there.
pub(super) fn unpack_backport(work: &Path, packages: &[&str], into: &Path) -> Result<()> {
    let suite = format!("{}-backports", codename()?);
    let folder = folder(work, &suite, Architecture::X86)?;
    let parts = folder.join("parts");
    for name in ["parts", "lists/partial", "cache/archives/partial"] {
        create(&folder.join(name))?;
    }
    for file in source_files()? {
        let copy = parts.join(file.file_name().unwrap_or_default());
        fs::copy(&file, &copy).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    let file = parts.join("backports.sources");
    fs::write(&file, sources(&suite)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    let options = [
        format!("Dir::Etc::sourceparts={}", parts.display()),
        format!("Dir::State::lists={}", folder.join("lists").display()),
        format!("Dir::Cache={}", folder.join("cache").display()),
        "APT::Sandbox::User=root".to_owned(),
        "Debug::NoLocking=1".to_owned(),
    ];
    // Nothing is changed by this, so it may plan to remove what stands in the way.
    let install = [
        "install",
        "--yes",
        "--download-only",
        "--no-install-recommends",
    ];
    let install = [&install[..], &["--target-release", &suite], packages].concat();
    for arguments in [&["update"][..], &install] {
        let mut apt = Command::new("apt-get");
        for option in &options {
            apt.args(["-o", option]);
        }
        apt.arg("--quiet").args(arguments).stdout(Stdio::null());
        command::run(&mut apt)
            .with_context(|| format!("cannot fetch {} of {suite}", packages.join(", ")))?;
    }
    unpack_all(&folder.join("cache/archives"), into)
}

/// What the machine's release of Debian is called.
fn codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let mut names = text
        .lines()
        .filter_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let name = names
        .next()
        .context("/etc/os-release has no VERSION_CODENAME")?;
    Ok(name.trim_matches('"').to_owned())
}

fn source_files() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(SOURCES).with_context(|| {
        format!("cannot read {SOURCES}: the kernels come from the Debian archive named there")
    })?;
    let files = entries.flatten().map(|entry| entry.path());
    Ok(files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "sources")
        })
        .collect())
}

fn unpack_all(packages: &Path, into: &Path) -> Result<()> {
    let parent = into.parent().context("a folder below target/")?;
    create(parent)?;
    // Beside its place and renamed, so that what is there is whole.
    let mut partial = into.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let _absent = fs::remove_dir_all(&partial);
    create(&partial)?;
    let mut found = 0;
    for entry in
        fs::read_dir(packages).with_context(|| format!("cannot read {}", packages.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            command::run(
                Command::new("dpkg-deb")
                    .arg("--extract")
                    .arg(&path)
                    .arg(&partial),
            )?;
            found += 1;
        }
    }
    ensure!(
        found > 0,
        "no package was fetched into {}",
        packages.display()
    );
    let _absent = fs::remove_dir_all(into);
    fs::rename(&partial, into).with_context(|| format!("cannot create {}", into.display()))
}

fn folder(work: &Path, suite: &str, architecture: Architecture) -> Result<PathBuf> {
    let folder = work.join(format!("apt/{suite}-{}", architecture.debian()));
    create(&folder)?;
    Ok(folder)
}

pub(super) fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

/// The machine's own Debian source with the suite changed.
fn sources(suite: &str) -> Result<String> {
    for file in source_files()? {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        if let Some(sources) = with_suite(&text, suite) {
            return Ok(sources);
        }
    }
    bail!(
        "no Debian archive in {SOURCES}/*.sources: write one stanza with URIs, Suites, \
         Components: main and Signed-By there"
    )
}

/// The first stanza that is a Debian archive with `main`, for another suite.
fn with_suite(text: &str, suite: &str) -> Option<String> {
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
                "Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\nSigned-By: {key}\n"
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
        let sources = with_suite(text, "sid").unwrap();
        assert!(
            sources.contains("URIs: mirror/debian\nSuites: sid\n"),
            "{sources}"
        );
        let other = "Types: deb\nURIs: x\nSuites: s\nComponents: stable\n";
        assert!(with_suite(other, "sid").is_none());
    }
}
