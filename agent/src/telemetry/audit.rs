//! The audit log: who was refused what, what configuration came into effect, and which processes of sessions failed, as JSON
//! lines in a file or on stdout.
//!
//! It is written by a thread of its own, so that a disk that hangs holds up nothing but the log. What does not fit into
//! its queue, and what a client could fill the disk with, is left out and counted.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;

use super::{
    event::{Audit, Event, log_event},
    settings::{AuditTo, AuditedProcesses, Settings},
};
use crate::{error::Error, named::named};

/// Lines that wait for the disk. A line has some 300 bytes.
const WAITING: usize = 4096;
/// Lines at once, and lines a second after that, of what clients and of what sessions can cause as much as they like. Each kind
/// has room of its own, and everything else needs none.
const AT_ONCE: f64 = 1000.0;
const A_SECOND: f64 = 50.0;
/// How often the thread looks whether the file is still the one of its path, and how long it waits after a failure.
const LOOK: Duration = Duration::from_secs(1);

named! {
    /// What became of a line of the audit log.
    pub enum LineResult {
        /// It is in the file.
        Written = "written",
        /// The file has not taken it.
        Failed = "failed",
        /// There were too many.
        LeftOut = "left_out",
    }
}

/// Lines so far, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditLines {
    /// In the order of [`LineResult::ALL`].
    pub counts: [u64; LineResult::ALL.len()],
}

/// Counted where they are written, and read where metrics are made: the log is one for the whole process.
static COUNTS: [AtomicU64; LineResult::ALL.len()] =
    [const { AtomicU64::new(0) }; LineResult::ALL.len()];

/// Whether there is an audit log.
static IS_KEPT: AtomicBool = AtomicBool::new(false);

fn count(result: LineResult) {
    COUNTS[result as usize].fetch_add(1, Ordering::Relaxed);
}

/// Lines of the audit log so far; `None` where there is none.
pub fn audit_lines() -> Option<AuditLines> {
    IS_KEPT.load(Ordering::Relaxed).then(|| AuditLines {
        counts: LineResult::ALL.map(|result| COUNTS[result as usize].load(Ordering::Relaxed)),
    })
}

/// Whether an event goes into the audit log.
pub(super) fn wants(name: &str, processes: AuditedProcesses) -> bool {
    match Event::named(name).map(Event::audit) {
        Some(Audit::Always) => true,
        Some(Audit::OfProcesses) => processes != AuditedProcesses::None,
        Some(Audit::OfExecs) => processes == AuditedProcesses::All,
        Some(Audit::No) | None => false,
    }
}

/// What goes to the thread.
#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Everything before it is to be written; then this is let go.
    Finish(SyncSender<()>),
}

/// Lines on their way to the audit log.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    lines: SyncSender<Message>,
    /// What clients cause, which processes of sessions fail, and which execute what.
    allowances: Arc<[Mutex<Allowance>; 3]>,
}

impl Queue {
    /// Opens the audit log; `None` where there is none.
    pub(super) fn open(settings: &Settings) -> Result<Option<(Self, Writer)>, Error> {
        let output = match &settings.audit {
            AuditTo::Off => return Ok(None),
            AuditTo::Stdout => Output::Stdout,
            AuditTo::File(path) => Output::File(path.clone(), Some(open(path)?)),
        };
        IS_KEPT.store(true, Ordering::Relaxed);
        let (lines, waiting) = sync_channel(WAITING);
        let queue = Self {
            lines,
            allowances: Arc::new([(); 3].map(|()| Mutex::new(Allowance::new(Instant::now())))),
        };
        Ok(Some((queue, Writer { output, waiting })))
    }

    /// Waits until what is in the queue is written, but not for long.
    pub(super) fn finish(&self, at_most: Duration) {
        let until = Instant::now() + at_most;
        let (done, wait) = sync_channel(1);
        let mut message = Message::Finish(done);
        // The queue may be full.
        while let Err(TrySendError::Full(again)) = self.lines.try_send(message) {
            if Instant::now() >= until {
                return;
            }
            message = again;
            thread::sleep(Duration::from_millis(5));
        }
        // It ends by being dropped, or never: then nothing is lost that could be saved.
        let _ = wait.recv_timeout(until.saturating_duration_since(Instant::now()));
    }

    fn send(&self, event: Option<Event>, line: &[u8]) {
        let allowance = match event.map(|event| (event, event.audit())) {
            Some((Event::AccessRefused | Event::AccessesRefused, _)) => Some(0),
            Some((_, Audit::OfProcesses)) => Some(1),
            Some((_, Audit::OfExecs)) => Some(2),
            Some(_) | None => None,
        };
        let is_allowed = allowance.is_none_or(|one| {
            let mut allowance = self.allowances[one]
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            allowance.take(Instant::now())
        });
        let sent = is_allowed.then(|| self.lines.try_send(Message::Line(line.to_vec())));
        match sent {
            Some(Ok(())) => {}
            None | Some(Err(TrySendError::Full(_))) => count(LineResult::LeftOut),
            Some(Err(TrySendError::Disconnected(_))) => count(LineResult::Failed),
        }
    }
}

/// Writes what is in the queue.
#[derive(Debug)]
pub(super) struct Writer {
    output: Output,
    waiting: Receiver<Message>,
}

