//! A kernel of the list, unpacked below `target/kernels/`, and its modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use debian_archive::{Archive, Selection};

use super::list::Kernel;

/// What the guest needs: its disk, and a network that can delay and lose packets. Whichever is not
/// a module is built in.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_blk", "ext4", "veth", "sch_netem"];

/// A kernel that is there.
pub(super) struct Fetched {
    /// What QEMU boots.
    pub(super) image: PathBuf,
    /// The modules to load, dependencies first, as file name and content.
    pub(super) modules: Vec<(String, Vec<u8>)>,
}

/// Finds the kernel below `work`, fetching it when it is not there or when asked to.
pub(super) fn fetch(kernel: &Kernel, work: &Path, refresh: bool) -> Result<Fetched> {
    let folder = work.join(kernel.name);
    if refresh || !folder.is_dir() {
        eprintln!("fetching {} from {}", kernel.name, kernel.suite);
        let selection = Selection {
            suite: kernel.suite,
            component: "main",
            architecture: kernel.architecture.debian(),
        };
        let archive = Archive::open(&work.join("apt"), &selection)?;
        let packages = newest(kernel, &archive)?;
        archive.unpack(&packages, &folder)?;
    }
    let files = files_below(&folder)?;
    let image = files
        .iter()
        .find(|path| file_name(path).starts_with("vmlinuz"))
        .with_context(|| {
            format!(
                "no vmlinuz in {}: `cargo xtask test --kernels --refresh`",
                folder.display()
            )
        })?;
    Ok(Fetched {
        image: image.clone(),
        modules: modules(&files).with_context(|| format!("kernel {}", kernel.name))?,
    })
}

/// The packages of the newest version.
fn newest(kernel: &Kernel, archive: &Archive) -> Result<Vec<String>> {
    let first = kernel.packages[0];
    let (prefix, suffix) = first.split_once("{}").unwrap_or((first, ""));
    let names = archive.names(prefix)?;
    let version = names
        .iter()
        .filter_map(|name| name.strip_prefix(prefix)?.strip_suffix(suffix))
        .filter(|version| version.starts_with(|first: char| first.is_ascii_digit()))
        .max_by_key(|version| numbers(version))
        .with_context(|| {
            format!(
                "the suite {} has no package {}: correct xtask/src/kernels/list.rs",
                kernel.suite,
                first.replace("{}", "*")
            )
        })?;
    let packages = kernel.packages.iter();
    Ok(packages.map(|name| name.replace("{}", version)).collect())
}

/// The numbers in a version, which order it.
fn numbers(version: &str) -> Vec<u64> {
    version
        .split(|one: char| !one.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

/// The wanted modules and what they depend on, in an order in which they load.
fn modules(files: &[PathBuf]) -> Result<Vec<(String, Vec<u8>)>> {
    let mut loaded = Vec::new();
    for name in MODULES {
        add_module(name, files, &mut loaded)?;
    }
    Ok(loaded)
}

fn add_module(name: &str, files: &[PathBuf], loaded: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    if loaded.iter().any(|(present, _)| present == name) {
        return Ok(());
    }
    let Some(path) = files
        .iter()
        .find(|path| module_name(path).as_deref() == Some(name))
    else {
        let list = files
            .iter()
            .find(|path| file_name(path) == "modules.builtin");
        let list = list.context("the packages have no modules.builtin")?;
        let text =
            fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
        ensure!(
            text.lines()
                .any(|line| module_name(Path::new(line)).as_deref() == Some(name)),
            "the module {name} is neither built in nor in the packages"
        );
        return Ok(());
    };
    let content = if path.extension().is_some_and(|extension| extension == "xz") {
        let output = Command::new("xz")
            .args(["--decompress", "--stdout"])
            .arg(path)
            .output();
        let output = output.context("cannot start xz: install the package xz-utils")?;
        ensure!(output.status.success(), "xz cannot read {}", path.display());
        output.stdout
    } else {
        fs::read(path).with_context(|| format!("cannot read {}", path.display()))?
    };
    for needed in dependencies(&content) {
        add_module(&needed, files, loaded)?;
    }
    loaded.push((name.to_owned(), content));
    Ok(())
}

/// A module's name, in which the kernel writes `_` where a file may have `-`.
fn module_name(path: &Path) -> Option<String> {
    let (name, extension) = file_name(path).split_once('.')?;
    ["ko", "ko.xz"]
        .contains(&extension)
        .then(|| name.replace('-', "_"))
}

/// `depends=` of the section `.modinfo`, which is what depmod goes by too: reading it here spares
/// running depmod over every kernel.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let rest = &module[at + KEY.len()..];
    let end = rest
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(rest.len());
    let text = String::from_utf8_lossy(&rest[..end]);
    let names = text.split(',').filter(|name| !name.is_empty());
    names.map(|name| name.replace('-', "_")).collect()
}

fn file_name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("")
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{dependencies, module_name, numbers};

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        assert!(numbers("7.10.1+deb13") > numbers("7.9.12+deb13"));
        assert!(numbers("0-32") > numbers("0-9"));
    }

    #[test]
    fn a_module_says_what_it_depends_on() {
        let module = b"\0license=GPL\0depends=net-failover,failover\0name=x\0";
        assert_eq!(dependencies(module), ["net_failover", "failover"]);
        assert!(dependencies(b"\0depends=\0").is_empty());
    }

    #[test]
    fn a_module_is_known_by_its_name_however_its_file_is_called() {
        let name = |path: &str| module_name(Path::new(path));
        assert_eq!(name("a/virtio-rng.ko.xz").as_deref(), Some("virtio_rng"));
        assert_eq!(name("a/veth.ko").as_deref(), Some("veth"));
        assert_eq!(name("modules.builtin"), None);
    }
}
