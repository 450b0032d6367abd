//! What the tests need and the machine's own suite does not have or may not install: packages unpacked
//! into `target/tools` on first use.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::ensure;
use debian_archive::{Archive, Selection, own_architecture};

use crate::target_directory;

/// Keeps other tests, of this program and of others, from fetching the same folder meanwhile: until it is dropped.
fn fetching(folder: &Path) -> anyhow::Result<File> {
    let file = folder.with_extension("lock");
    fs::create_dir_all(folder.parent().unwrap_or(folder))?;
    let lock = File::create(file)?;
    lock.lock()?;
    Ok(lock)
}

/// A package for the machine's architecture.
#[derive(Clone, Copy, Debug)]
pub struct Package<'a> {
    /// The package's name.
    pub name: &'a str,
    /// The suite that has it.
    pub suite: &'a str,
    /// Its component.
    pub component: &'a str,
}

/// A file of a package that is unpacked in a folder of `target/tools`; an error says why it cannot be had.
pub fn file(folder: &str, package: &Package<'_>, file: &str) -> anyhow::Result<PathBuf> {
    let folder = target_directory().join("tools").join(folder);
    let _lock = fetching(&folder)?;
    let file = folder.join(file);
    if !file.is_file() {
        let selection = Selection {
            suite: package.suite,
            component: package.component,
            architecture: &own_architecture()?,
        };
        let scratch = tempfile::tempdir()?;
        Archive::open(scratch.path(), &selection)?.unpack(&[package.name], &folder)?;
        ensure!(
            file.is_file(),
            "the package {} has no {}",
            package.name,
            file.display()
        );
    }
    Ok(file)
}

/// The root of a machine that has these packages of Debian's `main` and all that they depend on: unpacked, and no more.
/// It is a folder of `target/tools`; an error says why it cannot be had.
pub fn root(folder: &str, suite: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let folder = target_directory().join("tools").join(folder);
    let _lock = fetching(&folder)?;
    if !folder.is_dir() {
        let selection = Selection {
            suite,
            component: "main",
            architecture: &own_architecture()?,
        };
        let scratch = tempfile::tempdir()?;
        let archive = Archive::open(scratch.path(), &selection)?;
        archive.unpack_with_dependencies(packages, &folder)?;
    }
    // What comes with no package, or with the scripts of some.
    for name in ["bin", "sbin", "lib", "lib64"] {
        match symlink(format!("usr/{name}"), folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
    }
    for name in ["dev", "etc", "mnt", "proc", "run", "sys", "tmp", "var"] {
        fs::create_dir_all(folder.join(name))?;
    }
    Ok(folder)
}
