//! What a session did over the last quarter of an hour and over the last day, in steps that a person can look at: "it was
//! slow at 9:40" has an answer without Prometheus.
//!
//! Each step has its figures as rates, shares and quantiles of that step alone, so two steps compare whatever their length.
//! A figure takes two bytes, as a logarithm: right to a 2,000th of its value. One that has never been known takes none, so a
//! session without GPUs and limits takes some 20 KiB. With all 32 figures the 468 steps, and what the two rings need to go on,
//! are 32 KiB.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use agent_common::{
    block::{READ, WRITE},
    histogram::{BUCKETS, Histogram},
    net::{INBOUND, Traffic},
    sched::After,
};

use super::model::{Counts, quantile};
use crate::{gpu::model::Engine, named::named};

/// The last quarter of an hour, and the last day.
const RINGS: [(Duration, usize); 2] =
    [(Duration::from_secs(5), 180), (Duration::from_mins(5), 288)];

named! {
    /// What is kept of a step. A rate is by seconds of the step, whatever it counts.
    pub enum Figure {
        /// CPUs in use; 1 is one CPU all the time.
        Cpus = "cpus",
        /// Threads that waited for a CPU, on average, because others had it: of all that waited, the part of those that others
        /// and not threads of its own preempted.
        Contention = "contention",
        /// Share of the time in which a limit of the session's own kept it from running.
        ThrottledOwn = "throttled_own",
        /// The same for limits of cgroups above.
        ThrottledAbove = "throttled_above",
        /// Waits for a CPU of up to 1 ms, a second.
        WaitsTo1Ms = "waits_to_1ms",
        /// From 1 to 4 ms.
        WaitsTo4Ms = "waits_to_4ms",
        /// From 4 to 16 ms.
        WaitsTo16Ms = "waits_to_16ms",
        /// From 16 to 62 ms.
        WaitsTo62Ms = "waits_to_62ms",
        /// Longer ones.
        WaitsLonger = "waits_longer",
        /// Median of the waits, seconds.
        WaitP50 = "wait_p50",
        /// Their 99th percentile, seconds.
        WaitP99 = "wait_p99",
        /// Median of the clients' round-trip times, seconds.
        RttP50 = "rtt_p50",
        /// Their 95th percentile, seconds.
        RttP95 = "rtt_p95",
        /// Share of the clients' round trips that took more than 125 ms.
        LateRoundTrips = "late_round_trips",
        /// Share of the segments to clients that were sent again.
        Retransmits = "retransmits",
        /// Bytes received a second.
        Received = "received_bytes",
        /// Bytes sent a second.
        Sent = "sent_bytes",
        /// Memory of its cgroups, bytes.
        Memory = "memory_bytes",
        /// Anonymous memory as a share of the limit.
        MemoryShare = "memory_share",
        /// Threads that reclaimed memory themselves, on average.
        ReclaimStall = "reclaim_stall",
        /// Threads that waited for what no signal but a fatal one ends, when all threads were walked last.
        Uninterruptible = "uninterruptible",
        /// Share of the block I/O requests that took more than 62 ms.
        SlowBlockIo = "slow_block_io",
        /// Input that waited for more than half a second until it was read, a second.
        LateInputs = "late_inputs",
        /// Share of the inputs after which nothing was sent for two seconds.
        Unanswered = "unanswered",
        /// Applications that do not read their display.
        Unresponsive = "unresponsive",
        /// GPUs in use; 1 is one GPU all the time.
        Gpus = "gpus",
        /// Share of the time in which a GPU of its own and of other sessions had nothing left.
        GpuFull = "gpu_full",
        /// GPU memory, bytes.
        GpuMemory = "gpu_memory_bytes",
        /// Encoders in use.
        Encoders = "encoders",
        /// Decoders in use.
        Decoders = "decoders",
        /// Frames a second that its encoders deliver.
        Frames = "fps",
        /// Time to encode a frame, of the slowest encoder, seconds.
        EncoderLatency = "encoder_latency",
    }
}

/// A figure as it is kept: the logarithm of a value from a nanosecond on, or of a byte up to 4 TB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept(u16);

