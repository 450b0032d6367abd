//! What a session is: plain values, and the small arithmetic on them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use agent_common::{
    Slot,
    block::BlockStats,
    experience::{ExperienceStats, MarkedRecord},
    histogram::{BUCKETS, Histogram, native_index},
    memory::MemoryStats,
    net::{ConnectionRecord, INBOUND},
    process::ProcessStats,
    sched::SchedStats,
};

use super::{
    budget::{Exceeded, Resource},
    experience::Experience,
    gpu::Gpu,
    growth::Grown,
    history::History,
    logon::Phases,
    net::Net,
    phase::{self, Activity, Phase, Signs, Work},
    recent::Recent,
    settled::Calm,
    utilization::Utilization,
};
use crate::{
    clock,
    discover::{
        platform::{EndReason, Facts, Key},
        rules::Identity,
    },
    kernel::{Census, Reading, SlotCounts, accounts::CgroupAccounts, standing::Standing},
    named::named,
    telemetry::{Subject, TraceId},
};

/// Namespace and template.
pub type Template = (String, String);
/// Several.
pub type Templates = HashSet<Template>;

/// What makes a session the one that it is, whatever it is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// What its platform has made: one session, however many cgroups it has.
    Platform(Key),
    /// The cgroup itself, by its id.
    Cgroup(u64),
}

impl Origin {
    /// The same for one origin after a restart of the agent.
    pub fn text(&self) -> String {
        match self {
            Self::Platform(key) => key.text().to_owned(),
            Self::Cgroup(id) => id.to_string(),
        }
    }
}

named! {
    /// A moment of a session's start: stamped in the kernel, on the GPU within a period of its sampler, and of a pod in
    /// whole seconds where Kubernetes tells it. Which of them end a phase of a logon is in [`super::logon`].
    pub enum Milestone {
        /// Its platform found a place for it.
        Scheduled = "scheduled",
        /// Its sandbox was there: namespaces, network and volumes.
        Sandbox = "sandbox",
        /// The image of its main container was there: its cgroup was made.
        Pulled = "pulled",
        /// Its main container was started.
        Started = "started",
        /// Its main container was ready.
        Ready = "ready",
        /// The service manager of who logged in was active.
        UserManager = "user_manager",
        /// A home folder was mounted.
        HomeMounted = "home_mounted",
        /// A process was moved or born into its cgroup.
        FirstProcess = "first_process",
        /// One of its sockets began to listen.
        FirstListener = "first_listener",
        /// After that it had done what it does by itself, and waited for its user.
        Settled = "settled",
        /// A connection to one of its listeners was established.
        FirstClient = "first_client",
        /// One of its processes was seen on a GPU.
        FirstGpuContext = "first_gpu_context",
        /// One of its processes was seen to encode.
        FirstEncoder = "first_encoder",
    }
}

impl Milestone {
    /// Whether a process of the session must have been there.
    pub const fn shows_a_process(self) -> bool {
        match self {
            Self::FirstProcess
            | Self::FirstListener
            | Self::Settled
            | Self::FirstClient
            | Self::FirstGpuContext
            | Self::FirstEncoder => true,
            Self::Scheduled
            | Self::Sandbox
            | Self::Pulled
            | Self::Started
            | Self::Ready
            | Self::UserManager
            | Self::HomeMounted => false,
        }
    }
}

/// A process that keeps a session there after its end was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Command name.
    pub command: String,
}

/// The end of a session that somebody has logged out of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logoff {
    /// Since when it is closing, nanoseconds since boot: when its leader ended, otherwise when it was noticed.
    pub closing_ns: Option<u64>,
    /// The last process that was found in it since then.
    pub held_by: Option<Holder>,
    /// The log has it.
    pub is_told: bool,
    /// From the leader's end until its last cgroup was gone; `None` where that end was not seen.
    pub took: Option<Duration>,
}

/// What has been counted for a session since it was adopted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Scheduler figures of all CPUs.
    pub sched: SchedStats,
    /// Life-cycle counters.
    pub process: ProcessStats,
    /// Who is alive; `None` when the census is not available or the session has ended.
    pub census: Option<Census>,
    /// CPU time up to now, nanoseconds: switched and not yet switched. Never decreases.
    pub cpu_ns: u64,
    /// Network figures; `None` where they are not measured.
    pub net: Option<Net>,
    /// Block I/O; `None` where it is not measured or the cgroup does not have the io controller.
    pub block: Option<BlockStats>,
    /// Stalls for want of memory; `None` where they are not measured.
    pub memory: Option<MemoryStats>,
    /// How long input waits; `None` where that is not measured.
    pub experience: Option<Experience>,
    /// The kernel's own accounts of its cgroups; `None` before they are read for the first time.
    pub accounts: Option<CgroupAccounts>,
    /// Share of the CPUs that it may use, one observation a second.
    pub utilization: Utilization,
    /// What its processes did on the GPUs.
    pub gpu: Gpu,
    /// The last process that the out-of-memory killer killed.
    pub last_oom_kill: Option<OomKill>,
    /// How often it wanted more than its share of the agent.
    pub exceeded: Exceeded,
}

