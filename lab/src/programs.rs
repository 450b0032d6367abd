//! The programs that the workspace builds: what they are called, and where cargo puts them.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The agent; its package is called the same.
pub const AGENT: &str = "sessionscope";
/// The benchmarks, the demo and the comparison on a GPU; its package is called the same.
pub const BENCH: &str = "bench";
/// The tests' load.
pub const WORKLOAD: &str = "workload";
/// The library that answers in the place of NVIDIA's driver, and its package.
pub const SCENARIO_LIBRARY: &str = "libnvml_scenario.so";
/// See [`SCENARIO_LIBRARY`].
pub const SCENARIO_PACKAGE: &str = "nvml-scenario";
/// The empty kernel program that benchmarks compare with.
pub const FLOOR: &str = "bench-floor";

/// The repository, known at compile time so that a program also finds it when sudo has emptied the
/// environment.
pub fn repository() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Where cargo puts host binaries; the kernel programs always go below `target/`, because that is where
/// the agent's build script looks.
pub fn target_directory() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => repository().join(directory),
        None => repository().join("target"),
    }
}

/// A program or library of the profile `release`, whether or not it is built.
pub fn released(name: &str) -> PathBuf {
    target_directory().join("release").join(name)
}

/// The same of the profile `dev`, which tests are built with.
pub fn developed(name: &str) -> PathBuf {
    target_directory().join("debug").join(name)
}
