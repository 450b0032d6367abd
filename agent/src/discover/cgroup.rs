//! The cgroup v2 hierarchy as the agent knows it: a first scan, then the kernel's events, and a scan now
//! and then to be sure.
//!
//! The events carry an id, the parent's id and the last path component, so a path is known without
//! asking the file system, which may already have forgotten a short-lived cgroup. A name is kept once, in its
//! own node: whole paths would take memory by the square of the depth, and a tenant chooses both.

use crate::telemetry::log_event;
use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque},
    ffi::{OsStr, OsString},
    fs::{self, Metadata},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirEntryExt, MetadataExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// Longest path in bytes (`PATH_MAX`): no rule is asked for a longer one, which nobody can open either.
const LONGEST: usize = 4096;
/// Bytes of a path that a log line shows.
const SHOWN: usize = 512;
/// Cgroups that are kept of what is below a session, or below a directory that is not root's: a desktop has some 200,
/// and whoever is in it can make any number. Further ones are measured with the one above, and nothing is known of them.
const MOST_WITHIN: usize = 1024;
/// So long after the event of its making a scan may not see a cgroup: the kernel tells of it before its directory can be
/// found (`cgroup_mkdir`, kernel/cgroup/cgroup.c: the tracepoint, then `kernfs_activate`).
const UNSEEN: Duration = Duration::from_secs(1);
/// Cgroups that are kept for that; a scan finds the others the next time.
const MOST_UNSEEN: usize = 4096;
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
    /// In whose budget it is: the nearest cgroup above that is a session or not root's.
    within: Option<u64>,
    /// Those below are in a budget of their own.
    is_session: bool,
}

/// What becomes of a cgroup that has been made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is known now.
    Known,
    /// One more than are kept of what is below this one.
    OverBudget(u64),
    /// The one above is not known: an event was lost, or that one was over a budget.
    Stray,
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
    /// How many there are in each budget.
    kept: HashMap<u64, usize>,
    /// Those that were made of late, the oldest first.
    made: VecDeque<(Instant, u64)>,
}

impl Hierarchy {
    /// Scans the hierarchy mounted at `mount`.
    pub fn scan(mount: &Path) -> io::Result<Self> {
        let mut hierarchy = Self {
            mount: mount.to_owned(),
            root: 0,
            nodes: HashMap::new(),
            kept: HashMap::new(),
            made: VecDeque::new(),
        };
        hierarchy.rescan()?;
        Ok(hierarchy)
    }

    /// Scans again. What was missed is added, as far as there is a budget for it, what is gone is forgotten. What
    /// cannot be read is not taken for gone (the agent may be out of descriptors, or a stranger's path too long):
    /// below it all stays as it was known.
    pub fn rescan(&mut self) -> io::Result<Rescan> {
        let metadata = fs::metadata(&self.mount)?;
        self.root = metadata.ino();
        let root = self.known_or(self.root, None, b"", None);
        let mut nodes = HashMap::from([(self.root, root)]);
        let mut unread = Vec::new();
        let mut open = vec![(self.root, self.mount.clone(), is_roots(&metadata))];
        while let Some((id, directory, is_roots)) = open.pop() {
            let above = nodes.get(&id);
            let within = above.and_then(|above| above.budget_below(id, is_roots));
            // Who is in a budget already stays in it, whoever owns what is below.
            let asks_owner = within.is_none();
            let keep = |child| self.nodes.contains_key(&child) || self.take_place(within);
            match children(&directory, asks_owner, keep) {
                Ok(children) => {
                    for (child, name, is_roots) in children {
                        let node = self.known_or(child, Some(id), name.as_bytes(), within);
                        nodes.insert(child, node);
                        open.push((child, directory.join(name), is_roots));
                    }
                }
                Err(error) => unread.push((id, directory, error)),
            }
        }
        self.forget_made();
        let unread_below = unread.iter().flat_map(|(id, ..)| self.subtree(*id));
        let of_late = self.made.iter().map(|(_, id)| *id);
        for known in unread_below.chain(of_late) {
            if let Some(node) = self.nodes.get(&known)
                && node
                    .parent
                    .is_some_and(|parent| nodes.contains_key(&parent))
            {
                let node = Node {
                    children: BTreeSet::new(),
                    ..node.clone()
                };
                nodes.entry(known).or_insert(node);
            }
        }
        if let Some((_, directory, error)) = unread.first() {
            log_event!(
                CgroupsUnread,
                cgroup = %String::from_utf8_lossy(&shown(directory)),
                cgroups = unread.len(),
                %error
            );
        }
        let gone = self.nodes.keys().filter(|id| !nodes.contains_key(id));
        let gone = gone.copied().collect();
        let before = std::mem::replace(&mut self.nodes, nodes);
        self.link();
        let mut appeared = self.in_order();
        appeared.retain(|id| !before.contains_key(id));
        Ok(Rescan { appeared, gone })
    }

    /// A cgroup as a scan has found it: in the budget in which it is known to be.
    fn known_or(&self, id: u64, parent: Option<u64>, name: &[u8], within: Option<u64>) -> Node {
        let known = self.nodes.get(&id);
        Node {
            parent,
            name: name.into(),
            children: BTreeSet::new(),
            within: known.map_or(within, |known| known.within),
            is_session: known.is_some_and(|known| known.is_session),
        }
    }

