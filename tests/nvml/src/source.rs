//! The scenario file as it changes: one stat per call, and a read when it is another file.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::scenario::Scenario;

/// Microseconds since 1970, the clock of the driver's samples.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// What distinguishes one state of the file from another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: u64,
    size: u64,
    modified_ns: i128,
}

/// A scenario that was read, and since when it holds.
pub(crate) struct Change {
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) since_us: u64,
}

/// The file and what was last seen of it.
pub(crate) struct Source {
    path: Option<PathBuf>,
    seen: Option<Identity>,
}

impl Source {
    pub(crate) const fn new() -> Self {
        Self {
            path: None,
            seen: None,
        }
    }

    /// Another file from now on.
    pub(crate) fn set_path(&mut self, path: PathBuf) {
        self.path = Some(path);
        self.seen = None;
    }

    /// The new scenario if the file changed. A file that cannot be read or understood leaves the last
    /// good one in force, which is said once per state of the file.
    pub(crate) fn changed(&mut self) -> Option<Change> {
        if self.path.is_none() {
            self.path = Some(std::env::var_os(crate::SCENARIO)?.into());
        }
        let path = self.path.as_ref()?;
        let Ok(metadata) = fs::metadata(path) else {
            if self.seen.take().is_some() {
                eprintln!(
                    "nvml scenario: {} is gone; the last one stays",
                    path.display()
                );
            }
            return None;
        };
        let modified_ns =
            i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        let identity = Identity {
            inode: metadata.ino(),
            size: metadata.size(),
            modified_ns,
        };
        if self.seen.replace(identity) == Some(identity) {
            return None;
        }
        let scenario = fs::read_to_string(path)
            .map_err(|error| error.to_string())
            .and_then(|text| Scenario::parse(&text).map_err(|error| error.to_string()));
        match scenario {
            Ok(scenario) => Some(Change {
                scenario: Arc::new(scenario),
                since_us: u64::try_from(modified_ns / 1000).unwrap_or(0),
            }),
            Err(error) => {
                eprintln!(
                    "nvml scenario: {}: {error}; the last one stays",
                    path.display()
                );
                None
            }
        }
    }
}
