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

/// Where a guest has the module of `tests/xid-module`, which a test loads, if one is built for its kernel.
const XID_MODULE: &str = "/xid/nvidia_xid_scenario.ko";

/// The test program that needs it.
const XID_TEST: &str = "xid";

/// Builds the archive; `filter` chooses tests by their name.
pub(super) fn archive(
    kernel: &Fetched,
    xid_module: Option<&[u8]>,
    busybox: &[u8],
    binaries: &Binaries,
    filter: Option<&str>,
) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.console();
    archive.file("init", INIT.as_bytes());
    archive.file("bin/busybox", busybox);
    archive.file("environment", environment(filter).as_bytes());
    if let Some(content) = xid_module {
        archive.file(XID_MODULE.trim_start_matches('/'), content);
    }
    for (number, (name, content)) in kernel.modules.iter().enumerate() {
        archive.file(&format!("modules/{number:02}-{name}.ko"), content);
    }
    archive.file("bin/sessionscope", &read(&binaries.agent)?);
    archive.file("bin/workload", &read(&binaries.workload)?);
    // A test that cannot run is left out, so that the page does not count it.
    let runs = |name: &str| name != XID_TEST || xid_module.is_some();
    for (name, path) in binaries.tests.iter().filter(|(name, _)| runs(name)) {
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
        ("SESSIONSCOPE_TEST_XID_MODULE", XID_MODULE),
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