/// A process that the out-of-memory killer killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OomKill {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Command name.
    pub command: String,
    /// When it ended.
    pub at: SystemTime,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    /// What it is called.
    pub identity: Identity,
    /// What makes it the one that it is.
    pub origin: Origin,
    /// Its id: that of its trace, where there are traces.
    pub id: TraceId,
    /// Its trace, where there are traces.
    pub trace: Option<TraceId>,
    /// Path of its first cgroup, printable.
    pub cgroup: String,
    /// Cgroups that a rule named.
    pub roots: HashSet<u64>,
    /// All its cgroups, the roots included.
    pub cgroups: HashSet<u64>,
    /// Its slot; `None` once the slot has been given back.
    pub slot: Option<Slot>,
    /// When its first cgroup was made, nanoseconds since boot: lengths must not depend on the time of day, which
    /// may be set.
    pub started_ns: Option<u64>,
    /// When the agent adopted it. Taken once: what scrapers are told must not move when the time of day is set.
    pub adopted: SystemTime,
    /// When its first cgroup was made, if the agent saw all of its cgroups being made that a rule named.
    pub made: Option<SystemTime>,
    /// When its platform took it on: as the platform says it, and in nanoseconds since boot by the clocks of when
    /// it was first said.
    pub created: Option<(SystemTime, u64)>,
    /// Its cgroup was made while the agent watched, nanoseconds since boot.
    pub made_ns: Option<u64>,
    /// Milestones that have been observed, nanoseconds since boot; only for one made while the agent
    /// watched.
    pub milestones: BTreeMap<Milestone, u64>,
    /// Whether it is calm, once it listens.
    pub calm: Calm,
    /// When the cgroup of each of its containers was made, nanoseconds since boot, by the container's id; of a pod.
    pub containers: BTreeMap<String, u64>,
    /// How long its logon took, once nothing more can come of it.
    pub logon: Option<Phases>,
    /// Its logoff.
    pub logoff: Logoff,
    /// It has had a process.
    pub had_process: bool,
    /// When its last cgroup went.
    pub ended: Option<Instant>,
    /// How it ended; `None` until that is decided and counted.
    pub end_reason: Option<EndReason>,
    /// Processes that an Xid error has named, and its number.
    pub xid_processes: HashMap<u32, u32>,
    /// The Xid error after which one of them failed.
    pub gpu_fault: Option<u32>,
    /// What its platform last said of it.
    pub platform: Option<Arc<Facts>>,
    /// Where it is in its life, at the last sample.
    pub phase: Phase,
    /// Since when, nanoseconds since boot; `None` while it is in the phase in which the agent found it.
    pub phase_since_ns: Option<u64>,
    /// Its phase has been looked at.
    pub looked: bool,
    /// When it was last used.
    pub activity: Activity,
    /// Another session has taken its name, so its series would be there twice.
    pub superseded: bool,
    /// What has been counted.
    pub counts: Counts,
    /// What the counters of its cgroups have grown by.
    pub grown: Grown,
    /// The last seconds, minute and hour.
    pub recent: Recent,
    /// The last day; `None` where no history is kept.
    pub history: Option<Arc<History>>,
}

impl<'a> From<&'a Session> for Subject<'a> {
    fn from(session: &'a Session) -> Self {
        let facts = session.platform.as_ref();
        let pod = facts.and_then(|facts| facts.details.get("pod"));
        Self {
            pod: pod.map(String::as_str),
            trace_id: session.trace.map(tracing::field::display),
            ..Self::from(&session.identity)
        }
    }
}

impl Session {
    /// Whether it still has a cgroup.
    pub fn is_live(&self) -> bool {
        self.ended.is_none()
    }

