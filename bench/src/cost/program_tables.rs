//! From the kernel's statistics of programs to tables: one for each load.

use super::comparison::Comparison;
use super::condition::Condition;
use super::costs::ProgramCost;
use crate::numbers::grouped;
use crate::table::table;

/// A program with fewer runs than this per operation is not in the table but below it.
const SELDOM: f64 = 0.001;

impl Comparison {
    /// A table of programs for each load, and what ran too seldom for it.
    pub(super) fn program_tables(&self) -> Vec<String> {
        let costs = self.program_costs();
        let mut parts = Vec::new();
        for (load, description) in self.loads.iter().enumerate() {
            let of_load: Vec<_> = costs.iter().filter(|cost| cost.load == load).collect();
            let (often, seldom): (Vec<_>, Vec<_>) = of_load
                .into_iter()
                .partition(|cost| cost.runs_per_operation >= SELDOM);
            let rows = program_table(&often, &description.operation);
            parts.push(format!("{}:\n\n{rows}", description.label));
            let seldom: Vec<String> = self
                .conditions
                .iter()
                .filter_map(|condition| list(*condition, &seldom))
                .collect();
            if !seldom.is_empty() {
                let about = "Ran less than once in a thousand operations, beside this load:";
                parts.push(format!("{about}\n\n{}", seldom.join("\n")));
            }
        }
        parts
    }
}

fn program_table(costs: &[&ProgramCost], operation: &str) -> String {
    let headings = [
        "program",
        "of",
        "runs",
        "ns per run",
        "above the floor",
        &format!("runs per {operation}"),
        &format!("ns per {operation}, above the floor"),
    ];
    let row = |cost: &&ProgramCost| {
        vec![
            format!("`{}`", cost.program),
            cost.condition.label().to_owned(),
            grouped(cost.runs),
            format!("{:.0}", cost.ns_per_run),
            format!("{:.0}", cost.ns_above_floor),
            format!("{:.3}", cost.runs_per_operation),
            format!("{:.1}", cost.ns_per_operation),
        ]
    };
    table(&headings, &costs.iter().map(row).collect::<Vec<_>>())
}

/// The programs of a condition with their runs and what one took.
fn list(condition: Condition, costs: &[&ProgramCost]) -> Option<String> {
    let of_condition = costs.iter().filter(|cost| cost.condition == condition);
    let programs: Vec<String> = of_condition
        .map(|cost| {
            let (runs, ns) = (grouped(cost.runs), cost.ns_per_run);
            format!("`{}` ({runs} runs of {ns:.0} ns)", cost.program)
        })
        .collect();
    (!programs.is_empty()).then(|| format!("- {}: {}.", condition.label(), programs.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::super::example::comparison;

    #[test]
    fn programs_are_compared_with_the_empty_one() {
        let text = comparison().program_tables().join("\n\n");
        let row = "| `sched_switch` | the agent | 40,000 | 80 | 20 | 2.000 | 40.0 |";
        assert!(text.contains(row), "{text}");
        assert!(
            text.contains("- the agent: `census` (9 runs of 1000 ns)."),
            "{text}"
        );
    }
}
