//! What stands in `deploy/` is what Kubernetes, the Prometheus operator, systemd and Docker take.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kcr_monitoring_coreos_com::v1::prometheusrules::PrometheusRule;
use kcr_monitoring_coreos_com::v1::servicemonitors::ServiceMonitor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::prometheus_rule;
use crate::{command, python};

/// The oldest and the newest release of Kubernetes whose schemas the objects must satisfy.
const RELEASES: [&str; 2] = ["1.30", "1.37"];

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

/// An object goes through its type and back unchanged: what the type does not know would be lost.
fn assert_round_trip<T: DeserializeOwned + Serialize>(text: &str) {
    let written: Value = serde_yaml_ng::from_str(text).unwrap();
    let typed: T = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), written);
}

#[test]
fn kubernetes_takes_the_objects_of_the_agent() {
    let folder = fs::read_dir(deploy("kubernetes/agent")).unwrap();
    let mut objects: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    objects.retain(|file| {
        file.extension() == Some(OsStr::new("yaml"))
            && file.file_name() != Some(OsStr::new("kustomization.yaml"))
    });
    assert!(objects.len() >= 4, "{objects:?}");
    for release in RELEASES {
        let mut arguments: Vec<&OsStr> = ["-k", release, "--strict"].map(OsStr::new).to_vec();
        arguments.extend(objects.iter().map(|file| file.as_os_str()));
        let validate = python::program("kubernetes-validate");
        assert_eq!(findings(&validate, &arguments), "", "{release}");
    }
}

#[test]
fn the_operator_takes_monitor_and_rules() {
    let monitor = fs::read_to_string(deploy("kubernetes/monitoring/servicemonitor.yaml")).unwrap();
    assert_round_trip::<ServiceMonitor>(&monitor);
    assert_round_trip::<PrometheusRule>(&prometheus_rule().unwrap());
}

#[test]
fn the_dockerfile_has_no_findings() {
    let dockerfile = deploy("container/Dockerfile");
    let hadolint = python::program("hadolint");
    assert_eq!(findings(&hadolint, &[dockerfile.as_os_str()]), "");
}

#[test]
fn systemd_takes_the_unit() {
    let Some(analyze) = command::find_program("systemd-analyze") else {
        println!("skipped: systemd is not installed");
        return;
    };
    let unit = fs::read_to_string(deploy("systemd/sessionscope.service")).unwrap();
    // The agent need not be installed here.
    let (with, without) = ("/usr/local/bin/sessionscope", "/bin/true");
    assert!(unit.contains(with));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessionscope.service");
    fs::write(&file, unit.replace(with, without)).unwrap();
    let output = Command::new(analyze)
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(&file)
        .output()
        .unwrap();
    // What it does not know is a warning, with success.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said, "");
}
