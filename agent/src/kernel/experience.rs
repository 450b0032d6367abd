//! The sockets at which input is measured: a look at all of them every five seconds, for those that nobody reads.

use std::{
    io::Read as _,
    mem,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use agent_common::{
    NO_SESSION, Slot,
    experience::{GivenUpDisplays, MarkedRecord},
};
use aya::maps::Map;

use super::{
    Kernel,
    maps::{MARKED_SOCKETS, NEW_DISPLAYS, value},
    pace::Reading,
    programs::name,
    ring, syscall,
};
use crate::{clock, telemetry::log_event};

/// How often the sockets are looked at, and how long a connection to a display server may be without a message before it is
/// given up until the open files of its process are walked.
const LOOK: Duration = Duration::from_secs(5);
/// A sample may be so much earlier than the last one was late.
const JITTER: Duration = Duration::from_millis(500);

impl Kernel {
    /// The sessions' sockets at which input is measured, by slot; every five seconds, and impossible without the programs.
    pub fn marked_sockets(&mut self) -> Reading<Vec<MarkedRecord>> {
        if !self.is_up(name::SK_DATA_READY) {
            return Reading::Impossible;
        }
        let now = Instant::now();
        if self
            .looked_at_input
            .is_some_and(|before| now.duration_since(before) + JITTER < LOOK)
        {
            return Reading::NotDue;
        }
        self.looked_at_input = Some(now);
        self.give_up_displays();
        let mut read = None;
        if self.is_up(name::MARKED_SOCKETS) {
            match self.read_marked() {
                Ok(all) => read = Some(all),
                Err(error) => log_event!(KernelUnread, what = name::MARKED_SOCKETS, %error),
            }
        }
        let Some(mut all) = read else {
            // How many there are nobody knows: each session may have as many more.
            self.count_marked(&[]);
            return Reading::Impossible;
        };
        all.sort_unstable_by_key(|socket| (socket.slot, socket.socket));
        self.count_marked(&all);
        Reading::Taken(all)
    }

    fn read_marked(&self) -> Result<Vec<MarkedRecord>, Box<dyn std::error::Error>> {
        let program = self.ebpf.program(name::MARKED_SOCKETS);
        let program = program.ok_or("no such program")?.fd()?;
        let Some(Map::SkStorage(map)) = self.ebpf.map(MARKED_SOCKETS) else {
            return Err("no such map".into());
        };
        let mut bytes = Vec::new();
        syscall::iterator_of_map(program.as_fd(), map.fd().as_fd())?.read_to_end(&mut bytes)?;
        let records = bytes.chunks_exact(size_of::<MarkedRecord>());
        let records = records.filter_map(ring::record::<MarkedRecord>);
        Ok(records.filter(|socket| socket.slot != NO_SESSION).collect())
    }

    /// Tells the programs how many each session has: they cannot know when one is destroyed.
    fn count_marked(&mut self, all: &[MarkedRecord]) {
        for slot in 1..self.slots {
            let from = all.partition_point(|socket| socket.slot < slot);
            let to = all.partition_point(|socket| socket.slot <= slot);
            self.set_marked(slot, (to - from) as u64);
        }
    }

    fn set_marked(&mut self, slot: Slot, count: u64) {
        let counts = &mut self.maps.marked_counts;
        if value(counts, slot) == count {
            return;
        }
        if let Err(error) = counts.set(slot, count, 0) {
            log_event!(KernelUnwritten, what = "sockets at which input is measured", slot, %error);
        }
    }

    /// Forgets connections to display servers on which nothing has been sent: while there is one, the programs look for it
    /// at each message. They know of it when `marked_sockets` has been run; where that cannot be loaded, they look on.
    fn give_up_displays(&mut self) {
        let now_ns = clock::boot_ns();
        let noted = self.remove(NEW_DISPLAYS, |_: &u64, since_ns: &u64| {
            now_ns.saturating_sub(*since_ns) >= LOOK.as_nanos() as u64
        });
        let missed = value(&self.maps.displays_awaited, 0).missed;
        let before = value(&self.maps.displays_given_up, 0);
        let given_up = GivenUpDisplays {
            noted: before.noted.wrapping_add(noted),
            // When each of these was made is not known: those of before the last look are old enough.
            missed: mem::replace(&mut self.displays_missed, missed),
        };
        if given_up != before
            && let Err(error) = self.maps.displays_given_up.set(0, given_up, 0)
        {
            log_event!(KernelUnwritten, what = "displays that are waited for", %error);
        }
    }
}
