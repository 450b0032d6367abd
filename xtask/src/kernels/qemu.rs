//! QEMU: where it is, how a guest is started, and how it is ended when it takes too long.
//!
//! Guests are emulated (TCG), not virtualised: that works on every machine, also on one that is a
//! virtual machine itself.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::list::Architecture;
use crate::command;

/// Debian's packages of the two emulators.
const PACKAGES: [&str; 2] = ["qemu-system-x86", "qemu-system-arm"];

/// QEMU 7.2 emulates cmpxchg16b wrongly: 6.12 crashes, and without the instruction kernels from 7.0
/// on have no memory for BPF task storage in the scheduler (`kmalloc_nolock`, mm/slub.c).
const LEAST_VERSION: u32 = 10;

/// An installation of QEMU.
pub(super) struct Qemu {
    /// Where its packages are unpacked; none when it is installed.
    unpacked: Option<PathBuf>,
}

/// What a guest consists of.
pub(super) struct Guest<'a> {
    pub(super) architecture: Architecture,
    pub(super) memory_mib: u32,
    pub(super) image: &'a Path,
    pub(super) archive: &'a Path,
    pub(super) disk: &'a Path,
    /// A disk that takes 40 ms for each request: the milliseconds of emulation are little to that.
    pub(super) slow_disk: &'a Path,
    /// What it prints goes here too.
    pub(super) log: &'a Path,
    pub(super) limit: Duration,
    /// Whether its clock counts instructions.
    pub(super) counts_instructions: bool,
    /// How long it may print nothing; then it is taken for dead.
    pub(super) silence: Option<Duration>,
}

impl Qemu {
    /// Finds QEMU, or unpacks it below `work`: its packages cannot be installed beside a
    /// `qemu-utils` of another version.
    pub(super) fn find(work: &Path) -> Result<Self> {
        if Architecture::ALL.into_iter().all(is_installed) {
            return Ok(Self { unpacked: None });
        }
        let folder = work.join("tools/qemu");
        if !folder.is_dir() {
            eprintln!("fetching QEMU");
            debian_archive::unpack_backport(&work.join("apt"), &PACKAGES, &folder)?;
        }
        Ok(Self {
            unpacked: Some(folder),
        })
    }

    fn command(&self, architecture: Architecture) -> Command {
        let program = program(architecture);
        let Some(folder) = &self.unpacked else {
            return Command::new(program);
        };
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let libraries = folder.join("usr/lib").join(&triplet);
        // Packages of older suites have some in /lib, which is a link to /usr/lib when they are installed.
        let older = folder.join("lib").join(&triplet);
        let path = format!("{}:{}", libraries.display(), older.display());
        let mut qemu = Command::new(folder.join("usr/bin").join(program));
        qemu.env("LD_LIBRARY_PATH", path)
            .env("QEMU_MODULE_DIR", libraries.join("qemu"));
        for share in ["usr/share/qemu", "usr/share/seabios"] {
            qemu.arg("-L").arg(folder.join(share));
        }
        qemu
    }

    /// Runs a guest until it powers off, and calls `line` for each line that it prints.
    pub(super) fn run(&self, guest: &Guest, mut line: impl FnMut(&str)) -> Result<()> {
        let mut log = File::create(guest.log)
            .with_context(|| format!("cannot write {}", guest.log.display()))?;
        let mut command = self.command(guest.architecture);
        let (console, machine): (_, &[&str]) = match guest.architecture {
            Architecture::X86 => ("ttyS0", &["-M", "pc", "-cpu", "max"]),
            // The kernel's own way of pointer authentication is ten times slower to emulate.
            Architecture::Arm64 => ("ttyAMA0", &["-M", "virt", "-cpu", "max,pauth-impdef=on"]),
        };
        // Messages below errors would interleave with what the tests print; a panic is shown
        // whatever the level.
        // Debian's kernels account for pressure only when told to.
        let arguments = format!("console={console} panic=-1 loglevel=2 psi=1");
        command
            .args(machine)
            .args(processors(guest.counts_instructions))
            .args(["-m", &guest.memory_mib.to_string()])
            .args([
                "-nodefaults",
                "-display",
                "none",
                "-serial",
                "stdio",
                "-no-reboot",
            ])
            .arg("-kernel")
            .arg(guest.image)
            .arg("-initrd")
            .arg(guest.archive)
            .args(["-append", &arguments])
            .args(["-device", "virtio-blk-pci,drive=disk", "-drive"])
            .arg(format!(
                "id=disk,if=none,format=raw,file={}",
                guest.disk.display()
            ))
            .args(["-device", "virtio-blk-pci,drive=slow", "-drive"])
            .arg(format!(
                "id=slow,if=none,format=raw,throttling.iops-total=25,file={}",
                guest.slow_disk.display()
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let child = command
            .spawn()
            .with_context(|| command::cannot_start(&command))?;
        let mut child = Running(child);
        let output = child.0.stdout.take().context("QEMU has no output")?;
        let (send, lines) = channel();
        // A thread, because a pipe has no read with a limit.
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let end = Instant::now() + guest.limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let patience = guest.silence.map_or(left, |silence| silence.min(left));
            match lines.recv_timeout(patience) {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes);
                    let text = text.trim_end_matches('\r');
                    writeln!(log, "{text}")
                        .with_context(|| format!("cannot write {}", guest.log.display()))?;
                    line(text);
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if patience < left => bail!(
                    "the guest has been silent for {}: it is frozen",
                    humantime::format_duration(patience)
                ),
                Err(RecvTimeoutError::Timeout) => bail!(
                    "the guest has not powered off within {}",
                    humantime::format_duration(guest.limit)
                ),
            }
        }
        let status = child.0.wait().context("cannot wait for QEMU")?;
        command::check(&command, status)
    }
}

/// What emulates the guest's CPUs. Where its clock counts instructions each takes a nanosecond, and when none is to be
/// executed the clock goes on to the next timer at once; that works with one thread of the emulator only.
fn processors(counts_instructions: bool) -> &'static [&'static str] {
    if counts_instructions {
        &["-accel", "tcg", "-smp", "1", "-icount", "shift=0,sleep=off"]
    } else {
        &["-accel", "tcg,thread=multi", "-smp", "2"]
    }
}

/// A guest that does not outlive this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Not reaped unless it has ended, so its id is still its own.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Whether the machine has a QEMU that is new enough.
fn is_installed(architecture: Architecture) -> bool {
    let Some(program) = command::find_program(&program(architecture)) else {
        return false;
    };
    let output = Command::new(program).arg("--version").output();
    let said = output.map_or_else(|_| Vec::new(), |output| output.stdout);
    let said = String::from_utf8_lossy(&said);
    let version = said
        .split_once("version ")
        .map_or("", |(_, version)| version);
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    major.is_some_and(|major: u32| major >= LEAST_VERSION)
}

fn program(architecture: Architecture) -> String {
    format!("qemu-system-{}", architecture.name())
}
