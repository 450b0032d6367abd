//! `cargo xtask test --kernels`: the integration tests on every kernel of the list, each booted in
//! QEMU.
//!
//! A tracepoint, a member of a structure or the verifier differs from kernel to kernel, and the
//! machine at hand has one. The test programs are those that run there too, linked statically; what
//! they find about each kernel is `docs/kernels.md`.

mod binaries;
mod cpio;
mod fetch;
mod guest;
mod list;
mod module;
mod outcome;
mod page;
mod qemu;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;

use self::binaries::Binaries;
use self::fetch::Fetched;
use self::list::{Architecture, KERNELS, Kernel};
use self::outcome::Outcome;
use self::qemu::{Guest, Qemu};
use crate::setup::{self, Purpose};
use crate::{build_ebpf, command};

/// Guests at a time.
const AT_ONCE: usize = 2;
/// No guest takes half as long on two CPUs.
const LIMIT: Duration = Duration::from_mins(20);
/// The guest's disk, which takes only the space that is written.
const DISK_BYTES: u64 = 256 << 20;
const SLOW_DISK_BYTES: u64 = 64 << 20;
/// How much of a failed guest's log is shown.
const LOG_LINES: usize = 40;

/// The options of `test --kernels`.
#[derive(Args, Default)]
pub(crate) struct MatrixOptions {
    /// Only on kernels whose name contains this; may be given several times.
    #[arg(long, value_name = "NAME", requires = "kernels")]
    kernel: Vec<String>,
    /// Fetch the newest kernels though others are there already.
    #[arg(long, requires = "kernels")]
    refresh: bool,
}

impl MatrixOptions {
    /// The oldest kernel of x86 and the newest, which differ most: all seven take most of an hour.
    pub(crate) fn oldest_and_newest() -> Self {
        Self {
            kernel: vec!["x86-5.10".to_owned(), "x86-sid".to_owned()],
            refresh: false,
        }
    }
}

/// Where kernels, guests and their programs are.
fn work_folder() -> Result<PathBuf> {
    let work = command::repository().join("target/kernels");
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    Ok(work)
}

/// Runs the tests, or those whose name contains `filter`, on the chosen kernels.
pub(crate) fn run(options: &MatrixOptions, filter: Option<&str>, write_docs: bool) -> Result<()> {
    let chosen = choose(&options.kernel)?;
    if let Some(filter) = filter {
        let plain = |one: char| one.is_ascii_alphanumeric() || "_:-".contains(one);
        ensure!(
            filter.chars().all(plain),
            "{filter} is no part of a test's name"
        );
    }
    ensure!(
        !write_docs || filter.is_none(),
        "--write-docs needs a run of all tests"
    );
    setup::prepare(Purpose::Kernels)?;
    build_ebpf::build()?;
    let work = work_folder()?;
    let matrix = Matrix::prepare(&work, &chosen, options.refresh)?;

    let queue = Mutex::new(chosen.into_iter());
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().ok().and_then(|mut queue| queue.next());
                    let Some(kernel) = next else { break };
                    let outcome = matrix.test(kernel, filter);
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push((kernel.name, outcome));
                    }
                }
            });
        }
    });
    let outcomes = outcomes
        .into_inner()
        .map_err(|_| anyhow!("a thread of the matrix has ended in the middle"))?;
    let (outcomes, faulty) = summarise(outcomes);
    if write_docs {
        page::write(&with_last_runs(&work, outcomes)?)?;
    }
    ensure!(
        faulty.is_empty(),
        "tests failed on {}: the whole consoles are target/kernels/<kernel>.log",
        faulty.join(", ")
    );
    Ok(())
}

fn choose(wanted: &[String]) -> Result<Vec<&'static Kernel>> {
    // `x86-6.1` is also a part of `x86-6.12`.
    let is = |kernel: &Kernel, wanted: &str| {
        let exact = KERNELS.iter().any(|kernel| kernel.name == wanted);
        kernel.name == wanted || (!exact && kernel.name.contains(wanted))
    };
    for one in wanted {
        let names: Vec<_> = KERNELS.iter().map(|kernel| kernel.name).collect();
        ensure!(
            KERNELS.iter().any(|kernel| is(kernel, one)),
            "no kernel is called {one}; there are {}",
            names.join(", ")
        );
    }
    Ok(KERNELS
        .iter()
        .filter(|kernel| wanted.is_empty() || wanted.iter().any(|one| is(kernel, one)))
        .collect())
}

