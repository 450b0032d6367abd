//! What the reference systems ask for is served here: by what the table names, which exists.

use super::*;

const TABLE: &str = "docs/coverage.md";
/// At most so many items may say why they are not served.
const MOST_OPEN: usize = 10;
/// What the ids of the systems begin with, and the number of the last of each: 332 in all.
const WHOLE: [(&str, &[(char, u32)]); 5] = [
    (
        "000",
        &[('G', 2), ('M', 4), ('K', 3), ('D', 4), ('A', 1), ('O', 1)],
    ),
    (
        "001",
        &[
            ('G', 10),
            ('K', 34),
            ('D', 7),
            ('A', 17),
            ('R', 6),
            ('E', 3),
            ('L', 5),
            ('T', 8),
            ('N', 19),
            ('S', 4),
            ('V', 5),
            ('F', 8),
        ],
    ),
    (
        "002",
        &[
            ('K', 2),
            ('D', 15),
            ('A', 12),
            ('M', 26),
            ('C', 7),
            ('I', 2),
            ('B', 8),
            ('X', 4),
            ('V', 5),
        ],
    ),
    (
        "003",
        &[
            ('G', 5),
            ('M', 19),
            ('D', 20),
            ('A', 15),
            ('C', 5),
            ('T', 4),
            ('V', 1),
            ('N', 5),
        ],
    ),
    (
        "004",
        &[
            ('G', 2),
            ('K', 6),
            ('M', 9),
            ('Q', 8),
            ('D', 8),
            ('X', 2),
            ('N', 1),
        ],
    ),
];

fn ids() -> BTreeSet<String> {
    let of_system = |(system, letters): &(&str, &[(char, u32)])| {
        let all = letters
            .iter()
            .flat_map(|(letter, last)| (1..=*last).map(move |number| (*letter, number)));
        all.map(|(letter, number)| format!("{system}-{letter}{number}"))
            .collect::<Vec<_>>()
    };
    WHOLE.iter().flat_map(of_system).collect()
}

/// What there is, by kind.
struct Known {
    metrics: BTreeSet<String>,
    alerts: BTreeSet<String>,
    records: BTreeSet<String>,
    panels: BTreeSet<String>,
    documents: String,
}

impl Known {
    fn gather() -> Self {
        let rules: String = files("rules").into_iter().map(|(_, text)| text).collect();
        let named = |word: &str| {
            let names = rules
                .lines()
                .filter_map(|line| line.trim_start().strip_prefix(word));
            names.map(str::to_owned).collect()
        };
        let mut pages = files("docs");
        pages.retain(|(path, _)| !path.ends_with("coverage.md"));
        let pages: String = pages.into_iter().map(|(_, text)| text).collect();
        // Made of the catalogue: with the endings that a scraper sees.
        let list = document("docs/metrics.md");
        let metrics = list.lines().filter_map(|row| row.strip_prefix("| `"));
        let metrics = metrics.filter_map(|row| Some(row.split_once('`')?.0.to_owned()));
        Self {
            metrics: metrics.collect(),
            alerts: named("- alert: "),
            records: named("- record: "),
            panels: panels(),
            documents: pages + &document("README.md") + &document("CONTRIBUTING.md"),
        }
    }

    fn has(&self, target: &str) -> bool {
        let Some((kind, name)) = target.split_once(':') else {
            return false;
        };
        let is_there = |path: &str| repository().join(path).exists();
        match kind {
            "metric" => self.metrics.contains(name),
            "alert" => self.alerts.contains(name),
            "record" => self.records.contains(name),
            "panel" => self.panels.contains(name),
            "runbook" => is_there(&format!("docs/runbooks/{name}.md")),
            "file" => is_there(name),
            "test" => has_test_named(name),
            "command" => self.documents.contains(name),
            "doc" => name.split_once('#').is_some_and(|(path, anchor)| {
                is_there(path) && anchors(&document(path)).contains(anchor)
            }),
            _ => false,
        }
    }
}

/// A program, or `program/function`, which may be in a module of it.
fn has_test_named(name: &str) -> bool {
    let (program, function) = name
        .split_once('/')
        .map_or((name, None), |(program, function)| {
            (program, Some(function))
        });
    let path = format!("tests/tests/{program}.rs");
    if !repository().join(&path).exists() {
        return false;
    }
    let Some(function) = function else {
        return true;
    };
    let folder = format!("tests/tests/{program}");
    let modules = repository().join(&folder).exists().then(|| files(&folder));
    let modules = modules.into_iter().flatten().map(|(_, text)| text);
    modules
        .chain([document(&path)])
        .any(|source| has_test(&source, function))
}

