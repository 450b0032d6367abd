//! Rules, dashboards and configuration are the repository's own files, all of them, and what is mounted is there.

use std::process::Command;

use integration_tests::alertmanager::{self, amtool};
use regex::Regex;

use super::*;

const SECRETS: &str = "secret.example.yaml";

/// Name and files of each generator of a kustomization.
fn generators(kustomization: &Value) -> BTreeMap<String, Vec<String>> {
    list(&kustomization["configMapGenerator"])
        .map(|generator| {
            let files = list(&generator["files"]).map(text).map(str::to_owned);
            (text(&generator["name"]).to_owned(), files.collect())
        })
        .collect()
}

/// The names of the files of a folder that end so, without those below it.
fn names(folder: &str, end: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(repository().join(folder)).expect("the folder is there");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names
        .map(|name| name.into_string().expect("UTF-8"))
        .filter(|name| name.ends_with(end))
        .collect()
}

#[test]
fn every_rule_and_every_dashboard_is_in_a_generator() {
    let kustomizations = kustomizations();
    let rules = generators(&kustomizations["rules"]);
    assert_eq!(rules.len(), 3);
    for folder in ["recordings", "alerts", "platform"] {
        let listed: BTreeSet<String> = rules[&format!("prometheus-{folder}")]
            .iter()
            .cloned()
            .collect();
        let there = names(&format!("rules/{folder}"), ".yml").into_iter();
        let there: BTreeSet<String> = there.map(|name| format!("{folder}/{name}")).collect();
        assert_eq!(listed, there);
    }
    let there: BTreeMap<String, Vec<String>> = names("dashboards", ".json")
        .into_iter()
        .map(|name| {
            let stem = name.trim_end_matches(".json");
            (format!("sessionscope-dashboard-{stem}"), vec![name])
        })
        .collect();
    assert_eq!(generators(&kustomizations["dashboards"]), there);
}

#[test]
fn grafana_mounts_every_dashboard() {
    let Some(builds) = builds() else { return };
    let grafana = named(&builds[STACK], "StatefulSet", "grafana");
    let volumes = list(&pod(grafana)["volumes"]);
    let sources = volumes.flat_map(|volume| list(&volume["projected"]["sources"]));
    let mounted: Vec<&str> = sources
        .map(|source| text(&source["configMap"]["name"]))
        .collect();
    let generated = generators(&kustomizations()["dashboards"]);
    assert!(mounted.iter().eq(generated.keys()), "{mounted:?}");
}

#[test]
fn what_is_generated_is_what_stands_in_the_file() {
    let Some(builds) = builds() else { return };
    let mut compared = 0;
    for (folder, kustomization) in kustomizations() {
        let objects = &builds[&folder];
        for (name, files) in generators(&kustomization) {
            let is_it = |config: &&Value| {
                let rest = helm::name(config).1.strip_prefix(name.as_str());
                rest.is_some_and(|rest| rest.is_empty() || is_hash(rest))
            };
            for file in files {
                let key = file.rsplit('/').next().expect("a name");
                let written = document(&format!("{folder}/{file}"));
                let mut configs = of_kind(objects, "ConfigMap").filter(is_it);
                let is_there = configs.any(|config| config["data"][key] == written);
                assert!(is_there, "{folder}: {file} in {name}");
                compared += 1;
            }
        }
    }
    assert!(compared > 35, "{compared}");
}

/// Whether this is what kustomize puts behind a name.
fn is_hash(end: &str) -> bool {
    end.len() == 11 && end.starts_with('-') && !end[1..].contains('-')
}

/// The `ConfigMap`s that a workload reads.
fn configs(workload: &Value) -> BTreeSet<&str> {
    let volumes = list(&pod(workload)["volumes"]);
    let mounted = volumes.flat_map(|volume| {
        let projected = list(&volume["projected"]["sources"]).map(|one| &one["configMap"]["name"]);
        projected.chain([&volume["configMap"]["name"]])
    });
    let read = containers(workload).flat_map(|container| list(&container["envFrom"]));
    let read = read.map(|source| &source["configMapRef"]["name"]);
    mounted.chain(read).filter_map(Value::as_str).collect()
}

/// The Secrets that it reads.
fn secrets(workload: &Value) -> BTreeSet<&str> {
    let volumes = list(&pod(workload)["volumes"]);
    let mounted = volumes.map(|volume| &volume["secret"]["secretName"]);
    let read = containers(workload).flat_map(|container| list(&container["envFrom"]));
    let read = read.map(|source| &source["secretRef"]["name"]);
    mounted.chain(read).filter_map(Value::as_str).collect()
}

