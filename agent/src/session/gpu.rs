//! The join of the GPUs with the sessions: a process has a slot in the kernel, and a slot has a session.
//!
//! What no session explains of a device is its remainder, so that the sessions and the remainder together
//! are the device. A process is remembered past its death, for the samples that are still to come.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant, SystemTime},
};

use agent_common::histogram::{Histogram, bucket_of};

use crate::{
    gpu::model::{Codec, Context, Device, Engine, PerEngine, Report, Stream, Usage, WHOLE},
    kernel::log::Blame,
};

/// Number of a session, never used twice.
pub type Serial = u64;

/// A GPU of whose time more than this is used has nothing left, as `VdiGpuUtilizationHigh` has it.
pub const FULL: f64 = 0.95;
/// What lies between two rounds counts for so long at most: the sampler may have slept.
const LONGEST_ROUND: Duration = Duration::from_secs(5);
/// How long a process that the driver no longer speaks of is remembered.
const REMEMBERED: Duration = Duration::from_secs(30);

/// A session's use of the GPUs, by the label `gpu`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gpu {
    /// Devices that it has used.
    pub devices: BTreeMap<u32, DeviceUse>,
    /// Xid errors for which the driver blames one of its processes, by device and number.
    pub xids: BTreeMap<(String, u32), u64>,
    /// When its first context was seen, nanoseconds since boot; 0 while there was none.
    pub first_context_ns: u64,
    /// When its first encoder session was seen, likewise.
    pub first_encoder_ns: u64,
}

/// A session's use of one device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceUse {
    /// Utilisation multiplied by time.
    pub busy_ns: PerEngine<u64>,
    /// For how long the device had nothing left while other sessions were on it, too, nanoseconds.
    pub full_ns: u64,
    /// Utilisation, one observation for each round of the sampler; a share of 1 is kept as a second.
    pub utilization: Box<PerEngine<Histogram>>,
    /// How things are; empty when that is not known.
    pub now: Now,
}

/// A session on a device at the last reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Now {
    /// Utilisation in parts of [`WHOLE`].
    pub share: Option<PerEngine<u64>>,
    /// Memory by MIG instance, bytes; `None` where the driver cannot tell that of one of its processes.
    pub memory: BTreeMap<Option<u32>, Option<u64>>,
    /// Encoder sessions by codec.
    pub encoders: BTreeMap<Codec, Streams>,
    /// Frame-capture sessions.
    pub captures: Option<Streams>,
}

/// Encoder or capture sessions of one kind, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// How many.
    pub count: u32,
    /// Frames a second of all.
    pub fps: u32,
    /// Of the slowest, microseconds.
    pub latency_us: u32,
    /// Of the largest, pixels.
    pub width: u32,
    /// Of the largest, pixels.
    pub height: u32,
}

impl Streams {
    fn add(&mut self, stream: &Stream) {
        self.count += 1;
        self.fps += stream.fps;
        self.latency_us = self.latency_us.max(stream.latency_us);
        let pixels = |width: u32, height: u32| u64::from(width) * u64::from(height);
        if pixels(stream.width, stream.height) >= pixels(self.width, self.height) {
            (self.width, self.height) = (stream.width, stream.height);
        }
    }
}

/// What no session explains of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Remainder {
    /// Utilisation, 0 to 1; `None` where that of the device or of its processes is not known.
    pub share: PerEngine<Option<f64>>,
    /// Memory in use, bytes; likewise.
    pub memory: Option<u64>,
    /// Busy time of processes outside all sessions.
    pub busy_ns: PerEngine<u64>,
}

/// Xid errors of a device with one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XidCount {
    /// How many.
    pub count: u64,
    /// When the last was.
    pub last: SystemTime,
}

/// An Xid error as the driver reports it in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XidError {
    /// PCI address of the device, as the kernel writes it.
    pub pci: String,
    /// Number of the error.
    pub code: u32,
    /// What the driver says.
    pub message: String,
}

/// What the join asks of the registry.
pub trait Sessions {
    /// The session of a process: `Ok(None)` for one outside all, `Err` for one that nothing is known of.
    fn of_process(&self, pid: u32) -> Result<Option<Serial>, Unknown>;
    /// A session's figures.
    fn gpu(&mut self, session: Serial) -> Option<&mut Gpu>;
    /// Every session's.
    fn all(&mut self) -> impl Iterator<Item = (Serial, &mut Gpu)>;
}

