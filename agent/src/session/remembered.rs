//! What a restart of the agent must not forget: which sessions there were, and when they began.
//!
//! A session that is gone when the agent comes back ended unseen: it is counted once, as `unknown`. One that
//! is still there keeps its beginning, which the file knows better than the cgroup's directory.

use std::{fs, io, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use crate::discover::platform::{Facts, Key, Named};

/// The sessions of a moment, as they are kept in a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// The boot that they were of (`/proc/sys/kernel/random/boot_id`): ids of cgroups are unique within one.
    boot: String,
    /// Those that lived.
    pub sessions: Vec<Entry>,
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
    /// The sessions that live now.
    pub fn now(sessions: Vec<Entry>) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self {
            boot: boot.trim().to_owned(),
            sessions,
        }
    }

    /// What the file at `path` says; `None` where there is none.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        serde_json::from_str(&text).map(Some).map_err(Into::into)
    }

    /// Puts the file in place in one step, so that an end in the middle leaves the old one.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let beside = path.with_extension("new");
        fs::write(&beside, serde_json::to_vec(self)?)?;
        fs::rename(&beside, path)
    }

    /// Whether ids of cgroups mean the same now.
    pub fn is_of_this_boot(&self, now: &Self) -> bool {
        self.boot == now.boot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_half_a_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/sessions.json");
        assert_eq!(Remembered::read(&path).unwrap(), None);
        let now = Remembered::now(vec![Entry {
            session: "s".to_owned(),
            platform: Some(Key::Pod("u".to_owned())),
            namespace: "n".to_owned(),
            template: "t".to_owned(),
            roots: vec![7, 9],
            began: Some(1_700.25),
        }]);
        now.write(&path).unwrap();
        assert_eq!(Remembered::read(&path).unwrap(), Some(now.clone()));
        assert!(now.is_of_this_boot(&Remembered::now(Vec::new())));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert!(Remembered::read(&path).is_err());
    }
}
