//! Alerts and recordings as they are shipped: what promtool says of them, that each alert is tested for when it fires and
//! when not, and that each has a page that says what to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use integration_tests::{
    documents::document,
    operations::{files, known, mentioned, promql, rule_files},
    prometheus::{newer, promtool},
    repository,
};
use rules::{Alert, Severity, Table};
use serde_yaml_ng::Value;

fn tables() -> Vec<Table> {
    ::rules::tables(repository()).unwrap_or_else(|error| panic!("{error:#}"))
}

fn alerts(tables: &[Table]) -> impl Iterator<Item = &Alert> {
    tables.iter().flat_map(|table| &table.alerts)
}

/// promtool of both majors.
fn promtools() -> Vec<PathBuf> {
    let installed = promtool().get_program().into();
    let newer = newer::promtool().unwrap_or_else(|error| panic!("{error:#}"));
    vec![installed, newer]
}

/// What a promtool says, if it is not content.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().expect("promtool starts");
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(String::from_utf8_lossy(&said).into_owned())
}

fn assert_succeeds(command: &mut Command) {
    run(command).unwrap_or_else(|said| panic!("{command:?}: {said}"));
}

/// Has a promtool look for whatever may be wrong with rules.
fn check(promtool: &Path) -> Command {
    let mut command = Command::new(promtool);
    command.args(["check", "rules", "--lint=all", "--lint-fatal"]);
    command
}

#[test]
fn promtool_of_both_majors_has_no_findings() {
    let rules: Vec<PathBuf> = rule_files().into_iter().map(|(path, _)| path).collect();
    for promtool in promtools() {
        assert_succeeds(check(&promtool).args(&rules));
    }
}

#[test]
fn promtool_of_both_majors_finds_faults_of_rules_and_of_what_alerts_are_to_do() {
    let rules = document("rules/alerts/network.yml");
    let (_, groups) = rules.split_once("groups:\n").expect("groups");
    let twice = format!("{rules}{}", groups.replacen("name: ", "name: again.", 1));
    let misspelt = rules.replacen("expr: ", "exprr: ", 1);
    let tests = document("rules/tests/network.yml");
    let alerts = repository().join("rules/alerts");
    let tests = tests.replace("../alerts/", &format!("{}/", alerts.display()));
    let unexpected = tests.replacen("exp_labels: {severity: ", "exp_labels: {severity: un", 1);
    assert!(misspelt != rules && unexpected != tests);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::write(&file, text).expect("a file can be written");
        file
    };
    let [misspelt, twice] =
        [("misspelt", misspelt), ("twice", twice)].map(|(name, text)| write(name, &text));
    let unexpected = write("unexpected", &unexpected);
    for promtool in promtools() {
        for (file, fault) in [(&misspelt, "exprr"), (&twice, "duplicate rule")] {
            let said = run(check(&promtool).arg(file)).expect_err(fault);
            assert!(said.contains(fault), "{promtool:?}: {said}");
        }
        let mut test = Command::new(&promtool);
        let said = run(test.args(["test", "rules"]).arg(&unexpected));
        let said = said.expect_err("an alert that is not expected");
        assert!(said.contains("severity=\"un"), "{promtool:?}: {said}");
    }
}

#[test]
fn the_tests_of_rules_pass_under_both_majors() {
    let tests: Vec<PathBuf> = files("rules/tests")
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    let promtools = promtools();
    // Each takes a CPU for a minute, which others that are tested meanwhile may want.
    thread::scope(|scope| {
        for promtool in &promtools {
            let mut command = Command::new("nice");
            command.args(["-n", "19"]).arg(promtool);
            // Each test has a storage of its own that is thrown away: with Go's default a quarter of the time goes into
            // looking for what is not used any more (21.9 s of CPU, then 16.6, for the tests of the agent's own alerts).
            command.env("GOGC", "800");
            command.args(["test", "rules"]).args(&tests);
            scope.spawn(move || assert_succeeds(&mut command));
        }
    });
}

