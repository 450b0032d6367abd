//! The live connections: the keys of the map that has them, and what the program `connections` reads of each.
//!
//! A system call for each 4,096 keys, and three for each batch: 1.5 µs a connection, most of which are misses of
//! the cache.

use crate::telemetry::log_event;
use std::{
    io::{self, Read as _},
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use agent_common::{
    MAX_ENTERED, NO_SESSION, Slot,
    net::{CONNECTIONS_PER_RUN, Connection, ConnectionBatch, ConnectionRecord},
};
use aya::maps::{Array, Map, MapData};

use super::{
    Kernel,
    maps::{CONNECTIONS, ENTERED},
    pace::Reading,
    programs::name,
    syscall,
};

/// What reading one costs.
const A_CONNECTION: Duration = Duration::from_nanos(1_500);
/// The part of the time that reading them takes at most: up to 13,000 are read each second, 40,000 every three.
const PART_OF_TIME: u32 = 50;

impl Kernel {
    /// Enters the connections that sessions have already; afterwards they are among
    /// [`Kernel::connections`]. It walks the open files of all processes, about 100 ns each, so it is for
    /// when a session has been adopted.
    ///
    /// Says whether it has, or is to be asked again: sessions that come and go may want it all the time.
    pub fn find_open_connections(&mut self) -> bool {
        let began = Instant::now();
        if !self.files_pace.is_due(began, PART_OF_TIME) {
            return false;
        }
        // Twice: the first run may come to a connection before it comes to its listener.
        for _ in 0..2 {
            let _nothing_written: Option<Vec<ConnectionRecord>> = self.records(name::OPEN_SOCKETS);
        }
        let _nothing_written: Option<Vec<ConnectionRecord>> = self.records(name::MARK_OPEN_SOCKETS);
        self.files_pace.done(began.elapsed());
        true
    }

    /// Marks the sockets at which input is measured and that are open, as far as they have none; says whether it has, as
    /// [`Kernel::find_open_connections`] does.
    pub(super) fn mark_open_sockets(&mut self) -> bool {
        let began = Instant::now();
        if !self.files_pace.is_due(began, PART_OF_TIME) {
            return false;
        }
        let _nothing_written: Option<Vec<ConnectionRecord>> = self.records(name::MARK_OPEN_SOCKETS);
        self.files_pace.done(began.elapsed());
        true
    }

    /// Enters the connections that processes have brought into sessions since this was asked last, from the open files of
    /// these alone. `false` where all are to be walked instead: the kernel cannot do it for one process (before 6.1), the
    /// agent sees other pids than the kernel's, or there were too many.
    pub fn find_carried_connections(&mut self) -> bool {
        if !self.is_up(name::OPEN_SOCKETS) {
            return true;
        }
        let entered: Vec<(u32, Slot)> = self.all_entries(ENTERED);
        if entered.is_empty() {
            return true;
        }
        // First, so that one which enters another meanwhile is looked at again.
        self.remove(ENTERED, |process: &u32, _: &Slot| {
            entered.iter().any(|(one, _)| one == process)
        });
        if !self.walks_one_process || entered.len() >= MAX_ENTERED as usize {
            return false;
        }
        let mut processes = entered.iter();
        let walked = processes.try_for_each(|(process, _)| self.walk_files_of(*process));
        if let Err(error) = &walked {
            log_event!(KernelDetail, what = "open files of all processes are walked", %error);
            let ever = !matches!(error.raw_os_error(), Some(libc::E2BIG | libc::EINVAL));
            self.walks_one_process = ever;
        }
        walked.is_ok()
    }

    fn walk_files_of(&self, process: u32) -> io::Result<()> {
        // Twice, as for all.
        let mut programs = vec![name::OPEN_SOCKETS; 2];
        if self.is_up(name::MARK_OPEN_SOCKETS) {
            programs.push(name::MARK_OPEN_SOCKETS);
        }
        for name in programs {
            let program = self.ebpf.program(name).ok_or(io::ErrorKind::NotFound)?;
            let program = program.fd().map_err(io::Error::other)?;
            let mut files = syscall::iterator_of_process(program.as_fd(), process)?;
            let _nothing_written = files.read_to_end(&mut Vec::new())?;
        }
        Ok(())
    }

    /// The sessions' live TCP connections, by slot; impossible without the programs.
    pub fn connections(&mut self) -> Reading<Vec<ConnectionRecord>> {
        // Without the one that removes them the map has dead ones.
        if !self.is_up(name::TCP_DESTROY_SOCK) || !self.is_up(name::CONNECTIONS) {
            return Reading::Impossible;
        }
        if !self.connections_pace.is_due(Instant::now(), PART_OF_TIME) {
            return Reading::NotDue;
        }
        match self.read_connections() {
            Ok(mut all) => {
                all.sort_unstable_by_key(|c| (c.slot, c.socket));
                self.connections_pace.done(A_CONNECTION * all.len() as u32);
                Reading::Taken(all)
            }
            Err(error) => {
                log_event!(KernelUnread, what = "connections", %error);
                Reading::Impossible
            }
        }
    }

    fn read_connections(&mut self) -> Result<Vec<ConnectionRecord>, Box<dyn std::error::Error>> {
        let program = self
            .ebpf
            .program(name::CONNECTIONS)
            .ok_or("no such program")?;
        let Some(Map::HashMap(map)) = self.ebpf.map(CONNECTIONS) else {
            return Err("no such map".into());
        };
        let mut known: Vec<(u64, Connection)> = syscall::all_entries(map.fd().as_fd())?;
        // Sockets may outlive the session that had the slot before.
        known.retain(|(_, connection)| {
            let cleared_ns = self.cleared_ns.get(connection.slot as usize);
            cleared_ns.is_some_and(|cleared_ns| connection.entered_ns >= *cleared_ns)
        });
        read(
            program.fd()?.as_fd(),
            &known,
            &mut self.maps.connection_batch,
        )
    }
}

/// Reads what belongs to sessions. The order is that of the hash table; none is there twice.
fn read(
    program: BorrowedFd<'_>,
    known: &[(u64, Connection)],
    batch: &mut Array<MapData, ConnectionBatch>,
) -> Result<Vec<ConnectionRecord>, Box<dyn std::error::Error>> {
    let mut all = Vec::new();
    for sockets in known.chunks(CONNECTIONS_PER_RUN) {
        let mut asked = ConnectionBatch::default();
        for (record, (socket, _)) in asked.records.iter_mut().zip(sockets) {
            record.socket = *socket;
        }
        batch.set(0, asked, 0)?;
        syscall::run(program)?;
        let answered = batch.get(&0, 0)?.records.into_iter().take(sockets.len());
        all.extend(answered.filter(|record| record.slot != NO_SESSION));
    }
    Ok(all)
}
