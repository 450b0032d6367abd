//! The cgroup v2 hierarchy as the agent knows it: a first scan, then the kernel's events, and a scan now
//! and then to be sure.
//!
//! The events carry an id, the parent's id and the last path component, so a path is known without
//! asking the file system, which may already have forgotten a short-lived cgroup. A name is kept once, in its
//! own node: whole paths would take memory by the square of the depth, and a tenant chooses both.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap, HashSet},
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Longest path in bytes (`PATH_MAX`): no rule is asked for a longer one, which nobody can open either.
const LONGEST: usize = 4096;
/// Bytes of a path that a log line shows.
const SHOWN: usize = 512;
/// Write permission of others than the owner.
const OTHERS_WRITE: u32 = 0o022;

/// A cgroup that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Inode number of its directory, the kernel's cgroup id.
    pub id: u64,
    /// The parent's; `None` for the root.
    pub parent: Option<u64>,
    /// Path within the hierarchy of one that a rule takes, `/` for the root, any bytes.
    pub path: Option<Arc<[u8]>>,
}

#[derive(Clone, Debug)]
struct Node {
    parent: Option<u64>,
    name: Box<[u8]>,
    children: BTreeSet<u64>,
}

/// What a scan found that was not known.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rescan {
    /// Those that are there and were not known, in the order of their making.
    pub appeared: Vec<u64>,
    /// Those that were known and are gone.
    pub gone: Vec<u64>,
}

/// Every cgroup of the hierarchy.
#[derive(Debug)]
pub struct Hierarchy {
    mount: PathBuf,
    root: u64,
    nodes: HashMap<u64, Node>,
}

impl Hierarchy {
    /// Scans the hierarchy mounted at `mount`.
    pub fn scan(mount: &Path) -> io::Result<Self> {
        let mut hierarchy = Self {
            mount: mount.to_owned(),
            root: 0,
            nodes: HashMap::new(),
        };
        hierarchy.rescan()?;
        Ok(hierarchy)
    }

    /// Scans again. What was missed is added, what is gone is forgotten. What cannot be read is not taken for
    /// gone (the agent may be out of descriptors, or a stranger's path too long): below it all stays as it was
    /// known.
    pub fn rescan(&mut self) -> io::Result<Rescan> {
        let root = fs::metadata(&self.mount)?.ino();
        let mut nodes = HashMap::from([(root, Node::new(None, b""))]);
        let mut unread = Vec::new();
        let mut open = vec![(root, self.mount.clone())];
        while let Some((id, directory)) = open.pop() {
            match children(&directory) {
                Ok(children) => {
                    for (child, name) in children {
                        nodes.insert(child, Node::new(Some(id), name.as_bytes()));
                        open.push((child, directory.join(name)));
                    }
                }
                Err(error) => unread.push((id, directory, error)),
            }
        }
        for (id, ..) in &unread {
            for known in self.subtree(*id) {
                if let Some(node) = self.nodes.get(&known) {
                    let node = Node::new(node.parent, &node.name);
                    nodes.entry(known).or_insert(node);
                }
            }
        }
        if let Some((_, directory, error)) = unread.first() {
            tracing::warn!(
                cgroup = %String::from_utf8_lossy(&shown(directory)),
                %error,
                cgroups = unread.len(),
                "cgroups not read: what was known below them stays"
            );
        }
        let gone = self.nodes.keys().filter(|id| !nodes.contains_key(id));
        let gone = gone.copied().collect();
        let before = std::mem::replace(&mut self.nodes, nodes);
        self.root = root;
        self.link();
        let mut appeared = self.in_order();
        appeared.retain(|id| !before.contains_key(id));
        Ok(Rescan { appeared, gone })
    }

    /// Enters every cgroup with its parent.
    fn link(&mut self) {
        let pairs = self.nodes.iter();
        let pairs: Vec<(u64, u64)> = pairs
            .filter_map(|(&id, node)| Some((node.parent?, id)))
            .collect();
        for (parent, id) in pairs {
            if let Some(parent) = self.nodes.get_mut(&parent) {
                parent.children.insert(id);
            }
        }
    }

    /// Takes note of a new cgroup; says whether its parent is known. Otherwise an event was lost, and only a
    /// scan can tell the path.
    pub fn made(&mut self, id: u64, parent: u64, name: &[u8]) -> bool {
        let Some(above) = self.nodes.get_mut(&parent) else {
            return false;
        };
        above.children.insert(id);
        self.nodes.insert(id, Node::new(Some(parent), name));
        true
    }