/// A test of an alert of one severity.
struct Case {
    /// Which of the three it is, and perhaps more.
    name: String,
    /// The labels of the alerts that fire of this severity.
    fires: Vec<Value>,
}

/// What promtool compares, by alert and severity.
fn cases() -> BTreeMap<String, Vec<Case>> {
    let mut cases = BTreeMap::<String, Vec<Case>>::new();
    for (path, text) in files("rules/tests") {
        let path = path.display();
        let file: Value =
            serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        for test in file["tests"].as_sequence().into_iter().flatten() {
            let title = test["name"].as_str().unwrap_or_default();
            let Some((alert, name)) = title.split_once(": ") else {
                continue;
            };
            let (alert_name, severity) = alert.split_once(" (").unwrap_or((alert, ""));
            let severity = severity.trim_end_matches(')');
            let asked = test["alert_rule_test"].as_sequence();
            let asked = asked.filter(|asked| !asked.is_empty());
            let asked = asked.unwrap_or_else(|| panic!("{path}: {title} asks nothing"));
            let mut fires = Vec::new();
            for one in asked {
                assert_eq!(one["alertname"], alert_name, "{path}: {title}");
                let expected = one["exp_alerts"].as_sequence().into_iter().flatten();
                let labels = expected.map(|alert| alert["exp_labels"].clone());
                fires.extend(labels.filter(|labels| labels["severity"] == severity));
            }
            let case = Case {
                name: name.to_owned(),
                fires,
            };
            cases.entry(alert.to_owned()).or_default().push(case);
        }
    }
    cases
}

#[test]
fn each_alert_is_seen_to_fire_to_wait_and_to_stay_quiet() {
    let (tables, cases) = (tables(), cases());
    for alert in alerts(&tables) {
        let key = format!("{} ({})", alert.name, alert.severity.name());
        let of_it = cases
            .get(&key)
            .unwrap_or_else(|| panic!("{key} has no test"));
        let named = |case: &str| -> Vec<&Case> {
            let is = |one: &&Case| {
                let rest = one.name.strip_prefix(case);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([',', ' ']))
            };
            let found: Vec<&Case> = of_it.iter().filter(is).collect();
            assert!(!found.is_empty(), "there is no test `{key}: {case}`");
            found
        };
        // What differs in its labels alone is an alert of its own.
        let is_it = |labels: &Value| {
            let mut own = alert.labels.iter();
            own.all(|(name, value)| labels[name.as_str()] == value.as_str())
        };
        let seen = named("fires")
            .iter()
            .any(|case| case.fires.iter().any(is_it));
        assert!(seen, "{key} {:?} is not seen to fire", alert.labels);
        // One that always fires shows that alerts arrive.
        if alert.severity != Severity::None {
            for case in ["not yet", "does not fire"] {
                let quiet = named(case).iter().any(|case| case.fires.is_empty());
                assert!(quiet, "{key}: `{case}` fires");
            }
        }
    }
}

#[test]
fn there_are_alerts_of_each_severity_and_none_that_calls_somebody_for_one_session() {
    let tables = tables();
    let of = |severity| {
        alerts(&tables)
            .filter(|alert| alert.severity == severity)
            .count()
    };
    let counts = [Severity::Critical, Severity::Warning, Severity::Info].map(of);
    assert!(
        counts
            .iter()
            .zip([15, 20, 15])
            .all(|(count, wanted)| *count >= wanted),
        "{counts:?}"
    );
    for alert in alerts(&tables).filter(|alert| alert.severity == Severity::Critical) {
        assert!(
            !alert.description.contains("$labels.session"),
            "{} is critical for one session",
            alert.name
        );
    }
}

/// The headings of a page, without their marks.
fn headings<'a>(page: &'a str, mark: &str) -> Vec<&'a str> {
    page.lines()
        .filter_map(|line| line.strip_prefix(mark))
        .collect()
}

