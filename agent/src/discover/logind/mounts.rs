//! The table of mounts, watched while somebody logs in: a home folder that comes by NFS or `pam_mount` is a new line there.
//!
//! The kernel tells of a change as urgent data of `/proc/PID/mountinfo`. It does not say which, so the table is read
//! again; on a node with many containers that is some milliseconds, and so it is read for a twentieth of the time at most.

use std::{
    collections::HashSet,
    fs::File,
    future,
    io::{self, Read, Seek},
    time::Duration,
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, sleep_until},
};

use crate::{clock, kernel::readiness};

/// The mounts that the first process sees: the agent may have some of its own.
const TABLE: &str = "/proc/1/mountinfo";
/// The most that is read of it, bytes: some hundred thousand mounts.
const LONGEST: u64 = 16 << 20;
/// A reading is followed by so many times its length without another.
const PAUSE: u32 = 19;

/// See the module.
#[derive(Debug)]
pub(super) struct Mounts {
    table: AsyncFd<File>,
    /// Number and place of each mount.
    known: HashSet<(String, String)>,
    /// It is not read again before.
    next: Instant,
}

impl Mounts {
    /// Watches it from now on; `None` where it cannot be read.
    pub(super) fn open() -> Option<Self> {
        let table = File::open(TABLE).and_then(|file| readiness::watch(file, Interest::PRIORITY));
        let mut mounts = Self {
            table: table.ok()?,
            known: HashSet::new(),
            next: Instant::now(),
        };
        mounts.known = mounts.read().ok()?;
        Some(mounts)
    }

    /// Waits for new mounts: when they were noticed, nanoseconds since boot, and their places. What has come is not lost
    /// when this is given up.
    pub(super) async fn changed(&mut self) -> (u64, Vec<String>) {
        loop {
            sleep_until(self.next).await;
            match self.table.ready(Interest::PRIORITY).await {
                Ok(mut guard) => guard.clear_ready(),
                // The runtime ends.
                Err(_) => future::pending().await,
            }
            let at_ns = clock::boot_ns();
            let began = Instant::now();
            let now = self.read();
            let took = began.elapsed();
            self.next = Instant::now() + took * PAUSE;
            let Ok(now) = now else {
                self.next = Instant::now() + Duration::from_secs(1);
                continue;
            };
            let new = now.difference(&self.known).map(|(_, place)| place.clone());
            let new: Vec<String> = new.collect();
            self.known = now;
            if !new.is_empty() {
                return (at_ns, new);
            }
        }
    }

    fn read(&self) -> io::Result<HashSet<(String, String)>> {
        let mut table = self.table.get_ref();
        table.rewind()?;
        let mut text = Vec::new();
        table.take(LONGEST).read_to_end(&mut text)?;
        Ok(places(&String::from_utf8_lossy(&text)))
    }
}

/// Number and place of each mount, as the kernel writes them: a space in a place is `\040`.
fn places(table: &str) -> HashSet<(String, String)> {
    let place = |line: &str| {
        let mut fields = line.split(' ');
        let number = fields.next()?.to_owned();
        Some((number, fields.nth(3)?.to_owned()))
    };
    table.lines().filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_known_by_number_and_place() {
        let table = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                     31 22 0:45 / /home/ada rw,nosuid shared:7 - nfs4 server:/ada rw\n\
                     32 22 0:46 / /srv/with\\040space rw - tmpfs none rw\nhalf a line\n";
        let expected = [
            ("22", "/"),
            ("31", "/home/ada"),
            ("32", "/srv/with\\040space"),
        ];
        let expected = expected.map(|(number, place)| (number.to_owned(), place.to_owned()));
        // "half a line" has too few fields.
        assert_eq!(places(table), HashSet::from(expected));
    }

    #[tokio::test]
    async fn a_table_that_does_not_change_says_nothing() {
        let Some(mut mounts) = Mounts::open() else {
            return;
        };
        assert!(mounts.known.iter().any(|(_, place)| place == "/"));
        // What is mounted meanwhile by somebody else is new all the same.
        let soon = tokio::time::timeout(Duration::from_millis(50), mounts.changed()).await;
        assert!(soon.is_err() || soon.is_ok_and(|(_, new)| !new.is_empty()));
    }
}