/// The outcomes of all kernels: of those that were not run now, how their last run ended.
fn with_last_runs(work: &Path, outcomes: Vec<Outcome>) -> Result<Vec<Outcome>> {
    let mut now: BTreeMap<String, Outcome> = outcomes
        .into_iter()
        .map(|outcome| (outcome.kernel.clone(), outcome))
        .collect();
    let all = KERNELS.iter().map(|kernel| match now.remove(kernel.name) {
        Some(outcome) => Ok(outcome),
        None => last_run(work, kernel),
    });
    all.collect()
}

fn last_run(work: &Path, kernel: &Kernel) -> Result<Outcome> {
    let path = work.join(format!("{}.json", kernel.name));
    let text = fs::read_to_string(&path)
        .with_context(|| format!("{} has not been run yet: {}", kernel.name, path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("cannot read {}", path.display()))
}

/// Prints how each kernel did; returns what they said, and the names of those that did not pass.
fn summarise(outcomes: Vec<(&'static str, Result<Outcome>)>) -> (Vec<Outcome>, Vec<&'static str>) {
    let mut outcomes: BTreeMap<_, _> = outcomes.into_iter().collect();
    let mut good = Vec::new();
    let mut bad = Vec::new();
    println!("\nresults of all kernels:");
    for kernel in KERNELS {
        match outcomes.remove(kernel.name) {
            None => {}
            Some(Err(error)) => {
                println!("  {}: {error:#}", kernel.name);
                bad.push(kernel.name);
            }
            Some(Ok(outcome)) => {
                let (passed, failed) = (outcome.passed(), outcome.failed());
                println!(
                    "  {} (Linux {}): {passed} passed; {failed} failed",
                    kernel.name, outcome.release
                );
                let faults = outcome.faults();
                for fault in &faults {
                    println!("    {fault}");
                }
                if !faults.is_empty() {
                    bad.push(kernel.name);
                }
                good.push(outcome);
            }
        }
    }
    (good, bad)
}

/// Everything that guests of several kernels have in common.
struct Matrix {
    work: PathBuf,
    qemu: Qemu,
    parts: BTreeMap<Architecture, (Binaries, Vec<u8>)>,
    kernels: BTreeMap<&'static str, Prepared>,
}

/// A kernel that is there, with the module that is built for it.
struct Prepared {
    fetched: Fetched,
    xid_module: Option<Vec<u8>>,
}

impl Matrix {
    fn prepare(work: &Path, chosen: &[&Kernel], refresh: bool) -> Result<Self> {
        let qemu = Qemu::find(work)?;
        let mut kernels = BTreeMap::new();
        for kernel in chosen {
            let fetched = fetch::fetch(kernel, work, refresh)?;
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
            if chosen
                .iter()
                .any(|kernel| kernel.architecture == architecture)
            {
                let binaries = binaries::build(architecture, work)?;
                let busybox = binaries::busybox(architecture, work)?;
                parts.insert(architecture, (binaries, busybox));
            }
        }
        Ok(Self {
            work: work.to_owned(),
            qemu,
            parts,
            kernels,
        })
    }

    /// Boots a kernel and lets the tests run there.
    fn test(&self, kernel: &Kernel, filter: Option<&str>) -> Result<Outcome> {
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
        let file = |extension: &str| self.work.join(format!("{}.{extension}", kernel.name));
        let (archive, log) = (file("cpio"), file("log"));
        let (disk, slow_disk) = (file("disk"), file("slow-disk"));
        let content = guest::archive(fetched, xid_module.as_deref(), busybox, binaries, filter)?;
        fs::write(&archive, content)
            .with_context(|| format!("cannot write {}", archive.display()))?;
        make_file_system(&disk)?;
        make_empty(&slow_disk, SLOW_DISK_BYTES)?;

        let mut outcome = Outcome::of(kernel);
        let began = Instant::now();
        let guest = Guest {
            architecture: kernel.architecture,
            image: &fetched.image,
            archive: &archive,
            disk: &disk,
            slow_disk: &slow_disk,
            log: &log,
            limit: LIMIT,
        };
        let result = self.qemu.run(&guest, |line| {
            if outcome.line(line) {
                let seconds = began.elapsed().as_secs();
                println!("[{} {seconds:>4} s] {line}", kernel.name);
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
            show_end(kernel.name, &log);
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

/// An empty ext4 file system in a sparse file.
fn make_file_system(path: &Path) -> Result<()> {
    make_empty(path, DISK_BYTES)?;
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