/// Nothing is known of a process.
#[derive(Debug, PartialEq, Eq)]
pub struct Unknown;

/// See the module.
#[derive(Debug, Default)]
pub struct Join {
    /// Sessions of processes, and when the driver last spoke of them.
    processes: HashMap<u32, (Option<Serial>, Instant)>,
    remainders: BTreeMap<u32, Remainder>,
    xids: BTreeMap<(String, u32), XidCount>,
    /// The label of the device at a PCI address.
    labels: HashMap<String, String>,
    /// When each device was looked at last.
    rounds: HashMap<u32, Instant>,
}

/// A session's processes on a device in one round.
#[derive(Default)]
struct Together {
    share: PerEngine<u64>,
    /// The next sample of one of its processes is on its way.
    pending: bool,
    /// One of its processes is a client of the multi-process service.
    mps: bool,
    sampled: bool,
}

impl Together {
    /// Whether the samples are all that the session used. Those of the multi-process service name the server:
    /// without any of the session's own (its server may be among its processes) nothing is known of it.
    fn is_known(&self) -> bool {
        !self.pending && (self.sampled || !self.mps)
    }
}

impl Join {
    /// What no session explains, by device.
    pub fn remainders(&self) -> &BTreeMap<u32, Remainder> {
        &self.remainders
    }

    /// Xid errors by the device's label and number.
    pub fn xids(&self) -> &BTreeMap<(String, u32), XidCount> {
        &self.xids
    }

    /// Takes a round of the sampler.
    pub fn take(&mut self, report: &Report, sessions: &mut impl Sessions) {
        let moments = Moments::of(report);
        forget_vanished(report, sessions);
        for device in &report.devices {
            let index = device.identity.index;
            if !device.identity.pci_address.is_empty() {
                let address = device.identity.pci_address.clone();
                self.labels.insert(address, index.to_string());
            }
            let busy_ns = self
                .remainders
                .get(&index)
                .map(|r| r.busy_ns)
                .unwrap_or_default();
            let remainder = Remainder {
                busy_ns,
                ..Remainder::default()
            };
            self.remainders.insert(index, remainder);
            forget_device(index, device.usage.is_none(), sessions);
            let contexts = device.contexts.as_deref().unwrap_or_default();
            if let Some(usage) = &device.usage {
                self.take_usage(index, usage, contexts, moments, sessions);
            }
            let explained = self.take_contexts(index, contexts, moments, sessions);
            self.take_streams(index, device, moments, sessions);
            let shares = explained_shares(index, device, sessions);
            if let Some(remainder) = self.remainders.get_mut(&index) {
                remainder.share = shares;
                let used = device.readings.memory.map(|m| m.used);
                remainder.memory = device
                    .contexts
                    .is_some()
                    .then(|| Some(used?.saturating_sub(explained?)))
                    .flatten();
            }
            self.take_fullness(device, moments.now, sessions);
        }
        let now = moments.now;
        self.processes
            .retain(|_, (_, seen)| now.duration_since(*seen) < REMEMBERED);
    }

    /// Counts the time since the last round for all who share a device that has nothing left now.
    fn take_fullness(&mut self, device: &Device, now: Instant, sessions: &mut impl Sessions) {
        let index = device.identity.index;
        let before = self.rounds.insert(index, now);
        let passed = before.map_or(Duration::ZERO, |before| now.duration_since(before));
        let passed = passed.min(LONGEST_ROUND).as_nanos() as u64;
        let busy = device.readings.utilization[Engine::Sm as usize];
        if busy.is_none_or(|busy| busy <= FULL) {
            return;
        }
        let is_on = |gpu: &&mut Gpu| {
            let on_device = gpu.devices.get(&index);
            on_device.is_some_and(|on_device| on_device.now != Now::default())
        };
        let on_it: Vec<&mut Gpu> = sessions.all().map(|(_, gpu)| gpu).filter(is_on).collect();
        if on_it.len() >= 2 {
            for gpu in on_it {
                gpu.devices.entry(index).or_default().full_ns += passed;
            }
        }
    }

    /// Counts an Xid error of a device. Whose it was is told apart from it: [`Self::blame`].
    pub fn xid(&mut self, error: &XidError, at: SystemTime) {
        self.count_xid(self.label(&error.pci), error.code, at);
    }