    /// Looks where it is in its life; `listens` are the templates whose sessions do.
    pub fn look(&mut self, listens: &Templates, idle_after: Duration, now: Instant) {
        let counts = &self.counts;
        let (tcp, udp) = (
            counts.net.as_ref().map(|n| n.client_bytes),
            counts
                .net
                .as_ref()
                .and_then(|n| Some(n.udp.as_ref()?[1].bytes)),
        );
        let work = Work {
            inbound_bytes: tcp.unwrap_or(0) + udp.unwrap_or(0),
            gpu_busy_ns: counts.gpu.busy_ns(),
            cpu_ns: counts.cpu_ns,
        };
        self.activity.look(work, now);
        let has_listened = self.milestones.contains_key(&Milestone::FirstListener);
        let signs = Signs {
            processes: counts.census.map(|c| c.processes),
            had_process: self.had_process,
            has_listened,
            template_listens: listens.contains(&self.template()),
            age: self
                .made_ns
                .map(|made_ns| Duration::from_nanos(clock::boot_ns().saturating_sub(made_ns))),
            idle_for: self.activity.idle_for(),
            platform: self.platform.as_deref(),
        };
        let phase = phase::of(&signs, idle_after);
        let seen = self.looked || self.made_ns.is_some();
        if phase != self.phase && seen {
            self.phase_since_ns = Some(clock::boot_ns());
        }
        (self.phase, self.looked) = (phase, true);
    }

    /// Takes what its platform says.
    pub fn take_facts(&mut self, facts: Arc<Facts>) {
        if let Some(created) = facts.created
            && self.created.is_none_or(|(before, _)| before != created)
        {
            self.created = Some((created, clock::boot_of_wall(created)));
        }
        self.platform = Some(facts);
    }

    /// When it began, nanoseconds since boot, only for one made while the agent watched.
    pub fn watched_ns(&self) -> Option<u64> {
        self.made_ns.map(|made_ns| self.not_after_created(made_ns))
    }

    /// When it began, nanoseconds since boot: when its platform took it on, otherwise when its cgroup was
    /// made.
    pub fn began_ns(&self) -> Option<u64> {
        let created = self.created.map(|(_, created_ns)| created_ns);
        let started = self.started_ns.map(|ns| self.not_after_created(ns));
        started.or(created)
    }

    /// The time of day of that. Of one that was taken on before this boot it is what its platform says.
    pub fn began(&self) -> Option<SystemTime> {
        self.before_boot()
            .or_else(|| self.began_ns().and_then(clock::wall_of_boot))
    }

    /// When its platform took it on, if that was before this boot.
    fn before_boot(&self) -> Option<SystemTime> {
        match self.created {
            Some((created, 0)) => Some(created),
            _ => None,
        }
    }

    fn not_after_created(&self, ns: u64) -> u64 {
        self.created
            .map_or(ns, |(_, created_ns)| created_ns.min(ns))
    }

    /// How long it had lasted at a moment in nanoseconds since boot.
    pub fn lasted(&self, at_ns: u64) -> Option<Duration> {
        let since_boot_ns = at_ns.checked_sub(self.began_ns()?)?;
        let until_boot = self.before_boot().and_then(|created| {
            let boot = clock::wall_of_boot(0)?;
            boot.duration_since(created).ok()
        });
        Some(until_boot.unwrap_or_default() + Duration::from_nanos(since_boot_ns))
    }

    /// From its beginning to each milestone that it has reached.
    pub fn startup(&self) -> BTreeMap<Milestone, Duration> {
        let Some(began_ns) = self.watched_ns() else {
            return BTreeMap::new();
        };
        let since = |at_ns: u64| Duration::from_nanos(at_ns.saturating_sub(began_ns));
        let reached = self.milestones.iter();
        reached.map(|(&m, &at_ns)| (m, since(at_ns))).collect()
    }

    /// Namespace and template.
    pub fn template(&self) -> Template {
        (
            self.identity.namespace.clone(),
            self.identity.template.clone(),
        )
    }

    /// Takes what the kernel programs have counted, and the live connections, at a moment in nanoseconds since boot.
    pub fn take_counts(
        &mut self,
        counted: SlotCounts,
        measures_udp: bool,
        live: Reading<&[ConnectionRecord]>,
        now_ns: u64,
    ) {
        // No `..`: what the kernel counts is either taken here or does not compile.
        let SlotCounts {
            sched,
            process,
            net,
            counts_segments,
            block,
            memory,
            // With the look at the sockets.
            experience: _,
        } = counted;
        let counts = &mut self.counts;
        (counts.sched, counts.process, counts.memory) = (sched, process, memory);
        // Without the io controller the kernel charges an ancestor: what there is here is not all.
        let has_io = counts.accounts.as_ref().is_some_and(|a| a.has_io);
        counts.block = block.filter(|_| has_io);
        if let Some(net) = net {
            let over = net.connections_over_budget;
            if over > 0 {
                counts.exceeded.insert(Resource::Connections, over);
            }
            let mine = counts.net.get_or_insert_default();
            mine.counts_segments = counts_segments;
            mine.take(&net, measures_udp, live, now_ns);
        }
    }

