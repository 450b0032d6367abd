//! What a guest boots into: a file system in memory with the agent, its tests and what these need.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::bed::Bed;
use super::binaries::Binaries;
use super::cpio::Archive;
use super::debian;
use super::fetch::Fetched;
use super::matrix::Wanted;
use crate::test::EVENTS_SEEN;

const INIT: &str = include_str!("init.sh");

/// What runs the tests, once the machine is as they expect it.
const TESTS: &str = include_str!("tests.sh");

/// How much of the work of a test is done in a guest, where everything takes twenty times as long:
/// less of it, but held to the same exactness.
const SCALE: &str = "0.01";
/// How many times longer a guest may take for what has a limit.
const PATIENCE: &str = "20";

/// Where a guest has the module of `tests/xid-module`, which a test loads, if one is built for its kernel.
const XID_MODULE: &str = "/xid/nvidia_xid_scenario.ko";

/// The test program that needs it.
const XID_TEST: &str = "xid";

/// Where the first disk is mounted if it has a file system.
const FILE_SYSTEM: &str = "/disk";

/// What an archive is made of.
pub(super) struct Content<'a> {
    pub(super) kernel: &'a Fetched,
    pub(super) bed: Bed,
    pub(super) xid_module: Option<&'a [u8]>,
    pub(super) busybox: &'a [u8],
    /// Debian's files, for the machine that boots them.
    pub(super) debian: Option<&'a Path>,
    pub(super) binaries: &'a Binaries,
    pub(super) wanted: &'a Wanted<'a>,
}

/// Builds the archive.
pub(super) fn archive(content: &Content<'_>) -> Result<Vec<u8>> {
    let Content {
        kernel,
        bed,
        xid_module,
        busybox,
        debian,
        binaries,
        wanted,
    } = *content;
    let mut archive = Archive::default();
    archive.console()?;
    archive.file("bin/busybox", busybox)?;
    // What the tests see is below the first, and the programs are in the second.
    let (root, programs) = if bed == Bed::System {
        let files = debian.context("Debian's files are not there")?;
        debian::add(&mut archive, files, busybox)?;
        (debian::ROOT, debian::PROGRAMS)
    } else {
        archive.file("init", INIT.as_bytes())?;
        if let Some(content) = xid_module {
            archive.file(XID_MODULE.trim_start_matches('/'), content)?;
        }
        for (number, (name, content)) in kernel.modules.iter().enumerate() {
            archive.file(&format!("modules/{number:02}-{name}.ko"), content)?;
        }
        for library in &binaries.libraries {
            let path = library.to_string_lossy();
            archive.file(path.trim_start_matches('/'), &read(library)?)?;
        }
        ("", "bin/")
    };
    let environment = environment(bed, wanted);
    archive.file(&format!("{root}environment"), environment.as_bytes())?;
    archive.file(&format!("{root}tests.sh"), TESTS.as_bytes())?;
    archive.file(&format!("{programs}sessionscope"), &read(&binaries.agent)?)?;
    archive.file(&format!("{programs}workload"), &read(&binaries.workload)?)?;
    // A test that cannot run is left out, so that the page does not count it.
    let runs = |name: &str| bed.runs(name) && (name != XID_TEST || xid_module.is_some());
    for (name, path) in binaries.tests.iter().filter(|(name, _)| runs(name)) {
        archive.file(&format!("{root}tests/{name}"), &read(path)?)?;
    }
    for object in ebpf_build::objects() {
        let name = object.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("{root}bpf/{name}"), &read(&object)?)?;
    }
    archive.finish().context("cannot finish the archive")
}

fn environment(bed: Bed, wanted: &Wanted<'_>) -> String {
    let seconds = wanted.pressure.as_secs().to_string();
    let mut values = vec![
        // Nothing may be skipped.
        ("CI", "true"),
        ("SESSIONSCOPE_TEST_MATRIX", "1"),
        ("SESSIONSCOPE_TEST_SCALE", SCALE),
        ("SESSIONSCOPE_TEST_PATIENCE", PATIENCE),
        ("SESSIONSCOPE_TEST_WORKLOAD", "/bin/workload"),
        ("SESSIONSCOPE_TEST_SLOW_DISK", "/dev/vdb"),
        ("SESSIONSCOPE_TEST_XID_MODULE", XID_MODULE),
        (EVENTS_SEEN, "/tmp/events"),
        ("SESSIONSCOPE_BIN", "/bin/sessionscope"),
        ("SESSIONSCOPE_BPF_DIR", "/bpf"),
        ("FILTER", wanted.filter.unwrap_or_default()),
    ];
    match bed {
        Bed::Ordinary => values.push(("SESSIONSCOPE_TEST_DISK", FILE_SYSTEM)),
        Bed::Pressure => {
            values.push(("SESSIONSCOPE_TEST_LARGE_DISK", "/dev/vda"));
            values.push(("SESSIONSCOPE_TEST_PRESSURE_SECONDS", &seconds));
        }
        Bed::System => values.push(("SESSIONSCOPE_TEST_SYSTEM", "1")),
    }
    let lines = values
        .into_iter()
        .map(|(name, value)| format!("export {name}='{value}'\n"));
    lines.collect()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
