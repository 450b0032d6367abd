//! The kernel side: loads the programs, publishes sessions to them, reads what they count.
//!
//! Facts about the node are gathered by [`preflight`]; [`capabilities`] has what each feature needs, and gives up the
//! rest; [`btf`] and [`layout`] find and prove the member
//! offsets; [`allocation`] says where a thread's state may be created; [`object`] holds the compiled programs, and
//! `constants` writes into them what is known of this kernel; [`programs`] is the table of them; the names of the
//! maps are in `maps`, and what of the hashes goes with a session in `hashes`; `threads` reads whose a thread is, and `census` counts who is alive; `connections` reads
//! those that are open, `experience` whose input waits, [`standing`] what a process is doing, `pace` how often; [`accounts`] reads the kernel's own files of a cgroup; [`ring`] decodes the events; [`readiness`] waits for a file; `xid`
//! finds the NVIDIA driver's tracepoint, and [`log`] whom that driver blames; `syscall` is what aya lacks.

pub mod accepted;
pub mod accounts;
pub mod allocation;
pub mod btf;
pub mod capabilities;
mod census;
mod connections;
mod constants;
mod experience;
mod fill;
mod hashes;
pub mod layout;
pub mod log;
mod maps;
pub mod object;
pub mod pace;
pub mod preflight;
pub mod processes;
pub mod programs;
pub mod readiness;
pub mod ring;
mod ring_fill;
pub mod settings;
pub mod standing;
mod syscall;
mod threads;
pub(crate) mod xid;

use std::{
    fs,
    io::{ErrorKind, Read},
    os::fd::AsFd,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use agent_common::{
    MAX_CGROUPS, NO_SESSION, Slot,
    block::BlockStats,
    cgroup::CgroupBirth,
    event,
    experience::ExperienceStats,
    layout::ABSENT,
    memory::MemoryStats,
    net::{ConnectionRecord, NetStats},
    process::ProcessStats,
    sched::{PreemptionPair, SchedStats},
    task::TaskElement,
};
use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::Map,
    programs::{Iter, Program},
    sys::{Stats, enable_stats},
};

use self::{
    allocation::Allocation,
    census::Walks,
    experience::InputLook,
    maps::{Maps, PER_SLOT, PREEMPTION_PAIRS, TASK_STATES, value},
    object::TaskStore,
    pace::Pace,
    preflight::Cgroup2Mount,
    programs::{Links, ProgramStatus, name},
    ring::EventKind,
    ring_fill::RingFill,
};
use crate::{allocator, clock, error::Error, telemetry::log_event};

pub use census::{Census, ThreadStates};
pub use constants::tracepoints_may_be_preemptible;
pub use fill::FilledMap;
pub use hashes::{HASHES, Hash};
pub use pace::Reading;
pub use settings::Settings;

/// What the kernel side needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// BTF file of the running kernel.
    pub btf: PathBuf,
    /// Where the cgroup v2 hierarchy is.
    pub cgroup2: Cgroup2Mount,
    /// Slots including slot 0.
    pub slots: u32,
    /// The store to use; `None` chooses by pid limit and kernel.
    pub task_store: Option<TaskStore>,
    /// Have the programs write debug records, for [`Kernel::forward_debug_log`].
    pub debug_log: bool,
    /// Count runs and time of the programs while the agent runs.
    pub statistics: bool,
    /// Be told of each program that a session executes.
    pub tells_execs: bool,
    /// Time without data from a client after which it is idle.
    pub idle_after: Duration,
}

/// What the programs have counted for a session since its slot was cleared. What is not measured here is
/// `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SlotCounts {
    /// Scheduler figures, summed over the CPUs.
    pub sched: SchedStats,
    /// Life-cycle counters.
    pub process: ProcessStats,
    /// Network counters.
    pub net: Option<NetStats>,
    /// Whether the segments sent are among them.
    pub counts_segments: bool,
    /// Block I/O.
    pub block: Option<BlockStats>,
    /// Stalls for want of memory.
    pub memory: Option<MemoryStats>,
    /// How long input waits.
    pub experience: Option<ExperienceStats>,
}

