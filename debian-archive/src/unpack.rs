//! Unpacking what was fetched.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{command::output, create};

/// Unpacks all packages of a folder in the place of `into`.
pub(crate) fn all(packages: &Path, into: &Path) -> Result<()> {
    // Beside its place and renamed, so that what is there is whole.
    let mut partial = into.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let _absent = fs::remove_dir_all(&partial);
    create(&partial)?;
    let mut found = 0;
    for entry in
        fs::read_dir(packages).with_context(|| format!("cannot read {}", packages.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let mut dpkg = Command::new("dpkg-deb");
            output(dpkg.arg("--extract").arg(&path).arg(&partial))
                .with_context(|| format!("cannot unpack {}", path.display()))?;
            found += 1;
        }
    }
    ensure!(
        found > 0,
        "no package was fetched into {}",
        packages.display()
    );
    let _absent = fs::remove_dir_all(into);
    fs::rename(&partial, into).with_context(|| format!("cannot create {}", into.display()))
}
