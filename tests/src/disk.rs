//! Files that really go to a disk.

use std::{
    env, fs,
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{PosixFadviseAdvice, posix_fadvise},
    libc::O_DIRECT,
};
use tempfile::TempDir;

use crate::target_directory;

/// What direct I/O wants its memory aligned to, at most.
const ALIGNMENT: usize = 4096;

/// A folder on a disk: `SESSIONSCOPE_TEST_DISK`, else where everything is built.
pub fn folder() -> TempDir {
    let parent = env::var_os("SESSIONSCOPE_TEST_DISK").map_or_else(target_directory, PathBuf::from);
    tempfile::tempdir_in(&parent)
        .unwrap_or_else(|error| panic!("cannot make a folder in {}: {error}", parent.display()))
}

/// A disk on which every request takes tens of milliseconds, whatever the machine; guests of the kernel
/// matrix have one.
pub fn slow() -> Option<PathBuf> {
    env::var_os("SESSIONSCOPE_TEST_SLOW_DISK").map(PathBuf::from)
}

/// Opens a file past the page cache.
pub fn open_direct(path: &Path) -> fs::File {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(!path.exists())
        .custom_flags(O_DIRECT)
        .open(path)
        .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()))
}

/// Memory for direct I/O.
#[derive(Debug)]
pub struct Aligned {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    /// So many bytes.
    pub fn new(length: usize) -> Self {
        let memory = vec![b'x'; length + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Self {
            memory,
            start,
            length,
        }
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

/// Writes a file to the disk and takes it out of the page cache.
pub fn evict(path: &Path) {
    let file = fs::File::open(path).expect("a file that is there");
    file.sync_all().expect("a file system that can be written");
    posix_fadvise(file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
        .expect("the kernel takes advice");
}