/// The loaded programs and their maps. Dropping it detaches everything; nothing is pinned.
pub struct Kernel {
    ebpf: Ebpf,
    maps: Maps,
    statuses: Vec<ProgramStatus>,
    links: Links,
    store: TaskStore,
    /// `kernel.pid_max` at the load.
    pid_max: u32,
    /// It has been raised, and that has been said.
    pid_max_raised: bool,
    slots: u32,
    /// When the maps were made.
    loaded: SystemTime,
    /// When each slot was cleared last, nanoseconds since boot.
    cleared_ns: Vec<u64>,
    generation: u32,
    /// When `enrol_threads` ran last, and how many switches were unmeasured by then.
    enrolled: Option<(Instant, u64)>,
    /// The walks over the threads so far.
    walks: Walks,
    connections_pace: Pace,
    /// The last look at the marked sockets.
    input: InputLook,
    /// When the open files of all processes were walked.
    files_pace: Pace,
    /// Those of one process can be walked.
    walks_one_process: bool,
    /// The kernel counts the segments that a connection sends.
    counts_segments: bool,
    cpus: usize,
    /// Their numbers.
    possible_cpus: Vec<u32>,
    online_cpus: u32,
    ring_fill: Option<RingFill>,
    /// Statistics are on while this is open.
    statistics: Option<std::os::fd::OwnedFd>,
}

impl Kernel {
    /// Resolves the layout, loads and attaches the programs, and proves the layout. Needs no tokio, and makes no
    /// thread.
    pub fn load(options: &Options) -> Result<Self, Error> {
        let types = btf::Btf::from_file(&options.btf).map_err(|e| Error::NoBtf {
            path: options.btf.clone(),
            reason: e.to_string(),
        })?;
        require_spinning_ring(&types)?;
        let btf = Btf::parse_file(&options.btf, aya::Endianness::default()).map_err(|e| {
            Error::NoBtf {
                path: options.btf.clone(),
                reason: e.to_string(),
            }
        })?;
        let pid_max = object::pid_max();
        let candidates = match &options.task_store {
            Some(store) => std::slice::from_ref(store),
            None => object::preference(pid_max, Allocation::of(&types)),
        };
        let loaded = Self::load_first(options, candidates, &types, &btf, pid_max);
        drop((btf, types));
        allocator::give_back();
        loaded
    }

    /// The first of the stores that this kernel takes.
    fn load_first(
        options: &Options,
        stores: &[TaskStore],
        types: &btf::Btf,
        btf: &Btf,
        pid_max: u32,
    ) -> Result<Self, Error> {
        let mut failure = None;
        for &store in stores {
            match Self::load_object(options, store, types, btf, pid_max) {
                Ok(kernel) => return Ok(kernel),
                Err(error) => {
                    log_event!(StoreUnusable, store = store.name(), %error);
                    failure.get_or_insert(error);
                }
            }
        }
        Err(failure.unwrap_or_else(|| Error::Program {
            name: "object".into(),
            reason: "no state store to try".into(),
        }))
    }

    fn load_object(
        options: &Options,
        store: TaskStore,
        types: &btf::Btf,
        btf: &Btf,
        pid_max: u32,
    ) -> Result<Self, Error> {
        let kind = Allocation::of(types);
        let allocation = (store == TaskStore::TaskStorage).then_some(kind);
        if allocation == Some(Allocation::Unusable) {
            return Err(Error::Program {
                name: format!("object ({})", store.name()),
                reason:
                    "this kernel cannot create task storage where the agent must: it takes a lock that may \
                         freeze the node, or fails; set kernel.task_state to \"pid-array\" or leave it out"
                        .into(),
            });
        }
        let refused = |reason: String| Error::Program {
            name: format!("object ({})", store.name()),
            reason,
        };
        let constants = constants::resolve(types, allocation, options)?;
        let object = constants::written_into(store.object(), &constants).map_err(refused)?;
        let log_level: u8 = if options.debug_log { u8::MAX } else { 0 };
        let mut loader = EbpfLoader::new();
        loader
            .btf(Some(btf))
            .allow_unsupported_maps()
            .override_global("AYA_LOG_LEVEL", &log_level, false);
        for map in &PER_SLOT {
            loader.map_max_entries(map.name, options.slots);
        }
        if store == TaskStore::PidArray {
            loader.map_max_entries(TASK_STATES, pid_max);
        }
        let loaded = SystemTime::now();
        let mut ebpf = loader.load(&object).map_err(|e| refused(e.to_string()))?;

        let statistics = if options.statistics {
            enable_stats(Stats::RunTime)
                .inspect_err(|error| log_event!(StatisticsOff, %error))
                .ok()
        } else {
            None
        };
        let controllers = controllers(&options.cgroup2);
        let (statuses, links) = programs::attach_all(&mut ebpf, btf, &controllers, allocation)?;
        let maps = Maps::take(&mut ebpf)?;
        let cpus = aya::util::nr_cpus().map_err(|(path, e)| Error::io(path)(e))?;
        let online = aya::util::online_cpus().map_err(|(path, e)| Error::io(path)(e))?;
        let possible_cpus = threads::possible_cpus()?;
        let mut kernel = Self {
            ebpf,
            maps,
            statuses,
            links,
            store,
            pid_max,
            pid_max_raised: false,
            ring_fill: None,
            slots: options.slots,
            loaded,
            cleared_ns: vec![0; options.slots as usize],
            generation: 0,
            enrolled: None,
            walks: Walks::default(),
            connections_pace: Pace::default(),
            input: InputLook::default(),
            files_pace: Pace::default(),
            walks_one_process: sees_host_pids(),
            counts_segments: constants.layout.tcp_data_segments_sent != ABSENT,
            cpus,
            possible_cpus,
            online_cpus: online.len() as u32,
            statistics,
        };
        // The threads that are there already, this one among them, which the proof wants.
        kernel.census();
        // So are the listeners outside of sessions, which tell the side of what is carried into one.
        let _nothing_written: Option<Vec<ConnectionRecord>> = kernel.records(name::OPEN_SOCKETS);
        kernel.prove_layout(options)?;
        log_event!(
            ProgramsAttached,
            store = store.name(),
            allocation = kind.name(),
            programs = kernel.statuses.iter().filter(|s| s.up).count(),
            map_bytes = kernel.map_bytes()
        );
        Ok(kernel)
    }