    /// Charges an Xid error to the session of the process that the driver blames, and returns that one.
    pub fn blame(
        &mut self,
        blame: &Blame,
        now: Instant,
        sessions: &mut impl Sessions,
    ) -> Option<Serial> {
        let serial = self.session_of(blame.pid, now, sessions)?;
        let gpu = sessions.gpu(serial)?;
        let error = (self.label(&blame.pci), blame.code);
        *gpu.xids.entry(error).or_default() += 1;
        Some(serial)
    }

    /// A device that NVML has not told of goes by its address.
    fn label(&self, pci: &str) -> String {
        let known = self.labels.get(pci);
        known.map_or_else(|| pci.to_owned(), Clone::clone)
    }

    /// Counts an Xid error that the driver delivered as an event.
    pub fn xid_event(&mut self, gpu: u32, xid: u32, at: SystemTime) {
        self.count_xid(gpu.to_string(), xid, at);
    }

    fn count_xid(&mut self, label: String, xid: u32, at: SystemTime) {
        let entry = self.xids.entry((label, xid));
        let count = entry.or_insert(XidCount { count: 0, last: at });
        count.count += 1;
        count.last = at;
    }

    fn session_of(&mut self, pid: u32, now: Instant, sessions: &impl Sessions) -> Option<Serial> {
        let session = match sessions.of_process(pid) {
            Ok(session) => session,
            // It has ended: what it was is what is remembered.
            Err(Unknown) => self.processes.get(&pid).and_then(|(session, _)| *session),
        };
        self.processes.insert(pid, (session, now));
        session
    }

    fn take_usage(
        &mut self,
        index: u32,
        usage: &Usage,
        contexts: &[Context],
        moments: Moments,
        sessions: &mut impl Sessions,
    ) {
        let mut together = BTreeMap::<Serial, Together>::new();
        for context in contexts {
            if let Some(serial) = self.session_of(context.pid, moments.now, sessions) {
                together.entry(serial).or_default().mps |= context.mps;
            }
        }
        for pid in &usage.pending {
            if let Some(serial) = self.session_of(*pid, moments.now, sessions) {
                together.entry(serial).or_default().pending = true;
            }
        }
        for process in &usage.processes {
            let serial = self.session_of(process.pid, moments.now, sessions);
            let Some((serial, gpu)) = serial.and_then(|s| Some((s, sessions.gpu(s)?))) else {
                if let Some(remainder) = self.remainders.get_mut(&index) {
                    add(&mut remainder.busy_ns, &process.busy_ns);
                }
                continue;
            };
            let at_ns = moments.boot_ns_of(process.first_us);
            gpu.note_context(at_ns);
            if process.busy_ns[Engine::Encoder as usize] > 0 {
                gpu.note_encoder(at_ns);
            }
            let on_device = gpu.devices.entry(index).or_default();
            add(&mut on_device.busy_ns, &process.busy_ns);
            let together = together.entry(serial).or_default();
            add(&mut together.share, &process.share);
            together.sampled = true;
        }
        for (serial, gpu) in sessions.all() {
            let pending = together.get(&serial).is_some_and(|t| t.pending);
            if let Some(on_device) = gpu.devices.get_mut(&index).filter(|_| !pending) {
                on_device.now.share = None;
            }
        }
        for (serial, together) in together {
            if !together.is_known() {
                continue;
            }
            if let Some(gpu) = sessions.gpu(serial) {
                let on_device = gpu.devices.entry(index).or_default();
                let share = together.share.map(|share| share.min(WHOLE));
                for (histogram, share) in on_device.utilization.iter_mut().zip(share) {
                    histogram.buckets[bucket_of(share)] += 1;
                    histogram.sum_ns += share;
                }
                on_device.now.share = Some(share);
            }
        }
    }

    /// Charges memory, and says how much of it the sessions explain; `None` when that is not known.
    fn take_contexts(
        &mut self,
        index: u32,
        contexts: &[Context],
        moments: Moments,
        sessions: &mut impl Sessions,
    ) -> Option<u64> {
        let mut explained = Some(0);
        for context in contexts {
            let serial = self.session_of(context.pid, moments.now, sessions);
            let Some(gpu) = serial.and_then(|serial| sessions.gpu(serial)) else {
                continue;
            };
            gpu.note_context(moments.boot_ns);
            let now = &mut gpu.devices.entry(index).or_default().now;
            let sum = now.memory.entry(context.gpu_instance).or_insert(Some(0));
            *sum = sum.zip(context.memory).map(|(sum, more)| sum + more);
            explained = explained
                .zip(context.memory)
                .map(|(sum, more): (u64, u64)| sum + more);
        }
        explained
    }

