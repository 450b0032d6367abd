//! What holds a session back: a table of rules, each a figure of the [history](super::history), a limit, and what to do.
//!
//! The limits are those of the alerts: a test compares each with `rules/table/`. A rule has found something when its figure
//! was over its limit in a third of the steps that are looked at, and in two at least: one step of five seconds is no
//! trouble.

use super::{
    gpu::FULL,
    history::{Figure, Step},
};
use crate::named::named;

/// How many steps of each ring are looked at: a minute of the short ones, an hour of the long ones.
pub const LOOKED_AT: usize = 12;

named! {
    /// What may hold a session back.
    pub enum Cause {
        /// Others have the CPUs.
        CpuContention = "cpu_contention",
        /// Its own CPU limit.
        CpuLimit = "cpu_limit",
        /// A CPU limit of a cgroup above.
        CpuLimitAbove = "cpu_limit_above",
        /// It reclaims memory.
        MemoryReclaim = "memory_reclaim",
        /// Its memory is nearly at its limit.
        MemoryLimit = "memory_limit",
        /// Block I/O takes long.
        SlowDisk = "slow_disk",
        /// Threads that nothing wakes: a network file system or a driver that does not answer.
        ThreadsBlocked = "threads_blocked",
        /// Its client is far away, or behind a full queue.
        ClientFar = "client_far",
        /// What is sent to its client gets lost.
        ClientLossy = "client_lossy",
        /// A GPU that it shares has nothing left.
        GpuFull = "gpu_full",
        /// Its encoder takes longer than a frame lasts.
        EncoderSlow = "encoder_slow",
        /// An application does not read its display.
        ApplicationHangs = "application_hangs",
        /// Input waits to be read.
        InputLate = "input_late",
        /// Input is not answered.
        ScreenFrozen = "screen_frozen",
    }
}

named! {
    /// In what a figure is.
    pub enum Unit {
        /// A share, 0 to 1.
        Share = "share",
        /// Seconds.
        Seconds = "seconds",
        /// How many, on average.
        Count = "count",
        /// So many a second.
        Rate = "rate",
    }
}

/// From where on it is too much.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Where it is.
    pub value: f64,
    /// Whether to be there is too much already.
    is_inclusive: bool,
    /// The alert that has it.
    pub alert: Option<Alert>,
}

/// Where an alert has a limit.
#[derive(Clone, Copy, Debug)]
pub struct Alert {
    /// Its name.
    pub name: &'static str,
    /// What its table calls the limit.
    pub threshold: &'static str,
    /// How often the limit is in that one: one that counts in five minutes has 300 times what is counted a second.
    pub times: f64,
}

/// Too much is more than an alert's threshold.
const fn over(value: f64, name: &'static str, threshold: &'static str) -> Limit {
    let alert = Some(Alert {
        name,
        threshold,
        times: 1.0,
    });
    Limit {
        value,
        is_inclusive: false,
        alert,
    }
}

impl Limit {
    fn is_passed(&self, value: f64) -> bool {
        value > self.value || (self.is_inclusive && value >= self.value)
    }
}

/// A rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// What it finds.
    pub cause: Cause,
    /// Whether that is rather what follows from another one.
    pub is_symptom: bool,
    /// The figure of a step; `None` where it is not known, or does not matter.
    measure: fn(&Step) -> Option<f64>,
    /// In what it is.
    pub unit: Unit,
    /// From where on it is too much.
    pub limit: Limit,
    /// Where it is as bad as can be.
    worst: f64,
    /// What is the matter.
    pub said: &'static str,
    /// What the figure is.
    pub figure: &'static str,
    /// What to do.
    pub advice: &'static str,
}

