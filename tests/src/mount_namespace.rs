//! Programs that see other files than the machine has: a `/dev` of their own, or a folder in another's place. It vanishes
//! with the last of them.
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
pub fn with_own_dev<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    inside(replace_dev, work)
}

/// Runs `work` in a thread, and what it starts, for which a folder is in the place of another.
pub fn with_folder_at<T: Send>(folder: &Path, place: &Path, work: impl FnOnce() -> T + Send) -> T {
    inside(|| attach(Some(folder), place, MsFlags::MS_BIND), work)
}

/// The same where there may be nothing: what is beside the place is out of sight.
pub fn with_folder_alone_at<T: Send>(
    folder: &Path,
    place: &Path,
    work: impl FnOnce() -> T + Send,
) -> T {
    let mut above = place.ancestors().skip(1);
    let above = above.find(|one| one.is_dir()).expect("there is a root");
    let change = || {
        let none: Option<&str> = None;
        mount(
            none,
            above,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("mode=755"),
        )?;
        std::fs::create_dir_all(place)?;
        attach(Some(folder), place, MsFlags::MS_BIND)
    };
    inside(change, work)
}

fn inside<T: Send>(
    change: impl FnOnce() -> io::Result<()> + Send,
    work: impl FnOnce() -> T + Send,
) -> T {
    let entered = || {
        leave_the_machines()
            .and_then(|()| change())
            .expect("root may have mounts of its own");
        work()
    };
    let done = thread::scope(|scope| scope.spawn(entered).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Gives this thread mounts of its own.
fn leave_the_machines() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    // Otherwise further mounts would be the machine's too.
    attach(None, "/", MsFlags::MS_REC | MsFlags::MS_PRIVATE)
}

/// Puts a new `/dev` in the place of the machine's.
fn replace_dev() -> io::Result<()> {
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