    /// Forgets a cgroup.
    pub fn removed(&mut self, id: u64) {
        let Some(node) = self.nodes.remove(&id) else {
            return;
        };
        if let Some(parent) = node.parent.and_then(|parent| self.nodes.get_mut(&parent)) {
            parent.children.remove(&id);
        }
    }

    /// Every cgroup, each after its parent, and otherwise in the order in which they were made: the kernel
    /// counts ids up (`__kernfs_new_node`, fs/kernfs/dir.c, 6.18).
    pub fn in_order(&self) -> Vec<u64> {
        self.subtree(self.root)
    }

    /// A cgroup and all below it, in the same order; none if it is not there.
    pub fn subtree(&self, id: u64) -> Vec<u64> {
        let mut order = Vec::new();
        let mut next = BinaryHeap::new();
        if self.nodes.contains_key(&id) {
            next.push(Reverse(id));
        }
        while let Some(Reverse(id)) = next.pop() {
            order.push(id);
            if let Some(node) = self.nodes.get(&id) {
                next.extend(node.children.iter().copied().map(Reverse));
            }
        }
        order
    }

    /// Whether a cgroup is there.
    pub fn contains(&self, id: u64) -> bool {
        self.nodes.contains_key(&id)
    }

    /// The parent of a cgroup; `None` for the root and for one that is not known.
    pub fn parent(&self, id: u64) -> Option<u64> {
        self.nodes.get(&id)?.parent
    }

    /// Path of a cgroup within the hierarchy, `/` for the root; `None` for one that is not known and for one
    /// whose path is longer than any that can be opened.
    pub fn path(&self, id: u64) -> Option<Vec<u8>> {
        let (mut names, mut length) = (Vec::new(), 0);
        let mut node = self.nodes.get(&id)?;
        while let Some(parent) = node.parent {
            names.push(&node.name);
            length += 1 + node.name.len();
            if length > LONGEST {
                return None;
            }
            node = self.nodes.get(&parent)?;
        }
        let mut path = Vec::with_capacity(length.max(1));
        for name in names.into_iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        Some(path)
    }

    /// Directory of a cgroup.
    pub fn directory(&self, id: u64) -> Option<PathBuf> {
        let path = self.path(id)?;
        Some(self.mount.join(OsStr::from_bytes(&path[1..])))
    }

    /// Whether root alone may make cgroups in this one: its directory is root's, and nobody else may write to
    /// it. systemd gives a directory to the user to whom it delegates (`cg_set_access`,
    /// src/shared/cgroup-setup.c, 257). One that cannot be asked is not believed.
    pub fn is_roots(&self, id: u64) -> bool {
        let metadata = self.directory(id).and_then(|path| fs::metadata(path).ok());
        metadata
            .is_some_and(|directory| directory.uid() == 0 && directory.mode() & OTHERS_WRITE == 0)
    }

    /// Ids of every cgroup.
    pub fn ids(&self) -> HashSet<u64> {
        self.nodes.keys().copied().collect()
    }

    /// When a cgroup that was there before the agent began: its directory's change time, or the start of
    /// its oldest process if that is earlier. (cgroupfs stamps a directory when the inode is first
    /// looked at, fs/kernfs/inode.c, so the directory alone may be too young.)
    pub fn began(&self, id: u64) -> Option<SystemTime> {
        let directory = self.directory(id)?;
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

impl Node {
    fn new(parent: Option<u64>, name: &[u8]) -> Self {
        Self {
            parent,
            name: name.into(),
            children: BTreeSet::new(),
        }
    }
}

/// The first bytes of a path, for a log line.
fn shown(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    bytes[..bytes.len().min(SHOWN)].to_vec()
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
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn paths(hierarchy: &Hierarchy) -> Vec<Vec<u8>> {
        let ids = hierarchy.in_order();
        let mut paths: Vec<_> = ids.iter().filter_map(|&id| hierarchy.path(id)).collect();
        paths.sort();
        paths
    }

    fn id(hierarchy: &Hierarchy, path: &[u8]) -> u64 {
        let ids = hierarchy.in_order();
        let is_it = |id: &u64| hierarchy.path(*id).as_deref() == Some(path);
        ids.into_iter().find(is_it).unwrap()
    }

    #[test]
    fn a_scan_and_the_events_agree_on_paths() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("a.slice/b.scope")).unwrap();
        fs::write(tree.path().join("a.slice/cgroup.procs"), "").unwrap();
        let mut hierarchy = Hierarchy::scan(tree.path()).unwrap();
        assert_eq!(
            paths(&hierarchy),
            [&b"/"[..], b"/a.slice", b"/a.slice/b.scope"]
        );

        let a = id(&hierarchy, b"/a.slice");
        assert!(hierarchy.made(77, a, b"c\xff"));
        assert_eq!(hierarchy.path(77).unwrap(), b"/a.slice/c\xff");
        assert!(hierarchy.made(78, hierarchy.root, b"top"));
        assert_eq!(hierarchy.path(78).unwrap(), b"/top");
        assert!(hierarchy.subtree(a).contains(&77));
        hierarchy.removed(77);
        assert!(!hierarchy.ids().contains(&77) && !hierarchy.subtree(a).contains(&77));
        let rescan = hierarchy.rescan().unwrap();
        assert_eq!((rescan.appeared.len(), rescan.gone), (0, vec![78]));
    }

