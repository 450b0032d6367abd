//! The kernel's log, where the NVIDIA driver names the process that an Xid error is charged to.
//!
//! Nothing else names it: the message at the driver's tracepoint begins after the process (seen with
//! 580.159.04), and NVML's event has the number alone. So errors are counted where the driver reports them, and
//! the log is read for who was to blame. The driver writes its line before it takes the process's channel away,
//! so it is there before the process can fail of it.
//!
//! A read of `/dev/kmsg` is one record: `level,number,microseconds,flags;text`, then lines of its dictionary
//! (`Documentation/ABI/testing/dev-kmsg`). Who may write to it can write what the driver would; but the kernel
//! marks such a record as not its own, and it is not believed.

use super::readiness;
use crate::telemetry::log_event;
use std::{
    fs::{File, OpenOptions},
    future::pending,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
};

use tokio::io::{Interest, unix::AsyncFd};

/// The log as a file of records.
pub const PATH: &str = "/dev/kmsg";
/// No record is longer (`PRINTK_MESSAGE_MAX` 2,048 in `kernel/printk/internal.h`, `CONSOLE_EXT_LOG_MAX` 8,192
/// before Linux 6.3).
const RECORD_BYTES: usize = 8192;
/// What a line of an error begins with; the place of the GPU follows.
const XID: &str = "NVRM: Xid (";
/// The number before a record is its level and, times this, its facility (`LOG_LEVEL` and `LOG_FACILITY`,
/// `kernel/printk/printk.c`). The kernel's is 0; a record that is written to the device has another, whatever the
/// writer asks for (`devkmsg_write`).
const FACILITY: u32 = 8;
/// The flags of a whole record. One that goes on with another's line may begin with anything, as the name of a
/// cgroup.
const WHOLE: &str = "-";

/// An Xid error for which the driver blames a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blame {
    /// PCI address of the GPU, as in `0000:3b:00.0`.
    pub pci: String,
    /// Number of the error.
    pub code: u32,
    /// The process, in the initial pid namespace. It may have ended.
    pub pid: u32,
    /// Its command name; empty where the driver does not say it.
    pub command: String,
}

/// The reading end of the log; what was written before it was opened is not read.
#[derive(Debug)]
pub struct KernelLog {
    file: Option<AsyncFd<File>>,
    /// Why it is not read.
    reason: Option<String>,
}

impl KernelLog {
    /// Reads what [`open`] has opened; a log that may not be read has a reason. Needs a running tokio.
    pub fn of(opened: io::Result<File>) -> Self {
        match opened.and_then(register) {
            Ok(file) => Self {
                file: Some(file),
                reason: None,
            },
            Err(error) => Self::off(format!("{PATH}: {error}")),
        }
    }

    /// A log that is not read.
    pub fn off(reason: String) -> Self {
        Self {
            file: None,
            reason: Some(reason),
        }
    }

    /// Why it is not read; `None` while it is.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Waits for errors that name a process; for ever where the log is not read. Nothing is lost when the
    /// future is dropped.
    pub async fn next(&mut self) -> Vec<Blame> {
        loop {
            let Some(file) = &self.file else {
                return pending().await;
            };
            match file.readable().await {
                // Before the reads, so that what comes after the last of them wakes this again.
                Ok(mut ready) => ready.clear_ready(),
                Err(error) => self.fail(&error),
            }
            let blamed = self.pending();
            if !blamed.is_empty() {
                return blamed;
            }
        }
    }

    /// Those that are there already.
    pub fn pending(&mut self) -> Vec<Blame> {
        let mut found = Vec::new();
        let mut record = [0; RECORD_BYTES];
        while let Some(file) = &self.file {
            match file.get_ref().read(&mut record) {
                // Never of the real one. A pipe that nobody writes to any more would be ready for ever.
                Ok(0) => self.fail(&io::ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => found.extend(blame(&String::from_utf8_lossy(&record[..bytes]))),
                Err(error) => match error.raw_os_error() {
                    _ if error.kind() == io::ErrorKind::WouldBlock => break,
                    // Records were overwritten unread, or a signal came; the next read goes on.
                    Some(libc::EPIPE | libc::EINTR) => {}
                    _ => self.fail(&error),
                },
            }
        }
        found
    }

    fn fail(&mut self, error: &io::Error) {
        log_event!(KernelLogLost, path = PATH, %error);
        *self = Self::off(format!("{PATH}: {error}"));
    }
}

/// To be woken when there is something to read.
fn register(file: File) -> io::Result<AsyncFd<File>> {
    readiness::watch(file, Interest::READABLE)
}

/// Opens it at its end. This alone needs `CAP_SYSLOG`, where `kernel.dmesg_restrict` is set.
pub fn open() -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(PATH)?;
    at_its_end(file)
}

