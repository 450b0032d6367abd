//! Wires the agent: the file to read first.
//!
//! One task owns the kernel side, the hierarchy and the registry, so nothing needs a lock. It waits for
//! the ring buffer, for the GPUs' sampler, for what the platforms say, for the next sample, for the next scan
//! and for signals, and leaves an immutable snapshot after each sample. The HTTP side only reads snapshots.
//!
//! What needs capabilities is done before, on the first thread: `start`.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    signal::unix::Signal,
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep_until},
};

use crate::{
    allocator, clock,
    config::{Config, Inputs},
    discover::{
        cgroup::Hierarchy,
        directory::Directory,
        platform::{Message, Reconciles, Update},
        recognised::Recognition,
        rules::{Rules, printable},
        sources,
    },
    error::Error,
    gpu::{Monitor, model::Report},
    kernel::{
        Kernel,
        accounts::{self, CgroupAccounts},
        log::{Blame, KernelLog},
        pace::Pace,
        programs::name,
        ring::{Event, EventKind, Ring},
        sees_host_pids,
    },
    resident,
    serve::{self, AppState, Service, address::Address, inlet::Inlet, listener},
    session::{
        failures::Failures,
        gpu::XidError,
        model::{Holder, OomKill},
        registry::Registry,
        remembered::{Remembered, StateFile},
    },
    snapshot::{Reloads, Snapshot},
    telemetry::log_event,
    trace::{Recorder, Traces},
};

mod cgroups;
mod compare;
pub mod fitness;
mod processes;
pub mod settings;
pub mod standalone;
mod start;
mod view;

pub use settings::Settings;
pub use start::{Start, node};

use start::{OfKernel, Signals};

/// Runs the agent until SIGTERM or SIGINT. `inputs` is what `config` was made from, for SIGHUP.
pub async fn run(config: Config, inputs: Inputs, start: Start) -> Result<(), Error> {
    let Start {
        signals,
        inlets,
        socket_files: _socket_files,
        users,
        mut of_kernel,
    } = start;
    let Signals {
        mut terminate,
        mut interrupt,
        hangup,
    } = signals;
    let inlets = inlets.into_iter().map(Inlet::new);
    let inlets: Vec<Inlet> = inlets
        .collect::<Result<_, _>>()
        .map_err(Error::io("listener"))?;
    if config.kernel.debug_log {
        of_kernel.kernel.forward_debug_log();
    }

    let (publish, snapshots) = watch::channel(None);
    let mut traces = Traces::start(&config.trace)?;
    if let Some(traces) = &mut traces {
        traces.follow(snapshots.clone());
    }
    let recorder = traces.as_ref().map(Traces::recorder);
    let state = AppState::new(
        snapshots,
        &Service {
            settings: &config.serve,
            metrics: &config.metrics,
            users: config.discover.users.policy,
            period: config.sampling.period,
            node: config.discover.kubernetes.node.as_deref(),
            traces: recorder.clone(),
        },
    )?;
    for inlet in &inlets {
        log_event!(Listening, address = %inlet.address());
    }
    // A task of its own: a long sample holds up no scrape.
    let door = state.door();
    // Who reaches a socket in the file system is its mode's to say.
    if config.serve.listen.iter().any(Address::is_open_to_others) && !door.is_shut() {
        log_event!(OpenToAll);
    }
    tokio::spawn(async move { door.watch().await });
    let (door, traffic) = (state.door(), state.traffic());
    let (told, last_told) = (Arc::clone(&traffic), Arc::clone(&traffic));
    tokio::spawn(async move { told.tell_of_refusals().await });
    let mut server = tokio::spawn(listener::serve(
        inlets,
        serve::app(state),
        door,
        traffic,
        listener::Limits::default(),
    ));
    let directory = Directory::new(users);
    let mut agent = Agent::start(config, inputs, of_kernel, directory)?;
    agent.traces = recorder;

    let result = tokio::select! {
        result = agent.work(publish, hangup) => result,
        ended = &mut server => Err(Error::Other(format!("HTTP server ended: {ended:?}"))),
        _ = terminate.recv() => { log_event!(Stopping, signal = "SIGTERM"); Ok(()) }
        _ = interrupt.recv() => { log_event!(Stopping, signal = "SIGINT"); Ok(()) }
    };
    // Nothing is asked any more that would have to be told.
    server.abort();
    last_told.tell_last_refusals();
    if let Some(traces) = traces {
        traces.finish().await;
    }
    result
}