/// THE list of rules; of those that weigh the same the first is named first.
pub const RULES: [Rule; 14] = [
    Rule {
        cause: Cause::CpuContention,
        is_symptom: false,
        measure: contention,
        unit: Unit::Share,
        limit: over(0.05, "VdiSessionPreemptedByNeighbours", "contention"),
        worst: 0.5,
        said: "others have the CPUs",
        figure: "of the CPU time that it wanted it waited for others",
        advice: "Look who preempts it. Move one of them to another node, give this one a CPU weight, or limit the other.",
    },
    Rule {
        cause: Cause::CpuLimit,
        is_symptom: false,
        measure: |step| throttled(step, Figure::ThrottledOwn),
        unit: Unit::Share,
        limit: over(0.25, "VdiSessionThrottledByLimit", "throttled"),
        worst: 0.75,
        said: "its own CPU limit holds it back",
        figure: "of the time that it wanted to run it was throttled",
        advice: "Raise the CPU limit (cpu.max), or give it to fewer threads.",
    },
    Rule {
        cause: Cause::CpuLimitAbove,
        is_symptom: false,
        measure: |step| step.get(Figure::ThrottledAbove).filter(|_| uses_cpu(step)),
        unit: Unit::Share,
        limit: over(0.1, "VdiSessionThrottledAbove", "throttled"),
        worst: 0.5,
        said: "a CPU limit of a cgroup above holds it back",
        figure: "of the time a limit that it shares was used up",
        advice: "Find who else is below that cgroup, and raise its limit (cpu.max) or give them their own.",
    },
    Rule {
        cause: Cause::MemoryReclaim,
        is_symptom: false,
        measure: |step| step.get(Figure::ReclaimStall),
        unit: Unit::Count,
        limit: over(0.05, "VdiSessionReclaimStalls", "share"),
        worst: 0.5,
        said: "its threads reclaim memory instead of working",
        figure: "threads did so on average",
        advice: "Raise its memory limit, or the node's memory; find what grew.",
    },
    Rule {
        cause: Cause::MemoryLimit,
        is_symptom: false,
        measure: |step| step.get(Figure::MemoryShare),
        unit: Unit::Share,
        limit: over(0.9, "VdiSessionMemoryNearLimit", "share"),
        worst: 1.0,
        said: "its memory is nearly at its limit",
        figure: "of the limit is anonymous memory, which cannot give way",
        advice: "Raise its memory limit (memory.max), or find what grew before the kernel kills it.",
    },
    Rule {
        cause: Cause::SlowDisk,
        is_symptom: false,
        measure: |step| step.get(Figure::SlowBlockIo),
        unit: Unit::Share,
        limit: over(0.1, "VdiSessionBlockIoSlow", "share"),
        worst: 0.5,
        said: "its disk is slow",
        figure: "of its requests took more than 62 ms",
        advice: "Look who else writes to that disk, and at its own latency on the node.",
    },
    Rule {
        cause: Cause::ClientFar,
        is_symptom: false,
        measure: |step| step.get(Figure::LateRoundTrips),
        unit: Unit::Share,
        limit: over(0.5, "VdiSessionClientRttHigh", "late"),
        worst: 1.0,
        said: "the way to its client takes long",
        figure: "of the round trips took more than 125 ms",
        advice: "Compare with the least round trip: if that is long, the client is far away; if not, a queue on the way is full.",
    },
    Rule {
        cause: Cause::ClientLossy,
        is_symptom: false,
        measure: |step| step.get(Figure::Retransmits),
        unit: Unit::Share,
        limit: over(0.02, "VdiSessionRetransmits", "share"),
        worst: 0.1,
        said: "what it sends to its client gets lost",
        figure: "of the segments were sent again",
        advice: "Look at the client's link (Wi-Fi, VPN); if many sessions of the node have it, at the node's own.",
    },
    Rule {
        cause: Cause::GpuFull,
        is_symptom: false,
        // How full it must be is the alert's limit, which is asked of each reading.
        measure: |step| {
            let full = step.get(Figure::GpuFull)?;
            Some(if full > 0.5 { 1.0 } else { 0.0 })
        },
        unit: Unit::Share,
        limit: over(FULL, "VdiGpuUtilizationHigh", "share"),
        worst: 1.0,
        said: "a GPU that it shares has nothing left",
        figure: "or nearly, of that GPU is in use",
        advice: "Look who else is on it, below under GPU; move one of them, or give each a part (MIG, time slices).",
    },
    Rule {
        cause: Cause::EncoderSlow,
        is_symptom: false,
        measure: |step| step.get(Figure::EncoderLatency),
        unit: Unit::Seconds,
        limit: over(0.016, "VdiSessionEncoderSlow", "latency"),
        worst: 0.05,
        said: "its encoder takes longer than a frame lasts",
        figure: "a frame",
        advice: "Look how many encode on that GPU; lower the resolution or the frame rate, or move a session.",
    },
    Rule {
        cause: Cause::ThreadsBlocked,
        is_symptom: false,
        // One that waits for its disk is one of a moment; one that hangs is there in each step.
        measure: |step| step.get(Figure::Uninterruptible),
        unit: Unit::Count,
        limit: Limit {
            value: 1.0,
            is_inclusive: true,
            alert: None,
        },
        worst: 2.0,
        said: "threads are blocked in the kernel (state D)",
        figure: "of them in each step",
        advice: "Find them and what they wait for: ps -eo pid,stat,wchan:32,args. Most often a network file system, a disk or a driver does not answer.",
    },
    Rule {
        cause: Cause::ApplicationHangs,
        is_symptom: true,
        measure: |step| step.get(Figure::Unresponsive),
        unit: Unit::Count,
        limit: Limit {
            is_inclusive: true,
            ..over(1.0, "VdiSessionApplicationHangs", "applications")
        },
        worst: 2.0,
        said: "an application does not read its input",
        figure: "applications",
        advice: "Its process, its state and its system call are below, under INPUT.",
    },
    Rule {
        cause: Cause::ScreenFrozen,
        is_symptom: true,
        measure: |step| step.get(Figure::Unanswered),
        unit: Unit::Share,
        limit: over(0.5, "VdiSessionScreenFrozen", "unanswered"),
        worst: 1.0,
        said: "its screen does not answer",
        figure: "of the inputs were followed by nothing for 2 s",
        advice: "Look at what comes before this; otherwise at the display server and at what it waits for.",
    },
    Rule {
        cause: Cause::InputLate,
        is_symptom: true,
        measure: |step| step.get(Figure::LateInputs),
        unit: Unit::Rate,
        limit: Limit {
            value: 5.0 / 300.0,
            is_inclusive: true,
            alert: Some(Alert {
                name: "VdiSessionInputDelayHigh",
                threshold: "waits",
                times: 300.0,
            }),
        },
        worst: 1.0,
        said: "input waits to be read",
        figure: "inputs a second waited for more than half a second",
        advice: "Look at what comes before this: its reader had no CPU, no memory, or was busy.",
    },
];

