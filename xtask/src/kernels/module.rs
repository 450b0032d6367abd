//! The module of `tests/xid-module`, built for a kernel of the list: a machine without a GPU gets the
//! tracepoint of a GPU's driver by it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use debian_archive::{Archive, Selection};

use super::list::Kernel;
use crate::command;

const SOURCES: &str = "tests/xid-module";
/// What Debian's names of a kernel's release end with.
const FLAVOUR: &str = "-cloud-amd64";

/// Builds the module; `None` where the kernel's tools do not run on every machine.
pub(super) fn build(kernel: &Kernel, image: &Path, work: &Path) -> Result<Option<Vec<u8>>> {
    let Some(tools) = kernel.module_tools else {
        return Ok(None);
    };
    let release = image
        .file_name()
        .and_then(|name| name.to_str()?.strip_prefix("vmlinuz-"))
        .with_context(|| format!("{} does not say its release", image.display()))?;
    let version = release.strip_suffix(FLAVOUR).unwrap_or(release);
    let (own, common) = (
        format!("linux-headers-{release}"),
        format!("linux-headers-{version}-common"),
    );
    let headers = work.join("headers").join(release);
    if !headers.is_dir() {
        eprintln!(
            "fetching the headers of {} from {}",
            kernel.name, kernel.suite
        );
        let packages = [own.clone(), common.clone(), tools.to_owned()];
        let selection = Selection {
            suite: kernel.suite,
            component: "main",
            architecture: kernel.architecture.debian(),
        };
        Archive::open(&work.join("apt"), &selection)?
            .unpack(&packages, &headers)
            .with_context(|| {
                format!(
                    "no headers of {release}: fetch a newer kernel by `cargo xtask test --kernels \
                     --refresh`"
                )
            })?;
    }
    let folder = copy_sources(&work.join(format!("{}-module", kernel.name)))?;
    let source = headers.join("usr/src");
    let mut make = Command::new("make");
    make.arg("--silent")
        .arg("-C")
        .arg(source.join(own))
        // The packages' own Makefile includes this one by the place where it would be installed.
        .arg("-f")
        .arg(source.join(common).join("Makefile"))
        .arg(format!("M={}", folder.display()))
        // Not the compiler that the packages depend on, which the machine may lack.
        .arg("CC=gcc")
        // BTF of the module, which nothing reads, would want the kernel's own vmlinux.
        .arg("CONFIG_DEBUG_INFO_BTF_MODULES=")
        .arg("modules")
        .stdout(Stdio::null());
    command::run(&mut make).with_context(|| {
        format!("cannot build {SOURCES} for {release}: are gcc, make and libelf1 installed?")
    })?;
    let built = folder.join("nvidia_xid_scenario.ko");
    let module = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    Ok(Some(module))
}

/// A copy of the sources, beside which the kernel's Makefile puts what it builds.
fn copy_sources(folder: &Path) -> Result<PathBuf> {
    let _absent = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let sources = command::repository().join(SOURCES);
    let entries =
        fs::read_dir(&sources).with_context(|| format!("cannot read {}", sources.display()))?;
    for entry in entries {
        let path = entry?.path();
        fs::copy(&path, folder.join(path.file_name().unwrap_or_default()))
            .with_context(|| format!("cannot copy {}", path.display()))?;
    }
    Ok(folder.to_owned())
}