/// The configuration file, as the log names it.
fn file_names(inputs: &Inputs) -> Option<String> {
    let file = inputs.file.as_ref();
    file.map(|file| file.display().to_string())
}

/// Events that are taken at once: some 10 ms of work. Sessions that fork and fail without end may make them
/// faster than they are taken, and the samples and signals must have their turn.
const EVENTS: usize = 4096;

/// How often memory that is free goes back to the kernel. It takes half a millisecond, and with it an agent with five
/// sessions has 3.3 MB of its own instead of 5.1: what lasts lies between what expositions took.
const GIVE_BACK: Duration = Duration::from_secs(10);

/// Messages of the sources that are taken at once; more wait.
const MESSAGES: usize = 256;

/// Everything that the sampling task owns.
struct Agent {
    config: Config,
    /// Its hash.
    config_hash: String,
    inputs: Inputs,
    /// The files that are read again, by path.
    reloads: BTreeMap<String, Reloads>,
    kernel_release: String,
    kernel: Kernel,
    /// Where the hierarchy is mounted.
    cgroup_root: PathBuf,
    hierarchy: Hierarchy,
    rules: Rules,
    /// The cgroups that a rule takes.
    recognition: Recognition,
    directory: Directory,
    /// What the platforms' sources say.
    messages: mpsc::Receiver<Message>,
    /// Kept, so that there is somebody who could speak, also where every source is off.
    _speaker: mpsc::Sender<Message>,
    registry: Registry,
    gpus: Monitor,
    kernel_log: KernelLog,
    /// The last round of the GPUs' sampler.
    gpu_report: Option<Arc<Report>>,
    reconciles: Reconciles,
    /// When the hierarchy was scanned.
    rescans: Pace,
    /// An event was lost, or is of a cgroup whose parent is not known.
    rescan_wanted: bool,
    /// The file of `sessions.state`.
    state: StateFile,
    failures: Failures,
    /// Where comparisons are spans.
    traces: Option<Recorder>,
    /// Events lost so far; more means that a cgroup may have been missed.
    events_lost: u64,
}

impl Agent {
    fn start(
        config: Config,
        inputs: Inputs,
        of_kernel: OfKernel,
        mut directory: Directory,
    ) -> Result<Self, Error> {
        let OfKernel {
            kernel,
            release: kernel_release,
            cgroup2,
            log,
        } = of_kernel;
        // The programs are attached already, so a cgroup made during the scan is in the ring.
        let hierarchy = Hierarchy::scan(&cgroup2.path)
            .map_err(Error::io(format!("scan of {}", cgroup2.path.display())))?;
        let rules = Rules::new(
            &config.discover.rules.configured,
            config.discover.rules.builtin,
        );
        let registry = Registry::new(&config.session, config.metrics.max_templates);
        let gpus = Monitor::start(&config.gpu)?;
        if config.gpu.enabled && !sees_host_pids() {
            log_event!(ForeignPidNamespace);
        }
        let kernel_log = match log {
            Some(opened) => KernelLog::of(opened),
            None => KernelLog::off("gpu.enabled is false".to_owned()),
        };
        if let Some(reason) = kernel_log.reason() {
            log_event!(KernelLogOff, reason);
        }
        let (speaker, messages) = mpsc::channel(MESSAGES);
        sources::start(&config.discover, &mut directory, &speaker);
        let mut agent = Self {
            state: StateFile::new(&config.session.state),
            failures: Failures::default(),
            config_hash: config.hash(),
            config,
            reloads: {
                let files = inputs.file.iter();
                let files = files.map(|path| (path.display().to_string(), Reloads::first()));
                files.collect()
            },
            inputs,
            kernel_release,
            kernel,
            cgroup_root: cgroup2.path,
            hierarchy,
            rules,
            recognition: Recognition::default(),
            directory,
            messages,
            _speaker: speaker,
            registry,
            gpus,
            kernel_log,
            gpu_report: None,
            reconciles: Reconciles::default(),
            rescans: Pace::default(),
            rescan_wanted: false,
            traces: None,
            events_lost: 0,
        };
        agent.recall();
        agent.judge_all();
        // Starts the accounts of the threads that are there already.
        agent.kernel.processes_moved();
        Ok(agent)
    }

