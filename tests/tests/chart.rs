//! The Helm chart renders the same under both majors of Helm, refuses what makes no sense, and is by default what
//! `deploy/kubernetes/` is.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use integration_tests::{
    agent,
    documents::document,
    helm::{self, Helm, RELEASES},
    prometheus,
};
use kcr_cert_manager_io::v1::certificates::Certificate;
use kcr_monitoring_coreos_com::v1::{
    podmonitors::PodMonitor, prometheusrules::PrometheusRule, servicemonitors::ServiceMonitor,
};
use serde_json::{Value, json};
use sessionscope::kernel::capabilities::NEEDS;

#[path = "chart/plain.rs"]
mod plain;
#[path = "chart/rules.rs"]
mod rules;

/// As in a cluster that has the Prometheus operator.
const OPERATOR: [&str; 2] = ["--api-versions", "monitoring.coreos.com/v1"];
/// What Kubernetes itself knows; the other objects have types of their own.
const CUSTOM: [&str; 4] = [
    "ServiceMonitor",
    "PodMonitor",
    "PrometheusRule",
    "Certificate",
];

/// The objects of each situation, with and without the operator, by either major; made once.
fn all_objects(helms: &[Helm; 2]) -> &'static [Vec<Value>; 2] {
    static ALL: OnceLock<[Vec<Value>; 2]> = OnceLock::new();
    ALL.get_or_init(|| helms.each_ref().map(rendered))
}

fn rendered(helm: &Helm) -> Vec<Value> {
    let mut all = Vec::new();
    for values in helm::situations().values() {
        let values = values.to_str().expect("UTF-8");
        all.extend(helm.objects(&["--values", values]));
        all.extend(helm.objects(&[&OPERATOR[..], &["--values", values]].concat()));
    }
    all
}

#[test]
fn both_majors_take_each_situation_and_render_it_alike() {
    let Some(helms) = helm::both() else { return };
    let situations = helm::situations();
    assert!(situations.len() >= 10, "{situations:?}");
    for (situation, values) in &situations {
        for helm in &helms {
            if let Err(said) = helm.lint(&helm::chart(), values) {
                panic!("helm {} lint, {situation}: {said}", helm.major);
            }
        }
    }
    let [third, fourth] = all_objects(&helms);
    assert!(third.len() > 100, "{}", third.len());
    assert_eq!(third, fourth);
}

#[test]
fn lint_finds_a_name_that_kubernetes_would_not_take() {
    let Some(helms) = helm::both() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let chart = folder.path().join("sessionscope");
    let copied = Command::new("cp")
        .arg("-a")
        .arg(helm::chart())
        .arg(&chart)
        .status();
    assert!(copied.is_ok_and(|status| status.success()));
    let file = chart.join("templates/service.yaml");
    let shipped = fs::read_to_string(&file).expect("a template");
    let name = "\n  name: {{ include \"sessionscope.fullname\" . }}\n";
    assert!(shipped.contains(name), "{shipped}");
    fs::write(
        &file,
        shipped.replacen(name, "\n  name: Session_Scope\n", 1),
    )
    .expect("a file can be written");
    for helm in &helms {
        let said = helm.lint(&chart, &helm::situations()["default"]);
        let said = said.expect_err("the chart has a fault");
        assert!(
            said.contains("templates/service.yaml") && said.contains("Session_Scope"),
            "helm {}: {said}",
            helm.major
        );
    }
}

/// Rows of a table: the argument of `--set`, and the words of each major.
fn wrong_values() -> Vec<(String, [String; 2])> {
    let table = document("tests/tests/chart/wrong.txt");
    let rows = table.lines().filter(|row| !row.starts_with('#'));
    rows.map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [set, third, fourth] = cells[..] else {
            panic!("three cells: {row}");
        };
        let fourth = if fourth == "=" { third } else { fourth };
        (set.to_owned(), [third.to_owned(), fourth.to_owned()])
    })
    .collect()
}

#[test]
fn wrong_values_are_refused_in_words() {
    let Some(helms) = helm::both() else { return };
    let wrong = wrong_values();
    assert!(wrong.len() >= 30, "{}", wrong.len());
    for (set, words) in &wrong {
        for (helm, words) in helms.iter().zip(words) {
            let said = helm.template(&["--set", set]);
            let said = said.expect_err(set);
            assert!(said.contains(words), "helm {}, {set}: {said}", helm.major);
        }
    }
}

