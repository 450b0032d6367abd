//! Virtual machines: what libvirt says of them in its own status files.
//!
//! libvirt keeps `<domain>.xml` in one folder for each machine that runs, and removes it when the machine ends.
//! It writes the file anew at each change, next to its place and renamed, so a file is always whole. Nothing is
//! asked of the daemon: the files say all that is needed, also while it is restarted, and its socket would be a
//! way to do more than look.
//!
//! Where libosinfo's metadata say which operating system a machine has, that is its template (`win11`); those of
//! `OpenStack` say more. Whoever makes machines can say it himself:
//!
//! ```text
//! virsh metadata cad-7 --uri urn:sessionscope --key sessionscope --live --config \
//!     --set '<session name="ada" namespace="lab" template="cad" user="ada@example.org"/>'
//! ```
//!
//! Each of the attributes may be left out.

mod domain;
pub mod settings;

use crate::telemetry::log_event;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use self::domain::Domain;
pub use self::settings::Settings;
use super::{
    file,
    platform::{Facts, Key, Sender},
    poll::{self, Folder},
};
use crate::clock;

/// What the clocks of a process's start and of a file may differ by: the first counts in hundredths.
const CLOCKS_DIFFER: Duration = Duration::from_secs(1);

/// Tells of libvirt's machines until nobody listens any more.
pub async fn run(settings: Settings, sender: Sender) {
    // Its only end is that nobody listens.
    let _closed = poll::run(State::new(settings.state), settings.watch, &sender).await;
}

/// The folder of status files, and what was read there.
struct State {
    folder: PathBuf,
    files: BTreeMap<OsString, Status>,
}

/// A status file as it was when it was read.
struct Status {
    version: Version,
    /// `None` where it makes no sense.
    machine: Option<Machine>,
}

/// Of a file: two that are the same have the same content.
type Version = (u64, i64, i64, u64);

/// A machine.
#[derive(Clone)]
struct Machine {
    key: String,
    pid: Option<i32>,
    facts: Facts,
}

impl State {
    fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            files: BTreeMap::new(),
        }
    }

    /// What was read of a file.
    fn machine(&self, file: &OsStr) -> Option<&Machine> {
        self.files.get(file)?.machine.as_ref()
    }

    /// All machines by libvirt's ids, which are in the names of their cgroups.
    fn machines(&self) -> BTreeMap<Key, Facts> {
        let machines = self.files.values().filter_map(|file| file.machine.as_ref());
        machines
            .map(|machine| (Key::Machine(machine.key.clone()), machine.facts.clone()))
            .collect()
    }
}

impl Folder for State {
    fn path(&self) -> &Path {
        &self.folder
    }

    fn look(&mut self, anew: bool) -> io::Result<Option<BTreeMap<Key, Facts>>> {
        let mut changed = anew;
        let mut present = BTreeSet::new();
        for entry in fs::read_dir(file::place(&self.folder))? {
            let path = entry?.path();
            let (Some(name), Some("xml")) = (
                path.file_name(),
                path.extension().and_then(|extension| extension.to_str()),
            ) else {
                continue;
            };
            // It may be gone by now.
            let Ok(metadata) = fs::metadata(&path) else {
                continue;
            };
            present.insert(name.to_owned());
            let version = (
                metadata.ino(),
                metadata.mtime(),
                metadata.mtime_nsec(),
                metadata.len(),
            );
            if self.files.get(name).map(|file| file.version) == Some(version) {
                continue;
            }
            let mut machine = read(&path, metadata.modified().ok());
            if let (Ok(now), Some(before)) = (&mut machine, self.machine(name))
                && now.pid == before.pid
            {
                // To ask a second time would give another fraction of a second.
                now.facts.created = before.facts.created;
            }
            if let Err(reason) = &machine {
                log_event!(
                    DescriptionRefused,
                    source = "libvirt",
                    file = %path.display(),
                    %reason,
                    remedy = "restart the machine, or libvirt if it wrote this"
                );
            }
            let machine = machine.ok();
            self.files
                .insert(name.to_owned(), Status { version, machine });
            changed = true;
        }
        let before = self.files.len();
        self.files.retain(|name, _| present.contains(name));
        changed |= self.files.len() != before;
        Ok(changed.then(|| self.machines()))
    }
}

/// The machine of a status file that was written at `written`.
fn read(path: &Path, written: Option<SystemTime>) -> Result<Machine, String> {
    let text = file::text(path).map_err(|error| error.to_string())?;
    let Domain {
        key,
        pid,
        mut facts,
    } = Domain::parse(&text)?;
    facts.created = pid.and_then(started).filter(|started| {
        let later = |written| started.duration_since(written).unwrap_or_default();
        // A pid of another namespace, or one that is another's by now.
        written.is_some_and(|written| later(written) <= CLOCKS_DIFFER)
    });
    Ok(Machine { key, pid, facts })
}

/// When a process started.
fn started(pid: i32) -> Option<SystemTime> {
    let stat = procfs::process::Process::new(pid).ok()?.stat().ok()?;
    let since_boot = stat.starttime as f64 / procfs::ticks_per_second() as f64;
    clock::wall_of_boot((since_boot * 1e9) as u64)
}

/// What a file of libvirt's says is a reason of one line, or in proportion.
#[cfg(any(test, fuzzing))]
pub(crate) fn must_hold(text: &str) {
    let is = |made: &dyn std::fmt::Debug| crate::fuzz::in_proportion(&made, text.len());
    match Domain::parse(text) {
        Ok(domain) => assert!(is(&domain), "{domain:?}"),
        Err(reason) => assert!(!reason.contains('\n') && is(&reason), "{reason}"),
    }
}

#[cfg(test)]
mod tests;
