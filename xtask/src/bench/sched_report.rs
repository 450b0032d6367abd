//! From the measurements of `bench sched` to its tables.
//!
//! Ratios and differences are taken within a round and then their median, so that a slow minute of the
//! machine, which slows a whole round, does not show.

use serde::Serialize;
use serde_json::{Value, json};

use super::conditions::Condition;
use super::pipe::SWITCHES_PER_OPERATION;
use super::sched::Measurements;
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
    median_us: f64,
    least_us: f64,
    largest_us: f64,
    /// Throughput over the baseline's.
    throughput: f64,
    /// Nanoseconds per operation over the baseline.
    added_ns: f64,
    /// Added time over runqlat's.
    share_of_runqlat: f64,
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
        let costs = self.costs();
        let about = format!(
            "{}.\n`{}`: {} rounds of {} operations on CPU {}, each condition once a round. Ratios and \
             differences are taken within a round; the table has their medians.",
            self.machine,
            self.command,
            self.rounds.len(),
            grouped(self.loops),
            self.cpu,
        );
        let about_programs = "The kernel's own statistics of the programs \
             (`kernel.bpf_stats_enabled`), in rounds of their own because they cost time too. An empty \
             program reads as the floor, most of which is the reading of the clock.";
        [
            about,
            cost_table(&costs),
            expectations(&costs),
            about_programs.to_owned(),
            program_table(&self.program_costs()),
        ]
        .join("\n\n")
    }
}

impl Measurements {
    /// Medians over the rounds of what a round says.
    fn over_rounds(&self, value: impl Fn(&dyn Fn(Condition) -> f64) -> f64) -> f64 {
        median(
            self.rounds.iter().map(|round| {
                value(&|condition| round.get(&condition).copied().unwrap_or(f64::NAN))
            }),
        )
    }

    fn costs(&self) -> Vec<Cost> {
        Condition::ALL
            .into_iter()
            .map(|one| self.cost(one))
            .collect()
    }

    fn cost(&self, condition: Condition) -> Cost {
        let times = || {
            self.rounds
                .iter()
                .filter_map(|round| round.get(&condition).copied())
        };
        Cost {
            condition,
            median_us: median(times()),
            least_us: times().fold(f64::NAN, f64::min),
            largest_us: times().fold(f64::NAN, f64::max),
            throughput: self.over_rounds(|time| time(Condition::Baseline) / time(condition)),
            added_ns: self
                .over_rounds(|time| (time(condition) - time(Condition::Baseline)) * 1000.0),
            share_of_runqlat: self.over_rounds(|time| {
                (time(condition) - time(Condition::Baseline))
                    / (time(Condition::Runqlat) - time(Condition::Baseline))
            }),
        }
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
                let of = |value: fn(f64, f64) -> f64| {
                    median(
                        self.programs
                            .iter()
                            .filter(|one| one.condition == condition && one.program == program)
                            .map(|one| value(one.runs.ns as f64, one.runs.count as f64)),
                    )
                };
                ProgramCost {
                    condition,
                    program: program.to_owned(),
                    ns_per_run: of(|ns, count| ns / count),
                    runs_per_operation: of(|_, count| count) / self.loops as f64,
                    ns_per_operation: of(|ns, _| ns) / self.loops as f64,
                }
            })
            .collect()
    }
}

fn cost_table(costs: &[Cost]) -> String {
    let headings = [
        "beside the load",
        "µs per operation, median (least–largest)",
        "throughput with / without",
        "added ns per operation",
        "per switch",
        "of runqlat's",
    ];
    let row = |cost: &Cost| {
        let mut cells = vec![
            cost.condition.label().to_owned(),
            format!(
                "{:.3} ({:.3}–{:.3})",
                cost.median_us, cost.least_us, cost.largest_us
            ),
        ];
        if cost.condition == Condition::Baseline {
            cells.extend(["1", "–", "–", "–"].map(str::to_owned));
        } else {
            cells.extend([
                format!("{:.3}", cost.throughput),
                format!("{:.0}", cost.added_ns),
                format!("{:.0}", cost.added_ns / SWITCHES_PER_OPERATION as f64),
                format!("{:.2}", cost.share_of_runqlat),
            ]);
        }
        cells
    };
    table(&headings, &costs.iter().map(row).collect::<Vec<_>>())
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
    use std::collections::BTreeMap;

    use super::super::Measurements as _;
    use super::super::conditions::Condition;
    use super::super::machine::Machine;
    use super::super::programs::Runs;
    use super::super::sched::{Measurements, ProgramRuns};

    fn round(scale: f64, agent: f64) -> BTreeMap<Condition, f64> {
        BTreeMap::from([
            (Condition::Baseline, 3.0 * scale),
            (Condition::Floor, 3.0 * scale),
            (Condition::PidArray, agent * scale),
            (Condition::TaskStorage, 6.0 * scale),
            (Condition::Runqlat, 4.0 * scale),
        ])
    }

    fn program(condition: Condition, ns: u64) -> ProgramRuns {
        ProgramRuns {
            condition,
            program: "sched_switch".into(),
            runs: Runs { count: 2000, ns },
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
            // The second round is twice as slow, which must not show in the ratios.
            rounds: vec![round(1.0, 3.1), round(2.0, 3.1), round(1.0, 9.0)],
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
        let row = "| the agent, state in an array by pid | 6.200 (3.100–9.000) | 0.968 | 200 | 100 | 0.10 |";
        assert!(text.contains(row), "{text}");
        assert!(
            text.contains("| nothing | 3.000 (3.000–6.000) | 1 | – | – | – |"),
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
