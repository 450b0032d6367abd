//! The sockets at which input is measured: a look at all of them every five seconds, for those that nobody reads.

use std::{
    io::Read as _,
    mem,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use agent_common::{
    NO_SESSION, Slot,
    experience::{CLIENT, GivenUpDisplays, MarkedCounts, MarkedRecord},
};
use aya::maps::Map;

use super::{
    Kernel,
    maps::{MARKED_SOCKETS, NEW_DISPLAYS, value},
    pace::{Pace, Reading},
    programs::name,
    ring, syscall,
};
use crate::{clock, telemetry::log_event};

/// How often the sockets are looked at, and how long a connection to a display server may be without a message before it is
/// given up until the open files of its process are walked.
const LOOK: Duration = Duration::from_secs(5);
/// A sample may be so much earlier than the last one was late.
const JITTER: Duration = Duration::from_millis(500);

/// The part of the time that walks over open files take at most, where these looks are such.
const PART_OF_TIME: u32 = 100;

/// What is kept between two looks.
#[derive(Debug, Default)]
pub(super) struct InputLook {
    at: Option<Instant>,
    /// Connections to displays that there was no room to note, up to then.
    displays_missed: u64,
    /// There may be open sockets at which input is to be measured and is not.
    unmarked: bool,
    /// Sockets of sessions that had as many as they may, up to then.
    over_budget: u64,
    /// Of walks over open files that look; those that mark have another.
    pace: Pace,
}

impl Kernel {
    /// The sessions' sockets at which input is measured, by slot; every five seconds, and impossible without the programs.
    pub fn marked_sockets(&mut self) -> Reading<Vec<MarkedRecord>> {
        if !self.is_up(name::SK_DATA_READY) {
            return Reading::Impossible;
        }
        let now = Instant::now();
        if self
            .input
            .at
            .is_some_and(|before| now.duration_since(before) + JITTER < LOOK)
        {
            return Reading::NotDue;
        }
        let walks_files = self.is_up(name::MARKED_OPEN_SOCKETS);
        if walks_files && !self.input.pace.is_due(now, PART_OF_TIME) {
            return Reading::NotDue;
        }
        self.input.at = Some(now);
        self.input.unmarked |= self.give_up_displays() | self.was_over_budget();
        let mut read = None;
        if self.is_up(name::MARKED_SOCKETS) {
            read = if walks_files {
                self.walk_marked(now)
            } else {
                let read = self.read_marked();
                read.inspect_err(
                    |error| log_event!(KernelUnread, what = name::MARKED_SOCKETS, %error),
                )
                .ok()
            };
        }
        let Some(mut all) = read else {
            // How many there are nobody knows: each session may have as many more.
            self.count_marked(&[]);
            return Reading::Impossible;
        };
        all.sort_unstable_by_key(|socket| (socket.slot, socket.socket));
        // Several processes may have one open.
        all.dedup_by_key(|socket| socket.socket);
        self.count_marked(&all);
        // What had no place may have one now, and what had said nothing for too long is open still.
        if self.input.unmarked && self.mark_open_sockets() {
            self.input.unmarked = false;
        }
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

    /// The same by the open files of all processes, about 100 ns each, where the kernel refuses the other way.
    fn walk_marked(&mut self, began: Instant) -> Option<Vec<MarkedRecord>> {
        let records: Option<Vec<MarkedRecord>> = self.records(name::MARKED_OPEN_SOCKETS);
        self.input.pace.done(began.elapsed());
        records
    }

    /// Tells the programs how many each session has: they cannot know when one is destroyed.
    fn count_marked(&mut self, all: &[MarkedRecord]) {
        for slot in 1..self.slots {
            let from = all.partition_point(|socket| socket.slot < slot);
            let to = all.partition_point(|socket| socket.slot <= slot);
            let own = &all[from..to];
            let clients = own.iter().filter(|socket| socket.kind == CLIENT).count();
            let counts = MarkedCounts {
                displays: (own.len() - clients) as u64,
                clients: clients as u64,
            };
            self.set_marked(slot, counts);
        }
    }

    /// Whether a socket has had no place since this was asked last.
    fn was_over_budget(&mut self) -> bool {
        let of_slot = |slot| value(&self.maps.experience_stats, slot).over_budget;
        let all = (1..self.slots).map(of_slot).sum();
        // A slot that is cleared begins anew.
        all > mem::replace(&mut self.input.over_budget, all)
    }

    fn set_marked(&mut self, slot: Slot, now: MarkedCounts) {
        let counts = &mut self.maps.marked_counts;
        if value(counts, slot) == now {
            return;
        }
        if let Err(error) = counts.set(slot, now, 0) {
            log_event!(KernelUnwritten, what = "sockets at which input is measured", slot, %error);
        }
    }

    /// Forgets connections to display servers on which nothing has been sent: while there is one, the programs look for it
    /// at each message. They know of it when `marked_sockets` or its stand-in has been run; where neither can be loaded, they look on. Says
    /// whether there was any.
    fn give_up_displays(&mut self) -> bool {
        let now_ns = clock::boot_ns();
        let noted = self.remove(NEW_DISPLAYS, |_: &u64, since_ns: &u64| {
            now_ns.saturating_sub(*since_ns) >= LOOK.as_nanos() as u64
        });
        let missed = value(&self.maps.displays_awaited, 0).missed;
        let before = value(&self.maps.displays_given_up, 0);
        let given_up = GivenUpDisplays {
            noted: before.noted.wrapping_add(noted),
            // When each of these was made is not known: those of before the last look are old enough.
            missed: mem::replace(&mut self.input.displays_missed, missed),
        };
        if given_up == before {
            return false;
        }
        if let Err(error) = self.maps.displays_given_up.set(0, given_up, 0) {
            log_event!(KernelUnwritten, what = "displays that are waited for", %error);
        }
        true
    }
}
