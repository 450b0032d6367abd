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

use super::archive;
use super::list::Architecture;
use crate::command;

/// Debian's packages of the two emulators.
const PACKAGES: [&str; 2] = ["qemu-system-x86", "qemu-system-arm"];

/// An installation of QEMU.
pub(super) struct Qemu {
    /// Where its packages are unpacked; none when it is installed.
    unpacked: Option<PathBuf>,
}

/// What a guest consists of.
pub(super) struct Guest<'a> {
    pub(super) architecture: Architecture,
    pub(super) image: &'a Path,
    pub(super) archive: &'a Path,
    pub(super) disk: &'a Path,
    /// What it prints goes here too.
    pub(super) log: &'a Path,
    pub(super) limit: Duration,
}

impl Qemu {
    /// Finds QEMU, or unpacks it below `work`: its packages cannot be installed beside a
    /// `qemu-utils` of another version.
    pub(super) fn find(work: &Path) -> Result<Self> {
        let installed =
            |architecture: &Architecture| command::find_program(&program(*architecture)).is_some();
        if Architecture::ALL.iter().all(installed) {
            return Ok(Self { unpacked: None });
        }
        let folder = work.join("tools/qemu");
        if !folder.is_dir() {
            eprintln!("fetching QEMU");
            archive::unpack_with_dependencies(work, &PACKAGES, &folder)?;
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
        let libraries = folder.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
        let mut qemu = Command::new(folder.join("usr/bin").join(program));
        qemu.env("LD_LIBRARY_PATH", &libraries)
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
            // Without cx16: QEMU 7.2 emulates cmpxchg16b wrongly, and kernels from 6.12 on crash.
            Architecture::X86 => ("ttyS0", &["-M", "pc", "-cpu", "max,-cx16"]),
            // The kernel's own way of pointer authentication is ten times slower to emulate.
            Architecture::Arm64 => ("ttyAMA0", &["-M", "virt", "-cpu", "max,pauth-impdef=on"]),
        };
        // Messages below errors would interleave with what the tests print; a panic is shown
        // whatever the level.
        let arguments = format!("console={console} panic=-1 loglevel=2");
        command
            .args(machine)
            // With a host thread for each CPU, QEMU 7.2 lets one CPU run into a breakpoint that
            // another has patched in and out again to turn a tracepoint on, and kernel 7.3 panics.
            // Guests that run side by side use the host's CPUs all the same.
            .args(["-accel", "tcg,thread=single", "-smp", "2", "-m", "2048"])
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
            .args([
                "-append",
                &arguments,
                "-device",
                "virtio-blk-pci,drive=disk",
                "-drive",
            ])
            .arg(format!(
                "id=disk,if=none,format=raw,file={}",
                guest.disk.display()
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
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes);
                    let text = text.trim_end_matches('\r');
                    writeln!(log, "{text}")
                        .with_context(|| format!("cannot write {}", guest.log.display()))?;
                    line(text);
                }
                Err(RecvTimeoutError::Disconnected) => break,
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

/// A guest that does not outlive this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Not reaped unless it has ended, so its id is still its own.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

fn program(architecture: Architecture) -> String {
    format!("qemu-system-{}", architecture.name())
}
