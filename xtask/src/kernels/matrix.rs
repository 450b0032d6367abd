//! The guests: what is made ready for all of them, and one that is booted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::bed::Bed;
use super::binaries::{self, Binaries};
use super::debian;
use super::fetch::{self, Fetched};
use super::guest::{self, Content};
use super::list::Kernel;
use super::outcome::Outcome;
use super::qemu::{Guest, Qemu};
use super::{Architecture, Boot, module};
use crate::command;
use crate::workspace::Compiler;

/// Two of them on two CPUs took 17 minutes and more where a compiler ran beside them (6.1; 7.2 was not done in 20).
const LIMIT: Duration = Duration::from_mins(40);
const SLOW_DISK_BYTES: u64 = 64 << 20;
/// How much of a failed guest's log is shown.
const LOG_LINES: usize = 40;

/// What a run of the matrix is for.
pub(super) struct Wanted<'a> {
    /// Only tests whose name contains it.
    pub(super) filter: Option<&'a str>,
    /// How long the test under memory pressure lasts with each store.
    pub(super) pressure: Duration,
    /// Whether kernels are fetched anew.
    pub(super) refresh: bool,
    /// What the programs for this machine's architecture are compiled by.
    pub(super) compiler: Compiler,
}

/// The name of a guest's files.
pub(super) fn stem(kernel: &Kernel, bed: Bed) -> String {
    format!("{}-{}", kernel.name, bed.name())
}

/// Everything that guests of several kernels have in common.
pub(super) struct Matrix<'a> {
    work: &'a Path,
    wanted: &'a Wanted<'a>,
    qemu: Qemu,
    parts: BTreeMap<Architecture, (Binaries, Vec<u8>)>,
    kernels: BTreeMap<&'static str, Prepared>,
    /// Debian's files, where a machine boots them.
    debian: Option<PathBuf>,
}

/// A kernel that is there, with the module that is built for it.
struct Prepared {
    fetched: Fetched,
    xid_module: Option<Vec<u8>>,
}

impl<'a> Matrix<'a> {
    pub(super) fn prepare(work: &'a Path, boots: &[Boot], wanted: &'a Wanted<'a>) -> Result<Self> {
        let qemu = Qemu::find(work)?;
        let mut kernels = BTreeMap::new();
        for (kernel, _) in boots {
            if kernels.contains_key(kernel.name) {
                continue;
            }
            let fetched = fetch::fetch(kernel, work, wanted.refresh)?;
            let xid_module = module::build(kernel, &fetched.image, work)?;
            kernels.insert(
                kernel.name,
                Prepared {
                    fetched,
                    xid_module,
                },
            );
        }
        let mut parts = BTreeMap::new();
        for architecture in Architecture::ALL {
            if boots
                .iter()
                .any(|(kernel, _)| kernel.architecture == architecture)
            {
                let binaries = binaries::build(architecture, work, wanted.compiler)?;
                let busybox = binaries::busybox(architecture, work)?;
                parts.insert(architecture, (binaries, busybox));
            }
        }
        let is_booted = boots.iter().any(|(_, bed)| *bed == Bed::System);
        let debian = is_booted.then(|| debian::unpack(work)).transpose()?;
        Ok(Self {
            work,
            wanted,
            qemu,
            parts,
            kernels,
            debian,
        })
    }

    /// Boots a kernel and lets the tests run there.
    pub(super) fn test(&self, (kernel, bed): Boot) -> Result<Outcome> {
        let Prepared {
            fetched,
            xid_module,
        } = self
            .kernels
            .get(kernel.name)
            .context("a kernel that is not fetched")?;
        let (binaries, busybox) = self
            .parts
            .get(&kernel.architecture)
            .context("no binaries for the architecture")?;
        let stem = stem(kernel, bed);
        let file = |extension: &str| -> PathBuf { self.work.join(format!("{stem}.{extension}")) };
        let (archive, log) = (file("cpio"), file("log"));
        let (disk, slow_disk) = (file("disk"), file("slow-disk"));
        let content = Content {
            kernel: fetched,
            bed,
            xid_module: xid_module.as_deref(),
            busybox,
            debian: self.debian.as_deref(),
            binaries,
            wanted: self.wanted,
        };
        fs::write(&archive, guest::archive(&content)?)
            .with_context(|| format!("cannot write {}", archive.display()))?;
        make_empty(&disk, bed.disk_bytes())?;
        if bed.has_file_system() {
            make_file_system(&disk)?;
        }
        make_empty(&slow_disk, SLOW_DISK_BYTES)?;

        let mut outcome = Outcome::of(kernel);
        let began = Instant::now();
        let guest = Guest {
            architecture: kernel.architecture,
            memory_mib: bed.memory_mib(),
            image: &fetched.image,
            archive: &archive,
            disk: &disk,
            slow_disk: &slow_disk,
            log: &log,
            limit: LIMIT,
            counts_instructions: bed.counts_instructions(),
            silence: bed.silence(),
        };
        let result = self.qemu.run(&guest, |line| {
            if outcome.line(line) {
                let seconds = began.elapsed().as_secs();
                println!("[{stem} {seconds:>4} s] {line}");
            }
        });
        if let Err(error) = result {
            outcome.broken.push(format!("{error:#}"));
        }
        for scratch in [&archive, &disk, &slow_disk] {
            fs::remove_file(scratch)
                .with_context(|| format!("cannot remove {}", scratch.display()))?;
        }
        if !outcome.faults().is_empty() {
            show_end(&stem, &log);
        }
        let json = serde_json::to_string_pretty(&outcome).context("an outcome is plain")?;
        let path = file("json");
        fs::write(&path, json).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(outcome)
    }
}

/// A sparse file.
fn make_empty(path: &Path, bytes: u64) -> Result<()> {
    let create = || fs::File::create(path)?.set_len(bytes);
    create().with_context(|| format!("cannot create {}", path.display()))
}

/// An empty ext4 file system in a file that is there.
fn make_file_system(path: &Path) -> Result<()> {
    let program = command::find_program("mkfs.ext4")
        .context("no mkfs.ext4: install the package e2fsprogs")?;
    command::run(
        Command::new(program)
            .args(["-q", "-F"])
            .arg(path)
            .stdout(Stdio::null()),
    )
}

fn show_end(name: &str, log: &Path) {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let end = &lines[lines.len().saturating_sub(LOG_LINES)..];
    println!("[{name}] its console ends:\n{}", end.join("\n"));
}
