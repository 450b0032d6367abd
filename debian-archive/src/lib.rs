//! Packages of any suite of the Debian archive, unpacked into a folder and never installed.
//!
//! apt does the work, with sources, lists and cache of its own: mirror and keyring are those of the
//! machine, so signatures are checked and no address is written here, and the machine's own state
//! does not change.

mod apt;
mod backport;
mod command;
mod sources;
mod unpack;

pub use apt::{Archive, Selection, own_architecture};
pub use backport::unpack_backport;
pub use sources::codename;

use std::{fs, path::Path};

use anyhow::{Context, Result};

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}