    fn prove_layout(&mut self, options: &Options) -> Result<(), Error> {
        let before = layout::OwnAccounts::read()?;
        self.run_iterator(name::SELF_CHECK)
            .map_err(|e| Error::Layout {
                reason: format!("self-check did not run: {e}"),
            })?;
        let after = layout::OwnAccounts::read()?;
        let check = value(&self.maps.self_check, 0);
        layout::verify(&check, before, after, &options.cgroup2.path)
    }

    /// Forwards the programs' debug records to the log from now on. Needs a running tokio.
    pub fn forward_debug_log(&mut self) {
        match aya_log::EbpfLogger::init(&mut self.ebpf) {
            Ok(mut logger) => {
                tokio::spawn(async move {
                    // Debugging only: polled, so that nothing has to wake up for it when it is off.
                    let mut every = tokio::time::interval(Duration::from_millis(200));
                    loop {
                        every.tick().await;
                        logger.flush();
                    }
                });
            }
            Err(error) => log_event!(DebugRecordsOff, %error),
        }
    }

    /// Attaches the programs of drivers that have been loaded since the last call; returns whether there
    /// was one. They need no detaching: the kernel does not unload a driver while a program is attached
    /// to its tracepoint (`perf_trace_init` in `kernel/trace/trace_event_perf.c`).
    pub fn attach_driver_tracepoints(&mut self) -> bool {
        programs::attach_drivers(&mut self.ebpf, &mut self.statuses)
    }

    /// Takes the programs off their hooks, so that a load can be measured with and without them in turns. What has
    /// been counted stays. Events are missed meanwhile; a thread's time is charged at its next switch.
    pub fn detach(&mut self) {
        self.links.clear();
    }

    /// Puts them back.
    pub fn attach(&mut self) -> Result<(), Error> {
        self.links.clear();
        self.links = programs::attach_again(&mut self.ebpf, &self.statuses)?;
        Ok(())
    }

    /// A map that stays with the programs, for who measures what reading a full one takes.
    pub fn map_mut(&mut self, name: &str) -> Option<&mut Map> {
        self.ebpf.map_mut(name)
    }

    /// How the programs are doing.
    pub fn statuses(&mut self) -> Vec<ProgramStatus> {
        let mut statuses = self.statuses.clone();
        for status in statuses.iter_mut().filter(|status| status.up) {
            let Some(program) = self.ebpf.program(status.name) else {
                continue;
            };
            if let Some(counts) = program
                .fd()
                .ok()
                .and_then(|fd| syscall::counts(fd.as_fd()).ok())
            {
                status.missed = Some(counts.missed);
                status.verified_instructions = counts.verified_instructions;
            }
            if self.statistics.is_some() {
                let info = program.info().ok();
                status.runs = info.as_ref().map(aya::programs::ProgramInfo::run_count);
                status.seconds = info.map(|i| i.run_time().as_secs_f64());
            }
        }
        statuses
    }

    /// Whether the program, or one that stands in for it, is running.
    pub fn is_up(&self, program: &str) -> bool {
        programs::is_up(&self.statuses, program)
    }

    /// The state store in use.
    pub fn store(&self) -> TaskStore {
        self.store
    }