/// Passes over what is in the log. A pipe in its place, as container runtimes put one there, has no past; nor does
/// anybody mark what is written to it, so nobody but root may be able to.
fn at_its_end(mut file: File) -> io::Result<File> {
    let found = file.metadata()?;
    if !found.file_type().is_char_device() && (found.uid() != 0 || found.mode() & 0o022 != 0) {
        return Err(io::Error::other(
            "it is not the kernel's, and others than root may write it",
        ));
    }
    match file.seek(SeekFrom::End(0)) {
        Err(error) if error.raw_os_error() == Some(libc::ESPIPE) => Ok(file),
        end => end.map(|_| file),
    }
}

/// The error that a record tells of, if it names a process:
/// `NVRM: Xid (PCI:0000:3b:00): 31, pid=2141, name=python3, channel 0x0000001e, …`. Drivers before 500 have no
/// name, a MIG instance follows the address (`PCI:0000:3b:00 GPU-I:05`), and `pid='<unknown>'` is nobody.
fn blame(record: &str) -> Option<Blame> {
    let (prefix, text) = record.split_once(';')?;
    if !is_of_kernel(prefix) {
        return None;
    }
    let rest = text.lines().next()?.strip_prefix(XID)?;
    let (place, rest) = rest.split_once("): ")?;
    let (code, rest) = rest.split_once(", ")?;
    let address = place.split_ascii_whitespace().next()?;
    let address = address.strip_prefix("PCI:").unwrap_or(address);
    if !is_address(address) {
        return None;
    }
    let mut parts = rest.split(", ");
    let pid = parts.next()?.strip_prefix("pid=")?.parse().ok()?;
    let command = parts.next().and_then(|part| part.strip_prefix("name="));
    // 0 is the idle thread of a CPU.
    (pid != 0).then_some(Blame {
        // The driver leaves the function out, which is 0 for every GPU.
        pci: format!("{address}.0"),
        code: code.parse().ok()?,
        pid,
        command: command.unwrap_or_default().to_owned(),
    })
}

/// Whether the kernel itself wrote the record, all of it. What precedes a record's text is `level,number,time,flags`
/// and more where the kernel has more to say.
fn is_of_kernel(prefix: &str) -> bool {
    let mut fields = prefix.split(',');
    let number = fields.next().and_then(|level| level.parse::<u32>().ok());
    number.is_some_and(|number| number < FACILITY) && fields.nth(2) == Some(WHOLE)
}

/// Whether it is `0000:3b:00`. Some lines of the kernel begin with the name of a process, which is the user's
/// choice: it has room for 15 bytes (`TASK_COMM_LEN`), and [`XID`] with an address does not fit.
fn is_address(address: &str) -> bool {
    let parts: Vec<&str> = address.split(':').collect();
    let is_hex = |part: &&str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    parts.iter().all(is_hex) && matches!(lengths[..], [4..=8, 2, 2])
}