/// The share of the CPU time that a session wanted and did not get because others had it, as
/// `VdiSessionPreemptedByNeighbours` asks: where waits are long, and a limit is not what they are for.
fn contention(step: &Step) -> Option<f64> {
    const LONG_WAITS: f64 = 0.01;
    const THROTTLED: f64 = 0.5;
    // Who loses that much is slow however short each wait is, as `VdiNodeCpuContention` has it of a node.
    const LOST: f64 = 0.3;
    // Of who wants next to nothing a large part is next to nothing.
    const LEAST: f64 = 0.05;
    let get = |figure| step.get(figure);
    let short = [Figure::WaitsTo1Ms, Figure::WaitsTo4Ms, Figure::WaitsTo16Ms];
    let long = get(Figure::WaitsTo62Ms)? + get(Figure::WaitsLonger)?;
    let short: f64 = short.into_iter().filter_map(get).sum();
    let (ran, waited) = (get(Figure::Cpus)?, get(Figure::Contention)?);
    let limits = [Figure::ThrottledOwn, Figure::ThrottledAbove];
    let throttled: f64 = limits.into_iter().filter_map(get).sum();
    let lost = waited / (ran + waited);
    let is_felt = long > LONG_WAITS * (short + long) || lost > LOST;
    (is_felt && waited >= LEAST && throttled < THROTTLED * waited).then_some(lost)
}

/// Who uses less is not held back by a limit.
fn uses_cpu(step: &Step) -> bool {
    const CPUS: f64 = 0.05;
    step.get(Figure::Cpus).is_some_and(|cpus| cpus > CPUS)
}

fn throttled(step: &Step, by: Figure) -> Option<f64> {
    let throttled = step.get(by).filter(|_| uses_cpu(step))?;
    Some(throttled / (throttled + step.get(Figure::Cpus)?))
}

/// What a rule has found.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// Mean of the figure where it was over the limit.
    pub value: f64,
    /// The share of the steps in which it was.
    pub share: f64,
}

impl Finding {
    /// How much it weighs: how far from the limit to the worst it is, and how often.
    fn weight(&self) -> f64 {
        let Rule { limit, worst, .. } = self.rule;
        let far = (self.value - limit.value) / (worst - limit.value);
        self.share * far.clamp(0.0, 1.0)
    }
}

/// What held a session back in these steps, the heaviest first, and what follows from others last.
pub fn conclude(steps: &[Step]) -> Vec<Finding> {
    const PART: f64 = 1.0 / 3.0;
    /// So many steps a thread is blocked that hangs.
    const LASTS: usize = 3;
    let mut found: Vec<Finding> = Vec::new();
    for rule in &RULES {
        let values = steps.iter().filter_map(rule.measure);
        let over: Vec<f64> = values
            .filter(|value| rule.limit.is_passed(*value))
            .collect();
        let share = over.len() as f64 / steps.len().max(1) as f64;
        // What hangs does so still.
        let mut last = steps.iter().rev().map(rule.measure).take(LASTS);
        let lasts = steps.len() >= LASTS
            && last.all(|value| value.is_some_and(|value| rule.limit.is_passed(value)));
        if over.len() >= 2 && share >= PART && (lasts || rule.cause != Cause::ThreadsBlocked) {
            let value = over.iter().sum::<f64>() / over.len() as f64;
            found.push(Finding { rule, value, share });
        }
    }
    let order = |one: &Finding| (one.rule.is_symptom, -one.weight());
    found.sort_by(|a, b| {
        let ((a_follows, a), (b_follows, b)) = (order(a), order(b));
        a_follows.cmp(&b_follows).then(a.total_cmp(&b))
    });
    found
}

#[cfg(test)]
mod tests;
