//! What a load runs beside, begun and ended for each slice.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use agent_common::sched::PreemptionPair;
use anyhow::{Context, Result, bail, ensure};
use aya::maps::HashMap;
use aya::programs::BtfTracePoint;
use aya::programs::tp_btf::BtfTracePointLink;
use aya::{Btf, Ebpf};
use lab::programs::{FLOOR, repository};
use sessionscope::kernel::object::TaskStore;
use sessionscope::kernel::preflight::{Cgroup2Mount, CgroupLayout, find_cgroup2};
use sessionscope::kernel::programs::name::SCHED_SWITCH;
use sessionscope::kernel::{Kernel, Options, Reading};

use crate::cost::inside::Running;
use crate::cost::peers::{self, Peer};
use crate::cost::programs::Runs;
use crate::interrupt::pause;

/// The types of the running kernel.
const BTF: &str = "/sys/kernel/btf/vmlinux";
const MOUNTS: &str = "/proc/self/mounts";
/// Slots of the agent's maps, as its default configuration has them.
const SLOTS: u32 = 321;
/// What a tracer takes to put loaded programs on their hooks.
const ATTACHING: Duration = Duration::from_millis(100);
/// The slot of the session that the load is in.
const SESSION: u32 = 1;

/// One of the things that are compared.
pub(crate) trait Side {
    /// As tables name it.
    fn label(&self) -> String;
    /// From here on the load runs beside it.
    fn begin(&mut self) -> Result<()>;
    /// From here on it does not.
    fn end(&mut self) -> Result<()>;
    /// What the kernel's statistics, while these are on, say of its programs.
    fn runs(&mut self) -> Result<BTreeMap<String, Runs>> {
        Ok(BTreeMap::new())
    }
}

/// Nothing runs beside the load.
pub(crate) struct Nothing;

impl Side for Nothing {
    fn label(&self) -> String {
        "nothing".into()
    }
    fn begin(&mut self) -> Result<()> {
        Ok(())
    }
    fn end(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The agent's programs, all of them, loaded once and put on their hooks for each slice.
pub(crate) struct Programs {
    kernel: Kernel,
    store: TaskStore,
    in_session: bool,
}

impl Programs {
    /// Loads them, with the cgroup as a session if there is one, and takes them off their hooks. With `statistics`
    /// the kernel counts their runs, which makes each longer.
    pub(crate) fn load(store: TaskStore, session: Option<&Path>, statistics: bool) -> Result<Self> {
        let mounts = fs::read_to_string(MOUNTS).with_context(|| format!("cannot read {MOUNTS}"))?;
        let cgroup2 = find_cgroup2(&mounts).context("no cgroup v2 file system is mounted")?;
        Self::load_with(cgroup2, store, session, statistics)
    }

    /// The same as if the v2 hierarchy had the io controller, so that the program of block I/O runs everywhere. On
    /// a machine that has the controller in v1 it finds requests of cgroups that are not v2's.
    pub(crate) fn load_with_block_io(store: TaskStore, statistics: bool) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let controllers = folder.path().join("cgroup.controllers");
        fs::write(&controllers, "io")
            .with_context(|| format!("cannot write {}", controllers.display()))?;
        let cgroup2 = Cgroup2Mount {
            path: folder.path().to_owned(),
            layout: CgroupLayout::Hybrid,
        };
        Self::load_with(cgroup2, store, None, statistics)
    }

    fn load_with(
        cgroup2: Cgroup2Mount,
        store: TaskStore,
        session: Option<&Path>,
        statistics: bool,
    ) -> Result<Self> {
        let mut kernel = Kernel::load(&Options {
            btf: BTF.into(),
            cgroup2,
            slots: SLOTS,
            task_store: Some(store),
            debug_log: false,
            statistics,
            tells_execs: false,
            idle_after: Duration::from_mins(15),
        })
        .with_context(|| format!("cannot load the agent's programs with {}", store.name()))?;
        if let Some(session) = session {
            kernel
                .assign(inode(session)?, SESSION)
                .map_err(anyhow::Error::msg)?;
            kernel.publish();
        }
        kernel.detach();
        Ok(Self {
            kernel,
            store,
            in_session: session.is_some(),
        })
    }

    /// Marks the sockets of the session at which input is measured, as the agent does when it has adopted one.
    ///
    /// # Errors
    ///
    /// The kernel has no such programs, or there are not so many sockets.
    pub(crate) fn mark_open_sockets(&mut self, count: usize) -> Result<()> {
        ensure!(
            self.kernel.find_open_connections(),
            "the agent does not walk the open files yet"
        );
        let Reading::Taken(marked) = self.kernel.marked_sockets() else {
            bail!("this kernel has no programs that measure input (before Linux 6.3)");
        };
        let found = marked.len();
        ensure!(
            found == count,
            "input is measured at {found} sockets and not at {count}"
        );
        Ok(())
    }

    /// Fills the map of preemption pairs.
    pub(crate) fn fill_preemption_pairs(&mut self, count: u32) -> Result<()> {
        let map = self.kernel.map_mut("PREEMPTION_PAIRS");
        let map = map.context("the agent has no map PREEMPTION_PAIRS")?;
        let mut map: HashMap<_, PreemptionPair, u64> = map.try_into()?;
        for pair in 0..count {
            let pair = PreemptionPair {
                victim: 1 + pair / 128,
                preemptor: 1 + pair % 128,
            };
            map.insert(pair, 1, 0)?;
        }
        Ok(())
    }

    /// Reads the preemption pairs as a sample does; how many there are.
    pub(crate) fn preemption_pairs(&self) -> usize {
        self.kernel.preemption_pairs().len()
    }
}

fn inode(cgroup: &Path) -> Result<u64> {
    let metadata = fs::metadata(cgroup);
    let metadata = metadata.with_context(|| format!("cannot look at {}", cgroup.display()))?;
    Ok(metadata.ino())
}

impl Side for Programs {
    fn label(&self) -> String {
        let store = match self.store {
            TaskStore::PidArray => "state in an array by pid",
            TaskStore::TaskStorage => "state in task storage",
        };
        let whose = if self.in_session {
            ""
        } else {
            ", threads of no session"
        };
        format!("the agent, {store}{whose}")
    }
    fn runs(&mut self) -> Result<BTreeMap<String, Runs>> {
        let runs = self.kernel.statuses().into_iter().filter_map(|status| {
            let (count, seconds) = status.runs.zip(status.seconds)?;
            let ns = (seconds * 1e9).round() as u64;
            Some((status.name.to_owned(), Runs { count, ns }))
        });
        Ok(runs.collect())
    }
    fn begin(&mut self) -> Result<()> {
        Ok(self.kernel.attach()?)
    }
    fn end(&mut self) -> Result<()> {
        self.kernel.detach();
        Ok(())
    }
}

/// A program of `bench/ebpf` on a tracepoint.
pub(crate) struct Floor {
    ebpf: Ebpf,
    name: &'static str,
    tracepoint: &'static str,
    link: Option<BtfTracePointLink>,
}

impl Floor {
    /// The empty one.
    pub(crate) const EMPTY: &str = "floor";
    /// The one that takes a known time.
    pub(crate) const PLANTED: &str = "planted";

