//! The archive that a kernel unpacks as its first file system: cpio in the form `newc`, with each directory before
//! what is in it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cpio::newc::{Builder, trailer};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o755;
const CONSOLE: u32 = 0o020_600;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_777;
/// What a file's mode has beside its type.
const PERMISSIONS: u32 = 0o7777;

/// An archive that is being written.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    inodes: u32,
    directories: BTreeSet<String>,
}

impl Archive {
    /// A directory, with those above it.
    pub(super) fn directory(&mut self, path: &str) -> io::Result<()> {
        self.parents(path)?;
        if self.directories.insert(path.to_owned()) {
            self.entry(Builder::new(path).mode(DIRECTORY), b"")?;
        }
        Ok(())
    }

    /// A file that may be executed.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.file_with(path, PROGRAM, content)
    }

    /// A file with these permissions.
    pub(super) fn file_with(
        &mut self,
        path: &str,
        permissions: u32,
        content: &[u8],
    ) -> io::Result<()> {
        self.parents(path)?;
        let mode = REGULAR | permissions & PERMISSIONS;
        self.entry(Builder::new(path).mode(mode), content)
    }

    /// A symbolic link to `target`.
    pub(super) fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.parents(path)?;
        self.entry(Builder::new(path).mode(LINK), target.as_bytes())
    }

    /// What is in a folder of this machine, below `prefix`; `is_wanted` is asked with each path within the folder,
    /// and nothing below one that is not wanted is looked at. All of it is root's.
    pub(super) fn tree(
        &mut self,
        prefix: &str,
        folder: &Path,
        is_wanted: &impl Fn(&str) -> bool,
    ) -> io::Result<()> {
        self.tree_below(prefix, folder, "", is_wanted)
    }

    fn tree_below(
        &mut self,
        prefix: &str,
        folder: &Path,
        within: &str,
        is_wanted: &impl Fn(&str) -> bool,
    ) -> io::Result<()> {
        let entries = fs::read_dir(folder.join(within))?;
        let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                let what = format!("the name of {} is no text", entry.path().display());
                return Err(io::Error::other(what));
            };
            let within = match within {
                "" => name.to_owned(),
                above => format!("{above}/{name}"),
            };
            if !is_wanted(&within) {
                continue;
            }
            let (path, file) = (format!("{prefix}/{within}"), entry.path());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.directory(&path)?;
                self.tree_below(prefix, folder, &within, is_wanted)?;
            } else if kind.is_symlink() {
                let target = fs::read_link(&file)?;
                self.link(&path, &target.to_string_lossy())?;
            } else if kind.is_file() {
                let permissions = entry.metadata()?.permissions().mode();
                self.file_with(&path, permissions, &fs::read(&file)?)?;
            }
        }
        Ok(())
    }

    /// `/dev/console`, which the first process has for its input and output.
    pub(super) fn console(&mut self) -> io::Result<()> {
        let path = "dev/console";
        self.parents(path)?;
        let console = Builder::new(path).mode(CONSOLE);
        self.entry(console.rdev_major(5).rdev_minor(1), b"")
    }

    /// The finished archive.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        trailer(self.bytes)
    }

    fn parents(&mut self, path: &str) -> io::Result<()> {
        match Path::new(path).parent().and_then(Path::to_str) {
            Some(parent) if !parent.is_empty() => self.directory(parent),
            _ => Ok(()),
        }
    }

    fn entry(&mut self, entry: Builder, content: &[u8]) -> io::Result<()> {
        self.inodes += 1;
        let entry = entry.ino(self.inodes);
        let mut writer = entry.write(&mut self.bytes, content.len() as u32);
        writer.write_all(content)?;
        writer.finish().map(|_| ())
    }
}
