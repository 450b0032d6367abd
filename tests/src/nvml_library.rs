//! NVIDIA's own `libnvidia-ml.so.1`, for what the agent makes of the real one on a node without a driver.
//!
//! It is proprietary: Debian's archive has it in `non-free`, the repository never. Run by root it makes
//! `/dev/nvidiactl` before it finds that there is no driver, so what loads it is started inside
//! [`crate::mount_namespace`].

use std::{env, path::PathBuf};

use debian_archive::codename;

use crate::tools::{self, Package};

/// The name by which the driver installs it, and programs load it.
pub const SONAME: &str = "libnvidia-ml.so.1";

/// The library, fetched on first use; an error says why it cannot be had.
pub fn path() -> anyhow::Result<PathBuf> {
    let package = Package {
        name: "libnvidia-ml1",
        suite: &codename()?,
        component: "non-free",
    };
    let folder = format!("usr/lib/{}-linux-gnu/nvidia/current", env::consts::ARCH);
    tools::file("libnvidia-ml", &package, &format!("{folder}/{SONAME}"))
}
