//! Whether root alone can change what is loaded into the agent.
//!
//! The library runs with all that the agent may. So it must be root's, or the agent's own user's, and nobody else
//! may write it; and so must be every folder and every link on the way to it, for who may write one of them can put
//! another file in its place. A folder with the sticky bit, as `/tmp`, may be open to all: there others neither
//! rename nor remove what is root's (`check_sticky`, fs/namei.c), and the next on the way is looked at as well.
//!
//! Links are followed here, not by the loader, so that what has been looked at is what is loaded.

use std::{
    ffi::OsString,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use rustix::process::geteuid;

use super::HOST_ROOT;

/// Links on the way; with more it leads in a circle (`MAXSYMLINKS`, include/linux/namei.h).
const MOST_LINKS: usize = 40;
/// Group or others may write.
const OPEN: u32 = 0o022;
const STICKY: u32 = 0o1000;
/// The bits of a mode that are permissions.
const PERMISSIONS: u32 = 0o7777;

/// Where a file really is, if root alone can change it; else why not, and what to do.
pub(super) fn real_path(path: &Path) -> Result<PathBuf, String> {
    let place = path.display();
    let unreadable = |error: io::Error| format!("{place} is not loaded: {error}");
    let mut ahead = reversed(path);
    let mut real = PathBuf::from("/");
    let mut links = 0;
    check(path, &real, &fs::metadata(&real).map_err(unreadable)?)?;
    while let Some(name) = ahead.pop() {
        if name == ".." {
            real.pop();
            continue;
        }
        let next = real.join(name);
        let mut found = fs::symlink_metadata(&next).map_err(unreadable)?;
        check(path, &next, &found)?;
        if next == Path::new(HOST_ROOT) {
            // A link by its looks only: its text is that of the root of whoever reads it.
            found = fs::metadata(&next).map_err(unreadable)?;
            check(path, &next, &found)?;
        } else if found.is_symlink() {
            links += 1;
            if links > MOST_LINKS {
                return Err(format!("{place} is not loaded: its links lead in a circle"));
            }
            let target = fs::read_link(&next).map_err(unreadable)?;
            if target.is_absolute() {
                real = PathBuf::from("/");
            }
            ahead.extend(reversed(&target));
            continue;
        }
        real = next;
    }
    if fs::metadata(&real).map_err(unreadable)?.is_file() {
        Ok(real)
    } else {
        Err(format!("{place} is not loaded: it is not a regular file"))
    }
}

/// The names on the way, the first one last.
fn reversed(path: &Path) -> Vec<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().rev().filter_map(name).collect()
}

/// Refuses what others can change. A link has no permissions of its own.
fn check(library: &Path, path: &Path, found: &Metadata) -> Result<(), String> {
    let (owner, mode) = (found.uid(), found.mode() & PERMISSIONS);
    let shielded = found.is_dir() && mode & STICKY != 0;
    let open = mode & OPEN != 0 && !shielded && !found.is_symlink();
    if (owner == 0 || owner == geteuid().as_raw()) && !open {
        return Ok(());
    }
    Err(format!(
        "{} is not loaded: others than root can change {} (owner {owner}, mode {mode:04o}); chown it to root \
         and chmod it to go-w, or set gpu.library",
        library.display(),
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    use tempfile::TempDir;

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A folder with a library that is nobody else's, below one that is open to all as /tmp is.
    fn library() -> (TempDir, PathBuf) {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("lib");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("libnvidia-ml.so.1");
        fs::write(&path, "").unwrap();
        set(&path, 0o644);
        set(&folder, 0o755);
        set(top.path(), 0o1777);
        (top, path)
    }

    fn refusal(path: &Path) -> String {
        real_path(path).unwrap_err()
    }

    #[test]
    fn what_root_alone_can_change_is_loaded_from_where_it_is() {
        let (top, path) = library();
        let real = fs::canonicalize(&path).unwrap();
        assert_eq!(real_path(&path).as_ref(), Ok(&real));
        // Links: relative, absolute, to a folder, and back up.
        let folder = path.parent().unwrap();
        symlink("libnvidia-ml.so.1", folder.join("relative")).unwrap();
        symlink(folder.join("relative"), top.path().join("absolute")).unwrap();
        symlink("lib", top.path().join("folder")).unwrap();
        for link in ["absolute", "folder/relative", "folder/../lib/./relative"] {
            let found = real_path(&top.path().join(link));
            assert_eq!(found.as_ref(), Ok(&real), "{link}");
        }
    }

    #[test]
    fn what_others_may_write_is_refused_by_name_and_mode() {
        let (top, path) = library();
        let folder = path.parent().unwrap();
        for (changed, mode, restored) in [
            (&*path, 0o664, 0o644),
            (&*path, 0o646, 0o644),
            // The sticky bit means nothing on a file.
            (&*path, 0o1666, 0o644),
            (folder, 0o775, 0o755),
            (folder, 0o757, 0o755),
            (top.path(), 0o777, 0o1777),
        ] {
            set(changed, mode);
            let reason = refusal(&path);
            let named = format!("can change {} (owner ", changed.display());
            assert!(reason.contains(&named), "{reason}");
            assert!(reason.contains(&format!("mode {mode:04o}")), "{reason}");
            assert!(reason.contains("gpu.library"), "{reason}");
            set(changed, restored);
        }
        assert!(real_path(&path).is_ok());
    }

    #[test]
    fn what_another_user_owns_is_refused_and_so_is_what_is_reached_by_it() {
        if !geteuid().is_root() {
            println!("skipped: not root");
            return;
        }
        let (top, path) = library();
        let link = top.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(real_path(&link).is_ok());
        lchown(&link, Some(1000), None).unwrap();
        let reason = refusal(&link);
        let named = format!("{} (owner 1000", link.display());
        assert!(reason.contains(&named), "{reason}");
        for owned in [&*path, path.parent().unwrap(), top.path()] {
            chown(owned, Some(1000), None).unwrap();
            let reason = refusal(&path);
            let named = format!("{} (owner 1000", owned.display());
            assert!(reason.contains(&named), "{reason}");
            chown(owned, Some(0), None).unwrap();
        }
        assert!(real_path(&path).is_ok());
    }

    #[test]
    fn what_is_not_a_file_is_refused() {
        let (top, path) = library();
        assert!(refusal(path.parent().unwrap()).contains("not a regular file"));
        let missing = refusal(&top.path().join("missing"));
        assert!(missing.contains("/missing is not loaded: "), "{missing}");
        symlink("circle", top.path().join("circle")).unwrap();
        assert!(refusal(&top.path().join("circle/x")).contains("circle"));
    }

    #[test]
    fn the_way_through_the_first_process_stays_one() {
        if !geteuid().is_root() || !Path::new(HOST_ROOT).join("bin").exists() {
            println!("skipped: the host's files cannot be seen");
            return;
        }
        let reason = refusal(&Path::new(HOST_ROOT).join("nonexistent/x"));
        assert!(reason.starts_with("/proc/1/root/nonexistent/x is not loaded: No such"));
        let folder = refusal(Path::new("/proc/1/root/usr"));
        assert!(folder.contains("not a regular file"), "{folder}");
    }
}
