//! The archive that a kernel unpacks as its first file system: cpio in the form `newc`, with each directory before
//! what is in it.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

use cpio::newc::{Builder, trailer};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CONSOLE: u32 = 0o020_600;

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
        self.parents(path)?;
        self.entry(Builder::new(path).mode(PROGRAM), content)
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
