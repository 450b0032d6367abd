//! What happens before there is a second thread: the kernel programs are loaded and attached, and then the
//! capabilities are given up that nothing needs any more. A thread has its own, and those that come after the first
//! have what it has left.

use std::{fs::File, io};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    config::Config,
    discover::users::Users,
    error::Error,
    kernel::{
        self, Kernel, Settings,
        capabilities::{self, Condition, Node},
        log,
        object::TaskStore,
        preflight::{self, Cgroup2Mount},
        settings::TaskState,
    },
    serve::{
        inlet::{self, Bound},
        rights::Owner,
        unix::SocketFile,
    },
    session::slots::slots_for,
    telemetry::log_event,
};

/// What the agent runs with.
pub struct Start {
    pub(super) signals: Signals,
    pub(super) inlets: Vec<Bound>,
    /// The sockets in the file system, as long as they are to be there.
    pub(super) socket_files: Vec<SocketFile>,
    pub(super) users: Users,
    pub(super) of_kernel: OfKernel,
}

/// What came of the privileged part.
pub(super) struct OfKernel {
    pub(super) kernel: Kernel,
    pub(super) release: String,
    pub(super) cgroup2: Cgroup2Mount,
    /// `None` where it is not wanted.
    pub(super) log: Option<io::Result<File>>,
}

/// The signals that the agent listens to.
pub(super) struct Signals {
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
    pub(super) hangup: Signal,
}

impl Start {
    /// Loads the programs, then gives up capabilities. To be called before there is a second thread, and outside of
    /// tokio.
    pub fn new(config: &Config) -> Result<Self, Error> {
        // For what tokio alone makes; it has no thread but this one. What is made lives on in another runtime.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::io("tokio runtime"))?;
        // Signals first: a SIGTERM during the load must not leave anything behind.
        let signals = {
            let _entered = runtime.enter();
            Signals::listen()?
        };
        let facts = preflight::Facts::gather(&config.kernel);
        let cgroup2 = preflight::require(&facts)?;
        let users = Users::new(&config.discover.users)?;
        // Before the programs: a port in use costs nothing to find out.
        let serving = &config.serve;
        let (inlets, socket_files) =
            runtime.block_on(inlet::bind(&serving.listen, &serving.socket))?;
        let kernel = Kernel::load(&options(config, &cgroup2))?;
        let log = config.gpu.enabled.then(log::open);
        let node = node(&facts, config);
        give_up(&config.kernel, &node);
        Ok(Self {
            signals,
            inlets,
            socket_files,
            users,
            of_kernel: OfKernel {
                kernel,
                release: facts.kernel_release,
                cgroup2,
                log,
            },
        })
    }
}

impl Signals {
    fn listen() -> Result<Self, Error> {
        Ok(Self {
            terminate: listen_for(SignalKind::terminate())?,
            interrupt: listen_for(SignalKind::interrupt())?,
            hangup: listen_for(SignalKind::hangup())?,
        })
    }
}

fn listen_for(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(Error::io("signal handler"))
}

/// What of this node and its configuration decides which capabilities are needed.
pub fn node(facts: &preflight::Facts, config: &Config) -> Node {
    let all = [
        (Condition::Gpus, config.gpu.enabled),
        (
            Condition::SocketOwner,
            config.serve.socket.owner != Owner::default(),
        ),
        (
            Condition::AdministratorsPerf,
            config.gpu.enabled && !facts.nvidia && capabilities::perf_is_for_administrators(),
        ),
    ];
    let so = all.into_iter().filter(|(_, is_so)| *is_so);
    let so: Vec<Condition> = so.map(|(condition, _)| condition).collect();
    Node::new(facts, &config.kernel, &so)
}

fn options(config: &Config, cgroup2: &Cgroup2Mount) -> kernel::Options {
    kernel::Options {
        btf: config.kernel.btf.clone(),
        cgroup2: cgroup2.clone(),
        slots: slots_for(config.session.max_sessions),
        task_store: match config.kernel.task_state {
            TaskState::Auto => None,
            TaskState::TaskStorage => Some(TaskStore::TaskStorage),
            TaskState::PidArray => Some(TaskStore::PidArray),
        },
        debug_log: config.kernel.debug_log,
        statistics: config.kernel.statistics,
        tells_execs: config.log.wants_execs(),
        idle_after: config.session.idle_after,
    }
}

fn give_up(settings: &Settings, node: &Node) {
    if settings.keep_capabilities {
        return;
    }
    match capabilities::give_up(node) {
        Ok(kept) => {
            let kept = kept.names().join(" ");
            log_event!(CapabilitiesGivenUp, kept);
        }
        Err(reason) => log_event!(CapabilitiesKept, reason),
    }
}
