//! Where `libnvidia-ml.so.1` is looked for, and which file of that name is loaded.
//!
//! The dynamic linker is not asked: it looks where its environment says, and what it has found it runs. Here a file
//! is found first, then looked at ([`owner`]), then loaded by its path.

mod owner;

use std::path::{Path, PathBuf};

use super::down::Down;

/// What the driver's library is called.
pub(super) const LIBRARY: &str = "libnvidia-ml.so.1";

/// Why nothing is loaded where there is none.
pub(super) const NOT_FOUND: &str =
    "libnvidia-ml.so.1 is not found in the usual places: set gpu.library";
/// The processor's name in library folders.
const ARCHITECTURE: &str = std::env::consts::ARCH;

/// Folders below a root, `{arch}` standing for the processor: the driver container of the NVIDIA GPU
/// operator, GKE's driver installer, Debian and Ubuntu, Fedora and SUSE, what the NVIDIA container
/// toolkit and older installers use, `NixOS`.
const FOLDERS: [&str; 11] = [
    "run/nvidia/driver/usr/lib/{arch}-linux-gnu",
    "run/nvidia/driver/usr/lib64",
    "home/kubernetes/bin/nvidia/lib64",
    "usr/lib/{arch}-linux-gnu",
    "usr/lib/{arch}-linux-gnu/nvidia/current",
    "usr/lib64",
    "usr/lib64/nvidia",
    "usr/local/nvidia/lib64",
    "usr/local/cuda/lib64",
    "usr/lib",
    "run/opengl-driver/lib",
];

/// Roots: this one, and in the host's pid namespace that of the host, which a privileged container sees
/// without any mount.
const ROOTS: [&str; 2] = ["/", HOST_ROOT];
const HOST_ROOT: &str = "/proc/1/root";

/// What shows that the driver is loaded. Without it the library is not initialised: as root it would make
/// device nodes, and may load the module that somebody has just unloaded.
const DRIVER: [&str; 3] = [
    "/sys/module/nvidia",
    "/sys/module/nvgpu",
    "/proc/driver/nvidia/version",
];

/// Whether the driver is in the kernel.
pub(super) fn driver_is_loaded() -> bool {
    DRIVER.iter().any(|path| Path::new(path).exists())
}

/// The files that are there, the most likely one first.
pub(super) fn candidates() -> Vec<PathBuf> {
    files_below(&ROOTS.map(Path::new)).collect()
}

/// What to load for a path that is configured or found: where the file really is. An error is why it must not be
/// loaded, and what to do.
pub(super) fn to_load(path: &Path) -> Result<PathBuf, String> {
    owner::real_path(path)
}

/// What would be loaded, which is tried in turn until one works, or why nothing would.
pub(super) fn first_to_load(configured: Option<&Path>) -> Result<PathBuf, Down> {
    let candidates = match configured {
        Some(path) => vec![path.to_owned()],
        None if !driver_is_loaded() => {
            return Err(Down::NO_DRIVER);
        }
        None => candidates(),
    };
    let mut refused = None;
    for candidate in candidates {
        match to_load(&candidate) {
            Ok(path) => return Ok(path),
            Err(reason) => {
                refused.get_or_insert(reason);
            }
        }
    }
    Err(refused.map_or_else(|| Down::no_library(NOT_FOUND), Down::no_library))
}

fn files_below(roots: &[&Path]) -> impl Iterator<Item = PathBuf> {
    roots.iter().flat_map(|root| {
        FOLDERS.iter().filter_map(|folder| {
            let path = root
                .join(folder.replace("{arch}", ARCHITECTURE))
                .join(LIBRARY);
            path.exists().then_some(path)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_container_comes_before_the_host() {
        let root = tempfile::tempdir().unwrap();
        let make = |folder: &str| {
            let folder = root.path().join(folder.replace("{arch}", ARCHITECTURE));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(LIBRARY), "").unwrap();
            folder.join(LIBRARY)
        };
        let host = make(FOLDERS[3]);
        let container = make(FOLDERS[0]);
        let found: Vec<_> = files_below(&[root.path(), Path::new("/nonexistent")]).collect();
        assert_eq!(found, [container, host]);
    }
}
