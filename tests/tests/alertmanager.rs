//! The configuration of Alertmanager as it is shipped: which receiver an alert reaches, and which alerts are not told
//! because others are.

use std::{
    collections::BTreeMap,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    alertmanager::{Alertmanager, Labels, amtool},
    documents::document,
    repository, wait,
};
use serde_yaml_ng::{Mapping, Value};

const CONFIGURATION: &str = "deploy/alertmanager/alertmanager.yml";
const SOON: Duration = Duration::from_secs(30);

/// The rows of a table of cases: what is asked, and what must come out.
fn cases(path: &str) -> Vec<(String, String)> {
    let text = document(path);
    let rows = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let cases: Vec<_> = rows
        .map(|row| {
            let (asked, wanted) = row.split_once(" => ").expect("a case has a result");
            (asked.to_owned(), wanted.to_owned())
        })
        .collect();
    assert!(cases.len() >= 20, "{path} has {} cases", cases.len());
    cases
}

fn labels(words: &str) -> Labels {
    let pairs = words.split(' ').filter_map(|word| word.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// What amtool says, and whether it is content.
fn said(arguments: &[&str]) -> (bool, String) {
    let program = amtool().unwrap_or_else(|error| panic!("{error:#}"));
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect("amtool starts");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn each_alert_reaches_its_receivers() {
    let configuration = repository().join(CONFIGURATION).display().to_string();
    let (success, said_of_it) = said(&["check-config", &configuration]);
    assert!(success, "{said_of_it}");
    for (asked, wanted) in cases("tests/alertmanager/routes.txt") {
        let mut arguments = vec!["config".into(), "routes".into(), "test".into()];
        arguments.push(format!("--config.file={configuration}"));
        arguments.push(format!("--verify.receivers={wanted}"));
        arguments.extend(asked.split(' ').map(str::to_owned));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (success, said_of_it) = said(&arguments);
        assert!(success, "{asked} => {wanted}: {said_of_it}");
    }
}

#[test]
fn what_is_explained_by_another_alert_is_not_told_and_nothing_else_is_silenced() {
    let shipped: Value = serde_yaml_ng::from_str(&document(CONFIGURATION)).expect("YAML");
    // The same inhibitions, and nobody to tell.
    let nobody: Value =
        serde_yaml_ng::from_str("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
            .expect("YAML");
    let mut configuration: Mapping = nobody.as_mapping().expect("a mapping").clone();
    configuration.insert("inhibit_rules".into(), shipped["inhibit_rules"].clone());
    let configuration = serde_yaml_ng::to_string(&configuration).expect("YAML");
    let alertmanager = Alertmanager::start(&configuration);
    let mut wanted = BTreeMap::new();
    let mut alerts = Vec::new();
    for (number, (asked, outcome)) in cases("tests/alertmanager/inhibitions.txt")
        .into_iter()
        .enumerate()
    {
        let mut of_case: Vec<Labels> = asked.split(" ; ").map(labels).collect();
        for alert in &mut of_case {
            // Each case has a cluster of its own, which every rule asks for.
            let cluster = alert.get("cluster").cloned().unwrap_or_default();
            alert.insert("cluster".to_owned(), format!("{number}-{cluster}"));
        }
        let last = of_case.last().expect("a case has an alert").clone();
        wanted.insert(last, (asked, outcome == "silenced"));
        alerts.extend(of_case);
    }
    alertmanager.take(&alerts);
    // What inhibits an alert may be looked at after it.
    let began = Instant::now();
    loop {
        let found = alertmanager.alerts().unwrap_or_default();
        let found: BTreeMap<Labels, bool> = found.into_iter().collect();
        let wrong: Vec<&str> = wanted
            .iter()
            .filter(|(alert, (_, silenced))| found.get(*alert) != Some(silenced))
            .map(|(_, (asked, _))| asked.as_str())
            .collect();
        if wrong.is_empty() {
            break;
        }
        assert!(began.elapsed() < wait::patient(SOON), "{wrong:#?}");
        thread::sleep(Duration::from_millis(200));
    }
}
