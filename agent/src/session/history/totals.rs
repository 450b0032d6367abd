//! What a session's counters have grown by in a step.

use agent_common::{
    block::{READ, WRITE},
    histogram::{BUCKETS, Histogram},
    net::{INBOUND, Traffic},
    sched::After,
};

use super::step::{Figure, Kept, Step};
use crate::{
    gpu::model::Engine,
    session::{
        model::{Counts, quantile},
        net::Net,
    },
};

/// Counters at the beginning of a step.
#[derive(Clone, Debug)]
pub(super) struct Totals {
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
    pub(super) fn of(counts: &Counts) -> Self {
        let sched = &counts.sched;
        let accounts = counts.accounts.as_ref();
        let net = counts.net.as_ref();
        let experience = counts.experience.as_ref();
        let traffic = net.map(Net::tcp_traffic).unwrap_or_default();
        let datagrams = |direction: usize| {
            let udp = net.and_then(Net::used_udp);
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
    pub(super) fn step_since(&self, before: &Self, counts: &Counts, seconds: f64) -> Step {
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
