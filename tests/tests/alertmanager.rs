//! The configuration of Alertmanager as it is shipped: which receiver an alert reaches, and which alerts are not told
//! because others are. And the command that sends a test alert to each receiver.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    alertmanager::{Alertmanager, CONFIGURATION, Labels, Sink, amtool, shipped},
    documents::document,
    repository, wait,
};
use serde_yaml_ng::{Mapping, Value};

const SEND_TEST_ALERT: &str = "deploy/alertmanager/send-test-alert";
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
    // What it would find.
    let wrong =
        document(CONFIGURATION).replacen("\n  receiver: team\n", "\n  receiver: unheard-of\n", 1);
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    fs::write(&file, wrong).expect("a file can be written");
    let (success, said_of_it) = said(&["check-config", &file.path().display().to_string()]);
    assert!(
        !success && said_of_it.contains("unheard-of"),
        "{said_of_it}"
    );
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

/// What the command says that sends test alerts, and how it ends.
struct Sent {
    code: Option<i32>,
    output: String,
    errors: String,
}

/// Runs it with programs of a folder before those of the machine.
fn send_test_alert(programs: &Path, arguments: &[&str]) -> Sent {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = [programs.to_owned()]
        .into_iter()
        .chain(env::split_paths(&path));
    let output = Command::new(repository().join(SEND_TEST_ALERT))
        .args(arguments)
        .env("PATH", env::join_paths(folders).expect("a PATH"))
        .output()
        .expect("it may be executed");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Sent {
        code: output.status.code(),
        output: text(output.stdout),
        errors: text(output.stderr),
    }
}

fn folder_of_amtool() -> PathBuf {
    let program = amtool().unwrap_or_else(|error| panic!("{error:#}"));
    program.parent().expect("a file has a folder").to_owned()
}

#[test]
fn a_test_alert_reaches_each_receiver() {
    let sink = Sink::start();
    let alertmanager = Alertmanager::start(&shipped(sink.address()));
    let url = format!("http://{}", alertmanager.address());
    let sent = send_test_alert(&folder_of_amtool(), &[&url]);
    assert_eq!(sent.code, Some(0), "{}", sent.errors);
    for line in [
        "warning: sent, for log-sink,team\n",
        "info: sent, for log-sink,nobody\n",
        "watchdog: sent, for watchdog\n",
        "critical: sent, for log-sink,on-call\n",
    ] {
        assert!(sent.output.contains(line), "{}", sent.output);
    }

    let wanted = BTreeSet::from(
        [
            ("log-sink", "warning"),
            ("team", "warning"),
            ("log-sink", "info"),
            ("nobody", "info"),
            ("watchdog", "none"),
            ("log-sink", "critical"),
            ("on-call", "critical"),
        ]
        .map(|(receiver, severity)| (format!("/{receiver}"), severity.to_owned())),
    );
    let told = || -> BTreeSet<(String, String)> {
        let told = sink.told().into_iter().filter(|told| told.firing);
        told.map(|told| (told.path, told.labels["severity"].clone()))
            .collect()
    };
    wait::until("each receiver is told", SOON, || {
        (told().len() >= wanted.len()).then_some(())
    });
    assert_eq!(told(), wanted);
    // No receiver is left out.
    let configuration: Value = serde_yaml_ng::from_str(&document(CONFIGURATION)).expect("YAML");
    for receiver in configuration["receivers"].as_sequence().expect("receivers") {
        let path = format!("/{}", receiver["name"].as_str().expect("a name"));
        assert!(wanted.iter().any(|(one, _)| *one == path), "{path}");
    }
    // And no test holds back another.
    let alerts = alertmanager.alerts().expect("all have been looked at");
    assert_eq!(alerts.len(), 4, "{alerts:?}");
    for (labels, inhibited) in alerts {
        assert!(!inhibited, "{labels:?}");
        assert_eq!(labels["cluster"], "test");
    }
}

#[test]
fn only_the_kinds_that_are_named_are_sent_with_labels_of_choice() {
    let sink = Sink::start();
    let alertmanager = Alertmanager::start(&shipped(sink.address()));
    let url = format!("http://{}", alertmanager.address());
    let arguments = ["-c", "east", "-e", "staging", &url, "critical"];
    let sent = send_test_alert(&folder_of_amtool(), &arguments);
    assert_eq!(sent.code, Some(0), "{}", sent.errors);
    // Nobody is called for such an environment.
    wait::until("the team is told", SOON, || {
        sink.told()
            .iter()
            .any(|told| told.path == "/team")
            .then_some(())
    });
    for told in sink.told() {
        assert_eq!(told.labels["alertname"], "SessionscopeTestCritical");
        assert_eq!(told.labels["cluster"], "east");
        assert_ne!(told.path, "/on-call");
    }
}

#[test]
fn what_keeps_a_test_alert_from_being_sent_is_said() {
    let programs = folder_of_amtool();
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let nobody = format!("http://{}", listener.local_addr().expect("it is bound"));
    drop(listener);
    let sent = send_test_alert(&programs, &[&nobody, "warning"]);
    assert_eq!(sent.code, Some(1), "{}", sent.output);
    let said = format!("the Alertmanager at {nobody} has not taken the test alert warning");
    assert!(sent.errors.contains(&said), "{}", sent.errors);
    assert!(!sent.output.contains("sent"), "{}", sent.output);

    let refused: [(&[&str], &str); 4] = [
        (&[], "the URL of Alertmanager is missing"),
        (&["localhost:9093"], "localhost:9093 is no URL"),
        (&[&nobody, "urgent"], "there is no kind urgent"),
        (&["-x"], "usage: "),
    ];
    for (arguments, said) in refused {
        let sent = send_test_alert(&programs, arguments);
        assert_eq!(sent.code, Some(2), "{arguments:?}");
        assert!(sent.errors.contains(said), "{}", sent.errors);
    }

    // Nothing at all on the PATH.
    let output = Command::new("/bin/sh")
        .arg(repository().join(SEND_TEST_ALERT))
        .arg(&nobody)
        .env("PATH", "/nowhere")
        .output()
        .expect("a shell starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("there is no amtool on the PATH"),
        "{errors}"
    );
}
