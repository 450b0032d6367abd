//! What a row of the catalogue is made of.

use std::collections::{BTreeMap, BTreeSet};

use agent_common::histogram::{Histogram, MAX_OCTAVE, MIN_OCTAVE};

use super::{
    http::Http,
    label::{Label, Pair},
    process::OwnProcess,
};
use crate::{
    kernel::programs,
    metrics::settings::ClassicBuckets,
    snapshot::{SessionView, Snapshot},
};

/// Series left out so far, by the family's name.
pub type Dropped = BTreeMap<String, u64>;

/// One metric family.
pub struct Family {
    /// Name without unit and without `_total`.
    pub stem: &'static str,
    /// What it means: one sentence without a full stop.
    pub help: &'static str,
    /// Type; also says whether `_total` is appended.
    pub kind: Kind,
    /// Base unit; appended to the stem.
    pub unit: Unit,
    /// Labels of its own, beside those of the scope.
    pub labels: &'static [Label],
    /// Where it comes from, and with what it vanishes.
    pub source: Source,
    /// How its samples are read.
    pub samples: Samples,
}

/// Type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Classic buckets, and native ones where they are negotiated.
    Histogram(Buckets),
    /// Classic buckets at bounds that are wanted for themselves, and native ones where they are negotiated.
    BoundedHistogram(Bounds),
}

/// The buckets of a histogram whose classic bounds are no powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Every upper bound, in the family's unit, ascending: there is a count for each, and one for what is above.
    pub all: &'static [u32],
    /// Those that are written when few are wanted.
    pub few: &'static [u32],
    /// Octaves by which the native histogram is shifted.
    pub shift: u32,
}

impl Bounds {
    /// The upper bounds that are wanted.
    pub fn wanted(&self, wanted: ClassicBuckets) -> &'static [u32] {
        match wanted {
            ClassicBuckets::Few => self.few,
            ClassicBuckets::Full => self.all,
        }
    }

    /// The counts between the bounds that are wanted, and of what is above them, of the counts between all bounds.
    pub fn classic(&self, counts: &[u64], wanted: ClassicBuckets) -> Vec<(f64, u64)> {
        let wanted = self.wanted(wanted);
        let mut classic = Vec::with_capacity(wanted.len() + 1);
        let mut below = 0;
        for (bound, count) in self.all.iter().zip(counts) {
            below += count;
            if wanted.contains(bound) {
                classic.push((f64::from(*bound), below));
                below = 0;
            }
        }
        let above: u64 = counts.iter().skip(self.all.len()).sum();
        classic.push((f64::INFINITY, below + above));
        classic
    }
}

/// The buckets of a histogram family. All come from the same kernel buckets, at a power of `2^(1/4)`, so
/// any choice of classic ones is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// Classic upper bounds when few are wanted, as exponents of two, in the family's unit: where they
    /// matter to a user. Each is a series per session.
    pub few: &'static [i32],
    /// Octaves by which the histogram is shifted: 0, or [`agent_common::histogram::LONG_SHIFT`].
    pub shift: i32,
}

impl Buckets {
    /// For the agent's own work: a quarter of a millisecond to four seconds.
    pub const OWN: Self = Self {
        few: &[-12, -8, -6, -4, -2, 2],
        shift: 0,
    };

    /// The classic upper bounds, as exponents of two, ascending. With all of them there are the few, too: rules ask
    /// for those.
    pub fn classic(&self, wanted: ClassicBuckets) -> Vec<i32> {
        match wanted {
            ClassicBuckets::Few => self.few.to_vec(),
            ClassicBuckets::Full => {
                let powers_of_four = (MIN_OCTAVE + self.shift..=MAX_OCTAVE + self.shift).step_by(2);
                let all: BTreeSet<i32> = powers_of_four.chain(self.few.iter().copied()).collect();
                all.into_iter().collect()
            }
        }
    }
}

impl Kind {
    /// As the formats spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) | Self::BoundedHistogram(_) => "histogram",
        }
    }
}

/// Base unit of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    None,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// 0 to 1.
    Ratio,
    /// Degrees.
    Celsius,
    /// Joules a second.
    Watts,
    /// Joules.
    Joules,
    /// Times a second.
    Hertz,
    /// Points of a picture.
    Pixels,
    /// CPUs, or a part of one.
    Cores,
    /// Of what the driver measures as a rate.
    BytesPerSecond,
}

impl Unit {
    /// The suffix, without its underscore.
    pub fn suffix(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Seconds => Some("seconds"),
            Self::Bytes => Some("bytes"),
            Self::Ratio => Some("ratio"),
            Self::Celsius => Some("celsius"),
            Self::Watts => Some("watts"),
            Self::Joules => Some("joules"),
            Self::Hertz => Some("hertz"),
            Self::Pixels => Some("pixels"),
            Self::Cores => Some("cores"),
            Self::BytesPerSecond => Some("bytes_per_second"),
        }
    }
}

