//! What stands in `deploy/` is what Kubernetes, the Prometheus operator, systemd and Docker take.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::slice;

use kcr_monitoring_coreos_com::v1::prometheuses::Prometheus;
use kcr_monitoring_coreos_com::v1::prometheusrules::PrometheusRule;
use kcr_monitoring_coreos_com::v1::servicemonitors::ServiceMonitor;
use kcr_monitoring_coreos_com::v1::thanosrulers::ThanosRuler;
use kcr_monitoring_coreos_com::v1alpha1::prometheusagents::PrometheusAgent;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::prometheus_rule;
use crate::{command, python};

/// The oldest release of Kubernetes that the objects are for, and the last four, whose schemas they must satisfy.
const RELEASES: [&str; 5] = ["1.30", "1.34", "1.35", "1.36", "1.37"];

fn deploy(path: &str) -> PathBuf {
    command::repository().join("deploy").join(path)
}

/// What a checker says; empty when it has found nothing.
fn findings(program: &Path, arguments: &[&OsStr]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| {
        panic!(
            "cannot start {} ({error}): `cargo xtask setup --for test` installs it",
            program.display()
        )
    });
    if output.status.success() {
        return String::new();
    }
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// What Kubernetes's schemas say of the objects in files, for one release.
fn refusal(release: &str, files: &[PathBuf]) -> String {
    let mut arguments: Vec<&OsStr> = ["-k", release, "--strict"].map(OsStr::new).to_vec();
    arguments.extend(files.iter().map(|file| file.as_os_str()));
    findings(&python::program("kubernetes-validate"), &arguments)
}

/// What systemd says of a unit; nothing if that is nothing, and `None` where there is no systemd.
fn objections(unit: &str) -> Option<String> {
    let Some(analyze) = command::find_program("systemd-analyze") else {
        println!("skipped: systemd is not installed");
        return None;
    };
    // The agent need not be installed here.
    let unit = changed(unit, "/usr/local/bin/sessionscope", "/bin/true");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessionscope.service");
    fs::write(&file, unit).unwrap();
    let output = Command::new(analyze)
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(&file)
        .output()
        .unwrap();
    // What it does not know is a warning, for some versions with success.
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() || !said.is_empty());
    Some(said)
}

/// A shipped text with something else in the place of a part, which must be there once or more.
fn changed(text: &str, part: &str, other: &str) -> String {
    assert!(text.contains(part), "{part} is not there any more");
    text.replacen(part, other, 1)
}

/// An object goes through its type and back unchanged: what the type does not know would be lost.
fn round_trip<T: DeserializeOwned + Serialize>(written: &Value) -> Result<(), String> {
    let typed: T = serde_json::from_value(written.clone()).map_err(|error| error.to_string())?;
    let back = serde_json::to_value(typed).unwrap();
    if back == *written {
        return Ok(());
    }
    Err(format!("{written} has become {back}"))
}

/// So it does, and with a word that the type does not know it does not.
fn assert_round_trip<T: DeserializeOwned + Serialize>(text: &str) {
    let mut object: Value = serde_yaml_ng::from_str(text).unwrap();
    assert_eq!(round_trip::<T>(&object), Ok(()));
    object["spec"]["intervall"] = "1m".into();
    let refused = round_trip::<T>(&object).unwrap_err();
    assert!(refused.contains("intervall"), "{refused}");
}

#[test]
fn kubernetes_takes_the_objects_of_the_agent_and_of_scaling() {
    let folder = fs::read_dir(deploy("kubernetes/agent")).unwrap();
    let mut objects: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    objects.retain(|file| {
        file.extension() == Some(OsStr::new("yaml"))
            && file.file_name() != Some(OsStr::new("kustomization.yaml"))
    });
    assert!(objects.len() >= 4, "{objects:?}");
    // What stands beside the operator, and on each node.
    let of_scaling = [
        "scaling/agent-mode/daemonset.yaml",
        "scaling/agent-mode/rbac.yaml",
        "scaling/operator/thanosquery.yaml",
    ];
    objects.extend(of_scaling.map(deploy));
    for release in RELEASES {
        assert_eq!(refusal(release, &objects), "", "{release}");
    }
}

#[test]
fn kubernetes_refuses_a_word_that_it_does_not_know() {
    let shipped = fs::read_to_string(deploy("scaling/agent-mode/daemonset.yaml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("daemonset.yaml");
    fs::write(&file, changed(&shipped, "readinessProbe", "readynessProbe")).unwrap();
    for release in RELEASES {
        let said = refusal(release, slice::from_ref(&file));
        assert!(said.contains("readynessProbe"), "{release}: {said}");
    }
}

#[test]
fn the_operator_takes_monitor_and_rules() {
    let monitor = fs::read_to_string(deploy("kubernetes/monitoring/servicemonitor.yaml")).unwrap();
    assert_round_trip::<ServiceMonitor>(&monitor);
    assert_round_trip::<PrometheusRule>(&prometheus_rule().unwrap());
}

#[test]
fn the_operator_takes_shards_a_ruler_and_agents_on_nodes() {
    let read = |name: &str| fs::read_to_string(deploy("scaling/operator").join(name)).unwrap();
    assert_round_trip::<Prometheus>(&read("prometheus.yaml"));
    assert_round_trip::<ThanosRuler>(&read("thanosruler.yaml"));
    assert_round_trip::<PrometheusAgent>(&read("prometheusagent.yaml"));
    let rules = deploy("scaling/operator/rules");
    let output = Command::new(rules).output().unwrap();
    let written = String::from_utf8(output.stdout).unwrap();
    let objects: Vec<&str> = written.split("---\n").skip(1).collect();
    assert!(output.status.success() && objects.len() > 10, "{written}");
    for object in objects {
        assert_round_trip::<PrometheusRule>(object);
    }
}

#[test]
fn the_dockerfile_has_no_findings() {
    let dockerfile = deploy("container/Dockerfile");
    let hadolint = python::program("hadolint");
    assert_eq!(findings(&hadolint, &[dockerfile.as_os_str()]), "");
    // What it would find: an image of any version, and more than one instruction of a kind.
    let shipped = fs::read_to_string(dockerfile).unwrap();
    let untagged = changed(&shipped, "FROM debian:bookworm-slim", "FROM debian");
    let twice = changed(&shipped, "EXPOSE 9709", "ENTRYPOINT [\"/bin/true\"]");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Dockerfile");
    for (wrong, rule) in [(untagged, "DL3006"), (twice, "DL4004")] {
        fs::write(&file, wrong).unwrap();
        let said = findings(&hadolint, &[file.as_os_str()]);
        assert!(said.contains(rule), "{rule}: {said}");
    }
}

#[test]
fn systemd_takes_the_unit() {
    let unit = fs::read_to_string(deploy("systemd/sessionscope.service")).unwrap();
    let Some(said) = objections(&unit) else {
        return;
    };
    assert_eq!(said, "");
    // What it would find: a key and a value that it does not know.
    for (part, fault, word) in [
        ("\nProtectSystem=", "\nProtektSystem=", "ProtektSystem"),
        ("ProtectSystem=strict", "ProtectSystem=most", "most"),
    ] {
        let said = objections(&changed(&unit, part, fault)).unwrap();
        assert!(said.contains(word), "{word}: {said}");
    }
}
