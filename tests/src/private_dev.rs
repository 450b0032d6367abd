//! A `/dev` of its own, for programs that make device nodes: it vanishes with the last of them.
//!
//! It is in a mount namespace, so that root keeps the capabilities that loading kernel programs needs.

use std::{fs::File, io, path::Path, thread};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// What any program may expect; all else of the machine's `/dev` is out of sight.
const NODES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Runs `work` in a thread that has a private `/dev`. Processes that it starts keep it.
pub fn inside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let entered = || {
        replace_dev().expect("root may have a /dev of its own");
        work()
    };
    let done = thread::scope(|scope| scope.spawn(entered).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Puts a new `/dev` in the place of the machine's, for this thread only.
fn replace_dev() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    // Otherwise the mounts below would be the machine's too.
    attach(None, "/", MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
    let folder = tempfile::tempdir()?;
    let new = folder.path();
    let none: Option<&str> = None;
    mount(none, new, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
    for name in NODES {
        let node = new.join(name);
        File::create(&node)?;
        attach(Some(&Path::new("/dev").join(name)), &node, MsFlags::MS_BIND)?;
    }
    std::os::unix::fs::symlink("/proc/self/fd", new.join("fd"))?;
    attach(Some(new), "/dev", MsFlags::MS_MOVE)?;
    folder.close()
}

/// A mount that has no file system of its own.
fn attach(source: Option<&Path>, target: impl AsRef<Path>, flags: MsFlags) -> io::Result<()> {
    let none: Option<&str> = None;
    Ok(mount(source, target.as_ref(), none, flags, none)?)
}