    fn take_streams(
        &mut self,
        index: u32,
        device: &Device,
        moments: Moments,
        sessions: &mut impl Sessions,
    ) {
        let streams = device.encoders.iter().chain(&device.captures).flatten();
        // A process of the node may have the number of a guest's.
        for stream in streams.filter(|stream| !stream.is_of_guest) {
            let serial = self.session_of(stream.pid, moments.now, sessions);
            let Some(gpu) = serial.and_then(|serial| sessions.gpu(serial)) else {
                continue;
            };
            if stream.codec.is_some() {
                gpu.note_encoder(moments.boot_ns);
            }
            let now = &mut gpu.devices.entry(index).or_default().now;
            match stream.codec {
                Some(codec) => now.encoders.entry(codec).or_default().add(stream),
                None => now.captures.get_or_insert_default().add(stream),
            }
        }
    }
}

impl Gpu {
    fn note_context(&mut self, at_ns: u64) {
        if self.first_context_ns == 0 || at_ns < self.first_context_ns {
            self.first_context_ns = at_ns;
        }
    }

    fn note_encoder(&mut self, at_ns: u64) {
        if self.first_encoder_ns == 0 || at_ns < self.first_encoder_ns {
            self.first_encoder_ns = at_ns;
        }
    }

    /// Use of all engines of all devices together, which only grows.
    pub fn busy_ns(&self) -> u64 {
        self.devices.values().flat_map(|d| d.busy_ns).sum()
    }

    /// What is now is not known any more; what has been stays.
    pub fn forget_now(&mut self) {
        for on_device in self.devices.values_mut() {
            on_device.now = Now::default();
        }
    }
}

/// What a device was doing when it was there is not what it does.
fn forget_vanished(report: &Report, sessions: &mut impl Sessions) {
    for (_, gpu) in sessions.all() {
        for (index, on_device) in &mut gpu.devices {
            if !report.devices.iter().any(|d| d.identity.index == *index) {
                on_device.now = Now::default();
            }
        }
    }
}

/// Before a device's readings are taken; the shares stay unless they are not known any more.
fn forget_device(index: u32, share_too: bool, sessions: &mut impl Sessions) {
    for (_, gpu) in sessions.all() {
        if let Some(on_device) = gpu.devices.get_mut(&index) {
            let share = on_device.now.share.filter(|_| !share_too);
            on_device.now = Now {
                share,
                ..Now::default()
            };
        }
    }
}

fn explained_shares(
    index: u32,
    device: &Device,
    sessions: &mut impl Sessions,
) -> PerEngine<Option<f64>> {
    let mut explained = [0; Engine::ALL.len()];
    for (_, gpu) in sessions.all() {
        if let Some(share) = gpu.devices.get(&index).and_then(|d| d.now.share) {
            add(&mut explained, &share);
        }
    }
    let mut remainder = [None; Engine::ALL.len()];
    if device.usage_supported != Some(true) || device.usage.is_none() {
        return remainder;
    }
    for engine in Engine::ALL {
        let at = engine as usize;
        let explained = explained[at] as f64 / WHOLE as f64;
        // Processes overlap on an engine, so that together they may be more than the device was.
        remainder[at] = device.readings.utilization[at].map(|all| (all - explained).max(0.0));
    }
    remainder
}

fn add(sums: &mut PerEngine<u64>, more: &PerEngine<u64>) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}

/// The clocks at a round.
#[derive(Clone, Copy)]
struct Moments {
    now: Instant,
    /// Nanoseconds since boot when the round was made.
    boot_ns: u64,
    /// The same by the time of day, microseconds since 1970.
    wall_us: u64,
}

impl Moments {
    fn of(report: &Report) -> Self {
        let since = report.at.duration_since(SystemTime::UNIX_EPOCH);
        Self {
            now: report.taken,
            boot_ns: crate::clock::boot_ns()
                .saturating_sub(report.taken.elapsed().as_nanos() as u64),
            wall_us: since.unwrap_or_default().as_micros() as u64,
        }
    }

    /// A time of day, microseconds since 1970, in nanoseconds since boot.
    fn boot_ns_of(self, us: u64) -> u64 {
        let before_us = self.wall_us.saturating_sub(us);
        self.boot_ns.saturating_sub(before_us * 1000)
    }
}

#[cfg(test)]
mod tests;
