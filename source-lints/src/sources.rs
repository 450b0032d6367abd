//! The Rust files of a folder, for checks that read text.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Every Rust file below a folder, in order, with its text.
pub(crate) fn below(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, String)>) -> Result<()> {
    let unreadable = || format!("cannot read the folder {}", folder.display());
    let mut paths = fs::read_dir(folder)
        .with_context(unreadable)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(unreadable)?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            files.push((path, text));
        }
    }
    Ok(())
}