    /// Makes a cgroup belong to a session, with all below it that belongs to no other; to [`NO_SESSION`] for one within a
    /// session that belongs to none. Takes effect with [`Kernel::publish`], for those who are in it; who comes from now
    /// on is the session's at once, with all sockets that are made.
    pub fn assign(&mut self, cgroup_id: u64, slot: Slot) -> Result<(), String> {
        let inserted = self.maps.cgroup_slots.insert(cgroup_id, slot, 0);
        inserted
            .map_err(|e| format!("{e} (room for {MAX_CGROUPS} cgroups at which a session begins)"))
    }

    /// Makes a cgroup belong to the session of the one above. Takes effect with [`Kernel::publish`].
    pub fn unassign(&mut self, cgroup_id: u64) {
        let _absent = self.maps.cgroup_slots.remove(&cgroup_id);
    }

    /// Whether nobody has been in a cgroup before the programs knew whose it is, at `since_ns`.
    pub fn nobody_before(&self, cgroup_id: u64, since_ns: u64) -> bool {
        let Some(birth) = self.birth(cgroup_id) else {
            return false;
        };
        let empty = birth.first_process_ns == 0 && self.is_up(name::CGROUP_ATTACH_TASK);
        empty || birth.made_ns >= since_ns
    }

    /// Whether no connection of a session that had the slot before is left.
    pub fn is_clean(&self, slot: Slot) -> bool {
        self.maps
            .connection_counts
            .get(&slot, 0)
            .unwrap_or_default()
            == 0
    }

    /// Makes every thread look its session up again.
    pub fn publish(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if let Err(error) = self.maps.generation.set(0, self.generation, 0) {
            log_event!(KernelUnwritten, what = "sessions", %error);
        }
    }

    /// Clears everything counted in a slot.
    pub fn zero(&mut self, slot: Slot) {
        debug_assert!(slot != NO_SESSION && slot < self.slots);
        self.walks.clear(slot);
        if let Some(cleared_ns) = self.cleared_ns.get_mut(slot as usize) {
            *cleared_ns = clock::boot_ns();
            if let Err(error) = self.maps.slot_began.set(slot, *cleared_ns, 0) {
                log_event!(KernelUnwritten, what = "what was carried into a slot", slot, %error);
            }
        }
        let maps = PER_SLOT.iter().zip(&self.maps.per_slot);
        for (map, descriptor) in maps.filter(|(map, _)| map.is_cleared) {
            let bytes = map.bytes_on(self.cpus);
            if let Err(error) = syscall::clear(descriptor.as_fd(), slot, bytes) {
                log_event!(KernelUnwritten, what = map.name, slot, %error);
            }
        }
        self.zero_hashes(slot);
    }

    /// All entries of a hash that stays with the programs; none where it cannot be read, which is logged.
    fn all_entries<K: aya::Pod + Default, V: aya::Pod + Default>(
        &self,
        name: &'static str,
    ) -> Vec<(K, V)> {
        let Some(Map::HashMap(map) | Map::LruHashMap(map)) = self.ebpf.map(name) else {
            return Vec::new();
        };
        syscall::all_entries(map.fd().as_fd())
            .inspect_err(|error| log_event!(KernelUnread, what = name, %error))
            .unwrap_or_default()
    }

    /// What has been counted in a slot.
    pub fn counts(&self, slot: Slot) -> SlotCounts {
        let mut sched = SchedStats::default();
        if let Ok(shares) = self.maps.sched_stats.get(&slot, 0) {
            for share in shares.iter() {
                sched.add(share);
            }
        }
        let reclaim = self.is_up(name::RECLAIM_END) || self.is_up(name::CGROUP_RECLAIM_END);
        SlotCounts {
            sched,
            process: value(&self.maps.process_stats, slot),
            net: self
                .is_up(name::INET_SOCK_SET_STATE)
                .then(|| value(&self.maps.net_stats, slot)),
            counts_segments: self.counts_segments,
            block: self
                .is_up(name::BLOCK_RQ_COMPLETE)
                .then(|| value(&self.maps.block_stats, slot)),
            memory: reclaim.then(|| value(&self.maps.memory_stats, slot)),
            experience: self
                .is_up(name::SK_DATA_READY)
                .then(|| value(&self.maps.experience_stats, slot)),
        }
    }

    /// Says once that threads are beyond the array of states, because `kernel.pid_max` has been raised.
    pub fn check_pid_max(&mut self) {
        let now = object::pid_max();
        if self.store == TaskStore::PidArray && now > self.pid_max && !self.pid_max_raised {
            self.pid_max_raised = true;
            log_event!(PidMaxRaised, at_start = self.pid_max, now);
        }
    }

    /// When all counts were 0.
    pub fn loaded(&self) -> SystemTime {
        self.loaded
    }