impl Kept {
    const ABSENT: Self = Self(u16::MAX);
    /// The least exponent of two that is told from 0, and how finely octaves are parted.
    const LEAST: f64 = -30.0;
    const PER_OCTAVE: f64 = 900.0;

    fn of(value: Option<f64>) -> Self {
        let Some(value) = value.filter(|value| value.is_finite() && *value >= 0.0) else {
            return Self::ABSENT;
        };
        let code = ((value.log2() - Self::LEAST) * Self::PER_OCTAVE).round();
        if code < 0.0 {
            return Self(0);
        }
        // 1 is the least value, and the last one is for those that are absent.
        Self((code as u64 + 1).min(u64::from(u16::MAX) - 1) as u16)
    }

    fn value(self) -> Option<f64> {
        match self.0 {
            0 => Some(0.0),
            u16::MAX => None,
            code => Some(((f64::from(code) - 1.0) / Self::PER_OCTAVE + Self::LEAST).exp2()),
        }
    }
}

/// The figures of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step([Kept; Figure::ALL.len()]);

impl Step {
    const ABSENT: Self = Self([Kept::ABSENT; Figure::ALL.len()]);

    /// One of them; `None` where it was not known, or there was nothing to have it of.
    pub fn get(&self, figure: Figure) -> Option<f64> {
        self.0[figure as usize].value()
    }

    /// With a figure at a value, for tests.
    #[cfg(test)]
    #[must_use]
    pub fn with(mut self, figure: Figure, value: f64) -> Self {
        self.0[figure as usize] = Kept::of(Some(value));
        self
    }
}

#[cfg(test)]
impl Default for Step {
    fn default() -> Self {
        Self::ABSENT
    }
}

/// See the module. A session writes it and answers read it: it is not copied with each snapshot, and may be a sample ahead of
/// the one that leads to it.
#[derive(Debug)]
pub struct History {
    rings: Mutex<[Ring; 2]>,
}

/// So many steps more find room at a time.
const GROWS_BY: usize = 36;

/// Steps of one length.
#[derive(Debug)]
struct Ring {
    length: Duration,
    most: usize,
    /// Where the step began that is under way.
    began: Instant,
    /// Counters of a sample at its beginning or somewhat later, and when that was.
    before: (Instant, Totals),
    /// Steps that have ended, those that are forgotten included.
    ended: usize,
    /// By figure, each step at its number modulo `most`; empty for one that has never been known.
    columns: [Vec<Kept>; Figure::ALL.len()],
}

/// Steps of one length, for whoever shows them.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// Of each.
    pub length: Duration,
    /// When the last one ended.
    pub until: SystemTime,
    /// Oldest first.
    pub steps: Vec<Step>,
}

impl History {
    /// Of a session that the agent has adopted.
    pub fn new(now: Instant) -> Self {
        Self {
            rings: Mutex::new(RINGS.map(|(length, most)| Ring {
                length,
                most,
                began: now,
                before: (now, Totals::default()),
                ended: 0,
                columns: [const { Vec::new() }; Figure::ALL.len()],
            })),
        }
    }

    /// Takes a sample: ends the steps that are over.
    pub fn push(&self, now: Instant, counts: &Counts) {
        for ring in self.rings().iter_mut() {
            if now.duration_since(ring.began) >= ring.length {
                ring.end(now, counts);
            }
        }
    }

    /// The last quarter of an hour, and the last day, as they are at a moment.
    pub fn view(&self, now: Instant, wall: SystemTime) -> [Steps; 2] {
        self.rings().each_ref().map(|ring| Steps {
            length: ring.length,
            until: wall
                .checked_sub(now.duration_since(ring.began))
                .unwrap_or(wall),
            steps: ring.last(ring.most),
        })
    }

    /// The last steps of both, so many at most, oldest first.
    pub fn last(&self, most: usize) -> [Vec<Step>; 2] {
        self.rings().each_ref().map(|ring| ring.last(most))
    }

