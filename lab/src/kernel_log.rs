//! A kernel's log of one's own, for an agent that is to hear of an Xid error.
//!
//! The agent believes what the kernel has logged. What a program writes to `/dev/kmsg` the kernel marks as not its
//! own. So the agent gets a pipe in that place, in a mount namespace of its own, with the records that the kernel
//! would have made.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::stat::Mode,
    unistd::mkfifo,
};
use tempfile::TempDir;

use crate::agent::command;

/// Puts the pipe in the place of the log, and becomes the agent.
const SCRIPT: &str = "mount --bind \"$1\" /dev/kmsg && shift && exec \"$@\"";
/// What the kernel puts before a record: level 3 and its own facility, number, time, and that it is whole.
const PREFIX: &str = "3,881,141132341,-";

/// What driver 580.159.04 says of an error. `pci` is the GPU's address without the function, as in
/// `0000:3b:00`.
pub fn line(pci: &str, code: u32, pid: &str, command: &str) -> String {
    format!(
        "NVRM: Xid (PCI:{pci}): {code}, pid={pid}, name={command}, channel 0x0000001e, intr 00000000."
    )
}

/// See the module.
#[derive(Debug)]
pub struct KernelLog {
    folder: TempDir,
    pipe: File,
}

impl KernelLog {
    /// An empty one.
    pub fn create() -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let path = pipe_in(&folder);
        let opened = || -> Result<File> {
            mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)?;
            // Open for both, so that it is neither at its end nor without a reader.
            let pipe = OpenOptions::new().read(true).write(true).open(&path)?;
            // One read takes what one write has put there, as of the log (pipe(2), O_DIRECT).
            fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_DIRECT))?;
            Ok(pipe)
        };
        let pipe = opened().with_context(|| format!("cannot make the pipe {}", path.display()))?;
        Ok(Self { folder, pipe })
    }

    /// A command that runs the agent with this log in the place of the machine's.
    pub fn command(&self, agent: &Path) -> Command {
        let mut command = command("unshare".as_ref());
        command
            .args(["--mount", "sh", "-c", SCRIPT, "sh"])
            .arg(pipe_in(&self.folder))
            .arg(agent);
        command
    }

    /// Blames a process for an Xid error, as the kernel's driver.
    pub fn blame(&self, pci: &str, code: u32, pid: &str, command: &str) -> Result<()> {
        let record = format!("{PREFIX};{}\n", line(pci, code, pid, command));
        let written = (&self.pipe).write_all(record.as_bytes());
        written.context("cannot write a record of the kernel's log")
    }
}

fn pipe_in(folder: &TempDir) -> PathBuf {
    folder.path().join("kmsg")
}

#[cfg(test)]
mod tests {
    use std::{io::Read, process::Stdio};

    use super::*;
    use crate::command::is_root;

    #[test]
    fn one_read_is_one_record_of_the_kernel() {
        let log = KernelLog::create().unwrap();
        log.blame("0000:3b:00", 31, "7", "first").unwrap();
        log.blame("0000:3b:00", 79, "'<unknown>'", "second")
            .unwrap();
        let mut reader = File::open(pipe_in(&log.folder)).unwrap();
        for name in ["first", "second"] {
            let mut record = [0; 8192];
            let bytes = reader.read(&mut record).unwrap();
            let record = String::from_utf8_lossy(&record[..bytes]);
            assert!(record.starts_with("3,881,141132341,-;NVRM: Xid (PCI:0000:3b:00): "));
            assert!(record.contains(&format!("name={name}, ")), "{record}");
            assert_eq!(record.lines().count(), 1, "{record}");
        }
    }

    #[test]
    fn a_command_sees_it_in_the_place_of_the_machines() {
        if !is_root() {
            println!("skipped: not root");
            return;
        }
        let log = KernelLog::create().unwrap();
        let mut command = log.command("stat".as_ref());
        let output = command
            .args(["-c", "%F", "/dev/kmsg"])
            .stderr(Stdio::inherit());
        let said = output.output().unwrap().stdout;
        assert_eq!(String::from_utf8_lossy(&said).trim(), "fifo");
    }
}