#[test]
fn kubernetes_takes_the_objects() {
    let Some(helms) = helm::both() else { return };
    let mut seen = BTreeSet::new();
    let mut objects = all_objects(&helms)[1].clone();
    objects.retain(|object| !CUSTOM.contains(&helm::name(object).0));
    for object in &mut objects {
        // The validator takes a second to read a dashboard, which is text.
        if helm::name(object).1.contains("-dashboard-") {
            object["data"] = json!({});
        }
    }
    objects.retain(|object| seen.insert(object.to_string()));
    let kinds: BTreeSet<&str> = objects.iter().map(|object| helm::name(object).0).collect();
    for kind in ["DaemonSet", "NetworkPolicy", "Pod", "ResourceQuota", "Role"] {
        assert!(kinds.contains(kind), "{kinds:?}");
    }
    for release in RELEASES {
        assert_eq!(helm::findings(release, &objects), "");
    }
    // What it would find.
    let mut wrong = helm::only(&helms[1].objects(&[]), "DaemonSet").clone();
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = json!({});
    assert!(helm::findings(RELEASES[0], [&wrong]).contains("readynessProbe"));
}

#[test]
fn operators_take_their_objects() {
    let Some(helms) = helm::both() else { return };
    let mut kinds = BTreeSet::new();
    for object in &all_objects(&helms)[1] {
        match helm::name(object).0 {
            "ServiceMonitor" => helm::assert_round_trip::<ServiceMonitor>(object),
            "PodMonitor" => helm::assert_round_trip::<PodMonitor>(object),
            "PrometheusRule" => helm::assert_round_trip::<PrometheusRule>(object),
            "Certificate" => helm::assert_round_trip::<Certificate>(object),
            _ => continue,
        }
        kinds.insert(helm::name(object).0);
    }
    assert_eq!(kinds, BTreeSet::from(CUSTOM));
}

/// A `ConfigMap`'s files in a folder.
fn written(config: &Value, folder: &Path) -> Vec<PathBuf> {
    let files = config["data"].as_object().expect("files").iter();
    files
        .map(|(name, text)| {
            let path = folder.join(name);
            fs::write(&path, text.as_str().expect("text")).expect("a file can be written");
            path
        })
        .collect()
}

#[test]
fn the_agent_takes_the_configuration_of_each_situation() {
    let Some([_, helm]) = helm::both() else {
        return;
    };
    for (situation, values) in helm::situations() {
        let objects = helm.objects(&["--values", values.to_str().expect("UTF-8")]);
        let config = objects.iter().find(|object| {
            helm::name(object).0 == "ConfigMap" && !object["data"]["sessionscope.toml"].is_null()
        });
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let files = written(config.expect("a configuration"), folder.path());
        let file = files
            .iter()
            .find(|file| file.ends_with("sessionscope.toml"));
        let output = Command::new(agent::binary())
            .args(["--print-config", "--config"])
            .arg(file.expect("sessionscope.toml"))
            .output()
            .expect("the agent starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{situation}: {said}");
        let effective = String::from_utf8_lossy(&output.stdout);
        // Of two settings, in numbers and in words, and of a rule.
        if situation == "every-node" {
            for line in [
                "max_sessions = 512",
                "linger = \"10m\"",
                "name = \"desktops\"",
            ] {
                assert!(effective.contains(line), "{line}: {effective}");
            }
        }
    }
}

#[test]
fn a_change_of_the_configuration_restarts_the_agents() {
    let Some([_, helm]) = helm::both() else {
        return;
    };
    let checksum = |arguments: &[&str]| {
        let objects = helm.objects(arguments);
        let pod = &helm::only(&objects, "DaemonSet")["spec"]["template"]["metadata"];
        pod["annotations"]["checksum/config"].clone()
    };
    let before = checksum(&[]);
    assert!(before.is_string());
    assert_ne!(checksum(&["--set", "config.log.level=debug"]), before);
    // A label of a target is none of the agent's.
    assert_eq!(checksum(&["--set", "cluster=east"]), before);
}

#[test]
fn the_profile_has_what_the_agent_needs_in_a_container_and_no_more() {
    let Some([_, helm]) = helm::both() else {
        return;
    };
    let objects = helm.objects(&["--set", "securityProfile=capabilities"]);
    let pod = &helm::only(&objects, "DaemonSet")["spec"]["template"]["spec"];
    let security = &pod["containers"][0]["securityContext"];
    assert_eq!(security["privileged"], false);
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
    let added = security["capabilities"]["add"].as_array().expect("a list");
    let added: BTreeSet<String> = added
        .iter()
        .map(|name| format!("CAP_{}", name.as_str().expect("a name")))
        .collect();
    let known: BTreeSet<&str> = NEEDS.iter().map(|need| need.capability.name()).collect();
    for name in &added {
        assert!(known.contains(name.as_str()), "{name} is of no use");
    }
    // The unit has all but the one by which a container gets at the host's files.
    let unit = document("deploy/systemd/sessionscope.service");
    let bound = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let mut expected: BTreeSet<String> = bound
        .expect("a bounding set")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    expected.insert("CAP_SYS_PTRACE".to_owned());
    assert_eq!(added, expected);
}

#[test]
fn it_is_for_this_version_of_the_agent() {
    let chart: Value = serde_yaml_ng::from_str(&document("deploy/chart/Chart.yaml")).expect("YAML");
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
}
