//! A newer Prometheus than the machine's suite has.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::tools::{self, Package};

const PACKAGE: Package<'_> = Package {
    name: "prometheus",
    suite: "sid",
    component: "main",
};

/// The binary, fetched on first use; an error says why it cannot be had.
pub fn binary() -> anyhow::Result<PathBuf> {
    tools::file("prometheus-3", &PACKAGE, "usr/bin/prometheus")
}

/// `promtool` of it, likewise.
pub fn promtool() -> anyhow::Result<PathBuf> {
    let package = Package {
        name: "promtool",
        ..PACKAGE
    };
    tools::file("promtool-3", &package, "usr/bin/promtool")
}

/// Its version: major and minor.
pub fn version(binary: &Path) -> (u32, u32) {
    let output = Command::new(binary)
        .arg("--version")
        .output()
        .expect("Prometheus starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let number = said.split_once("version ").map_or("", |(_, rest)| rest);
    let mut parts = number.split('.').filter_map(|part| part.parse().ok());
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => (major, minor),
        _ => panic!("no version: {said}"),
    }
}