    /// Takes up what the agent knew before its restart.
    fn recall(&mut self) {
        let path = &self.config.session.state;
        match Remembered::read(path) {
            Ok(Some(before)) => {
                let same_boot = before.is_of_this_boot(&Remembered::now(Vec::new(), Vec::new()));
                let there = if same_boot {
                    self.hierarchy.ids()
                } else {
                    HashSet::new()
                };
                for entry in &before.sessions {
                    if let (Some(key), true) = (&entry.platform, same_boot) {
                        self.directory.recall(key.clone(), entry.facts());
                    }
                }
                self.registry.recall(before, &there);
            }
            Ok(None) => {}
            Err(error) => log_event!(StateUnread, path = %path.display(), %error),
        }
    }

    /// Keeps what the next start must know, when it has changed.
    fn remember(&mut self) {
        let (living, closed) = (self.registry.living(), self.registry.closed());
        self.state.keep(living, closed);
    }

    async fn work(
        mut self,
        publish: watch::Sender<Option<Arc<Snapshot>>>,
        mut hangup: Signal,
    ) -> Result<(), Error> {
        let ring = self
            .kernel
            .take_ring()
            .ok_or_else(|| Error::Other("the ring buffer has been taken".to_owned()))?;
        let mut ring = ring.into_async()?;
        let mut sample = interval(self.config.sampling.period);
        sample.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut rescan = interval(self.rescan_period());
        rescan.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first scan has just been made.
        rescan.reset();
        let mut give_back = interval(GIVE_BACK);
        give_back.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = Vec::with_capacity(MESSAGES);
        resident::give_back_files();
        loop {
            let walk_at = self.kernel.walk_wanted_at();
            tokio::select! {
                ready = ring.readable_mut() => {
                    let mut ready = ready.map_err(Error::io("ring buffer"))?;
                    if self.drain(ready.get_inner_mut()) {
                        ready.clear_ready();
                    }
                }
                report = self.gpus.next_report() => self.take_gpus(report),
                blamed = self.kernel_log.next() => self.take_blame(&blamed),
                _ = self.messages.recv_many(&mut said, MESSAGES) => self.take_messages(&mut said),
                _ = sample.tick() => {
                    self.drain(ring.get_mut());
                    let snapshot = self.sample();
                    publish.send_replace(Some(Arc::new(snapshot)));
                }
                _ = rescan.tick() => {
                    // It takes CAP_PERFMON, which the agent keeps for this alone.
                    if self.config.gpu.enabled {
                        self.kernel.attach_driver_tracepoints();
                    }
                    self.kernel.check_pid_max();
                    self.rescan();
                }
                () = sleep_until(walk_at.unwrap_or_else(Instant::now).into()), if walk_at.is_some() => {
                    self.kernel.walk_if_wanted();
                }
                _ = give_back.tick() => allocator::give_back(),
                _ = hangup.recv() => self.reload(),
            }
        }
    }

    /// Takes up to [`EVENTS`] events; says whether that were all.
    fn drain(&mut self, ring: &mut Ring) -> bool {
        self.kernel.look_at_ring();
        // First who is to blame: the failures that come of it are in the ring.
        let blamed = self.kernel_log.pending();
        self.take_blame(&blamed);
        let (mut missed, mut moved, mut emptied) = (false, false, false);
        for _ in 0..EVENTS {
            let Some(event) = ring.next_event() else {
                emptied = true;
                break;
            };
            match event {
                Event::CgroupMade {
                    id,
                    parent,
                    slot,
                    name,
                } => missed |= self.cgroup_made(id, parent, slot, &name),
                Event::CgroupRemoved { id } => self.cgroup_removed(id),
                Event::ProcessMoved => moved = true,
                Event::ProcessFailed {
                    slot,
                    pid,
                    status,
                    oom_killed,
                    command,
                } => {
                    self.log_failure(slot, pid, status, oom_killed, &command);
                    let at = SystemTime::now();
                    let oom_kill = oom_killed.then_some(OomKill { pid, command, at });
                    self.registry.process_failed(slot, pid, oom_kill);
                }
                Event::ProcessExecuted { slot, pid, command } => {
                    self.log_execution(slot, pid, &command);
                }
                Event::GpuXid {
                    pci,
                    code,
                    message,
                    at_ns: _,
                } => self.registry.gpu_error(&XidError { pci, code, message }),
            }
        }
        self.registry.publish(&mut self.kernel);
        if moved {
            self.kernel.processes_moved();
        }
        if missed {
            self.rescan_soon();
        } else {
            self.admit_waiting();
        }
        emptied
    }