    /// Enters every cgroup with its parent, and in its budget.
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
        self.kept.clear();
        for within in self.nodes.values().filter_map(|node| node.within) {
            *self.kept.entry(within).or_default() += 1;
        }
    }

    /// Takes a place in a budget, if there is one.
    fn take_place(&mut self, within: Option<u64>) -> bool {
        let Some(within) = within else { return true };
        let kept = self.kept.entry(within).or_default();
        let has_place = *kept < MOST_WITHIN;
        *kept += usize::from(has_place);
        has_place
    }

    /// Takes note of a new cgroup.
    pub fn made(&mut self, id: u64, parent: u64, name: &[u8]) -> Made {
        let Some(above) = self.nodes.get(&parent) else {
            return Made::Stray;
        };
        if self.nodes.contains_key(&id) {
            return Made::Known;
        }
        let budget = above.budget_below(parent, true);
        let within = budget.or_else(|| (!self.is_roots(parent)).then_some(parent));
        if let Some(of) = within.filter(|_| !self.take_place(within)) {
            return Made::OverBudget(of);
        }
        if let Some(above) = self.nodes.get_mut(&parent) {
            above.children.insert(id);
        }
        let node = self.known_or(id, Some(parent), name, within);
        self.nodes.insert(id, node);
        self.forget_made();
        self.made.push_back((Instant::now(), id));
        Made::Known
    }

    /// Forgets which cgroups were made longer ago than a scan may miss them.
    fn forget_made(&mut self) {
        while let Some((at, _)) = self.made.front()
            && (at.elapsed() > UNSEEN || self.made.len() >= MOST_UNSEEN)
        {
            self.made.pop_front();
        }
    }

    /// A cgroup is a session: what is below it is in a budget of its own. Returns those that are too many, which are
    /// forgotten.
    pub fn bound(&mut self, session: u64) -> Vec<u64> {
        match self.nodes.get_mut(&session) {
            Some(node) if !node.is_session => node.is_session = true,
            _ => return Vec::new(),
        }
        let below = self.subtree(session).split_off(1);
        let inner: HashSet<u64> = below
            .iter()
            .copied()
            .filter(|id| self.nodes.get(id).is_some_and(|node| node.is_session))
            .collect();
        let mut surplus = Vec::new();
        for id in below {
            let Some(node) = self.nodes.get_mut(&id) else {
                continue;
            };
            if node.within.is_some_and(|within| inner.contains(&within)) {
                continue;
            }
            let before = node.within.take();
            self.leave(before);
            if self.take_place(Some(session)) {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.within = Some(session);
                }
            } else {
                surplus.push(id);
            }
        }
        let surplus: BTreeSet<u64> = surplus.iter().flat_map(|id| self.subtree(*id)).collect();
        for id in surplus.iter().rev() {
            self.removed(*id);
        }
        surplus.into_iter().collect()
    }

    fn leave(&mut self, within: Option<u64>) {
        if let Some(kept) = within.and_then(|within| self.kept.get_mut(&within)) {
            *kept = kept.saturating_sub(1);
        }
    }

    /// Forgets a cgroup.
    pub fn removed(&mut self, id: u64) {
        let Some(node) = self.nodes.remove(&id) else {
            return;
        };
        self.leave(node.within);
        self.kept.remove(&id);
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

    /// The cgroups above one, the nearest first.
    pub fn above(&self, id: u64) -> impl Iterator<Item = u64> + '_ {
        std::iter::successors(self.parent(id), |at| self.parent(*at))
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
        metadata.is_some_and(|metadata| is_roots(&metadata))
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
    /// In whose budget those below this cgroup are.
    fn budget_below(&self, id: u64, is_roots: bool) -> Option<u64> {
        let is_own = self.is_session || self.within.is_none() && !is_roots;
        if is_own { Some(id) } else { self.within }
    }
}

fn is_roots(directory: &Metadata) -> bool {
    directory.uid() == 0 && directory.mode() & OTHERS_WRITE == 0
}

/// The first bytes of a path, for a log line.
fn shown(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    bytes[..bytes.len().min(SHOWN)].to_vec()
}

/// Ids and names of the cgroups in a directory that are to be kept, and, where that is asked, whether each is root's
/// alone; none if it has gone. A tenant chooses how many there are, so those that are not kept cost no memory and no
/// system call of their own.
fn children(
    directory: &Path,
    asks_owner: bool,
    mut keep: impl FnMut(u64) -> bool,
) -> io::Result<Vec<(u64, OsString, bool)>> {
    let mut children = Vec::new();
    let Some(entries) = if_there(fs::read_dir(directory))? else {
        return Ok(children);
    };
    for entry in entries {
        let Some(entry) = if_there(entry)? else { break };
        let is_folder = if_there(entry.file_type())?.is_some_and(|kind| kind.is_dir());
        if !is_folder || !keep(entry.ino()) {
            continue;
        }
        let metadata = if asks_owner {
            if_there(entry.metadata())?
        } else {
            None
        };
        let is_roots = metadata.is_some_and(|metadata| is_roots(&metadata));
        children.push((entry.ino(), entry.file_name(), is_roots));
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
mod tests;