    fn rings(&self) -> MutexGuard<'_, [Ring; 2]> {
        // Nothing in between leaves them half done.
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn end(&mut self, now: Instant, counts: &Counts) {
        let over = now.duration_since(self.began).as_nanos() / self.length.as_nanos();
        let steps = over as usize;
        let totals = Totals::of(counts);
        // Of several that no sample was in nobody knows which of them it was.
        for _ in 1..steps.min(self.most) {
            self.keep(Step::ABSENT);
        }
        let (then, before) = &self.before;
        let seconds = now.duration_since(*then).as_secs_f64();
        let step = totals.step_since(before, counts, seconds);
        self.keep(step);
        self.before = (now, totals);
        // On the beat, so that the ends of steps stay where they are.
        self.began += self.length * steps as u32;
    }

    fn keep(&mut self, step: Step) {
        let held = self.held();
        let at = self.ended % self.most;
        for (column, value) in self.columns.iter_mut().zip(step.0) {
            if column.is_empty() {
                if value == Kept::ABSENT {
                    continue;
                }
                column.reserve_exact(held);
                column.resize(held, Kept::ABSENT);
            }
            if let Some(oldest) = column.get_mut(at) {
                *oldest = value;
                continue;
            }
            if column.len() == column.capacity() {
                // By what is needed, and not by doubling: a node has hundreds of these.
                column.reserve_exact(GROWS_BY.min(self.most - column.len()));
            }
            column.push(value);
        }
        self.ended += 1;
    }

    /// How many steps there are.
    fn held(&self) -> usize {
        self.ended.min(self.most)
    }

    /// The last ones, so many at most, oldest first.
    fn last(&self, most: usize) -> Vec<Step> {
        let many = self.held().min(most);
        let step = |number: usize| {
            let at = number % self.most;
            let kept = |column: &Vec<Kept>| column.get(at).copied().unwrap_or(Kept::ABSENT);
            Step(self.columns.each_ref().map(kept))
        };
        (self.ended - many..self.ended).map(step).collect()
    }
}

/// Counters at the beginning of a step.
#[derive(Clone, Debug)]
struct Totals {
    cpu_ns: u64,
    contention_ns: u64,
    /// Preemptions by others, of all.
    preemptions: Parts,
    throttled_us: Option<u64>,
    throttled_above_us: Option<u64>,
    waits: Counted,
    trips: Counted,
    to_clients: Traffic,
    all: [u64; 2],
    stall_ns: u64,
    block_io: Parts,
    late_inputs: u64,
    inputs: Parts,
    busy_ns: [u64; 3],
    full_ns: u64,
}

/// How many there were, and how many of them are counted apart; modulo 2³².
#[derive(Clone, Copy, Debug)]
struct Parts {
    all: u32,
    apart: u32,
}

impl Parts {
    const NONE: Self = Self { all: 0, apart: 0 };

    const fn of(all: u64, apart: u64) -> Self {
        Self {
            all: all as u32,
            apart: apart as u32,
        }
    }

    /// The share that came since then; `None` where nothing came.
    fn share_since(self, before: Self) -> Option<f64> {
        let all = self.all.wrapping_sub(before.all);
        let apart = self.apart.wrapping_sub(before.apart);
        (all > 0).then(|| f64::from(apart) / f64::from(all))
    }
}

/// The buckets of a histogram modulo 2³²: no step sees as many.
#[derive(Clone, Debug)]
struct Counted([u32; BUCKETS]);

impl Counted {
    fn of(histogram: &Histogram) -> Self {
        Self(histogram.buckets.map(|count| count as u32))
    }

    /// What was observed since then; without its sum.
    fn since(&self, before: &Self) -> Histogram {
        let mut observed = Histogram::default();
        for (bucket, count) in observed.buckets.iter_mut().enumerate() {
            *count = self.0[bucket].wrapping_sub(before.0[bucket]).into();
        }
        observed
    }
}

/// The bucket whose upper bound is `2^exponent` seconds.
const fn bucket_to(exponent: i32) -> usize {
    (80 + 4 * exponent) as usize
}

/// How many observations of a histogram are over `2^exponent` seconds.
fn over(histogram: &Histogram, exponent: i32) -> u64 {
    histogram.buckets[bucket_to(exponent) + 1..].iter().sum()
}

