//! The cgroup v2 hierarchy as the agent knows it: a first scan, then the kernel's events, and a scan now
//! and then to be sure.
//!
//! The events carry an id, the parent's id and the last path component, so a path is known without
//! asking the file system, which may already have forgotten a short-lived cgroup.

use std::{
    collections::{HashMap, HashSet},
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// A cgroup that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Inode number of its directory, the kernel's cgroup id.
    pub id: u64,
    /// The parent's; `None` for the root.
    pub parent: Option<u64>,
    /// Path within the hierarchy, `/` for the root, any bytes.
    pub path: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Node {
    parent: Option<u64>,
    path: Vec<u8>,
}

/// Every cgroup of the hierarchy.
#[derive(Debug)]
pub struct Hierarchy {
    mount: PathBuf,
    nodes: HashMap<u64, Node>,
}

impl Hierarchy {
    /// Scans the hierarchy mounted at `mount`.
    pub fn scan(mount: &Path) -> io::Result<Self> {
        let mut hierarchy = Self {
            mount: mount.to_owned(),
            nodes: HashMap::new(),
        };
        hierarchy.rescan()?;
        Ok(hierarchy)
    }

    /// Scans again. What was missed is added, what is gone is forgotten. What cannot be read is not taken for
    /// gone (the agent may be out of descriptors, or a stranger's path too long): below it all stays as it was
    /// known.
    pub fn rescan(&mut self) -> io::Result<()> {
        let root = fs::metadata(&self.mount)?.ino();
        let mut nodes = HashMap::from([(
            root,
            Node {
                parent: None,
                path: b"/".to_vec(),
            },
        )]);
        let mut unread = Vec::new();
        let mut open = vec![(root, self.mount.clone(), Vec::new())];
        while let Some((id, directory, path)) = open.pop() {
            let children = match children(&directory) {
                Ok(children) => children,
                Err(error) => {
                    unread.push((path, error));
                    continue;
                }
            };
            for (child, name) in children {
                let path = child_path(&path, name.as_bytes());
                nodes.insert(
                    child,
                    Node {
                        parent: Some(id),
                        path: path.clone(),
                    },
                );
                open.push((child, directory.join(name), path));
            }
        }
        for (path, _) in &unread {
            let below = child_path(path, b"");
            let known = self.nodes.iter();
            for (id, node) in known.filter(|(_, node)| node.path.starts_with(&below)) {
                nodes.entry(*id).or_insert_with(|| node.clone());
            }
        }
        if let Some((path, error)) = unread.first() {
            tracing::warn!(
                cgroup = %String::from_utf8_lossy(path),
                %error,
                cgroups = unread.len(),
                "cgroups not read: what was known below them stays"
            );
        }
        self.nodes = nodes;
        Ok(())
    }

    /// Takes note of a new cgroup. `None` when its parent is not known: an event was lost, and only a
    /// scan can tell the path.
    pub fn made(&mut self, id: u64, parent: u64, name: &[u8]) -> Option<Found> {
        let above = self.nodes.get(&parent)?;
        let above = if above.parent.is_none() {
            &[][..]
        } else {
            &above.path
        };
        let path = child_path(above, name);
        self.nodes.insert(
            id,
            Node {
                parent: Some(parent),
                path: path.clone(),
            },
        );
        Some(Found {
            id,
            parent: Some(parent),
            path,
        })
    }

    /// Forgets a cgroup.
    pub fn removed(&mut self, id: u64) {
        self.nodes.remove(&id);
    }

    /// Every cgroup, parents before children.
    pub fn all(&self) -> Vec<Found> {
        let mut all: Vec<Found> = self
            .nodes
            .iter()
            .map(|(&id, node)| Found {
                id,
                parent: node.parent,
                path: node.path.clone(),
            })
            .collect();
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all
    }

    /// Directory of a cgroup.
    pub fn directory(&self, id: u64) -> Option<PathBuf> {
        self.nodes
            .get(&id)
            .map(|node| self.directory_of(&node.path))
    }

    fn directory_of(&self, path: &[u8]) -> PathBuf {
        let relative = path.strip_prefix(b"/").unwrap_or(path);
        self.mount.join(OsStr::from_bytes(relative))
    }

    /// Ids of every cgroup.
    pub fn ids(&self) -> HashSet<u64> {
        self.nodes.keys().copied().collect()
    }

    /// When a cgroup that was there before the agent began: its directory's change time, or the start of
    /// its oldest process if that is earlier. (cgroupfs stamps a directory when the inode is first
    /// looked at, fs/kernfs/inode.c, so the directory alone may be too young.)
    pub fn began(&self, path: &[u8]) -> Option<SystemTime> {
        let directory = self.directory_of(path);
        let metadata = fs::metadata(&directory).ok()?;
        let changed = SystemTime::UNIX_EPOCH
            + Duration::new(
                metadata.ctime().max(0) as u64,
                metadata.ctime_nsec().max(0) as u32,
            );
        let oldest = oldest_process(&directory);
        Some(oldest.map_or(changed, |oldest| oldest.min(changed)))
    }
}

/// Ids and names of the cgroups in a directory; none if it has gone.
fn children(directory: &Path) -> io::Result<Vec<(u64, OsString)>> {
    let mut children = Vec::new();
    let Some(entries) = if_there(fs::read_dir(directory))? else {
        return Ok(children);
    };
    for entry in entries {
        let Some(entry) = if_there(entry)? else { break };
        if if_there(entry.file_type())?.is_some_and(|t| t.is_dir())
            && let Some(metadata) = if_there(entry.metadata())?
        {
            children.push((metadata.ino(), entry.file_name()));
        }
    }
    Ok(children)
}

/// A cgroup may go at any moment of a walk; it is then simply not there (`ENOENT`, or `ENODEV` once it is
/// open).
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(it) => Ok(Some(it)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

fn child_path(parent: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = parent.to_vec();
    path.push(b'/');
    path.extend_from_slice(name);
    path
}

/// Start of the oldest process directly in the cgroup.
fn oldest_process(directory: &Path) -> Option<SystemTime> {
    let pids = fs::read_to_string(directory.join("cgroup.procs")).ok()?;
    let boot = SystemTime::UNIX_EPOCH + Duration::from_secs(procfs::boot_time_secs().ok()?);
    let ticks = procfs::ticks_per_second();
    pids.lines()
        .filter_map(|pid| pid.parse().ok())
        .filter_map(|pid| procfs::process::Process::new(pid).ok()?.stat().ok())
        .map(|stat| stat.starttime)
        .min()
        .map(|start| boot + Duration::from_millis(start * 1000 / ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_and_the_events_agree_on_paths() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("a.slice/b.scope")).unwrap();
        fs::write(tree.path().join("a.slice/cgroup.procs"), "").unwrap();
        let mut hierarchy = Hierarchy::scan(tree.path()).unwrap();
        let paths: Vec<_> = hierarchy.all().into_iter().map(|f| f.path).collect();
        assert_eq!(paths, [&b"/"[..], b"/a.slice", b"/a.slice/b.scope"]);

        let a = hierarchy.all()[1].id;
        let made = hierarchy.made(77, a, b"c\xff").unwrap();
        assert_eq!(made.path, b"/a.slice/c\xff");
        let root = hierarchy.all()[0].id;
        assert_eq!(hierarchy.made(78, root, b"top").unwrap().path, b"/top");
        hierarchy.removed(77);
        assert!(!hierarchy.ids().contains(&77));
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_gone_and_hides_nothing_else() {
        let tree = tempfile::tempdir().unwrap();
        let path = |name: &str| tree.path().join(name);
        fs::create_dir_all(path("a/known")).unwrap();
        let mut hierarchy = Hierarchy::scan(tree.path()).unwrap();
        // Paths end at 4,096 bytes, for root, too, which no mode keeps out.
        let (most, more) = (
            vec!["x".repeat(200); 18].join("/"),
            vec!["y".repeat(200); 3].join("/"),
        );
        fs::create_dir_all(path(&most)).unwrap();
        fs::create_dir_all(path(&more)).unwrap();
        fs::rename(path("a"), path(&more).join("a")).unwrap();
        let top = more.split('/').next().unwrap();
        fs::rename(path(top), path(&most).join(top)).unwrap();
        fs::create_dir(path("b")).unwrap();
        hierarchy.nodes.insert(
            7,
            Node {
                parent: None,
                path: format!("/{most}/{more}/known").into_bytes(),
            },
        );
        hierarchy.rescan().unwrap();
        let ids = hierarchy.ids();
        assert!(ids.contains(&7));
        let found: Vec<_> = hierarchy.all().into_iter().map(|f| f.path).collect();
        assert!(found.contains(&b"/b".to_vec()) && !found.contains(&b"/a".to_vec()));
    }

    #[test]
    fn walks_pass_over_what_has_gone_and_over_nothing_else() {
        let gone = [libc::ENOENT, libc::ENODEV];
        for code in gone {
            let error = io::Error::from_raw_os_error(code);
            assert!(matches!(if_there::<()>(Err(error)), Ok(None)));
        }
        for code in [libc::EMFILE, libc::ENOMEM, libc::EACCES] {
            let error = io::Error::from_raw_os_error(code);
            let passed = if_there::<()>(Err(error));
            assert_eq!(passed.unwrap_err().raw_os_error(), Some(code));
        }
    }

    #[test]
    fn a_cgroup_below_an_unknown_parent_asks_for_a_scan() {
        let tree = tempfile::tempdir().unwrap();
        let mut hierarchy = Hierarchy::scan(tree.path()).unwrap();
        assert_eq!(hierarchy.made(5, 999_999, b"x"), None);
    }
}