    /// Takes how long input has waited, and the sockets where it waits now.
    pub fn take_input(
        &mut self,
        counted: Option<ExperienceStats>,
        marked: Reading<&[MarkedRecord]>,
        now_ns: u64,
        standing: impl Fn(u32) -> Option<Standing>,
    ) {
        let Some(counted) = counted else { return };
        if counted.over_budget > 0 {
            let exceeded = &mut self.counts.exceeded;
            exceeded.insert(Resource::InputSockets, counted.over_budget);
        }
        let mine = self.counts.experience.get_or_insert_default();
        mine.take(&counted, marked, now_ns, standing);
    }

    /// It wanted more than its share.
    pub fn exceeded(&mut self, resource: Resource) {
        *self.counts.exceeded.entry(resource).or_default() += 1;
    }

    /// Takes the kernel's accounts of its cgroups. What is counted in them never decreases, and what limits above it had
    /// done before it came is not its own.
    pub fn take_accounts(&mut self, mut accounts: CgroupAccounts) {
        self.grown.take(&mut accounts);
        let before = self.counts.accounts.take();
        self.counts.accounts = Some(match before {
            Some(before) => accounts.not_below(&before),
            None => accounts,
        });
    }

    /// Completes a sample of the counters with who is alive.
    pub fn take_census(&mut self, census: Option<Census>, cpus: f64, now: Instant) {
        let counts = &mut self.counts;
        counts.cpu_ns = counts.sched.cpu_ns + counts.process.moved_cpu_ns;
        counts.census = census;
        let limit = counts.accounts.as_ref().and_then(|a| a.cpu_limit);
        let usable = limit.map_or(cpus, |limit| limit.min(cpus));
        counts.utilization.push(now, counts.cpu_ns, usable);
        self.had_process |=
            census.is_some_and(|c| c.processes > 0) || counts.sched.runqueue_wait.count() > 0;
        let trips = counts.net.as_ref().map(|net| &net.tcp[INBOUND].rtt);
        self.recent
            .push(now, &counts.sched.runqueue_wait, trips, counts.cpu_ns);
        if let Some(history) = &self.history {
            history.push(now, counts);
        }
    }

    /// The labels that make its series unique.
    pub fn key(&self) -> (String, String, String) {
        let Identity {
            session,
            namespace,
            template,
            ..
        } = &self.identity;
        (session.clone(), namespace.clone(), template.clone())
    }
}

/// The q-quantile of a histogram in seconds, interpolated within its bucket on a logarithmic scale, as
/// Prometheus does for native histograms; `None` when nothing was observed.
pub fn quantile(histogram: &Histogram, q: f64) -> Option<f64> {
    let count = histogram.count();
    if count == 0 {
        return None;
    }
    let rank = q * count as f64;
    let mut below = 0.0;
    for (bucket, &n) in histogram.buckets.iter().enumerate() {
        let n = n as f64;
        if n > 0.0 && below + n >= rank {
            let upper = bound(bucket);
            if bucket == 0 {
                return Some(upper * (rank - below) / n);
            }
            let lower = bound(bucket - 1);
            if bucket == BUCKETS - 1 {
                return Some(lower);
            }
            return Some(lower * (upper / lower).powf((rank - below) / n));
        }
        below += n;
    }
    None
}

/// Upper bound of a bucket in seconds; exact for whole octaves.
pub fn bound(bucket: usize) -> f64 {
    f64::exp2(f64::from(native_index(bucket)) / 4.0)
}

#[cfg(test)]
mod tests {
    use agent_common::histogram::bucket_of;

    use super::*;

    #[test]
    fn a_quantile_lies_in_the_bucket_of_its_observation() {
        let mut h = Histogram::default();
        assert_eq!(quantile(&h, 0.5), None);
        for ns in [1_000_000u64, 2_000_000, 3_000_000, 100_000_000] {
            h.buckets[bucket_of(ns)] += 1;
            h.sum_ns += ns;
        }
        let within = |q: f64, seconds: f64| {
            let bucket = bucket_of((seconds * 1e9) as u64);
            let got = quantile(&h, q).unwrap();
            assert!(
                got > bound(bucket - 1) && got <= bound(bucket),
                "{got} for {seconds}"
            );
        };
        within(0.25, 0.001);
        within(0.5, 0.002);
        within(0.99, 0.1);
    }

    #[test]
    fn beyond_the_last_boundary_the_quantile_is_that_boundary() {
        let mut h = Histogram::default();
        h.buckets[BUCKETS - 1] = 1;
        assert_eq!(quantile(&h, 0.99), Some(16.0));
    }
}
