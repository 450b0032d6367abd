//! Short slices of a load beside each of some sides, in turns.
//!
//! A virtual machine drifts by more than what is measured, within seconds. Within one round of slices it hardly
//! does: so the sides of a round are compared with each other, their order changes from round to round, and of the
//! differences the median is taken.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::exchange::{Exchange, Slice};
use super::interval::Interval;
use super::side::Side;
use crate::cost::programs::Runs;
use crate::interrupt::Interrupted;
use crate::numbers::median;

/// How many slices, and how long, as they are typed.
#[derive(Args, Clone, Debug)]
pub(crate) struct Slices {
    /// Rounds of slices; each side has one slice in each, and two rounds of reversed order make one difference.
    #[arg(long, default_value_t = ROUNDS, value_parser = clap::value_parser!(u32).range(12..))]
    slices: u32,
    /// Length of a slice, in milliseconds.
    #[arg(long, default_value_t = SLICE_MS, value_parser = clap::value_parser!(u64).range(10..))]
    slice_ms: u64,
}

/// Enough that a nanosecond or two are told apart on a virtual machine.
const ROUNDS: u32 = 120;
/// Long beside what it takes to put programs on their hooks, and short beside how fast the machine drifts.
const SLICE_MS: u64 = 100;

impl Default for Slices {
    fn default() -> Self {
        Self {
            slices: ROUNDS,
            slice_ms: SLICE_MS,
        }
    }
}

impl Slices {
    /// As they are typed.
    pub(crate) fn arguments(&self) -> Vec<String> {
        vec![
            format!("--slices={}", self.slices),
            format!("--slice-ms={}", self.slice_ms),
        ]
    }

    /// The plan that they make.
    pub(crate) fn plan(&self) -> Plan {
        Plan {
            rounds: self.slices as usize,
            slice: Duration::from_millis(self.slice_ms),
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Rounds: each side has one slice in each.
    pub(crate) rounds: usize,
    /// Length of a slice.
    pub(crate) slice: Duration,
}

/// Between the beginning of a side and its slice, with the load running: caches and branch predictors have met its
/// programs by then.
const WARM_UP: Duration = Duration::from_millis(10);

/// Rounds after which each side has come as early as late.
const ORDERS: usize = 2;

/// What is looked at, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure<'a> {
    /// Time of an operation of the load.
    Operation,
    /// Time of a run of this program of the side, or of the only one that it has, by the kernel's statistics.
    Run(&'a str),
    /// Time in these programs of the side for each operation of the load.
    Programs(&'a [&'a str]),
}

/// What a slice was: what the load did, and what the programs of the side did meanwhile.
#[derive(Clone, Debug)]
struct Taken {
    slice: Slice,
    runs: BTreeMap<String, Runs>,
}

impl Taken {
    fn of(&self, program: &str) -> Option<Runs> {
        let only = || self.runs.values().next().filter(|_| self.runs.len() == 1);
        self.runs.get(program).or_else(only).copied()
    }

    /// The figure, unless it did not happen in this slice.
    fn ns(&self, figure: Figure<'_>) -> Option<f64> {
        let (count, ns) = match figure {
            Figure::Operation => (self.slice.operations, self.slice.ns),
            Figure::Run(program) => self.of(program).map(|runs| (runs.count, runs.ns))?,
            Figure::Programs(programs) => {
                let ns = programs.iter().map(|program| Some(self.of(program)?.ns));
                (self.slice.operations, ns.sum::<Option<u64>>()?)
            }
        };
        (count > 0).then(|| ns as f64 / count as f64)
    }
}

/// The slices of each side, as given, and round.
#[derive(Debug)]
pub(crate) struct Rounds {
    labels: Vec<String>,
    taken: Vec<Vec<Taken>>,
}

impl Rounds {
    /// Takes all slices.
    pub(crate) fn take(
        plan: Plan,
        load: &mut Exchange,
        sides: &mut [&mut dyn Side],
        interrupted: &Receiver<()>,
    ) -> Result<Self> {
        let mut taken = vec![Vec::with_capacity(plan.rounds); sides.len()];
        for round in 0..plan.rounds {
            for place in order(round, sides.len()) {
                if interrupted.try_recv().is_ok() {
                    return Err(Interrupted.into());
                }
                let side = &mut *sides[place];
                side.begin()?;
                let slice = load.run(WARM_UP).and_then(|_| one(plan.slice, load, side));
                side.end()?;
                taken[place].push(slice?);
            }
        }
        let labels = sides.iter().map(|side| side.label()).collect();
        Ok(Self { labels, taken })
    }

    /// What the second side takes more than the first, in nanoseconds.
    ///
    /// Two rounds make one difference, as the second has the order of the first reversed: what a slice takes more for
    /// being earlier than another one would otherwise be in half of the differences with one sign and in half with
    /// the other, and their median would be either.
    ///
    /// # Errors
    ///
    /// In one of the slices it did not happen.
    pub(crate) fn difference(
        &self,
        of: usize,
        from: usize,
        figure: Figure<'_>,
    ) -> Result<Interval> {
        let rounds = self.taken[of].iter().zip(&self.taken[from]);
        let differences: Option<Vec<f64>> = rounds
            .map(|(of, from)| Some(of.ns(figure)? - from.ns(figure)?))
            .collect();
        let differences =
            differences.with_context(|| format!("{figure:?}: nothing of it in a slice"))?;
        let mean = |both: &[f64]| both.iter().sum::<f64>() / both.len() as f64;
        let differences: Vec<f64> = differences.chunks_exact(ORDERS).map(mean).collect();
        Ok(Interval::of(&differences))
    }