    #[test]
    fn each_comes_after_its_parent_and_otherwise_in_the_order_of_making() {
        let tree = tempfile::tempdir().unwrap();
        let mut hierarchy = Hierarchy::scan(tree.path()).unwrap();
        let root = hierarchy.root;
        let late = root + 9;
        for (id, parent) in [(late, root), (root + 3, late), (root + 5, root)] {
            assert!(hierarchy.made(id, parent, b"x"));
        }
        assert_eq!(hierarchy.in_order(), [root, root + 5, late, root + 3]);
        assert_eq!(hierarchy.subtree(late), [late, root + 3]);
        assert_eq!(hierarchy.subtree(1), [0; 0]);
    }

    #[test]
    fn depth_costs_the_names_alone_and_no_rule_is_asked_beyond_the_longest_path() {
        let tree = tempfile::tempdir().unwrap();
        let mut hierarchy = Hierarchy::scan(tree.path()).unwrap();
        let (mut parent, name) = (hierarchy.root, vec![b'x'; 255]);
        for depth in 0..1200 {
            let id = parent + 1;
            assert!(hierarchy.made(id, parent, &name));
            let known = hierarchy.path(id).map(|path| path.len());
            let length = (depth + 1) * 256;
            assert_eq!(known, (length <= LONGEST).then_some(length));
            parent = id;
        }
        let kept: usize = hierarchy.nodes.values().map(|node| node.name.len()).sum();
        assert_eq!(kept, 1200 * 255);
    }

    #[test]
    fn a_directory_that_others_own_or_may_write_is_not_roots() {
        let tree = tempfile::tempdir().unwrap();
        for (name, mode) in [("roots", 0o755), ("open", 0o775), ("users", 0o700)] {
            let path = tree.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        std::os::unix::fs::chown(tree.path().join("users"), Some(1000), None).unwrap();
        let hierarchy = Hierarchy::scan(tree.path()).unwrap();
        let roots = |path: &[u8]| hierarchy.is_roots(id(&hierarchy, path));
        assert!(roots(b"/roots") && !roots(b"/open") && !roots(b"/users"));
        assert!(!hierarchy.is_roots(1));
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_gone_and_hides_nothing_else() {
        let tree = tempfile::tempdir().unwrap();
        let path = |name: &str| tree.path().join(name);
        // Paths end at 4,096 bytes, for root, too, which no mode keeps out.
        let (most, more) = (
            vec!["x".repeat(200); 18].join("/"),
            vec!["y".repeat(200); 3].join("/"),
        );
        let inner = format!("{more}/known");
        fs::create_dir_all(path(&inner)).unwrap();
        let mut hierarchy = Hierarchy::scan(tree.path()).unwrap();
        let known = id(&hierarchy, format!("/{inner}").as_bytes());
        fs::create_dir_all(path(&most)).unwrap();
        let top = more.split('/').next().unwrap();
        fs::rename(path(top), path(&most).join(top)).unwrap();
        fs::create_dir(path("b")).unwrap();
        hierarchy.rescan().unwrap();
        assert!(hierarchy.contains(known));
        assert!(paths(&hierarchy).contains(&b"/b".to_vec()));
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
        assert!(!hierarchy.made(5, 999_999, b"x"));
    }
}
