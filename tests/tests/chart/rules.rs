//! Rules with thresholds from values.

use super::*;

/// The rules of the chart with further values.
fn rules(helm: &Helm, sets: &[&str]) -> Vec<Value> {
    let mut arguments = OPERATOR.to_vec();
    for set in sets {
        // In `--set` a number with a point is a text.
        let is_number = set.ends_with(|end: char| end.is_ascii_digit());
        arguments.extend([if is_number { "--set-json" } else { "--set" }, *set]);
    }
    let objects = helm.objects(&arguments);
    let mut all = Vec::new();
    for object in objects.iter().filter(|one| one["kind"] == "PrometheusRule") {
        for group in object["spec"]["groups"].as_array().expect("groups") {
            all.extend(group["rules"].as_array().expect("rules").iter().cloned());
        }
    }
    all
}

/// The alert of a name and a severity.
fn alert<'a>(rules: &'a [Value], name: &str, severity: &str) -> Option<&'a Value> {
    let is_it = |rule: &&Value| rule["alert"] == name && rule["labels"]["severity"] == severity;
    rules.iter().find(is_it)
}

const ALL: [&str; 3] = [
    "rules.kubeStateMetrics=true",
    "rules.nodeExporter=true",
    "rules.compat=true",
];

#[test]
fn prometheus_takes_the_rules_of_both_majors() {
    let Some(helms) = helm::both() else { return };
    let promtools = [
        prometheus::installed("promtool").expect("promtool is installed"),
        prometheus::newer::promtool().expect("promtool of sid can be had"),
    ];
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let place = regex::Regex::new("<[a-z][a-z0-9_]*>").expect("a pattern");
    for helm in &helms {
        let rules = rules(helm, &ALL);
        let text = json!({"groups": [{"name": "all", "rules": rules}]}).to_string();
        assert!(text.contains("{{ $labels"));
        assert_eq!(place.find(&text).map(|found| found.as_str()), None);
        // The alerts of the tables, each of them.
        let shipped = ["rules/alerts", "rules/platform"].map(alerts_of).concat();
        let rendered = rules.iter().filter(|rule| !rule["alert"].is_null());
        assert_eq!(rendered.count(), shipped.len());
        for rule in &shipped {
            let (name, severity) = (&rule["alert"], &rule["labels"]["severity"]);
            assert!(rules.contains(rule), "{name} {severity}: {rule}");
        }
        let file = folder.path().join("rules.yml");
        fs::write(&file, &text).expect("a file can be written");
        for promtool in &promtools {
            let output = Command::new(promtool)
                .args(["check", "rules"])
                .arg(&file)
                .output();
            let output = output.expect("promtool starts");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{said}");
            assert!(
                said.contains(&format!("{} rules found", rules.len())),
                "{said}"
            );
        }
    }
}

/// The alerts of a folder, as Prometheus loads them from there.
fn alerts_of(folder: &str) -> Vec<Value> {
    let entries = fs::read_dir(integration_tests::repository().join(folder)).expect(folder);
    let mut all = Vec::new();
    for entry in entries {
        let text = fs::read_to_string(entry.expect(folder).path()).expect(folder);
        let file: Value = serde_yaml_ng::from_str(&text).expect("YAML");
        for group in file["groups"].as_array().expect("groups") {
            let rules = group["rules"].as_array().expect("rules").iter();
            all.extend(rules.filter(|rule| !rule["alert"].is_null()).cloned());
        }
    }
    all
}

#[test]
fn thresholds_severities_and_links_are_values() {
    let Some([_, helm]) = helm::both() else {
        return;
    };
    let name = "VdiGpuMemoryNearlyFull";
    let shipped = rules(&helm, &[]);
    let changed = rules(
        &helm,
        &[
            "rules.thresholds.VdiGpuMemoryNearlyFull.warning.share=0.987",
            "rules.alerts.VdiGpuUtilizationHigh.warning.enabled=false",
            "rules.alerts.VdiAgentsDown.critical.severity=warning",
            "rules.alerts.VdiAgentsDown.critical.for=11m",
            "rules.alerts.VdiAgentsDown.critical.labels.team=platform",
            "rules.alertLabels.site=north",
            "runbookUrl=https://wiki.example/r/",
        ],
    );
    assert_eq!(changed.len() + 1, shipped.len());
    let of = |rules: &[Value]| alert(rules, name, "warning").expect(name)["expr"].to_string();
    assert!(!of(&shipped).contains("0.987"), "{}", of(&shipped));
    assert!(of(&changed).contains("0.987"), "{}", of(&changed));
    let high = |rules: &[Value]| alert(rules, "VdiGpuUtilizationHigh", "warning").is_some();
    assert!(high(&shipped) && !high(&changed));
    let down = alert(&changed, "VdiAgentsDown", "warning").expect("another severity");
    assert_eq!(down["for"], "11m");
    assert_eq!(down["labels"]["team"], "platform");
    let link = &down["annotations"]["runbook_url"];
    assert_eq!(link, "https://wiki.example/r/VdiAgentsDown");
    for rule in changed.iter().filter(|rule| !rule["alert"].is_null()) {
        assert_eq!(rule["labels"]["site"], "north", "{rule}");
    }
}

#[test]
fn a_threshold_that_a_description_names_is_the_one_of_the_values() {
    let Some([_, helm]) = helm::both() else {
        return;
    };
    let changed = rules(
        &helm,
        &["rules.thresholds.VdiAgentsRestarting.critical.agents=17"],
    );
    let text = alert(&changed, "VdiAgentsRestarting", "critical")
        .expect("it is there")
        .to_string();
    assert!(text.contains(">= 17"), "{text}");
}

#[test]
fn dashboards_link_to_the_same_pages() {
    let Some([_, helm]) = helm::both() else {
        return;
    };
    let shipped = document("rules/runbooks");
    let objects = helm.objects(&["--set", "runbookUrl=https://wiki.example/r/"]);
    let dashboards: Vec<&Value> = objects
        .iter()
        .filter(|object| object["metadata"]["labels"]["grafana_dashboard"] == "1")
        .collect();
    assert_eq!(dashboards.len(), dashboards::all().expect("JSON").len());
    let text: String = dashboards
        .iter()
        .map(|object| object["data"].to_string())
        .collect();
    assert!(text.contains("https://wiki.example/r/"));
    assert!(!text.contains(shipped.trim()));
    for object in dashboards {
        let files = object["data"].as_object().expect("files");
        for file in files.values() {
            let dashboard: Value =
                serde_json::from_str(file.as_str().expect("text")).expect("JSON");
            assert!(dashboard["uid"].is_string());
        }
    }
}
