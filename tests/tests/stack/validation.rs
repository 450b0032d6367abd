//! Each kustomization builds, and Kubernetes takes what it becomes.

use integration_tests::helm::RELEASES;

use super::*;

/// What the operators' types are for.
fn is_custom(object: &Value) -> bool {
    object["apiVersion"] == "monitoring.coreos.com/v1"
}

/// The distinct objects of all builds, without what the validator does not read and would spend most of its time on.
pub(super) fn distinct(builds: &Builds) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let mut all: Vec<Value> = builds.values().flatten().cloned().collect();
    all.retain(|object| !is_custom(object));
    for object in &mut all {
        if object["kind"] == "ConfigMap" {
            object["data"] = json!({});
        }
        // By these alone most objects of an overlay differ from those of the stack.
        let labels = object.pointer_mut("/metadata/labels");
        if let Some(labels) = labels.and_then(Value::as_object_mut) {
            labels.retain(|label, _| !matches!(label.as_str(), "cluster" | "environment"));
        }
    }
    all.retain(|object| seen.insert(object.to_string()));
    all
}

#[test]
fn kubernetes_takes_what_each_kustomization_becomes() {
    let Some(builds) = builds() else { return };
    assert!(builds.len() >= 33, "{:?}", builds.keys());
    let objects = distinct(builds);
    let kinds: BTreeSet<&str> = objects.iter().map(|object| helm::name(object).0).collect();
    for kind in ["DaemonSet", "Ingress", "NetworkPolicy", "StatefulSet"] {
        assert!(kinds.contains(kind), "{kinds:?}");
    }
    for release in RELEASES {
        assert_eq!(helm::findings(release, &objects), "");
    }
}

#[test]
fn a_wrong_word_is_found() {
    let Some(builds) = builds() else { return };
    let mut wrong = named(&builds[STACK], "StatefulSet", "loki").clone();
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = json!({});
    for release in RELEASES {
        assert!(helm::findings(release, [&wrong]).contains("readynessProbe"));
    }
}

#[test]
fn a_file_that_is_not_there_and_a_patch_that_does_not_fit_are_refused() {
    if helm::both().is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let root = folder.path();
    let service = document("deploy/kubernetes/stack/loki/service.yaml");
    fs::write(root.join("service.yaml"), service).expect("a file can be written");
    let test = "- {op: test, path: /spec/ports/0/name, value: metrics}";
    let patch = json!({"target": {"kind": "Service", "name": "loki"}, "patch": test});
    for (resources, patches, said) in [
        (json!(["absent.yaml"]), json!([]), "absent.yaml"),
        (
            json!(["service.yaml"]),
            json!([patch]),
            "/spec/ports/0/name",
        ),
    ] {
        let kustomization = json!({"resources": resources, "patches": patches});
        let file = root.join("kustomization.yaml");
        fs::write(file, kustomization.to_string()).expect("a file can be written");
        let refused = helm::kustomize(root).expect_err(said);
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn every_object_fits_into_what_kubectl_apply_keeps_of_it() {
    let Some(builds) = builds() else { return };
    for (folder, objects) in builds {
        for object in objects {
            let length = object.to_string().len();
            // The last applied state is an annotation, and all annotations together may have 256 KiB.
            assert!(length < 250_000, "{folder}: {:?}", helm::name(object));
        }
    }
}
