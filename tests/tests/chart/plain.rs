//! What the chart is by default is what `kubectl apply -k deploy/kubernetes` brings, but for a list of differences.

use super::*;

/// Where the chart says something that the plain manifests do not: kind, path in the object, and why. A path stands
/// for what is below it.
const DIFFERENCES: [(&str, &str, &str); 8] = [
    ("*", "/metadata/namespace", "the kustomization sets it"),
    (
        "*",
        "/metadata/labels/app.kubernetes.io~1instance",
        "the release, which plain manifests do not have",
    ),
    (
        "*",
        "/metadata/labels/app.kubernetes.io~1version",
        "as instance",
    ),
    (
        "*",
        "/metadata/labels/app.kubernetes.io~1managed-by",
        "as instance",
    ),
    ("*", "/metadata/labels/helm.sh~1chart", "as instance"),
    (
        "*",
        "/metadata/labels/app.kubernetes.io~1name",
        "the kustomization sets it where it is not",
    ),
    (
        "Service",
        "/metadata/labels/monitoring",
        "by it one ServiceMonitor of a platform finds all services",
    ),
    (
        "DaemonSet",
        "/spec/template/metadata/annotations",
        "the checksum stands for the hash in the name of kustomize's ConfigMap",
    ),
];
/// Objects that one of the two has alone: kind, name, and why.
const ALONE: [(&str, &str, &str); 4] = [
    (
        "Namespace",
        "sessionscope",
        "Helm makes the namespace itself",
    ),
    (
        "ConfigMap",
        "sessionscope",
        "kustomize makes it of sessionscope.toml",
    ),
    (
        "ConfigMap",
        "sessionscope-dashboard-",
        "plain Grafana reads dashboards/ from a folder",
    ),
    ("Pod", "sessionscope-test", "of `helm test`"),
];
const FILES: [&str; 6] = [
    "agent/namespace.yaml",
    "agent/rbac.yaml",
    "agent/daemonset.yaml",
    "agent/service.yaml",
    "monitoring/prometheusrule.yaml",
    "monitoring/servicemonitor.yaml",
];

/// Each place in which two values differ, as a JSON pointer. One that is absent has nothing below it.
fn differences(path: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
    let empty = serde_json::Map::new();
    match (one, other) {
        (Value::Object(_) | Value::Null, Value::Object(_) | Value::Null) if one != other => {
            let one = one.as_object().unwrap_or(&empty);
            let other = other.as_object().unwrap_or(&empty);
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            if keys.is_empty() {
                found.push(path.to_owned());
            }
            for key in keys {
                let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                let [one, other] = [one, other].map(|side| side.get(key).unwrap_or(&Value::Null));
                differences(&path, one, other, found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (at, (one, other)) in one.iter().zip(other).enumerate() {
                differences(&format!("{path}/{at}"), one, other, found);
            }
        }
        _ if one == other => {}
        _ => found.push(path.to_owned()),
    }
}

fn is_named(kind: &str, path: &str) -> bool {
    DIFFERENCES.iter().any(|(of, known, _)| {
        let rest = path.strip_prefix(known);
        (*of == "*" || *of == kind)
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// What the plain manifests are once kustomize has given images their tag.
fn plain_objects() -> Vec<Value> {
    let mut objects = Vec::new();
    for file in FILES {
        objects.extend(helm::objects(&document(&format!(
            "deploy/kubernetes/{file}"
        ))));
    }
    let kustomization = helm::objects(&document("deploy/kubernetes/agent/kustomization.yaml"));
    let image = &kustomization[0]["images"][0];
    let image = format!(
        "{}:{}",
        image["newName"].as_str().expect("a name"),
        image["newTag"].as_str().expect("a tag")
    );
    for object in &mut objects {
        if object["kind"] == "DaemonSet" {
            object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        }
    }
    objects
}

#[test]
fn the_chart_is_by_default_what_the_plain_manifests_are() {
    let Some([_, helm]) = helm::both() else {
        return;
    };
    let chart = helm.objects(&OPERATOR);
    let plain = plain_objects();
    let of = |objects: &[Value], name: (&str, &str)| {
        let mut found = objects.iter().filter(|object| helm::name(object) == name);
        found.next().cloned()
    };
    let names: BTreeSet<(&str, &str)> = chart.iter().chain(&plain).map(helm::name).collect();
    let mut unnamed = Vec::new();
    for name in names {
        let (Some(chart), Some(plain)) = (of(&chart, name), of(&plain, name)) else {
            let is_known = |(kind, begin, _): &(&str, &str, &str)| {
                *kind == name.0
                    && (*begin == name.1 || begin.ends_with('-') && name.1.starts_with(begin))
            };
            if !ALONE.iter().any(is_known) {
                unnamed.push(format!("{name:?} is in one of them"));
            }
            continue;
        };
        let mut found = Vec::new();
        differences("", &chart, &plain, &mut found);
        found.retain(|path| !is_named(name.0, path));
        unnamed.extend(found.into_iter().map(|path| format!("{name:?} {path}")));
    }
    assert!(unnamed.is_empty(), "{unnamed:#?}");
    let config = of(&chart, ("ConfigMap", "sessionscope")).expect("a configuration");
    assert_eq!(
        config["data"]["sessionscope.toml"],
        document("deploy/kubernetes/agent/sessionscope.toml")
    );
}

#[test]
fn a_difference_that_is_not_named_is_found() {
    let mut found = Vec::new();
    let (one, other) = (
        json!({"metadata": {"labels": {"a/b": "1"}}, "spec": {"ports": [{"port": 1}], "hostPID": true}}),
        json!({"metadata": {"labels": {}}, "spec": {"ports": [{"port": 2}], "hostPID": true}}),
    );
    differences("", &one, &other, &mut found);
    assert_eq!(found, ["/metadata/labels/a~1b", "/spec/ports/0/port"]);
    assert!(!is_named("DaemonSet", "/spec/ports/0/port"));
    assert!(is_named(
        "DaemonSet",
        "/spec/template/metadata/annotations/checksum~1config"
    ));
    assert!(!is_named("Service", "/spec/template/metadata/annotations"));
}

#[test]
fn every_node_is_what_the_component_makes_of_them() {
    let Some([_, helm]) = helm::both() else {
        return;
    };
    let chart = helm.objects(&["--set", "nodes=all"]);
    let pod = &helm::only(&chart, "DaemonSet")["spec"]["template"]["spec"];
    let component = helm::objects(&document("deploy/kubernetes/every-node/kustomization.yaml"));
    let patch = component[0]["patches"][0]["patch"].as_str().expect("text");
    let patch: Value = serde_yaml_ng::from_str(patch).expect("YAML");
    assert_eq!(pod["tolerations"], patch[1]["value"]);
    let terms = &pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        ["nodeSelectorTerms"];
    assert_eq!(*terms, patch[0]["value"]);
}
