//! What a restart of the agent must not forget: which sessions there were, and when they began.
//!
//! A session that is gone when the agent comes back ended unseen: it is counted once, as `unknown`. One that
//! is still there keeps its beginning, which the file knows better than the cgroup's directory.
//!
//! The file is the agent's alone: it names the sessions, so others do not read it, and what others may have
//! written is not believed, because it would be counted.

use crate::telemetry::log_event;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use crate::discover::platform::{Facts, Key, Named};

/// Permissions of the file, and of its folder where there is none yet.
const PRIVATE: u32 = 0o600;
const PRIVATE_FOLDER: u32 = 0o700;
/// Group or others may write.
const OPEN: u32 = 0o022;
/// The longest file that is read, bytes: 8 KB for each of the most sessions that can be measured.
const LONGEST: u64 = 32 << 20;

/// The sessions of a moment, as they are kept in a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// The boot that they were of (`/proc/sys/kernel/random/boot_id`): ids of cgroups are unique within one.
    boot: String,
    /// Those that lived.
    pub sessions: Vec<Entry>,
    /// Ids of cgroups whose sessions are over, though they are still there: what is in them is nobody's.
    #[serde(default)]
    pub closed: Vec<u64>,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub session: String,
    /// Its namespace.
    pub namespace: String,
    /// Its template.
    pub template: String,
    /// What joins it with the platform that named it; absent when a rule did.
    pub platform: Option<Key>,
    /// Ids of its cgroups.
    pub roots: Vec<u64>,
    /// When it began, seconds since the boot; absent when that is not known.
    pub began: Option<f64>,
}

impl Entry {
    /// What its platform said of it, as far as its names say that.
    pub fn facts(&self) -> Facts {
        let name = |name: &String| Named::new(name, "what was known before a restart");
        Facts {
            is_session: true,
            session: name(&self.session),
            namespace: name(&self.namespace),
            template: name(&self.template),
            ..Facts::default()
        }
    }

    /// When it began, nanoseconds since boot.
    pub fn started_ns(&self) -> Option<u64> {
        let since_boot = Duration::try_from_secs_f64(self.began?).ok()?;
        u64::try_from(since_boot.as_nanos()).ok()
    }
}

impl Remembered {
    /// The sessions that live now, and the cgroups of those that are over.
    pub fn now(sessions: Vec<Entry>, closed: Vec<u64>) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self {
            boot: boot.trim().to_owned(),
            sessions,
            closed,
        }
    }

    /// What the file at `path` says; `None` where there is none. One that others may have put there is refused.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        let file = match open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut text = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut text)?;
        if text.len() as u64 > LONGEST {
            let reason = "it is longer than 32 MiB, which the agent never writes; remove it";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(Some(Self::parse(&text)?))
    }

    fn parse(text: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(text)
    }

    /// Puts the file in place in one step, so that an end in the middle leaves the old one.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            let mut private = DirBuilder::new();
            private
                .recursive(true)
                .mode(PRIVATE_FOLDER)
                .create(folder)?;
        }
        let beside = path.with_extension("new");
        // What an end in the middle has left, or somebody else has put there.
        if let Err(error) = fs::remove_file(&beside)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut options = OpenOptions::new();
        // A new one follows no link.
        options.write(true).create_new(true).mode(PRIVATE);
        let mut file = options.open(&beside)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        // Before the rename, which may reach a disk first.
        file.sync_all()?;
        fs::rename(&beside, path)
    }

    /// Whether ids of cgroups mean the same now.
    pub fn is_of_this_boot(&self, now: &Self) -> bool {
        self.boot == now.boot
    }
}

/// Opens the file if nobody but the agent's user can have written it.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Without waiting: it may be a pipe.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match options.read(true).custom_flags(flags).open(path) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(refused("it is a symbolic link; remove it"));
        }
        file => file?,
    };
    let found = file.metadata()?;
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    if !found.is_file() {
        return Err(refused("it is not a regular file; remove it"));
    }
    if owner != geteuid().as_raw() || mode & OPEN != 0 {
        return Err(refused(&format!(
            "others may have written it (owner {owner}, mode {mode:04o}); remove it"
        )));
    }
    Ok(file)
}

fn refused(reason: &str) -> io::Error {
    io::Error::other(reason)
}

/// The file that is kept up to date.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    /// What is in it, as far as the agent has written it.
    written: Option<(Vec<Entry>, Vec<u64>)>,
    /// Why it could not be written the last time.
    failure: Option<String>,
}

