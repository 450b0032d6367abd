//! What other stacks have is here, where the table says.

use super::*;

const TABLE: &str = "deploy/counterparts.md";
/// What the lists of others' files and promises begin with, and the number of the last of each: what has no row here is
/// missing.
const WHOLE: [(&str, u32); 10] = [
    ("000-K", 3),
    ("001-K", 34),
    ("001-E", 3),
    ("001-S", 4),
    ("002-K", 2),
    ("002-C", 7),
    ("002-V", 5),
    ("003-C", 5),
    ("003-T", 4),
    ("004-K", 6),
];

/// Id and counterpart of each row.
fn rows(table: &str) -> Vec<(&str, &str)> {
    let rows = table.lines().filter_map(|row| {
        let row = row.strip_prefix("| ")?.strip_suffix(" |")?;
        let mut cells = row.splitn(3, " | ");
        let (id, _, counterpart) = (cells.next()?, cells.next()?, cells.next()?);
        id.starts_with(|one: char| one.is_ascii_digit())
            .then_some((id, counterpart))
    });
    rows.collect()
}

/// The paths of a counterpart: what is in backticks, but for what a parenthesis says of them.
fn paths(counterpart: &str) -> Vec<&str> {
    let mut outside = counterpart.split('(');
    let first = outside.next().into_iter();
    let others = outside.filter_map(|part| Some(part.split_once(')')?.1));
    let parts = first.chain(others);
    parts
        .flat_map(|part| part.split('`').skip(1).step_by(2))
        .collect()
}

/// What is wrong with a table.
fn faults(table: &str) -> Vec<String> {
    let rows = rows(table);
    let mut faults = Vec::new();
    let mut ids = BTreeSet::new();
    for (id, counterpart) in rows {
        if !ids.insert(id) {
            faults.push(format!("{id} is there twice"));
        }
        let paths = paths(counterpart);
        for path in &paths {
            if !repository().join(path).exists() {
                faults.push(format!("{id}: {path} is not there"));
            }
        }
        let says_why = counterpart.starts_with("none: ");
        if paths.is_empty() && !says_why && counterpart != "the same" {
            faults.push(format!("{id} has neither a path nor a reason"));
        }
    }
    for (begin, last) in WHOLE {
        for number in 1..=last {
            let id = format!("{begin}{number}");
            if !ids.contains(id.as_str()) {
                faults.push(format!("{id} has no row"));
            }
        }
        let next = format!("{begin}{}", last + 1);
        if ids.contains(next.as_str()) {
            faults.push(format!("{next} is beyond the last"));
        }
    }
    faults
}

#[test]
fn each_file_and_promise_of_others_has_a_counterpart_that_is_there_or_a_reason() {
    assert_eq!(faults(&document(TABLE)), [""; 0]);
}

#[test]
fn a_table_with_a_gap_or_a_path_that_leads_nowhere_is_refused() {
    let table = document(TABLE);
    for (part, other, fault) in [
        ("| 001-K7 |", "| 001-K6 |", "001-K6 is there twice"),
        ("| 001-S2 |", "| 001-X2 |", "001-S2 has no row"),
        ("| 003-T4 |", "| 003-T5 |", "003-T5 is beyond the last"),
        (
            "/loki/service.yaml`",
            "/loki/services.yaml`",
            "001-K23: deploy/kubernetes/stack/loki/services.yaml is not there",
        ),
        (
            "`LICENSE-MIT`",
            "`LICENCE-MIT`",
            "002-V5: LICENCE-MIT is not there",
        ),
        (
            "none: the licences",
            "the licences",
            "004-K6 has neither a path nor a reason",
        ),
    ] {
        assert!(table.contains(part), "{part}");
        let found = faults(&table.replacen(part, other, 1));
        assert!(found.iter().any(|one| one == fault), "{fault}: {found:?}");
    }
}
