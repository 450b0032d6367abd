//! The agent's metrics, from the tables of `docs/metrics.md`. That page is generated from the catalogue of the agent,
//! and a test keeps it so; to read it here spares who works on rules the build of the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Labels that come from Prometheus: of the target (`job`, `instance`), or of its configuration (the others).
pub(crate) const OF_TARGETS: [&str; 4] = ["cluster", "environment", "job", "instance"];

/// How a name begins that is the agent's.
const OWN: [&str; 2] = ["vdi_", "process_"];

/// What a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows, until it begins at 0 again. Buckets, sums and counts of a histogram do too.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A label of a sample.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    /// All values that it can have; `None` where they are not listed.
    pub(crate) values: Option<BTreeSet<String>>,
    /// Whether it can be empty, which is the same as not there.
    pub(crate) may_be_empty: bool,
}

/// A sample as a query names it.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) kind: Kind,
    pub(crate) labels: BTreeMap<String, Label>,
}

/// All samples, by their names.
#[derive(Debug)]
pub(crate) struct Catalogue(BTreeMap<String, Sample>);

impl Catalogue {
    /// The catalogue of a repository.
    pub(crate) fn read(repository: &Path) -> Result<Self> {
        let file = repository.join("docs/metrics.md");
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let catalogue = Self::parse(&text);
        // A page of another form would make every check of names and kinds silent.
        let count = catalogue.0.len();
        ensure!(count > 100, "{}: {count} metrics only", file.display());
        Ok(catalogue)
    }

    /// The catalogue of a page.
    pub(crate) fn parse(page: &str) -> Self {
        let mut samples = BTreeMap::new();
        for line in page.lines().filter_map(|line| line.strip_prefix("| `")) {
            let mut cells = line.split(" | ");
            let name = cells.next().unwrap_or_default().trim_end_matches('`');
            let kind = cells.next().unwrap_or_default();
            let labels = labels(cells.next().unwrap_or_default());
            let mut insert = |name: String, kind, labels| {
                samples.insert(name, Sample { kind, labels });
            };
            match kind {
                "counter" => insert(name.to_owned(), Kind::Counter, labels),
                "gauge" => insert(name.to_owned(), Kind::Gauge, labels),
                "histogram" => {
                    for end in ["", "_sum", "_count"] {
                        insert(format!("{name}{end}"), Kind::Counter, labels.clone());
                    }
                    let bound = Label {
                        values: None,
                        may_be_empty: false,
                    };
                    let mut labels = labels;
                    labels.insert("le".to_owned(), bound);
                    insert(format!("{name}_bucket"), Kind::Counter, labels);
                }
                _ => {}
            }
        }
        Self(samples)
    }

    /// What a name stands for.
    pub(crate) fn get(&self, name: &str) -> Option<&Sample> {
        self.0.get(name)
    }

    /// Whether a name can only be one of the agent's.
    pub(crate) fn must_have(name: &str) -> bool {
        OWN.iter().any(|own| name.starts_with(own))
    }
}

/// Labels as the page has them: `` `phase` (Pending, Idle; what that means), `session` ``.
fn labels(cell: &str) -> BTreeMap<String, Label> {
    let mut found = BTreeMap::new();
    let mut pieces = cell.split('`').skip(1);
    while let (Some(name), after) = (pieces.next(), pieces.next().unwrap_or_default()) {
        let inside = after.trim().strip_prefix('(').unwrap_or_default();
        let inside = inside.trim_end_matches([',', ' ']).trim_end_matches(')');
        let listed = inside.split(';').next().unwrap_or_default();
        let values: BTreeSet<String> = listed.split(", ").map(str::to_owned).collect();
        // Words alone are values; what has a space in it is a sentence about them.
        let is_list = !listed.is_empty() && values.iter().all(|value| !value.contains(' '));
        let label = Label {
            values: is_list.then_some(values),
            // The page says of a reason what it is for, and of all of them one can be empty.
            may_be_empty: inside.contains("empty") || name == "reason" || name == "code",
        };
        found.insert(name.to_owned(), label);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_labels_and_values_are_read() {
        let page = "| `vdi_a_total` | counter | `session`, `kind` (x, y_z; of a y only), `pod` (its pod; empty without) | m | s |\n\
                    | `vdi_b` | histogram |  | m | s |\n";
        let catalogue = Catalogue::parse(page);
        let sample = catalogue.get("vdi_a_total").expect("a sample");
        assert_eq!(sample.kind, Kind::Counter);
        let kind = &sample.labels["kind"];
        let values = kind.values.as_ref().expect("values");
        assert!(values.iter().eq(["x", "y_z"]), "{values:?}");
        assert!(sample.labels["session"].values.is_none());
        assert!(sample.labels["pod"].may_be_empty && sample.labels["pod"].values.is_none());
        let bucket = catalogue.get("vdi_b_bucket").expect("a sample");
        assert!(bucket.labels.contains_key("le"));
        assert!(catalogue.get("vdi_b_sum").is_some());
    }
}
