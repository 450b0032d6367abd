//! From the measurements of `bench sched` to its tables.
//!
//! Ratios and differences are taken within a round, from a condition to what was measured without it
//! before and after, and then their median. A slow minute of the machine slows both and does not show.

use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use super::conditions::Condition;
use super::pipe::{Measurement, SWITCHES_PER_OPERATION};
use super::sched::{Measurements, Round};
use super::table::table;
use super::{grouped, median, verdict};

/// What the design promises: throughput with the agent over throughput without.
const LEAST_THROUGHPUT: f64 = 0.90;
/// What the design promises: the agent's added time over runqlat's.
const LARGEST_SHARE: f64 = 0.2;

/// A condition over all rounds.
#[derive(Debug, Serialize)]
struct Cost {
    condition: Condition,
    /// Microseconds per operation.
    times: Spread,
    /// Throughput with over throughput without.
    throughput: f64,
    /// Nanoseconds per operation.
    added_ns: f64,
    /// Added time over runqlat's.
    share_of_runqlat: f64,
}

/// What a value was over all rounds.
#[derive(Debug, Serialize)]
struct Spread {
    median: f64,
    least: f64,
    largest: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.collect();
        Self {
            least: values.iter().copied().fold(f64::NAN, f64::min),
            largest: values.iter().copied().fold(f64::NAN, f64::max),
            median: median(values),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            median,
            least,
            largest,
        } = self;
        write!(formatter, "{median:.3} ({least:.3}–{largest:.3})")
    }
}

/// A program over all rounds with statistics.
#[derive(Debug, Serialize)]
struct ProgramCost {
    condition: Condition,
    program: String,
    ns_per_run: f64,
    runs_per_operation: f64,
    ns_per_operation: f64,
}

impl super::Measurements for Measurements {
    const NAME: &'static str = "sched";

    fn summary(&self) -> Value {
        json!({ "conditions": self.costs(), "programs": self.program_costs() })
    }

    fn markdown(&self) -> String {
        let sum = |value: fn(&Measurement) -> u32| -> u32 {
            let all = self.rounds.iter().flat_map(Round::measurements);
            all.map(value).sum()
        };
        let about = format!(
            "{}.\n`{}`: {} times each condition with {} operations on CPU {}, compared with as many just \
             before and after it; the table has the medians. Others worked on the machine during {} \
             runs, which were repeated, and during {} that count.",
            self.machine,
            self.command,
            self.rounds.len(),
            grouped(self.loops),
            self.cpu,
            sum(|measurement| measurement.repeated),
            sum(|measurement| measurement.disturbed),
        );
        let about_programs = "The kernel's own statistics of the programs \
             (`kernel.bpf_stats_enabled`), in rounds of their own because they cost time too. An empty \
             program reads as the floor, most of which is the reading of the clock.";
        let costs = self.costs();
        [
            about,
            cost_table(&self.without(), &costs),
            expectations(&costs),
            about_programs.to_owned(),
            program_table(&self.program_costs()),
        ]
        .join("\n\n")
    }
}

impl Measurements {
    /// What all conditions are compared with.
    fn without(&self) -> Spread {
        let measurements = self.rounds.iter().flat_map(|round| &round.without);
        Spread::of(measurements.map(|measurement| measurement.us))
    }

    fn pairs(&self, condition: Condition) -> impl Iterator<Item = (f64, f64)> {
        self.rounds
            .iter()
            .filter_map(move |round| round.pair(condition))
    }

    fn costs(&self) -> Vec<Cost> {
        let added_ns = |condition| {
            let pairs = self.pairs(condition);
            median(pairs.map(|(without, with)| (with - without) * 1000.0))
        };
        let cost = |condition| Cost {
            condition,
            times: Spread::of(self.pairs(condition).map(|(_, with)| with)),
            throughput: median(self.pairs(condition).map(|(without, with)| without / with)),
            added_ns: added_ns(condition),
            share_of_runqlat: added_ns(condition) / added_ns(Condition::Runqlat),
        };
        Condition::ALL.into_iter().map(cost).collect()
    }