/// Dashboard and title of each panel, those in folded rows included.
fn panels() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (path, text) in files("dashboards") {
        if path.extension().is_none_or(|kind| kind != "json") {
            continue;
        }
        let dashboard: Value = serde_json::from_str(&text).expect("a dashboard is JSON");
        let title = dashboard["title"].as_str().expect("a title");
        let title = title.rsplit(" / ").next().expect("one at least");
        let rows = dashboard["panels"].as_array().expect("panels").iter();
        let inner = rows
            .clone()
            .flat_map(|row| row["panels"].as_array().into_iter().flatten());
        let names = rows.chain(inner).filter(|panel| panel["type"] != "row");
        all.extend(names.filter_map(|panel| Some(format!("{title}/{}", panel["title"].as_str()?))));
    }
    all
}

/// What a heading is linked to by.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    let mut in_code = false;
    for line in page.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        }
        let heading = line.trim_start_matches('#');
        if in_code || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = heading.trim().to_lowercase();
        let kept = kept
            .chars()
            .filter(|letter| letter.is_alphanumeric() || "-_ ".contains(*letter));
        let name: String = kept
            .map(|letter| if letter == ' ' { '-' } else { letter })
            .collect();
        let before = seen.entry(name.clone()).or_default();
        anchors.insert(if *before == 0 {
            name
        } else {
            format!("{name}-{before}")
        });
        *before += 1;
    }
    anchors
}

/// Id and targets of each row.
fn rows(table: &str) -> Vec<(&str, &str)> {
    let rows = table.lines().filter_map(|row| {
        let row = row.strip_prefix("| ")?.strip_suffix(" |")?;
        let mut cells = row.splitn(3, " | ");
        let (id, _, served) = (cells.next()?, cells.next()?, cells.next()?);
        id.starts_with(|one: char| one.is_ascii_digit())
            .then_some((id, served))
    });
    rows.collect()
}

/// What is wrong with a table.
fn faults(table: &str, known: &Known) -> Vec<String> {
    let mut faults = Vec::new();
    let mut missing = ids();
    let mut open = 0;
    for (id, served) in rows(table) {
        if !missing.remove(id) {
            faults.push(format!("{id} is there twice, or in no system"));
        }
        if let Some(reason) = served.strip_prefix("open: ") {
            open += 1;
            if reason.is_empty() {
                faults.push(format!("{id} is open without a reason"));
            }
            continue;
        }
        // What follows the targets is a sentence.
        let targets = served.split("`. ").next().expect("one at least");
        let targets: Vec<&str> = targets.split('`').skip(1).step_by(2).collect();
        if targets.is_empty() {
            faults.push(format!("{id} has no target"));
        }
        for target in targets.into_iter().filter(|target| !known.has(target)) {
            faults.push(format!("{id}: {target} is not there"));
        }
    }
    faults.extend(missing.into_iter().map(|id| format!("{id} has no row")));
    if open > MOST_OPEN {
        faults.push(format!("{open} are open"));
    }
    faults
}

#[test]
fn each_item_of_the_reference_systems_is_served_by_what_is_there_or_has_a_reason() {
    assert_eq!(ids().len(), 332);
    assert_eq!(faults(&document(TABLE), &Known::gather()), [""; 0]);
}

#[test]
fn a_row_that_is_missing_and_a_target_that_is_not_there_are_refused() {
    let (table, known) = (document(TABLE), Known::gather());
    for (part, other, fault) in [
        ("| 001-K7 |", "| 001-K6 |", "001-K7 has no row"),
        (
            "| 004-N1 |",
            "| 004-N2 |",
            "004-N2 is there twice, or in no system",
        ),
        (
            "`metric:vdi_sessions`",
            "`metric:vdi_session`",
            "000-M1: metric:vdi_session is not there",
        ),
        (
            "`panel:Fleet/",
            "`panel:Fleets/",
            "000-G1: panel:Fleets/Active sessions is not there",
        ),
        (
            "test:exposition/what_is_exposed_is_what",
            "test:exposition/what_is_exposed_was",
            "000-M3: test:exposition/what_is_exposed_was_the_catalogue_lists is not there",
        ),
    ] {
        assert!(table.contains(part), "{part}");
        let found = faults(&table.replacen(part, other, 1), &known);
        assert!(found.iter().any(|one| one == fault), "{fault}: {found:?}");
    }
    for absent in [
        "alert:Vdi",
        "record:x",
        "runbook:x",
        "file:x",
        "test:x",
        "command:cargo xtask nothing",
        "doc:README.md#x",
        "x",
    ] {
        assert!(!known.has(absent), "{absent}");
    }
}