impl Writer {
    /// Has a thread do it from now on.
    ///
    /// The file is opened once more: with what the agent may do now it will have to be, as soon as it is moved away.
    pub(super) fn start(mut self) -> Result<(), Error> {
        if let Output::File(path, file) = &mut self.output {
            *file = Some(open(path)?);
        }
        thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write_all(self.output, &self.waiting))
            .map(drop)
            .map_err(Error::io("thread of the audit log"))
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = OneLine<'a>;

    fn make_writer(&'a self) -> OneLine<'a> {
        OneLine(self, None)
    }

    fn make_writer_for(&'a self, metadata: &tracing::Metadata<'_>) -> OneLine<'a> {
        OneLine(self, Event::named(metadata.name()))
    }
}

/// Takes a line of an event, which comes in one piece.
pub(super) struct OneLine<'a>(&'a Queue, Option<Event>);

impl Write for OneLine<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.send(self.1, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(path: &Path) -> Result<LogFile, Error> {
    LogFile::open(path).map_err(|error| {
        Error::Other(format!(
            "log.audit: cannot write {}: {error}",
            path.display()
        ))
    })
}

/// How many lines may come now.
#[derive(Debug)]
struct Allowance {
    lines: f64,
    since: Instant,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self {
            lines: AT_ONCE,
            since: now,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since).as_secs_f64();
        self.since = now;
        self.lines = (self.lines + passed * A_SECOND).min(AT_ONCE);
        let may = self.lines >= 1.0;
        self.lines -= f64::from(u8::from(may));
        may
    }
}

/// Where lines go.
#[derive(Debug)]
enum Output {
    Stdout,
    /// `None` while it cannot be opened.
    File(PathBuf, Option<LogFile>),
}

/// The file of the audit log.
#[derive(Debug)]
struct LogFile {
    file: File,
    looked: Instant,
}

impl LogFile {
    /// Opens the file to write at its end, and makes it if it is not there: readable for its owner alone. What is a link, a
    /// pipe or a device is refused.
    fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        // A pipe without a reader is an error and not a wait.
        let file = options
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        Ok(Self {
            file,
            looked: Instant::now(),
        })
    }

    /// Whether somebody has put another file there, as what rotates logs does.
    fn has_gone(&mut self, path: &Path) -> bool {
        if self.looked.elapsed() < LOOK {
            return false;
        }
        self.looked = Instant::now();
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let there = std::fs::symlink_metadata(path).map(identity).ok();
        there.is_none() || there != self.file.metadata().map(identity).ok()
    }
}

impl Output {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines)?;
                stdout.flush()
            }
            Self::File(path, open) => {
                if open.as_mut().is_some_and(|file| file.has_gone(path)) {
                    *open = None;
                }
                let file = match open {
                    Some(file) => file,
                    None => open.insert(LogFile::open(path)?),
                };
                let written = file.file.write_all(lines);
                if written.is_err() {
                    *open = None;
                }
                written
            }
        }
    }
}

/// Writes what comes until nobody can send any more.
fn write_all(mut output: Output, lines: &Receiver<Message>) {
    let mut failed = None::<Instant>;
    while let Ok(message) = lines.recv() {
        let line = match message {
            Message::Line(line) => line,
            Message::Finish(done) => {
                drop(done);
                continue;
            }
        };
        // A full disk is not asked again for each line.
        if failed.is_some_and(|failed| failed.elapsed() < LOOK) {
            count(LineResult::Failed);
            continue;
        }
        // What failed may have left half a line.
        let line = if failed.is_some() {
            [b"\n", line.as_slice()].concat()
        } else {
            line
        };
        match output.write(&line) {
            Ok(()) => {
                count(LineResult::Written);
                if failed.take().is_some() {
                    log_event!(AuditWritten);
                }
            }
            Err(error) => {
                count(LineResult::Failed);
                if failed.replace(Instant::now()).is_none() {
                    log_event!(AuditUnwritten, %error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn who_asks_without_end_fills_no_disk() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let taken = (0..10_000).filter(|_| allowance.take(start)).count();
        assert_eq!(taken, 1000);
        let later = start + Duration::from_secs(2);
        let taken = (0..10_000).filter(|_| allowance.take(later)).count();
        assert_eq!(taken, 100);
    }

    #[test]
    fn the_file_is_its_owners_alone_and_a_new_one_is_begun_where_it_was_moved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut output = Output::File(path.clone(), Some(LogFile::open(&path).unwrap()));
        output.write(b"one\n").unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let moved = folder.path().join("audit.jsonl.1");
        fs::rename(&path, &moved).unwrap();
        thread::sleep(LOOK);
        output.write(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(moved).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn a_link_and_a_pipe_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert!(LogFile::open(&link).is_err());
        let folder = folder.path().join("folder");
        fs::create_dir(&folder).unwrap();
        assert!(LogFile::open(&folder).is_err());
    }

    #[test]
    fn events_of_processes_are_wanted_if_somebody_says_so() {
        use AuditedProcesses::{All, Failed, None};
        for (event, wanted) in [
            (Event::AccessRefused, [true, true, true]),
            (Event::ProcessFailed, [false, true, true]),
            (Event::ProcessExecuted, [false, false, true]),
            (Event::SessionFound, [false, false, false]),
        ] {
            let found = [None, Failed, All].map(|processes| wants(event.name(), processes));
            assert_eq!(found, wanted, "{}", event.name());
        }
        assert!(!wants("event agent/src/x.rs:3", All));
    }
}
