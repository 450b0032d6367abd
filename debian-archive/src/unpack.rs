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

/// Writes the packages of a folder into the list of what dpkg takes for installed in a root.
pub(crate) fn record(packages: &Path, root: &Path) -> Result<()> {
    let mut status = String::new();
    let entries =
        fs::read_dir(packages).with_context(|| format!("cannot read {}", packages.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let fields = output(Command::new("dpkg-deb").arg("--field").arg(&path))?;
            status.push_str(&installed(&fields));
        }
    }
    let folder = root.join("var/lib/dpkg");
    create(&folder)?;
    let file = folder.join("status");
    fs::write(&file, status).with_context(|| format!("cannot write {}", file.display()))
}

/// A package's fields as they stand in that list.
fn installed(fields: &str) -> String {
    let fields = fields.trim_end();
    match fields.split_once('\n') {
        // The name comes first.
        Some((name, rest)) => format!("{name}\nStatus: install ok installed\n{rest}\n\n"),
        None => format!("{fields}\nStatus: install ok installed\n\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::installed;

    #[test]
    fn a_package_that_is_unpacked_counts_as_installed() {
        let fields = "Package: libc6\nVersion: 2.41-12\nDescription: short\n long\n";
        let expected = "Package: libc6\nStatus: install ok installed\nVersion: 2.41-12\n\
                        Description: short\n long\n\n";
        assert_eq!(installed(fields), expected);
    }
}
