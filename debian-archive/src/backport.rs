//! Programs newer than the machine's, with the libraries that they need.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    apt::{apt, lists_and_cache},
    command::output,
    sources::{self, codename},
    unpack,
};

/// Fetches packages of the machine's backports with everything they need that the machine does not
/// have, and unpacks it all in the place of `into`: for programs whose packages cannot be installed
/// beside what is there. Lists and cache are kept below `state`.
pub fn unpack_backport(state: &Path, packages: &[&str], into: &Path) -> Result<()> {
    let suite = format!("{}-backports", codename()?);
    let folder = state.join(&suite);
    let parts = folder.join("parts");
    sources::write(&parts, &suite, "main")?;
    for file in sources::files()? {
        let copy = parts.join(file.file_name().unwrap_or_default());
        fs::copy(&file, &copy).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    let mut options = lists_and_cache(&folder)?;
    options.extend([
        format!("Dir::Etc::sourceparts={}", parts.display()),
        "Debug::NoLocking=1".to_owned(),
    ]);
    // Nothing is changed by this, so it may plan to remove what stands in the way.
    let install = [
        "install",
        "--yes",
        "--download-only",
        "--no-install-recommends",
    ];
    let install = [&install[..], &["--target-release", &suite], packages].concat();
    for arguments in [&["update"][..], &install] {
        output(apt("apt-get", &options).args(arguments))
            .with_context(|| format!("cannot fetch {} of {suite}", packages.join(", ")))?;
    }
    unpack::all(&folder.join("cache/archives"), into)
}