#[test]
fn each_configuration_that_is_mounted_is_built_with_it() {
    let Some(builds) = builds() else { return };
    let mut checked = 0;
    for (folder, objects) in builds {
        let there: BTreeSet<&str> = of_kind(objects, "ConfigMap")
            .map(|config| helm::name(config).1)
            .collect();
        for workload in workloads(objects) {
            for config in configs(workload) {
                assert!(there.contains(config), "{folder}: {config}");
                checked += 1;
            }
        }
    }
    assert!(checked > 50, "{checked}");
}

/// The templates of Secrets, by their names.
fn templates() -> BTreeMap<String, Value> {
    let all = files(STACK).into_iter();
    all.filter(|(path, _)| path.ends_with(SECRETS))
        .flat_map(|(_, written)| helm::objects(&written))
        .map(|secret| (helm::name(&secret).1.to_owned(), secret))
        .collect()
}

#[test]
fn no_secret_is_built_and_each_that_is_read_has_a_template_without_values() {
    let Some(builds) = builds() else { return };
    let mut wanted = BTreeSet::new();
    for (folder, objects) in builds {
        assert_eq!(of_kind(objects, "Secret").count(), 0, "{folder}");
        wanted.extend(workloads(objects).flat_map(secrets));
        let annotations = of_kind(objects, "Ingress").map(|one| &one["metadata"]["annotations"]);
        let users = annotations.map(|all| &all["nginx.ingress.kubernetes.io/auth-secret"]);
        wanted.extend(users.filter_map(Value::as_str));
    }
    let templates = templates();
    assert!(wanted.into_iter().eq(templates.keys()));
    for (name, secret) in &templates {
        assert_eq!(helm::name(secret).0, "Secret");
        assert!(secret["data"].is_null(), "{name}");
        for (key, value) in entries(&secret["stringData"]) {
            // Who is asked for is not secret.
            let expected = if key == "user" { "admin" } else { "" };
            assert_eq!(value, expected, "{name}: {key}");
        }
    }
}

#[test]
fn alertmanager_s_template_has_the_files_that_its_configuration_reads() {
    let read = Regex::new(r"(?m)^[^#\n]*/etc/alertmanager/secrets/([\w-]+)").expect("a pattern");
    let configuration = document(alertmanager::CONFIGURATION);
    let read: BTreeSet<String> = read
        .captures_iter(&configuration)
        .map(|found| found[1].to_owned())
        .collect();
    let templates = templates();
    let given: BTreeSet<String> = entries(&templates["alertmanager-keys"]["stringData"])
        .map(|(key, _)| key.clone())
        .collect();
    assert_eq!(read, given);
}

/// The expression between the quotes behind `sed`.
fn expression(script: &str) -> &str {
    let (_, rest) = script.split_once("sed '").expect("sed");
    rest.split_once('\'').expect("a quote").0
}

#[test]
fn alertmanager_s_routes_lead_to_alloy_as_in_compose_and_amtool_takes_them() {
    let Some(builds) = builds() else { return };
    let objects = &builds[STACK];
    let workload = named(objects, "StatefulSet", "alertmanager");
    let script = text(&pod(workload)["initContainers"][0]["args"][0]);
    assert_eq!(
        expression(script),
        expression(&document("deploy/compose/alertmanager.sh"))
    );

    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let here = |path: &str| folder.path().join(path.trim_start_matches('/'));
    let mut script = script.to_owned();
    for path in ["/etc/alertmanager", "/run/alertmanager"] {
        fs::create_dir_all(here(path)).expect("a folder can be made");
        script = script.replace(path, &here(path).display().to_string());
    }
    let shipped = document(alertmanager::CONFIGURATION);
    fs::write(here("etc/alertmanager/alertmanager.yml"), shipped).expect("a file can be written");
    let status = Command::new("/bin/sh").args(["-ec", &script]).status();
    assert!(status.expect("a shell").success(), "{script}");

    let made = here("run/alertmanager/alertmanager.yml");
    let routes = fs::read_to_string(&made).expect("a file");
    let sink = "http://alloy:9095/loki/api/v1/raw";
    assert_eq!(routes.matches(sink).count(), 1, "{routes}");
    let alloy = named(objects, "Service", "alloy");
    assert!(list(&alloy["spec"]["ports"]).any(|port| port["port"] == 9095));
    let program = amtool().unwrap_or_else(|error| panic!("{error:#}"));
    let output = Command::new(program)
        .arg("check-config")
        .arg(&made)
        .output()
        .expect("amtool starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