impl StateFile {
    /// The file at a path; nothing is written yet.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            written: None,
            failure: None,
        }
    }

    /// Writes what is to be remembered, when it is something else than before or has not been written. What fails is
    /// tried again the next time, and logged once for each reason.
    pub fn keep(&mut self, living: Vec<Entry>, closed: Vec<u64>) {
        let is_written =
            |(entries, ids): &(Vec<Entry>, Vec<u64>)| *entries == living && *ids == closed;
        if self.written.as_ref().is_some_and(is_written) {
            return;
        }
        let now = Remembered::now(living, closed);
        let path = self.path.display();
        match now.write(&self.path) {
            Ok(()) => {
                if self.failure.take().is_some() {
                    log_event!(StateWritten, %path);
                }
                self.written = Some((now.sessions, now.closed));
            }
            Err(error) => {
                let error = error.to_string();
                if self.failure.as_ref() != Some(&error) {
                    log_event!(StateUnwritten, %path, error);
                }
                self.failure = Some(error);
            }
        }
    }
}

/// What a file says is an error or in proportion.
#[cfg(any(test, fuzzing))]
pub(crate) fn must_hold(bytes: &[u8]) {
    if let Ok(Remembered { sessions, .. }) = Remembered::parse(bytes) {
        let all = sessions.iter();
        let all: Vec<_> = all
            .map(|entry| (entry.facts(), entry.started_ns()))
            .collect();
        let is = crate::fuzz::in_proportion(&(&all, &sessions), bytes.len());
        assert!(is, "{all:?}");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::fuzz::{self, bytes_like};

    fn one() -> Remembered {
        let entry = Entry {
            session: "s".to_owned(),
            platform: Some(Key::Pod("u".to_owned())),
            namespace: "n".to_owned(),
            template: "t".to_owned(),
            roots: vec![7, 9],
            began: Some(1_700.25),
        };
        Remembered::now(vec![entry], vec![11])
    }

    /// A folder with a file that has been written.
    fn written() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions.json");
        one().write(&path).unwrap();
        (folder, path)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn refusal(path: &Path) -> String {
        Remembered::read(path).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read_again_and_half_a_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/sessions.json");
        assert_eq!(Remembered::read(&path).unwrap(), None);
        let now = one();
        now.write(&path).unwrap();
        assert_eq!(Remembered::read(&path).unwrap(), Some(now.clone()));
        assert!(now.is_of_this_boot(&Remembered::now(Vec::new(), Vec::new())));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert!(Remembered::read(&path).is_err());
    }

    #[test]
    fn nobody_else_reads_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/sessions.json");
        one().write(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        for made in ["a", "a/b"] {
            assert_eq!(mode(&folder.path().join(made)), 0o700);
        }
    }

    #[test]
    fn a_link_is_neither_written_through_nor_read() {
        let (folder, path) = written();
        let (victim, beside) = (folder.path().join("victim"), path.with_extension("new"));
        fs::write(&victim, "precious").unwrap();
        // In the place of the temporary file, and of the file.
        symlink(&victim, &beside).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&victim, &path).unwrap();
        assert!(refusal(&path).contains("symbolic link"));
        one().write(&path).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        assert!(!beside.exists());
        // What an end in the middle has left.
        fs::write(&beside, "half").unwrap();
        one().write(&path).unwrap();
        assert_eq!(Remembered::read(&path).unwrap(), Some(one()));
    }

    #[test]
    fn what_others_may_have_written_is_not_believed() {
        let (folder, path) = written();
        for mode in [0o620, 0o602] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let reason = refusal(&path);
            assert!(reason.contains(&format!("mode {mode:04o}")), "{reason}");
        }
        // As agents of before have left it.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Remembered::read(&path).unwrap().is_some());
        assert!(refusal(folder.path()).contains("not a regular file"));
        if geteuid().is_root() {
            chown(&path, Some(1000), None).unwrap();
            assert!(refusal(&path).contains("owner 1000"));
        }
    }

    #[test]
    fn what_could_not_be_written_is_written_later_also_without_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let blocker = folder.path().join("below");
        fs::write(&blocker, "").unwrap();
        let path = blocker.join("sessions.json");
        let mut state = StateFile::new(&path);
        state.keep(one().sessions, one().closed);
        assert!(state.failure.is_some());
        fs::remove_file(&blocker).unwrap();
        state.keep(one().sessions, one().closed);
        assert_eq!(state.failure, None);
        assert_eq!(Remembered::read(&path).unwrap(), Some(one()));
        // And not again for the same.
        fs::remove_file(&path).unwrap();
        state.keep(one().sessions, one().closed);
        assert!(!path.exists());
        state.keep(Vec::new(), Vec::new());
        assert!(path.exists());
    }

    #[test]
    fn a_file_that_is_far_too_long_is_not_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions.json");
        File::create(&path).unwrap().set_len(LONGEST + 1).unwrap();
        let error = Remembered::read(&path).unwrap_err().to_string();
        assert!(error.contains("32 MiB"), "{error}");
    }

    proptest! {
        #![proptest_config(fuzz::config())]

        #[test]
        fn whatever_the_file_says_is_an_error_or_in_proportion(
            bytes in bytes_like(&[&serde_json::to_vec(&one()).unwrap()])
        ) {
            must_hold(&bytes);
        }
    }
}