    /// How a side is called.
    pub(crate) fn label(&self, side: usize) -> &str {
        &self.labels[side]
    }

    /// The median of a side alone, nanoseconds an operation.
    pub(crate) fn alone(&self, side: usize) -> f64 {
        let slices = self.taken[side].iter();
        median(slices.filter_map(|taken| taken.ns(Figure::Operation)))
    }

    /// The programs of a side with how often each ran in an operation of the load.
    pub(crate) fn programs(&self, side: usize) -> BTreeMap<&str, f64> {
        let mut runs: BTreeMap<&str, u64> = BTreeMap::new();
        let mut operations = 0;
        for taken in &self.taken[side] {
            operations += taken.slice.operations;
            for (program, its) in &taken.runs {
                *runs.entry(program).or_default() += its.count;
            }
        }
        let often = |(program, runs)| (program, runs as f64 / operations as f64);
        runs.into_iter().map(often).collect()
    }
}

fn one(slice: Duration, load: &mut Exchange, side: &mut dyn Side) -> Result<Taken> {
    let before = side.runs()?;
    let slice = load.run(slice)?;
    let mut runs = side.runs()?;
    for (program, runs) in &mut runs {
        let before = before.get(program).copied().unwrap_or_default();
        runs.count -= before.count;
        runs.ns -= before.ns;
    }
    ensure!(slice.operations > 0, "nothing ran in a slice of the load");
    Ok(Taken { slice, runs })
}

/// Each side comes first as often as any other, and after each other one about as often.
fn order(round: usize, sides: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sides).collect();
    order.rotate_left(round / 2 % sides);
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Figure, Rounds, Runs, Slice, Taken, order};

    fn taken(ns: u64, runs: &[(&str, u64, u64)]) -> Taken {
        let runs = runs.iter().map(|&(program, count, ns)| {
            let runs = Runs { count, ns };
            (program.to_owned(), runs)
        });
        Taken {
            slice: Slice { operations: 1, ns },
            runs: runs.collect(),
        }
    }

    fn rounds(sides: [Vec<Taken>; 2]) -> Rounds {
        Rounds {
            labels: vec![String::new(); 2],
            taken: sides.into(),
        }
    }

    #[test]
    fn what_the_place_in_a_round_takes_is_in_no_difference() {
        let ns = |side: usize| {
            let of = |round| {
                let place = order(round, 2).iter().position(|&s| s == side);
                let ns = 50 * place.unwrap_or_default() + 10 * side;
                taken(ns as u64, &[])
            };
            (0..40).map(of).collect()
        };
        let found = rounds([ns(0), ns(1)])
            .difference(1, 0, Figure::Operation)
            .unwrap();
        assert_eq!((found.low, found.median, found.high), (10.0, 10.0, 10.0));
    }

    #[test]
    fn a_program_is_compared_with_the_only_one_of_the_other_side() {
        let floor = vec![taken(1, &[("floor", 4, 40)]); 2];
        let two = [("often", 4, 100), ("seldom", 1, 500)];
        let never = [("often", 4, 100), ("seldom", 0, 0)];
        let rounds = rounds([floor, vec![taken(1, &two), taken(1, &never)]]);
        let of = |program| rounds.difference(1, 0, Figure::Run(program));
        assert!((of("often").unwrap().median - 15.0).abs() < f64::EPSILON);
        assert!(of("seldom").is_err());
        let of = |programs| rounds.difference(1, 1, Figure::Programs(programs));
        assert!(of(&["often", "seldom"]).is_ok());
        assert!(of(&["often", "another"]).is_err());
        let often: BTreeMap<_, _> = [("often", 4.0), ("seldom", 0.5)].into();
        assert_eq!(rounds.programs(1), often);
    }

    #[test]
    fn the_time_in_programs_is_that_of_all_of_them_for_each_operation() {
        let slices = |one, other| {
            let mut slice = taken(
                1,
                &[("one", 4, one), ("other", 1, other), ("third", 9, 900)],
            );
            slice.slice.operations = 10;
            vec![slice; 4]
        };
        let rounds = rounds([slices(100, 20), slices(300, 60)]);
        let found = rounds
            .difference(1, 0, Figure::Programs(&["one", "other"]))
            .unwrap();
        assert_eq!((found.low, found.median, found.high), (24.0, 24.0, 24.0));
    }

    #[test]
    fn every_side_is_first_and_last_alike() {
        for sides in 2..5 {
            let mut first = vec![0; sides];
            let mut last = vec![0; sides];
            for round in 0..2 * sides {
                let order = order(round, sides);
                first[order[0]] += 1;
                last[order[sides - 1]] += 1;
            }
            assert_eq!(first, vec![2; sides]);
            assert_eq!(last, vec![2; sides]);
        }
    }
}
