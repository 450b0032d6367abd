//! Short slices of a load beside each of some sides, in turns.
//!
//! A virtual machine drifts by more than what is measured, within seconds. Within one round of slices it hardly
//! does: so the sides of a round are compared with each other, their order changes from round to round, and of the
//! differences the median is taken.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use super::exchange::Exchange;
use super::interval::Interval;
use super::side::Side;
use crate::interrupt::Interrupted;

/// How many slices, and how long, as they are typed.
#[derive(Args, Clone, Debug)]
pub(crate) struct Slices {
    /// Rounds of slices; each side has one slice in each.
    #[arg(long, default_value_t = ROUNDS, value_parser = clap::value_parser!(u32).range(6..))]
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

/// What is taken of a slice, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Time of an operation of the load.
    Operation,
    /// Time of a run of this program of the side, by the kernel's statistics.
    Run(&'static str),
}

/// The figures of each side, as given, and round.
#[derive(Debug)]
pub(crate) struct Rounds {
    labels: Vec<String>,
    ns: Vec<Vec<f64>>,
}

impl Rounds {
    /// Takes all slices.
    pub(crate) fn take(
        plan: Plan,
        load: &mut Exchange,
        sides: &mut [&mut dyn Side],
        figure: Figure,
        interrupted: &Receiver<()>,
    ) -> Result<Self> {
        let mut ns = vec![Vec::with_capacity(plan.rounds); sides.len()];
        for round in 0..plan.rounds {
            for place in order(round, sides.len()) {
                if interrupted.try_recv().is_ok() {
                    return Err(Interrupted.into());
                }
                let side = &mut *sides[place];
                side.begin()?;
                let taken = load
                    .run(WARM_UP)
                    .and_then(|_| one(plan.slice, load, side, figure));
                side.end()?;
                ns[place].push(taken?);
            }
        }
        let labels = sides.iter().map(|side| side.label()).collect();
        Ok(Self { labels, ns })
    }

    /// What the second side takes more than the first, in nanoseconds an operation.
    ///
    /// Two rounds make one difference, as the second has the order of the first reversed: what a slice takes more for
    /// being earlier than another one would otherwise be in half of the differences with one sign and in half with
    /// the other, and their median would be either.
    pub(crate) fn difference(&self, of: usize, from: usize) -> Interval {
        let rounds = self.ns[of].iter().zip(&self.ns[from]);
        let differences: Vec<f64> = rounds.map(|(of, from)| of - from).collect();
        let mean = |both: &[f64]| both.iter().sum::<f64>() / both.len() as f64;
        let differences: Vec<f64> = differences.chunks(ORDERS).map(mean).collect();
        Interval::of(&differences)
    }

    /// How a side is called.
    pub(crate) fn label(&self, side: usize) -> &str {
        &self.labels[side]
    }

    /// The median of a side alone, nanoseconds an operation.
    pub(crate) fn alone(&self, side: usize) -> f64 {
        crate::numbers::median(self.ns[side].iter().copied())
    }
}

fn one(slice: Duration, load: &mut Exchange, side: &mut dyn Side, figure: Figure) -> Result<f64> {
    let (operations, ns) = match figure {
        Figure::Operation => {
            let slice = load.run(slice)?;
            (slice.operations, slice.cpu_ns)
        }
        Figure::Run(program) => {
            let before = side.runs(program)?;
            load.run(slice)?;
            let after = side.runs(program)?;
            (after.count - before.count, after.ns - before.ns)
        }
    };
    ensure!(operations > 0, "nothing ran in a slice of the load");
    Ok(ns as f64 / operations as f64)
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
    use super::{Rounds, order};

    #[test]
    fn what_the_place_in_a_round_takes_is_in_no_difference() {
        let ns = |side: usize| {
            let of = |round| {
                let place = order(round, 2).iter().position(|&s| s == side);
                f64::from(50 * place.unwrap_or_default() as u32 + 10 * side as u32)
            };
            (0..40).map(of).collect()
        };
        let rounds = Rounds {
            labels: vec![String::new(); 2],
            ns: vec![ns(0), ns(1)],
        };
        let found = rounds.difference(1, 0);
        assert_eq!((found.low, found.median, found.high), (10.0, 10.0, 10.0));
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
