//! Finds the cgroup v2 hierarchy among the mounts.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use serde::Serialize;

/// A mounted cgroup v2 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup2Mount {
    /// Where it is mounted.
    pub path: PathBuf,
    /// What else is mounted beside it.
    pub layout: CgroupLayout,
}

/// Which hierarchies the node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupLayout {
    /// Version 2 alone.
    Pure,
    /// Controllers are in version 1 hierarchies; version 2 has the processes but not all figures.
    Hybrid,
}

/// The hierarchy in `mounts`, the text of `/proc/self/mounts`: the one where distributions mount it
/// for a pure layout, the one for a hybrid layout, or the first.
pub fn find_cgroup2(mounts: &str) -> Option<Cgroup2Mount> {
    let paths = cgroup2_paths(mounts);
    let usual = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let path = usual
        .iter()
        .find_map(|usual| paths.iter().find(|path| *path == Path::new(usual)))
        .or(paths.first())?;
    Some(Cgroup2Mount {
        path: path.clone(),
        layout: layout(mounts),
    })
}

/// The configured hierarchy, or else the one that is found.
pub(super) fn choose(mounts: &str, configured: Option<&Path>) -> Result<Cgroup2Mount, String> {
    let Some(configured) = configured else {
        return find_cgroup2(mounts).ok_or_else(|| "none is mounted".to_owned());
    };
    if cgroup2_paths(mounts).iter().any(|path| path == configured) {
        Ok(Cgroup2Mount {
            path: configured.to_owned(),
            layout: layout(mounts),
        })
    } else {
        Err(format!(
            "kernel.cgroup_root {} is no cgroup v2 mount",
            configured.display()
        ))
    }
}

fn cgroup2_paths(mounts: &str) -> Vec<PathBuf> {
    let mounted = entries(mounts).filter(|(_, kind)| *kind == "cgroup2");
    mounted.map(|(path, _)| unescape(path)).collect()
}

fn layout(mounts: &str) -> CgroupLayout {
    if entries(mounts).any(|(_, kind)| kind == "cgroup") {
        CgroupLayout::Hybrid
    } else {
        CgroupLayout::Pure
    }
}

/// Mount point and file system type of each mount.
fn entries(mounts: &str) -> impl Iterator<Item = (&str, &str)> {
    mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    })
}

/// Undoes the kernel's escapes in a mount point: space, tab, newline and backslash are three octal
/// digits after a backslash.
fn unescape(field: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if let [
            b'\\',
            high @ b'0'..=b'3',
            middle @ b'0'..=b'7',
            low @ b'0'..=b'7',
            tail @ ..,
        ] = rest
        {
            bytes.push((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'));
            rest = tail;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// The layout in words.
pub(super) fn describe(mount: &Cgroup2Mount) -> String {
    let layout = match mount.layout {
        CgroupLayout::Pure => "version 2 alone",
        CgroupLayout::Hybrid => "version 1 hierarchies beside it",
    };
    format!("{}, {layout}", mount.path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURE: &str = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
    const HYBRID: &str = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                          cgroup2 /run/mine cgroup2 rw 0 0\n\
                          cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
                          cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n";

    #[test]
    fn the_usual_mount_is_preferred_and_the_layout_is_told() {
        let pure = find_cgroup2(PURE).unwrap();
        assert_eq!(
            (pure.path.to_str(), pure.layout),
            (Some("/sys/fs/cgroup"), CgroupLayout::Pure)
        );
        let hybrid = find_cgroup2(HYBRID).unwrap();
        assert_eq!(hybrid.path, Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(hybrid.layout, CgroupLayout::Hybrid);
    }

    #[test]
    fn a_node_with_version_1_alone_has_none() {
        assert_eq!(
            find_cgroup2("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"),
            None
        );
        assert_eq!(find_cgroup2(""), None);
    }

    #[test]
    fn mount_points_are_unescaped() {
        let mount = find_cgroup2("none /mnt/a\\040b\\134\\303\\251 cgroup2 rw 0 0\n").unwrap();
        assert_eq!(mount.path, Path::new("/mnt/a b\\é"));
    }

    #[test]
    fn a_configured_root_must_be_a_mount() {
        assert_eq!(
            choose(HYBRID, Some(Path::new("/run/mine"))).unwrap().path,
            Path::new("/run/mine")
        );
        let reason = choose(HYBRID, Some(Path::new("/sys/fs/cgroup"))).unwrap_err();
        assert_eq!(
            reason,
            "kernel.cgroup_root /sys/fs/cgroup is no cgroup v2 mount"
        );
    }
}
