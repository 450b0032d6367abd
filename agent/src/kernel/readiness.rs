//! Files that wake a task: the kernel's log, the table of mounts, a process's descriptor.

use std::{fs::File, io};

use tokio::io::{Interest, unix::AsyncFd};

/// A file that is waited for.
pub fn watch(file: File, interest: Interest) -> io::Result<AsyncFd<File>> {
    // SAFETY: the file owns its descriptor and is not taken out again.
    #[expect(unsafe_code, reason = "the descriptor outlives its registration")]
    let registered = unsafe { AsyncFd::register_with_interest(file, interest) };
    Ok(registered?)
}
