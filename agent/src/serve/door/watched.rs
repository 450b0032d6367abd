//! What is read from a file, and read again whenever that or another file that it names has changed.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use crate::{serve::traffic::Traffic, setting::ConfigError, telemetry::log_event};

/// Reads a file, and adds to the list those that it names. What was in effect before is known.
pub(super) type Read<T> =
    fn(path: &Path, before: Option<&T>, files: &mut Vec<Seen>) -> Result<T, ConfigError>;

/// A file as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    path: PathBuf,
    /// What changes with it; `None` where it is not there.
    state: Option<(u64, u64, SystemTime)>,
}

impl Seen {
    /// As it is now.
    pub(super) fn now(path: &Path) -> Self {
        let state = fs::metadata(path)
            .and_then(|file| Ok((file.ino(), file.len(), file.modified()?)))
            .ok();
        Self {
            path: path.to_owned(),
            state,
        }
    }
}

/// What is in effect of a file; the default where there is none.
pub(super) struct Watched<T> {
    path: Option<PathBuf>,
    read: Read<T>,
    current: Mutex<Arc<T>>,
    files: Mutex<Files>,
}

/// The files that something is read from.
#[derive(Default)]
struct Files {
    /// As they were when they were read last, with an error or without.
    read: Vec<Seen>,
    /// As they were at the last look, if that was otherwise. They are read when they have stayed so: who writes a file
    /// where it is empties it first.
    changing: Option<Vec<Seen>>,
}

impl<T: Default> Watched<T> {
    /// Reads it for the first time.
    pub(super) fn open(path: Option<&PathBuf>, read: Read<T>) -> Result<Self, ConfigError> {
        let mut files = Vec::new();
        let current = match path {
            None => T::default(),
            Some(path) => {
                files.push(Seen::now(path));
                read(path, None, &mut files)?
            }
        };
        Ok(Self {
            path: path.cloned(),
            read,
            current: Mutex::new(Arc::new(current)),
            files: Mutex::new(Files {
                read: files,
                changing: None,
            }),
        })
    }

    /// Whether there is a file.
    pub(super) fn has_file(&self) -> bool {
        self.path.is_some()
    }

    /// What is in effect.
    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The files that it is from.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.read.iter().map(|seen| seen.path.clone()).collect()
    }

    /// Reads it again if a file has changed; says whether something else is in effect now. What is wrong is logged and
    /// counted, and not read again before it changes again.
    pub(super) fn look(&self, traffic: &Traffic) -> bool {
        let Some(path) = &self.path else {
            return false;
        };
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let now: Vec<Seen> = files
            .read
            .iter()
            .map(|seen| Seen::now(&seen.path))
            .collect();
        if now == files.read {
            files.changing = None;
            return false;
        }
        if files.changing.as_ref() != Some(&now) {
            files.changing = Some(now);
            return false;
        }
        files.changing = None;
        let pairs = now.iter().zip(&files.read);
        let changed: Vec<PathBuf> = pairs
            .filter(|(now, before)| now != before)
            .map(|(now, _)| now.path.clone())
            .collect();
        let names: Vec<String> = changed
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let names = names.join(", ");
        // Before it is read: what changes meanwhile is read again.
        let mut read = vec![Seen::now(path)];
        let result = (self.read)(path, Some(&self.current()), &mut read);
        let is_other = result.is_ok();
        match result {
            Ok(new) => {
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                log_event!(ConfigurationReloaded, files = names);
                let is_named = |old: &Seen| read.iter().any(|seen| seen.path == old.path);
                for old in files.read.iter().filter(|old| !is_named(old)) {
                    traffic.forget(&old.path);
                }
                for seen in &read {
                    traffic.file(&seen.path);
                    traffic.reloaded(&seen.path, true);
                }
                files.read = read;
            }
            Err(error) => {
                log_event!(ConfigurationRefused, files = names, %error);
                for path in changed {
                    traffic.reloaded(&path, false);
                }
                // Those that were named before and those that are named now: any of them may be mended by itself.
                let is_new = |one: &Seen| !now.iter().any(|seen| seen.path == one.path);
                let new: Vec<Seen> = read.into_iter().filter(is_new).collect();
                files.read = now.into_iter().chain(new).collect();
            }
        }
        is_other
    }
}
