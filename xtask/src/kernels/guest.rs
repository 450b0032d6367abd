//! What a guest boots into: a file system in memory with the agent, its tests and nothing else.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::binaries::Binaries;
use super::cpio::Archive;
use super::fetch::Fetched;
use crate::build_ebpf;

const INIT: &str = include_str!("init.sh");

/// How much of the work of a test is done in a guest, where everything takes twenty times as long:
/// less of it, but held to the same exactness.
const SCALE: &str = "0.01";
/// How many times longer a guest may take for what has a limit.
const PATIENCE: &str = "20";

/// Builds the archive; `filter` chooses tests by their name.
pub(super) fn archive(
    kernel: &Fetched,
    busybox: &[u8],
    binaries: &Binaries,
    filter: Option<&str>,
) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.console();
    archive.file("init", INIT.as_bytes());
    archive.file("bin/busybox", busybox);
    archive.file("environment", environment(filter).as_bytes());
    for (number, (name, content)) in kernel.modules.iter().enumerate() {
        archive.file(&format!("modules/{number:02}-{name}.ko"), content);
    }
    archive.file("bin/sessionscope", &read(&binaries.agent)?);
    archive.file("bin/workload", &read(&binaries.workload)?);
    for (name, path) in &binaries.tests {
        archive.file(&format!("tests/{name}"), &read(path)?);
    }
    for object in build_ebpf::objects() {
        let name = object.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("bpf/{name}"), &read(&object)?);
    }
    Ok(archive.finish())
}

fn environment(filter: Option<&str>) -> String {
    let values = [
        // Nothing may be skipped.
        ("CI", "true"),
        ("SESSIONSCOPE_TEST_MATRIX", "1"),
        ("SESSIONSCOPE_TEST_SCALE", SCALE),
        ("SESSIONSCOPE_TEST_PATIENCE", PATIENCE),
        ("SESSIONSCOPE_TEST_WORKLOAD", "/bin/workload"),
        ("SESSIONSCOPE_TEST_DISK", "/disk"),
        ("SESSIONSCOPE_TEST_SLOW_DISK", "/dev/vdb"),
        ("SESSIONSCOPE_BIN", "/bin/sessionscope"),
        ("SESSIONSCOPE_BPF_DIR", "/bpf"),
        ("FILTER", filter.unwrap_or_default()),
    ];
    let lines = values.map(|(name, value)| format!("export {name}='{value}'\n"));
    lines.concat()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