/// Where a family comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A kernel program, by name: without it the family is absent.
    Program(&'static str),
    /// The files of the session's cgroup.
    CgroupFiles,
    /// The GPU driver's library, and what the agent makes of its answers.
    Nvml,
    /// A counter of the GPU driver's own, which has counted before the agent came.
    NvmlCounter,
    /// A file of `/proc`: what it counts the kernel has counted before the agent came.
    Proc,
    /// The registry.
    Registry,
    /// The agent itself.
    Agent,
}

/// Since when the counts of a family are complete: at that moment they were 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Since the agent started.
    Start,
    /// Since the agent adopted the session.
    Adoption,
    /// Since the session's cgroups were made, where the agent saw that.
    Making,
    /// Nobody says.
    NotTold,
}

/// How the samples of a family are read.
pub enum Samples {
    /// For each session, under `session`, `namespace` and `template`.
    PerSession(fn(&SessionView, &mut dyn Out)),
    /// The same, for what a session has only once it has happened to it, or where its cgroup has the file.
    Occasional(fn(&SessionView, &mut dyn Out)),
    /// For the node.
    Node(fn(&State<'_>, &mut dyn Out)),
}

/// What the node's families are read from.
pub struct State<'a> {
    /// The agent's last sample.
    pub snapshot: &'a Snapshot,
    /// The agent's process; `None` where `/proc` cannot be read.
    pub process: Option<&'a OwnProcess>,
    /// The node; `None` where `/proc` cannot be read.
    pub node: Option<&'a super::node::Node>,
    /// How long scrapes took.
    pub scrapes: &'a Histogram,
    /// What the agent has been asked over HTTP.
    pub http: &'a Http,
    /// Series written so far in this exposition.
    pub series: u64,
    /// Series that the budget has left out so far.
    pub dropped: &'a Dropped,
}

/// Where samples go. The labels are the family's own; those of the scope are added.
pub trait Out {
    /// A counter's or gauge's value.
    fn number(&mut self, labels: &[Pair<'_>], value: f64);
    /// A histogram of nanoseconds; of a ratio, of billionths.
    fn histogram(&mut self, labels: &[Pair<'_>], histogram: &Histogram);
    /// A histogram with bounds of the family's own: the counts between them, one more than there are bounds, the same
    /// observations in the native histogram's buckets, and their sum.
    fn bounded_histogram(
        &mut self,
        labels: &[Pair<'_>],
        counts: &[u64],
        native: &Histogram,
        sum: f64,
    );
}

impl Family {
    /// The family's name: stem and unit.
    pub fn name(&self) -> String {
        match self.unit.suffix() {
            Some(unit) => format!("{}_{unit}", self.stem),
            None => self.stem.to_owned(),
        }
    }

    /// The name of its samples, as a query spells it (a histogram's has `_bucket`, `_sum` and `_count`).
    pub fn sample_name(&self) -> String {
        let name = self.name();
        if self.kind == Kind::Counter {
            format!("{name}_total")
        } else {
            name
        }
    }

    /// Whether the family exists in this state: its program runs.
    pub fn exists_in(&self, snapshot: &Snapshot) -> bool {
        match self.source {
            Source::Program(name) => programs::is_up(&snapshot.programs, name),
            Source::CgroupFiles
            | Source::Nvml
            | Source::NvmlCounter
            | Source::Proc
            | Source::Registry
            | Source::Agent => true,
        }
    }

    /// Since when its counts are complete.
    pub fn since(&self) -> Since {
        match (&self.samples, self.source) {
            (_, Source::NvmlCounter | Source::Proc) => Since::NotTold,
            (Samples::Node(_), _) => Since::Start,
            (_, Source::CgroupFiles) => Since::Making,
            _ => Since::Adoption,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_bounds_that_are_not_wanted_the_counts_go_to_the_next() {
        let bounds = Bounds {
            all: &[1, 2, 3],
            few: &[2],
            shift: 0,
        };
        let counts = [1, 10, 100, 1000];
        let few = bounds.classic(&counts, ClassicBuckets::Few);
        assert_eq!(few, [(2.0, 11), (f64::INFINITY, 1100)]);
        let full = bounds.classic(&counts, ClassicBuckets::Full);
        let expected = [(1.0, 1), (2.0, 10), (3.0, 100), (f64::INFINITY, 1000)];
        assert_eq!(full, expected);
    }

    #[test]
    fn with_all_classic_buckets_there_are_the_few_that_rules_ask_for() {
        let buckets = Buckets {
            few: &[-3, 1],
            shift: 0,
        };
        let all = buckets.classic(ClassicBuckets::Full);
        assert!(all.is_sorted() && all.contains(&-3) && all.contains(&1));
        // And one at each power of four.
        assert!([-20, -2, 0, 4].iter().all(|bound| all.contains(bound)));
    }
}