    fn program_costs(&self) -> Vec<ProgramCost> {
        let mut names: Vec<(Condition, &str)> = Vec::new();
        for one in &self.programs {
            let name = (one.condition, one.program.as_str());
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
            .into_iter()
            .map(|(condition, program)| {
                let of = |value: fn(f64, f64, f64) -> f64| {
                    median(
                        self.programs
                            .iter()
                            .filter(|one| one.condition == condition && one.program == program)
                            .map(|one| {
                                let (ns, count) = (one.runs.ns as f64, one.runs.count as f64);
                                value(ns, count, one.operations as f64)
                            }),
                    )
                };
                ProgramCost {
                    condition,
                    program: program.to_owned(),
                    ns_per_run: of(|ns, count, _| ns / count),
                    runs_per_operation: of(|_, count, operations| count / operations),
                    ns_per_operation: of(|ns, _, operations| ns / operations),
                }
            })
            .collect()
    }
}

fn cost_table(without: &Spread, costs: &[Cost]) -> String {
    let headings = [
        "beside the load",
        "µs per operation, median (least–largest)",
        "throughput with / without",
        "added ns per operation",
        "per switch",
        "of runqlat's",
    ];
    let mut baseline = vec!["nothing".to_owned(), without.to_string()];
    baseline.extend(["1", "–", "–", "–"].map(str::to_owned));
    let mut rows = vec![baseline];
    rows.extend(costs.iter().map(|cost| {
        vec![
            cost.condition.label().to_owned(),
            cost.times.to_string(),
            format!("{:.3}", cost.throughput),
            format!("{:.0}", cost.added_ns),
            format!("{:.0}", cost.added_ns / SWITCHES_PER_OPERATION as f64),
            format!("{:.2}", cost.share_of_runqlat),
        ]
    }));
    table(&headings, &rows)
}

fn expectations(costs: &[Cost]) -> String {
    let mut lines = vec!["Expected of the agent, for each place of its state:\n".to_owned()];
    for condition in Condition::AGENT {
        for cost in costs.iter().filter(|cost| cost.condition == condition) {
            lines.push(format!(
                "- {}: throughput with / without at least {LEAST_THROUGHPUT:.2}: {:.3}, {}; added \
                 time at most {LARGEST_SHARE} of runqlat's: {:.3}, {}.",
                cost.condition.label(),
                cost.throughput,
                verdict(cost.throughput >= LEAST_THROUGHPUT),
                cost.share_of_runqlat,
                verdict(cost.share_of_runqlat <= LARGEST_SHARE),
            ));
        }
    }
    lines.join("\n")
}

fn program_table(costs: &[ProgramCost]) -> String {
    let headings = [
        "program",
        "of",
        "ns per run",
        "above the floor",
        "runs per operation",
        "ns per operation, above the floor",
    ];
    let floor = costs
        .iter()
        .find(|cost| cost.condition == Condition::Floor)
        .map_or(f64::NAN, |cost| cost.ns_per_run);
    let row = |cost: &ProgramCost| {
        let above = cost.ns_per_run - floor;
        vec![
            format!("`{}`", cost.program),
            cost.condition.label().to_owned(),
            format!("{:.0}", cost.ns_per_run),
            format!("{above:.0}"),
            format!("{:.2}", cost.runs_per_operation),
            format!("{:.0}", above * cost.runs_per_operation),
        ]
    };
    table(&headings, &costs.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::super::Measurements as _;
    use super::super::conditions::Condition;
    use super::super::machine::Machine;
    use super::super::pipe::Measurement;
    use super::super::programs::Runs;
    use super::super::sched::{Measurements, ProgramRuns, Round};

    fn round(without: f64, agent: f64) -> Round {
        let measurement = |us| Measurement {
            us,
            repeated: 1,
            disturbed: 0,
            operations: 2000,
        };
        Round {
            // A drift before and after a condition cancels out.
            without: [-0.2, 0.2, -0.2, 0.2, -0.2]
                .map(|drift| measurement(without + drift))
                .into(),
            with: vec![
                (Condition::Floor, measurement(without)),
                (Condition::PidArray, measurement(agent)),
                (Condition::TaskStorage, measurement(without * 2.0)),
                (Condition::Runqlat, measurement(without + 1.0)),
            ],
        }
    }

    fn program(condition: Condition, ns: u64) -> ProgramRuns {
        ProgramRuns {
            condition,
            program: "sched_switch".into(),
            runs: Runs { count: 2000, ns },
            operations: 1000,
        }
    }

    fn measurements() -> Measurements {
        Measurements {
            machine: Machine {
                kernel: "6.1".into(),
                processor: "A processor".into(),
                cpus: 2,
                virtualized: true,
                pid_max: 32_768,
                date: "2026-01-02".into(),
            },
            command: "cargo xtask bench sched".into(),
            cpu: 1,
            loops: 1000,
            // The machine is slower in the second round, which must not show in the medians.
            rounds: vec![round(3.0, 3.1), round(6.0, 6.1), round(3.0, 9.0)],
            programs: vec![
                program(Condition::Floor, 120_000),
                program(Condition::PidArray, 160_000),
                program(Condition::PidArray, 160_000),
            ],
        }
    }

    #[test]
    fn ratios_are_medians_of_what_single_rounds_say() {
        let text = measurements().markdown();
        let row = "| the agent, state in an array by pid | 6.100 (3.100–9.000) | 0.968 | 100 | 50 | 0.10 |";
        assert!(text.contains(row), "{text}");
        assert!(
            text.contains("| nothing | 3.200 (2.800–6.200) | 1 | – | – | – |"),
            "{text}"
        );
    }

    #[test]
    fn runs_that_others_disturbed_are_counted() {
        let text = measurements().markdown();
        assert!(
            text.contains("during 27 runs, which were repeated, and during 0"),
            "{text}"
        );
    }

    #[test]
    fn expectations_are_met_or_not() {
        let text = measurements().markdown();
        assert!(text.contains("at least 0.90: 0.968, met; "), "{text}");
        assert!(
            text.contains("at least 0.90: 0.500, **not met**; "),
            "{text}"
        );
        assert!(
            text.contains("at most 0.2 of runqlat's: 0.100, met."),
            "{text}"
        );
    }

    #[test]
    fn programs_are_compared_with_the_empty_one() {
        let text = measurements().markdown();
        let row = "| `sched_switch` | the agent, state in an array by pid | 80 | 20 | 2.00 | 40 |";
        assert!(text.contains(row), "{text}");
    }
}