impl Default for Totals {
    fn default() -> Self {
        Self::of(&Counts::default())
    }
}

impl Totals {
    fn of(counts: &Counts) -> Self {
        let sched = &counts.sched;
        let accounts = counts.accounts.as_ref();
        let net = counts.net.as_ref();
        let experience = counts.experience.as_ref();
        let traffic = net.map(super::net::Net::tcp_traffic).unwrap_or_default();
        let datagrams = |direction: usize| {
            let udp = net.and_then(super::net::Net::used_udp);
            udp.map_or(0, |both| both[direction].bytes)
        };
        let busy = |engine: Engine| {
            let devices = counts.gpu.devices.values();
            devices.map(|device| device.busy_ns[engine as usize]).sum()
        };
        Self {
            cpu_ns: counts.cpu_ns,
            contention_ns: sched.waited_ns(After::Wakeup) + sched.waited_ns(After::Preemption),
            preemptions: Parts::of(
                sched.preemptions(),
                sched.preempted_by_session + sched.preempted_by_system,
            ),
            throttled_us: accounts.and_then(|a| a.throttled.own_us),
            throttled_above_us: accounts.and_then(|a| a.throttled.by_those_above()),
            waits: Counted::of(&sched.runqueue_wait),
            trips: net.map_or(Counted([0; BUCKETS]), |net| {
                Counted::of(&net.tcp[INBOUND].rtt)
            }),
            to_clients: net.map(|net| net.tcp[INBOUND].traffic).unwrap_or_default(),
            all: [
                traffic.received_bytes + datagrams(1),
                traffic.sent_bytes + datagrams(0),
            ],
            stall_ns: counts.memory.as_ref().map_or(0, |m| m.reclaim_stall.sum_ns),
            block_io: counts.block.as_ref().map_or(Parts::NONE, |block| {
                let both = [READ, WRITE].map(|kind| &block.operations[kind].latency);
                Parts::of(
                    both.iter().map(|latency| latency.count()).sum(),
                    both.iter().map(|latency| over(latency, -4)).sum(),
                )
            }),
            late_inputs: experience.map_or(0, |e| {
                over(&e.application_delay, -1) + over(&e.server_delay, -1)
            }),
            inputs: experience.map_or(Parts::NONE, |e| {
                Parts::of(e.response.count() + e.unanswered, e.unanswered)
            }),
            busy_ns: [Engine::Sm, Engine::Encoder, Engine::Decoder].map(busy),
            full_ns: counts
                .gpu
                .devices
                .values()
                .map(|device| device.full_ns)
                .sum(),
        }
    }