    fn take_blame(&mut self, blamed: &[Blame]) {
        for blame in blamed {
            self.registry.gpu_blame(blame, &self.kernel);
        }
    }

    fn take_messages(&mut self, said: &mut Vec<Message>) {
        let now = Instant::now();
        for message in said.drain(..) {
            if let (Some(traces), Update::Reconciled { took, outcome }) =
                (&self.traces, &message.update)
            {
                traces.reconciled(message.source.name(), *took, *outcome);
            }
            self.directory.take(message, now);
        }
        self.take_changes(now);
    }

    fn take_gpus(&mut self, report: Report) {
        self.registry.take_gpus(&report, &self.kernel);
        // The driver tells of each error in both ways; the tracepoint at once and in words.
        if !self.kernel.is_up(name::NVIDIA_DEV_XID) {
            for event in &report.xids {
                self.registry.gpu_error_event(event.gpu, event.xid);
            }
        }
        self.gpu_report = Some(Arc::new(report));
    }

    fn sample(&mut self) -> Snapshot {
        let now = Instant::now();
        let lost = self.kernel.events_lost();
        // What is only told is only told: no figure comes of it.
        let lost = lost
            .iter()
            .filter(|(kind, _)| *kind != EventKind::ProcessExecuted);
        let lost: u64 = lost.map(|(_, count)| count).sum();
        if lost > self.events_lost {
            log_event!(EventsLost, lost = lost - self.events_lost);
            self.events_lost = lost;
            self.rescan_wanted = true;
            self.kernel.processes_moved();
        }
        if self.rescan_wanted {
            self.rescan_soon();
        }
        self.take_changes(now);
        let directory = &mut self.directory;
        self.registry.take_platforms(|key| directory.facts(key));
        self.registry
            .take_without_cgroup(directory.without_cgroup());
        self.registry.sample(&mut self.kernel, now);
        // At once: what a session uses between the two is a difference.
        self.compare();
        self.remember();
        self.log_left_out(now);
        self.log_unresponsive();
        self.read_accounts();
        self.look_who_holds();
        self.admit_waiting();
        self.snapshot(now)
    }

    fn read_accounts(&mut self) {
        let sampling = &self.config.sampling;
        let every = sampling.accounts.as_secs_f64() / sampling.period.as_secs_f64();
        let (mount, hierarchy) = (&self.cgroup_root, &self.hierarchy);
        self.registry.read_accounts(every.round() as u64, |cgroup| {
            CgroupAccounts::read(mount, &hierarchy.directory(cgroup)?)
        });
    }

    fn look_who_holds(&mut self) {
        let hierarchy = &self.hierarchy;
        self.registry.look_who_holds(clock::boot_ns(), |cgroup| {
            let processes = accounts::processes(&hierarchy.directory(cgroup)?);
            // A process of another pid namespace is 0.
            let pid = processes.into_iter().filter(|&pid| pid != 0).min()?;
            let command = fs::read(format!("/proc/{pid}/comm")).ok()?;
            let command = printable(command.trim_ascii_end());
            Some(Holder { pid, command })
        });
    }

    /// SIGHUP: the rules are read again; what is wrong with them is logged, and the old ones stay.
    fn reload(&mut self) {
        let read = Config::load(&self.inputs);
        for reloads in self.reloads.values_mut() {
            reloads.add(read.is_ok());
        }
        match read {
            Ok(config) => {
                self.config.discover.rules = config.discover.rules.clone();
                let settings = &self.config.discover.rules;
                log_event!(
                    ConfigurationReloaded,
                    files = file_names(&self.inputs),
                    rules = settings.configured.len()
                );
                let differing = config.differing(&self.config);
                if !differing.is_empty() {
                    let keys = differing.join(", ");
                    log_event!(RestartWanted, keys);
                }
                self.rules = Rules::new(&settings.configured, settings.builtin);
                self.config_hash = self.config.hash();
                self.judge_all();
            }
            Err(error) => {
                log_event!(ConfigurationRefused, files = file_names(&self.inputs), %error);
            }
        }
    }
}