    /// Loads it for the tracepoint of context switches.
    pub(crate) fn load(name: &'static str) -> Result<Self> {
        Self::load_for(name, SCHED_SWITCH)
    }

    /// Loads it for a tracepoint.
    fn load_for(name: &'static str, tracepoint: &'static str) -> Result<Self> {
        let object = repository().join(format!("target/bpf/{FLOOR}.o"));
        let mut ebpf = Ebpf::load_file(&object)
            .with_context(|| format!("cannot load {}", object.display()))?;
        let btf = Btf::from_sys_fs().context("cannot read the kernel's BTF")?;
        program(&mut ebpf, name)?
            .load(tracepoint, &btf)
            .with_context(|| format!("cannot load the program `{name}` for {tracepoint}"))?;
        Ok(Self {
            ebpf,
            name,
            tracepoint,
            link: None,
        })
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut BtfTracePoint> {
    let program = ebpf
        .program_mut(name)
        .with_context(|| format!("the object has no program `{name}`"))?;
    Ok(program.try_into()?)
}

impl Side for Floor {
    fn label(&self) -> String {
        match self.name {
            Self::EMPTY => "an empty program".into(),
            _ => "a program that takes a known time".into(),
        }
    }
    fn runs(&mut self) -> Result<BTreeMap<String, Runs>> {
        let info = program(&mut self.ebpf, self.name)?.info()?;
        let runs = Runs {
            count: info.run_count(),
            ns: u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX),
        };
        Ok([(self.tracepoint.to_owned(), runs)].into())
    }
    fn begin(&mut self) -> Result<()> {
        let program = program(&mut self.ebpf, self.name)?;
        let link = program.attach()?;
        self.link = Some(program.take_link(link)?);
        Ok(())
    }
    fn end(&mut self) -> Result<()> {
        self.link = None;
        Ok(())
    }
}

/// The empty program on each of some tracepoints.
pub(crate) struct Floors(Vec<Floor>);

impl Floors {
    /// Loads them.
    pub(crate) fn load(tracepoints: &[&'static str]) -> Result<Self> {
        let load = |tracepoint: &&'static str| Floor::load_for(Floor::EMPTY, tracepoint);
        let floors: Result<_> = tracepoints.iter().map(load).collect();
        floors.map(Self)
    }
}

impl Side for Floors {
    fn label(&self) -> String {
        match self.0.as_slice() {
            [only] => only.label(),
            _ => "an empty program at each of the hooks".into(),
        }
    }
    fn runs(&mut self) -> Result<BTreeMap<String, Runs>> {
        let mut runs = BTreeMap::new();
        for floor in &mut self.0 {
            runs.append(&mut floor.runs()?);
        }
        Ok(runs)
    }
    fn begin(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(Side::begin)
    }
    fn end(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(Side::end)
    }
}

/// Two of them at once.
pub(crate) struct Both<'a>(pub(crate) &'a mut dyn Side, pub(crate) &'a mut dyn Side);

impl Side for Both<'_> {
    fn label(&self) -> String {
        format!("{} and {}", self.0.label(), self.1.label())
    }
    fn begin(&mut self) -> Result<()> {
        self.0.begin()?;
        self.1.begin()
    }
    fn end(&mut self) -> Result<()> {
        self.0.end()?;
        self.1.end()
    }
}

/// Another's tracer, a process of its own that is started for each slice.
pub(crate) struct Tracer<'a> {
    peer: Peer,
    running: Option<Running>,
    interrupted: &'a Receiver<()>,
}

impl<'a> Tracer<'a> {
    pub(crate) fn new(peer: Peer, interrupted: &'a Receiver<()>) -> Self {
        Self {
            peer,
            running: None,
            interrupted,
        }
    }
}

impl Side for Tracer<'_> {
    fn label(&self) -> String {
        self.peer.label().into()
    }
    fn begin(&mut self) -> Result<()> {
        self.running = Some(peers::start(self.peer, self.interrupted)?);
        // Its programs are loaded; to put them on their hooks takes a moment more.
        pause(ATTACHING, self.interrupted)
    }
    fn end(&mut self) -> Result<()> {
        self.running = None;
        Ok(())
    }
}