/// A record blames nobody, or in its own words.
#[cfg(any(test, fuzzing))]
pub(crate) fn must_hold(record: &str) {
    if let Some(blame) = blame(record) {
        let address = blame.pci.strip_suffix(".0").unwrap_or_default();
        assert!(!address.is_empty() && record.contains(address), "{blame:?}");
        assert!(record.contains(&blame.command), "{blame:?}");
        assert_ne!(blame.pid, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::fd::OwnedFd};

    use proptest::prelude::*;

    use super::*;
    use crate::fuzz::{self, text_like};

    /// Of an H100 with 580.159.04.
    const RECORD: &str = "3,881,141132341,-;NVRM: Xid (PCI:0000:00:06): 31, pid=1459, name=python3, channel \
        0x0000001e, intr 00000000. MMU Fault: ENGINE GRAPHICS GPC0 GPCCLIENT_T1_8 faulted @ 0x7dea_d0000000.\n \
        SUBSYSTEM=pci\n DEVICE=+pci:0000:00:06.0\n";

    #[test]
    fn a_line_of_the_driver_names_gpu_number_and_process() {
        let known = [
            (RECORD, ("0000:00:06.0", 31, 1459, "python3")),
            (
                "4,1,2,-,caller=T88;NVRM: Xid (PCI:0000:3b:00 GPU-I:05): 43, pid=7, name=a b, Ch 8",
                ("0000:3b:00.0", 43, 7, "a b"),
            ),
            (
                "4,1,2,-;NVRM: Xid (PCI:0000:af:00): 13, pid=12, Graphics SM Warp Exception",
                ("0000:af:00.0", 13, 12, ""),
            ),
            (
                "4,1,2,-;NVRM: Xid (0000:03:00): 31, pid=4294967295, name=x",
                ("0000:03:00.0", 31, u32::MAX, "x"),
            ),
        ];
        for (record, (pci, code, pid, command)) in known {
            let wanted = Blame {
                pci: pci.to_owned(),
                code,
                pid,
                command: command.to_owned(),
            };
            assert_eq!(blame(record), Some(wanted), "{record}");
        }
    }

    #[test]
    fn a_line_that_names_nobody_blames_nobody() {
        let others = [
            "4,1,2,-;NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off.",
            "4,1,2,-;NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.",
            "4,1,2,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=0, name=swapper",
            "4,1,2,-;NVRM: Xid (PCI:0000:3b:00): x, pid=3, name=y",
            "4,1,2,-;NVRM: Xid (PCI:0000:3b:00): 31, pid=99999999999, name=y",
            "4,1,2,-;NVRM: Xid (): 31, pid=3, name=y",
            "4,1,2,-;NVRM: Xid (PCI:0000:3b:00",
            // Not the driver's: what it would say stands within another's text.
            "12,1,2,-;someone: NVRM: Xid (PCI:0000:3b:00): 31, pid=3, name=y",
            "4,1,2,-;usb 1-1: new device\n NVRM: Xid (PCI:0000:3b:00): 31, pid=3, name=y",
            "4,1,2,-;",
            "",
        ];
        for record in others {
            assert_eq!(blame(record), None, "{record}");
        }
    }

    #[test]
    fn what_user_space_writes_is_not_believed() {
        let line = "NVRM: Xid (PCI:0000:3b:00): 31, pid=3, name=y, channel 0x0000001e";
        assert!(blame(&format!("3,1,2,-;{line}")).is_some());
        assert!(blame(&format!("7,1,2,-,caller=T88;{line}")).is_some());
        // Facilities 1 (`LOG_USER`, given where the writer asks for none), 3 and 255; then a part of a record.
        for prefix in [
            "8,1,2,-",
            "12,1,2,-",
            "27,1,2,-",
            "2047,1,2,-",
            "3,1,2,c",
            "3,1,2",
            "3",
            ",1,2,-",
            "-3,1,2,-",
            "x,1,2,-",
            "",
        ] {
            let record = format!("{prefix};{line}");
            assert_eq!(blame(&record), None, "{record}");
        }
        // A line of the dictionary, which begins with a space, is not a record.
        assert_eq!(blame(&format!(" KEY=3,1,2,-;{line}")), None);
        assert_eq!(blame(&format!("6,1,2,-;usb\n 3,1,2,-;{line}")), None);
    }

    #[test]
    fn a_process_whose_name_looks_like_the_driver_is_not_believed() {
        // What the kernel says of one that crashes begins with its name and ends with that of its file.
        let crash =
            "NVRM: Xid (0000[77]: segfault at 0 ip 0 sp 0 error 4 in x): 31, pid=3, name=y, [1+2]";
        assert_eq!(blame(&format!("6,1,2,-;{crash}")), None);
        for address in ["0000:3b", "0000:3b:00:1", "0000:3b:0g", "000:3b:00", "::"] {
            let record = format!("3,1,2,-;NVRM: Xid (PCI:{address}): 31, pid=3, name=y");
            assert_eq!(blame(&record), None, "{record}");
        }
    }

    #[test]
    fn a_file_in_the_place_of_the_log_is_read_if_root_alone_may_write_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kmsg");
        std::fs::write(&path, "past").unwrap();
        let set = |mode| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&path, mode).unwrap();
        };
        set(0o622);
        assert!(at_its_end(File::open(&path).unwrap()).is_err());
        set(0o600);
        let is_root = std::fs::metadata(&path).unwrap().uid() == 0;
        let opened = at_its_end(File::open(&path).unwrap());
        assert_eq!(opened.is_ok(), is_root);
    }

    #[tokio::test]
    async fn a_pipe_is_read_until_its_end_and_not_asked_again() {
        let (reader, mut writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        let file = register(File::from(OwnedFd::from(reader))).unwrap();
        let mut log = KernelLog {
            file: Some(file),
            reason: None,
        };
        let record = b"3,1,2,-;NVRM: Xid (PCI:0000:3b:00): 31, pid=3, name=y\n";
        writer.write_all(record).unwrap();
        assert_eq!(log.next().await.len(), 1);
        assert_eq!(log.reason(), None);
        drop(writer);
        let waited = tokio::time::timeout(std::time::Duration::from_millis(5), log.next());
        assert!(waited.await.is_err());
        assert!(log.reason().is_some());
    }

    #[tokio::test]
    async fn a_log_that_is_not_read_waits_for_ever_and_says_why() {
        let mut log = KernelLog::off("gpu.enabled is false".to_owned());
        assert_eq!(log.reason(), Some("gpu.enabled is false"));
        assert!(log.pending().is_empty());
        let waited = tokio::time::timeout(std::time::Duration::from_millis(5), log.next());
        assert!(waited.await.is_err());
    }

    proptest! {
        #![proptest_config(fuzz::config())]

        #[test]
        fn whatever_is_in_the_log_blames_nobody_or_in_its_own_words(record in text_like(&[RECORD])) {
            must_hold(&record);
        }
    }
}
