//! What is read from a file, and read again whenever that or another file that it names has changed.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use crate::{serve::traffic::Traffic, setting::ConfigError};

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
    /// The files as they were when they were read last, with an error or without.
    files: Mutex<Vec<Seen>>,
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
            files: Mutex::new(files),
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
        files.iter().map(|seen| seen.path.clone()).collect()
    }

    /// Reads it again if a file has changed; says whether something else is in effect now. What is wrong is logged and
    /// counted, and not read again before it changes again.
    pub(super) fn look(&self, traffic: &Traffic) -> bool {
        let Some(path) = &self.path else {
            return false;
        };
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let now: Vec<Seen> = files.iter().map(|seen| Seen::now(&seen.path)).collect();
        let pairs = now.iter().zip(&*files);
        let changed: Vec<&PathBuf> = pairs
            .filter(|(now, before)| now != before)
            .map(|(now, _)| &now.path)
            .collect();
        if changed.is_empty() {
            return false;
        }
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
                for seen in &read {
                    traffic.file(&seen.path);
                }
                *files = read;
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                tracing::info!(
                    files = names,
                    "read again: in effect for what comes from now on"
                );
            }
            Err(error) => {
                tracing::error!(%error, files = names, "not read again: what was in effect stays");
                // With those that were named before, which may be mended by themselves.
                files.clone_from(&now);
            }
        }
        for path in changed {
            traffic.reloaded(path, is_other);
        }
        is_other
    }
}