    /// The figures of a step of so many seconds that ends with these counters.
    fn step_since(&self, before: &Self, counts: &Counts, seconds: f64) -> Step {
        let grown = |now: u64, then: u64| now.saturating_sub(then) as f64;
        let rate = |now: u64, then: u64| grown(now, then) / seconds;
        // What nobody had told of before has not grown by all that it is.
        let known = |now: Option<u64>, then: Option<u64>| Some(rate(now?, then.unwrap_or(now?)));
        let waits = self.waits.since(&before.waits);
        let trips = self.trips.since(&before.trips);
        let between = |from: Option<i32>, to: Option<i32>| {
            let count = from.map_or_else(|| waits.count(), |from| over(&waits, from));
            (count - to.map_or(0, |to| over(&waits, to))) as f64 / seconds
        };
        let to_clients = self.to_clients.since(before.to_clients);
        let memory = counts.accounts.as_ref().and_then(|a| a.memory);
        let gpu = Gpu::of(counts);
        let used_gpu = !counts.gpu.devices.is_empty();
        let busy = |engine: usize| {
            used_gpu.then(|| rate(self.busy_ns[engine], before.busy_ns[engine]) / 1e9)
        };
        let mut step = Step::ABSENT;
        for figure in Figure::ALL {
            let value = match figure {
                Figure::Cpus => Some(rate(self.cpu_ns, before.cpu_ns) / 1e9),
                Figure::Contention => {
                    // Its own threads are no others.
                    let by_others = self.preemptions.share_since(before.preemptions);
                    let waited = rate(self.contention_ns, before.contention_ns) / 1e9;
                    Some(waited * by_others.unwrap_or(1.0))
                }
                Figure::ThrottledOwn => {
                    known(self.throttled_us, before.throttled_us).map(|us| us / 1e6)
                }
                Figure::ThrottledAbove => {
                    known(self.throttled_above_us, before.throttled_above_us).map(|us| us / 1e6)
                }
                Figure::WaitsTo1Ms => Some(between(None, Some(-10))),
                Figure::WaitsTo4Ms => Some(between(Some(-10), Some(-8))),
                Figure::WaitsTo16Ms => Some(between(Some(-8), Some(-6))),
                Figure::WaitsTo62Ms => Some(between(Some(-6), Some(-4))),
                Figure::WaitsLonger => Some(between(Some(-4), None)),
                Figure::WaitP50 => quantile(&waits, 0.5),
                Figure::WaitP99 => quantile(&waits, 0.99),
                Figure::RttP50 => quantile(&trips, 0.5),
                Figure::RttP95 => quantile(&trips, 0.95),
                Figure::LateRoundTrips => {
                    Parts::of(trips.count(), over(&trips, -3)).share_since(Parts::NONE)
                }
                Figure::Retransmits => Parts::of(to_clients.segments, to_clients.retransmits)
                    .share_since(Parts::NONE)
                    .filter(|_| counts.net.as_ref().is_some_and(|net| net.counts_segments)),
                Figure::Received => counts
                    .net
                    .as_ref()
                    .map(|_| rate(self.all[0], before.all[0])),
                Figure::Sent => counts
                    .net
                    .as_ref()
                    .map(|_| rate(self.all[1], before.all[1])),
                Figure::Memory => memory.map(|memory| memory.current as f64),
                Figure::MemoryShare => {
                    memory.and_then(|m| Some(m.anon as f64 / m.limit.filter(|l| *l > 0)? as f64))
                }
                Figure::ReclaimStall => {
                    let rate = rate(self.stall_ns, before.stall_ns) / 1e9;
                    counts.memory.as_ref().map(|_| rate)
                }
                Figure::Uninterruptible => counts
                    .census
                    .and_then(|census| census.by_state)
                    .map(|states| states.uninterruptible as f64),
                Figure::SlowBlockIo => self.block_io.share_since(before.block_io),
                Figure::LateInputs => {
                    let rate = rate(self.late_inputs, before.late_inputs);
                    counts.experience.as_ref().map(|_| rate)
                }
                Figure::Unanswered => self.inputs.share_since(before.inputs),
                Figure::Unresponsive => counts
                    .experience
                    .as_ref()
                    .and_then(|e| e.unresponsive.as_ref())
                    .map(|applications| applications.len() as f64),
                Figure::Gpus => busy(0),
                // Of several of them together.
                Figure::GpuFull => {
                    used_gpu.then(|| (rate(self.full_ns, before.full_ns) / 1e9).min(1.0))
                }
                Figure::GpuMemory => gpu.memory,
                Figure::Encoders => busy(1),
                Figure::Decoders => busy(2),
                Figure::Frames => gpu.frames,
                Figure::EncoderLatency => gpu.latency,
            };
            step.0[figure as usize] = Kept::of(value);
        }
        step
    }
}

/// How the session is on its GPUs at the end of a step, all together.
#[derive(Default)]
struct Gpu {
    memory: Option<f64>,
    frames: Option<f64>,
    latency: Option<f64>,
}

impl Gpu {
    fn of(counts: &Counts) -> Self {
        let mut all = Self::default();
        for device in counts.gpu.devices.values() {
            for memory in device.now.memory.values().flatten() {
                *all.memory.get_or_insert(0.0) += *memory as f64;
            }
            for streams in device.now.encoders.values() {
                *all.frames.get_or_insert(0.0) += f64::from(streams.fps);
                let latency = all.latency.get_or_insert(0.0);
                *latency = latency.max(f64::from(streams.latency_us) / 1e6);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests;
