//! From the figures of a comparison to its section of `docs/measurements.md`.

use super::comparison::{Comparison, Round};
use super::condition::Condition;
use super::costs::Cost;
use super::load::{Measurement, Unit};
use crate::numbers::verdict;
use crate::table::table;

impl Comparison {
    /// The section. `reference` is what added times are shares of, `expectations` are further lines of
    /// that list.
    pub(super) fn markdown(&self, reference: Option<Condition>, expectations: &[String]) -> String {
        let costs = self.costs(reference);
        let mut parts = vec![self.about()];
        for load in 0..self.loads.len() {
            parts.push(self.cost_table(load, &costs, reference));
        }
        parts.extend(self.absences());
        parts.push(self.expectations(&costs, expectations));
        parts.push(
            "The kernel's own statistics of the programs (`kernel.bpf_stats_enabled`), in rounds of \
             their own because they cost time too. An empty program on context switches is the floor, \
             most of which is the reading of the clock."
                .to_owned(),
        );
        parts.extend(self.program_tables());
        parts.join("\n\n")
    }

    fn about(&self) -> String {
        let sum = |value: fn(&Measurement) -> u32| -> u32 {
            let all = self.rounds.iter().flat_map(Round::measurements);
            all.map(value).sum()
        };
        let others = if self.others.is_empty() {
            String::new()
        } else {
            let names = self.others.join("`, `");
            format!(" These programs of others traced all the time: `{names}`.")
        };
        format!(
            "{}.\n`{}`: {} times each condition, compared with the same just before and after it \
             without; the tables have the medians. Others worked on the machine during {} runs, which \
             were repeated, and during {} that count.{others}",
            self.machine,
            self.command,
            self.rounds.len(),
            sum(|measurement| measurement.repeated),
            sum(|measurement| measurement.disturbed),
        )
    }

    fn cost_table(&self, load: usize, costs: &[Cost], reference: Option<Condition>) -> String {
        let description = &self.loads[load];
        let operation = &description.operation;
        let unit = match description.unit {
            Unit::MicrosecondsPerOperation => format!("µs per {operation}"),
            Unit::OperationsPerSecond => format!("{} per second", plural(operation)),
            Unit::GigabitsPerSecond => "Gbit/s".to_owned(),
        };
        let mut headings = vec![
            "beside the load".to_owned(),
            format!("{unit}, median (least–largest)"),
            "throughput with / without".to_owned(),
            format!("added ns per {operation}"),
        ];
        let has_share = costs.iter().any(|cost| cost.share.is_some());
        let mut nothing = vec!["nothing".to_owned(), self.without(load).to_string()];
        nothing.extend(["1", "–"].map(str::to_owned));
        if has_share {
            let reference = reference.map_or("", Condition::label);
            headings.push(format!("of that of {reference}"));
            nothing.push("–".to_owned());
        }
        let mut rows = vec![nothing];
        for cost in costs.iter().filter(|cost| cost.load == load) {
            let mut row = vec![
                cost.condition.label().to_owned(),
                cost.value.to_string(),
                cost.throughput.to_string(),
                format!("{:.0}", cost.added_ns),
            ];
            row.extend(cost.share.map(|share| format!("{share:.2}")));
            rows.push(row);
        }
        for (condition, _) in &self.absent {
            let mut row = vec![condition.label().to_owned(), "cannot run here".to_owned()];
            row.resize(headings.len(), "–".to_owned());
            rows.push(row);
        }
        let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
        format!("{}:\n\n{}", description.label, table(&headings, &rows))
    }

    fn absences(&self) -> Option<String> {
        let lines = self.absent.iter();
        let lines: Vec<String> = lines
            .map(|(condition, reason)| format!("- {}: `{reason}`.", condition.label()))
            .collect();
        (!lines.is_empty()).then(|| format!("Cannot run here:\n\n{}", lines.join("\n")))
    }

    fn expectations(&self, costs: &[Cost], further: &[String]) -> String {
        let mut lines = Vec::new();
        for cost in costs.iter().filter(|cost| cost.condition.is_agent()) {
            let load = &self.loads[cost.load];
            let Some(least) = load.promise else {
                continue;
            };
            let median = cost.throughput.median;
            lines.push(format!(
                "- {}, {}: throughput with / without at least {least:.2}: {median:.3}, {}.",
                load.label,
                cost.condition.label(),
                verdict(median >= least),
            ));
        }
        lines.extend_from_slice(further);
        format!("Expected:\n\n{}", lines.join("\n"))
    }
}

fn plural(word: &str) -> String {
    let ending = if word.ends_with('s') { "es" } else { "s" };
    format!("{word}{ending}")
}

#[cfg(test)]
mod tests {
    use super::super::comparison::Comparison;
    use super::super::example::{RUNQLAT, comparison};
    use super::plural;

    #[test]
    fn ratios_are_medians_of_what_single_rounds_say() {
        let text = comparison().markdown(Some(RUNQLAT), &[]);
        let row = "| the agent | 6.100 (3.100–9.000) | 0.968 (0.333–0.984) | 100 | 0.10 |";
        assert!(text.contains(row), "{text}");
        assert!(
            text.contains("| nothing | 3.200 (2.800–6.200) | 1 | – | – |"),
            "{text}"
        );
        assert!(
            text.contains("during 21 runs, which were repeated, and during 0"),
            "{text}"
        );
    }

    #[test]
    fn more_than_one_have_a_name() {
        assert_eq!(plural("process"), "processes");
        assert_eq!(plural("read"), "reads");
    }

    #[test]
    fn what_root_has_measured_is_read_back() {
        let text = serde_json::to_string(&comparison()).unwrap();
        let back: Comparison = serde_json::from_str(&text).unwrap();
        assert_eq!(back.markdown(None, &[]), comparison().markdown(None, &[]));
    }

    #[test]
    fn a_peer_that_cannot_run_is_a_row_with_a_reason() {
        let text = comparison().markdown(None, &[]);
        assert!(
            text.contains("| bpftrace `runqlat.bt` | cannot run here | – | – |"),
            "{text}"
        );
        assert!(
            text.contains("- bpftrace `runqlat.bt`: `no such file`."),
            "{text}"
        );
    }

    #[test]
    fn expectations_are_met_or_not() {
        let mut comparison = comparison();
        let text = comparison.markdown(None, &[]);
        assert!(text.contains("at least 0.90: 0.968, met."), "{text}");
        comparison.loads[0].promise = Some(0.99);
        let text = comparison.markdown(None, &[]);
        assert!(
            text.contains("at least 0.99: 0.968, **not met**."),
            "{text}"
        );
    }
}
