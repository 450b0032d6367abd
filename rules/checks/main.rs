//! What cloudflare's pint checks of rules, as far as it needs no Prometheus that runs: by its list, not by its code.
//!
//! | pint | here |
//! |---|---|
//! | `yaml/parse`, `promql/syntax` | `rule.rs`, while files are read |
//! | `alerts/comparison`, `alerts/absent`, `alerts/for`, `alerts/annotation` | `alerts.rs` |
//! | `alerts/template` | `template.rs` |
//! | `promql/impossible`, `promql/vector_matching` | `impossible.rs`, by the labels that the catalogue has (`labels.rs`) |
//! | `promql/series`, `promql/selector` | `series.rs`, of the agent's own metrics, and of those that every exporter has |
//! | `promql/rate`, `promql/counter`, `promql/range_query`, `promql/offset` | `rates.rs`, by the catalogue and by defaults |
//! | `promql/regexp` | `regexp.rs` |
//! | `promql/aggregate`, `promql/fragile`, `promql/nan`, `promql/performance`, `promql/features` | `promql.rs` |
//! | `rule/name`, `rule/label`, `rule/duplicate`, `rule/dependency`, `group/interval` | `naming.rs` |
//!
//! Not here, because they ask a server: `query/cost`, `alerts/count` (how often would it have fired),
//! `alerts/external_labels` and `labels/conflict` (Prometheus's configuration), `rule/link` (a request to each link),
//! and of the checks above what series there are. Not here, because they are of pint's own configuration: `rule/for`,
//! `rule/reject`, `rule/report`, `rule/owner`, `pint/comment`, `ignore/file`.
//!
//! `EXCEPTIONS` has what a check finds and is meant so, with the reason. One that is of no use any more is a fault
//! too.

mod alerts;
mod catalogue;
mod exceptions;
mod impossible;
mod labels;
mod naming;
mod planted;
mod promql;
mod rates;
mod regexp;
mod rule;
mod series;
mod template;
mod walk;

use std::path::Path;
use std::time::Duration;

use self::exceptions::{EXCEPTIONS, Exception};
use self::rule::{Rule, World};

/// How often Prometheus scrapes: docs/monitoring-runbook.md counts with it. No rule can ask for it.
const SCRAPE: Duration = Duration::from_secs(15);

/// Looks at one rule, and says what is wrong with it and what to do.
type Check = fn(&World, &Rule) -> Vec<String>;

/// All checks, by pint's names.
const CHECKS: [(&str, Check); 22] = [
    ("alerts/absent", alerts::absent),
    ("alerts/annotation", alerts::annotation),
    ("alerts/comparison", alerts::comparison),
    ("alerts/for", alerts::pending),
    ("alerts/template", template::template),
    ("group/interval", naming::interval),
    ("promql/aggregate", promql::aggregate),
    ("promql/counter", rates::counter),
    ("promql/features", promql::features),
    ("promql/fragile", promql::fragile),
    ("promql/impossible", impossible::impossible),
    ("promql/nan", promql::nan),
    ("promql/performance", promql::performance),
    ("promql/range_query", rates::range),
    ("promql/rate", rates::rate),
    ("promql/regexp", regexp::regexp),
    ("promql/selector", series::selector),
    ("promql/series", series::series),
    ("rule/dependency", naming::dependency),
    ("rule/duplicate", naming::duplicate),
    ("rule/label", naming::label),
    ("rule/name", naming::name),
];

/// What all checks say of all rules, less the exceptions, and which exceptions were of no use.
fn faults(world: &World, exceptions: &[Exception]) -> Vec<String> {
    let mut used = vec![false; exceptions.len()];
    let mut faults = Vec::new();
    for rule in &world.rules {
        for (name, check) in CHECKS {
            for fault in check(world, rule) {
                let place = exceptions
                    .iter()
                    .position(|one| one.check == name && one.is_of(&rule.name, &fault));
                match place {
                    Some(place) => used[place] = true,
                    None => {
                        faults.push(format!("{}: {}: {name}: {fault}", rule.file, rule.title()));
                    }
                }
            }
        }
    }
    let unused = exceptions.iter().zip(&used).filter(|(_, used)| !**used);
    faults.extend(unused.map(|(one, _)| {
        format!(
            "the exception from {} of {} ({}) is of no use",
            one.check, one.rule, one.fault
        )
    }));
    faults
}

#[test]
fn rules_have_none_of_the_faults_that_pint_knows() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let world = World::read(&repository).unwrap_or_else(|error| panic!("{error:#}"));
    assert!(world.rules.len() > 100, "{} rules only", world.rules.len());
    let faults = faults(&world, EXCEPTIONS);
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

#[test]
fn exceptions_are_of_one_fault_and_are_used() {
    let world = planted::world("  - alert: VdiA\n    expr: vdi_a_total > 1\n");
    let exception = |rule, fault| Exception {
        check: "promql/counter",
        rule,
        fault,
        reason: "it is planted",
    };
    let count = |exceptions: &[Exception]| faults(&world, exceptions).len();
    let all = count(&[]);
    assert_eq!(count(&[exception("VdiA", "`vdi_a_total`")]), all - 1);
    for unused in [
        exception("VdiB", "`vdi_a_total`"),
        exception("VdiA", "`vdi_b`"),
    ] {
        let found = faults(&world, &[unused]);
        assert_eq!(found.len(), all + 1);
        assert!(found[all].contains("of no use"), "{found:?}");
    }
    assert!(EXCEPTIONS.iter().all(|one| one.reason.len() > 20));
}