#[test]
fn each_alert_has_a_page_that_says_what_it_means_and_what_to_do() {
    let tables = tables();
    let mut names = BTreeMap::new();
    for alert in alerts(&tables) {
        let most = names.entry(alert.name.as_str()).or_insert(alert.severity);
        *most = alert.severity.min(*most);
    }
    for (name, severity) in &names {
        let page = document(&format!("docs/runbooks/{name}.md"));
        assert!(page.starts_with(&format!("# {name}\n")), "{name}");
        assert_eq!(
            headings(&page, "## "),
            ["Meaning", "Impact", "Diagnosis", "Mitigation"],
            "{name}"
        );
        let mitigation = page.split("\n## Mitigation\n").nth(1).unwrap_or_default();
        if *severity == Severity::Critical {
            let scenarios = headings(mitigation, "### ").len();
            assert!(scenarios >= 5, "{name} has {scenarios} scenarios");
        }
        let diagnosis = page.split("\n## Diagnosis\n").nth(1).unwrap_or_default();
        let diagnosis = diagnosis.split("\n## ").next().unwrap_or_default();
        assert!(promql(diagnosis).next().is_some(), "{name} asks nothing");
    }
    let pages: BTreeSet<String> = files("docs/runbooks")
        .iter()
        .map(|(path, _)| stem(path))
        .collect();
    assert!(pages.iter().eq(names.keys()), "{pages:?}");
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .expect("a page has a name")
        .to_string_lossy()
        .into_owned()
}

/// Documents about alerts, besides the runbooks.
const PAGES: [&str; 3] = [
    "docs/alerts.md",
    "docs/alert-response.md",
    "docs/monitoring-runbook.md",
];

#[test]
fn pages_name_only_alerts_metrics_and_recordings_that_there_are() {
    let (tables, known) = (tables(), known());
    let names = ::rules::names(&tables);
    let mut pages = files("docs/runbooks");
    pages.extend(PAGES.map(|page| (page.into(), document(page))));
    for (path, text) in &pages {
        let words = text.split(|one: char| !one.is_ascii_alphanumeric());
        for word in words.filter(|word| is_alert(word)) {
            assert!(names.contains(word), "{}: no alert {word}", path.display());
        }
        for name in mentioned(text) {
            // Values of labels look like metrics of a process, and a page may say how names begin.
            let is_other =
                name.starts_with("process_") || name.ends_with('_') || name == "vdi_session";
            let is_known = known.contains(name) || is_other;
            assert!(is_known, "{}: no metric {name}", path.display());
        }
    }
}

/// Whether a word is an alert's name.
fn is_alert(word: &str) -> bool {
    let rest = word.strip_prefix("Vdi").unwrap_or_default();
    rest.starts_with(|first: char| first.is_ascii_uppercase())
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut pages = files("docs/runbooks");
    pages.extend(PAGES.map(|page| (repository().join(page), document(page))));
    for (path, text) in &pages {
        let folder = path.parent().expect("a page is in a folder");
        // Not in queries, which have brackets of their own.
        let prose: String = text.split("```").step_by(2).collect();
        for link in prose.split("](").skip(1) {
            let target = link.split([')', ' ']).next().unwrap_or_default();
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            if file.contains("://") {
                continue;
            }
            let to = if file.is_empty() {
                path.clone()
            } else {
                folder.join(file)
            };
            assert!(to.exists(), "{}: {target} is not there", path.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(&to).expect("a page is text");
                let there = text
                    .lines()
                    .any(|line| anchor(line).as_deref() == Some(heading));
                assert!(there, "{}: {target} is not there", path.display());
            }
        }
    }
}

/// What a heading is linked by.
fn anchor(line: &str) -> Option<String> {
    let title = line
        .strip_prefix('#')?
        .trim_start_matches('#')
        .strip_prefix(' ')?;
    let kept = title.to_lowercase();
    let kept = kept
        .chars()
        .filter(|one| one.is_alphanumeric() || " -_".contains(*one));
    Some(kept.map(|one| if one == ' ' { '-' } else { one }).collect())
}
