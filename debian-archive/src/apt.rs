//! The archive as apt sees it.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{command::output, create, sources, unpack};

/// A part of the Debian archive.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// By its codename, as `bookworm` or `sid`.
    pub suite: &'a str,
    /// As `main` or `non-free`.
    pub component: &'a str,
    /// As Debian calls it: `amd64`.
    pub architecture: &'a str,
}

/// An archive whose lists are there.
#[derive(Debug)]
pub struct Archive {
    /// What errors call it.
    title: String,
    folder: PathBuf,
    options: Vec<String>,
}

/// The machine's own architecture, as Debian calls it.
pub fn own_architecture() -> Result<String> {
    let name = output(Command::new("dpkg").arg("--print-architecture"))?;
    Ok(name.trim().to_owned())
}

impl Archive {
    /// A part of the archive that the machine's sources name; lists and cache are kept below `state`.
    pub fn open(state: &Path, selection: &Selection<'_>) -> Result<Self> {
        let Selection {
            suite,
            component,
            architecture,
        } = selection;
        let folder = state.join(format!("{suite}-{component}-{architecture}"));
        let parts = folder.join("parts");
        sources::write(&parts, suite, component)?;
        let more = [
            "Dir::Etc::sourcelist=/dev/null".to_owned(),
            format!("Dir::Etc::sourceparts={}", parts.display()),
            // There is one source: without its lists there is nothing.
            "APT::Update::Error-Mode=any".to_owned(),
        ];
        let title = format!("{suite}/{component} ({architecture})");
        Self::update(title, folder, architecture, &more)
    }

    /// The machine's own sources, for an architecture that may be another than its own.
    pub fn of_machine(state: &Path, architecture: &str) -> Result<Self> {
        let folder = state.join(format!("own-{architecture}"));
        let title = format!("the machine's own suite ({architecture})");
        Self::update(title, folder, architecture, &[])
    }

    fn update(title: String, folder: PathBuf, architecture: &str, more: &[String]) -> Result<Self> {
        let mut options = lists_and_cache(&folder)?;
        // Without a status nothing counts as installed, so nothing can conflict.
        let status = folder.join("status");
        fs::write(&status, "").with_context(|| format!("cannot write {}", status.display()))?;
        options.extend([
            format!("Dir::State::status={}", status.display()),
            format!("APT::Architecture={architecture}"),
            format!("APT::Architectures={architecture}"),
        ]);
        options.extend_from_slice(more);
        let archive = Self {
            title,
            folder,
            options,
        };
        archive.get(archive.apt("apt-get").arg("update"))?;
        Ok(archive)
    }

    /// The names of all packages that begin so.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let text = output(self.apt("apt-cache").args(["pkgnames", prefix]))
            .with_context(|| format!("cannot list the packages of {}", self.title))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Fetches packages without what they depend on, and unpacks them in the place of `into`.
    pub fn unpack<P: AsRef<OsStr>>(&self, packages: &[P], into: &Path) -> Result<()> {
        let download = self.folder.join("download");
        let _absent = fs::remove_dir_all(&download);
        create(&download)?;
        let mut apt = self.apt("apt-get");
        apt.current_dir(&download).arg("download").args(packages);
        self.get(&mut apt)?;
        unpack::all(&download, into)?;
        fs::remove_dir_all(&download)
            .with_context(|| format!("cannot remove {}", download.display()))
    }

    /// Fetches packages with all that they depend on, and unpacks them in the place of `into`. A dpkg that
    /// runs there takes them for installed.
    pub fn unpack_with_dependencies(&self, packages: &[&str], into: &Path) -> Result<()> {
        let fetched = self.folder.join("cache/archives");
        let _absent = fs::remove_dir_all(&fetched);
        create(&fetched.join("partial"))?;
        let mut apt = self.apt("apt-get");
        apt.args([
            "install",
            "--yes",
            "--download-only",
            "--no-install-recommends",
        ])
        .args(["-o", "Debug::NoLocking=1"])
        .args(packages);
        self.get(&mut apt)?;
        unpack::all(&fetched, into)?;
        unpack::record(&fetched, into)?;
        fs::remove_dir_all(&fetched).with_context(|| format!("cannot remove {}", fetched.display()))
    }

    fn apt(&self, program: &str) -> Command {
        apt(program, &self.options)
    }

    fn get(&self, apt: &mut Command) -> Result<()> {
        output(apt).with_context(|| {
            format!("cannot fetch from {}: is the mirror reachable?", self.title)
        })?;
        Ok(())
    }
}

/// apt or one of its companions with these options.
pub(crate) fn apt(program: &str, options: &[String]) -> Command {
    let mut apt = Command::new(program);
    for option in options {
        apt.args(["-o", option]);
    }
    apt
}

/// The options by which apt keeps its lists and its cache in a folder, which is made.
pub(crate) fn lists_and_cache(folder: &Path) -> Result<Vec<String>> {
    for name in ["lists/partial", "cache/archives/partial"] {
        create(&folder.join(name))?;
    }
    Ok(vec![
        format!("Dir::State::lists={}", folder.join("lists").display()),
        format!("Dir::Cache={}", folder.join("cache").display()),
        "APT::Sandbox::User=root".to_owned(),
    ])
}