    /// CPUs of the node that are online, as of the start.
    pub fn online_cpus(&self) -> u32 {
        self.online_cpus
    }

    /// Whether UDP is measured.
    pub fn measures_udp(&self) -> bool {
        self.is_up(name::SOCK_SEND_LENGTH) && self.is_up(name::SOCK_RECV_LENGTH)
    }

    /// Who took the CPU from whom, and how often.
    pub fn preemption_pairs(&self) -> Vec<(PreemptionPair, u64)> {
        self.all_entries(PREEMPTION_PAIRS)
    }

    /// When a cgroup was made and got its first process, if that was since the agent started.
    pub fn birth(&self, cgroup_id: u64) -> Option<CgroupBirth> {
        self.maps.cgroup_births.get(&cgroup_id, 0).ok()
    }

    /// Events lost because the ring was full, by kind.
    pub fn events_lost(&self) -> [(EventKind, u64); EventKind::ALL.len()] {
        EventKind::ALL.map(|kind| {
            let number = match kind {
                EventKind::CgroupMade => event::CGROUP_MADE,
                EventKind::CgroupRemoved => event::CGROUP_REMOVED,
                EventKind::ProcessFailed => event::PROCESS_FAILED,
                EventKind::ProcessExecuted => event::PROCESS_EXECUTED,
                EventKind::ProcessMoved => event::PROCESS_MOVED,
                EventKind::GpuXid => event::GPU_XID,
            };
            (kind, value(&self.maps.events_lost, number))
        })
    }

    /// Bytes of kernel memory the maps may take, as sized at load; task storage grows with the threads
    /// and is not in it.
    pub fn map_bytes(&self) -> u64 {
        let slots = u64::from(self.slots);
        let states = match self.store {
            TaskStore::PidArray => u64::from(self.pid_max) * size_of::<TaskElement>() as u64,
            TaskStore::TaskStorage => 0,
        };
        let per_slot: usize = PER_SLOT.iter().map(|map| map.bytes_on(self.cpus)).sum();
        slots * per_slot as u64
            + HASHES.iter().map(Hash::bytes).sum::<u64>()
            + u64::from(agent_common::RING_BYTES)
            + states
    }

    /// What an iterator writes, as records; `None` when it does not run.
    fn records<T: aya::Pod>(&mut self, name: &'static str) -> Option<Vec<T>> {
        if !self.is_up(name) {
            return None;
        }
        let bytes = self
            .run_iterator(name)
            .inspect_err(|error| log_event!(KernelUnread, what = name, %error))
            .ok()?;
        Some(
            bytes
                .chunks_exact(size_of::<T>())
                .filter_map(ring::record)
                .collect(),
        )
    }

    fn run_iterator(&mut self, name: &'static str) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let program: &mut Program = self.ebpf.program_mut(name).ok_or("no such program")?;
        let program: &mut Iter = program.try_into()?;
        let link_id = program.attach()?;
        let mut file = program.take_link(link_id)?.into_file()?;
        let mut bytes = Vec::new();
        // EAGAIN after a million objects without output (MAX_ITER_OBJECTS, kernel/bpf/bpf_iter.c, 6.12): the
        // next read goes on from there.
        loop {
            match file.read_to_end(&mut bytes) {
                Ok(_) => return Ok(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whether this process is in the host's pid namespace, as the kernel programs are. The initial namespace has a fixed inode
/// number (`PROC_PID_INIT_INO`, `include/linux/proc_ns.h`).
pub fn sees_host_pids() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() == "pid:[4026531836]")
}

/// Refuses a kernel with `PREEMPT_RT` before 6.12, where who waits for the lock of a ring buffer sleeps: the
/// programs send under locks that spin.
fn require_spinning_ring(btf: &btf::Btf) -> Result<(), Error> {
    if btf.has_member("bpf_ringbuf", "spinlock.lock.waiters") {
        return Err(Error::Program {
            name: "object".into(),
            reason: "on this PREEMPT_RT kernel, waiting for the lock of a BPF ring buffer sleeps, which a program \
                     of the scheduler must not; boot a kernel without PREEMPT_RT, or 6.12 or later"
                .into(),
        });
    }
    Ok(())
}

/// Name and bytes of a value of each map that has one for each slot.
pub fn per_slot_maps() -> Vec<(&'static str, usize)> {
    PER_SLOT.iter().map(|map| (map.name, map.bytes)).collect()
}

/// Controllers of the v2 hierarchy; none where v1 has them.
fn controllers(cgroup2: &Cgroup2Mount) -> Vec<String> {
    let text = fs::read_to_string(cgroup2.path.join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}
