//! The stack in Kubernetes: each kustomization builds into objects that Kubernetes takes, made of the repository's own
//! rules, dashboards and configuration; nothing secret stands in it, nobody has more rights than they need, and what
//! documents say of sizes is what the manifests ask for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::LazyLock,
};

use integration_tests::{
    documents::{document, has_test},
    helm,
    operations::files,
    repository,
};
use serde_json::{Value, json};

#[path = "stack/access.rs"]
mod access;
#[path = "stack/configuration.rs"]
mod configuration;
#[path = "stack/containers.rs"]
mod containers;
#[path = "stack/counterparts.rs"]
mod counterparts;
#[path = "stack/coverage.rs"]
mod coverage;
#[path = "stack/network.rs"]
mod network;
#[path = "stack/overlays.rs"]
mod overlays;
#[path = "stack/pages.rs"]
mod pages;
#[path = "stack/scanned.rs"]
mod scanned;
#[path = "stack/validation.rs"]
mod validation;

const AGENT: &str = "deploy/kubernetes/agent";
const STACK: &str = "deploy/kubernetes/stack";
const PROMTAIL: &str = "deploy/kubernetes/stack/promtail";
const INGRESS: &str = "deploy/kubernetes/stack/ingress";
/// What is no kustomization by itself, and what it is tried with.
const COMPONENTS: [(&str, &str); 5] = [
    ("deploy/kubernetes/every-node", AGENT),
    ("deploy/kubernetes/overlays/common", AGENT),
    (
        "deploy/kubernetes/stack/loki/azure",
        "deploy/kubernetes/stack/loki",
    ),
    (
        "deploy/kubernetes/stack/loki/gcs",
        "deploy/kubernetes/stack/loki",
    ),
    (
        "deploy/kubernetes/stack/loki/s3",
        "deploy/kubernetes/stack/loki",
    ),
];

/// What each kustomization becomes, by its folder.
type Builds = BTreeMap<String, Vec<Value>>;

/// Each is built once for all tests: together they take a few seconds.
static BUILDS: LazyLock<Builds> = LazyLock::new(|| {
    let all = kustomizations().into_iter();
    all.map(|(folder, kustomization)| {
        let objects = if kustomization["kind"] == "Component" {
            with_base(&folder)
        } else {
            helm::kustomize(&repository().join(&folder))
        };
        let objects = objects.unwrap_or_else(|said| panic!("{folder}: {said}"));
        (folder, objects)
    })
    .collect()
});

/// All of them, if there is a kubectl; it comes with Helm.
fn builds() -> Option<&'static Builds> {
    helm::both()?;
    Some(&BUILDS)
}

/// The kustomizations of the repository, by their folders.
fn kustomizations() -> BTreeMap<String, Value> {
    let all = ["deploy", "rules", "dashboards"]
        .into_iter()
        .flat_map(files);
    all.filter(|(path, _)| path.ends_with("kustomization.yaml"))
        .map(|(path, written)| {
            let folder = path.parent().expect("a folder");
            let folder = folder.strip_prefix(repository());
            let folder = folder.expect("a folder of the repository").to_str();
            let kustomization = serde_yaml_ng::from_str(&written);
            let kustomization = kustomization.unwrap_or_else(|error| panic!("{folder:?}: {error}"));
            (folder.expect("UTF-8").to_owned(), kustomization)
        })
        .collect()
}

/// A component with what it is for. Kustomize takes no absolute path, so the way leads up to the root.
fn with_base(component: &str) -> Result<Vec<Value>, String> {
    let (_, base) = COMPONENTS
        .iter()
        .find(|(folder, _)| *folder == component)
        .unwrap_or_else(|| panic!("{component} is not in COMPONENTS"));
    let temporary = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = temporary.path().canonicalize().expect("it is there");
    let up = "../".repeat(folder.components().count() - 1);
    let root = repository().canonicalize().expect("the repository");
    let root = root.strip_prefix("/").expect("an absolute path").display();
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [format!("{up}{root}/{base}")],
        "components": [format!("{up}{root}/{component}")],
    });
    let file = folder.join("kustomization.yaml");
    fs::write(file, kustomization.to_string()).expect("a file can be written");
    helm::kustomize(&folder)
}

fn text(value: &Value) -> &str {
    let text = value.as_str();
    text.unwrap_or_else(|| panic!("this is not a text: {value}"))
}

/// The entries of a list; none if it is absent.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The entries of a map; none if it is absent.
fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

/// The object of a kind and a name.
fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let mut found = objects
        .iter()
        .filter(|object| helm::name(object) == (kind, name));
    found.next().unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// What runs pods.
fn workloads(objects: &[Value]) -> impl Iterator<Item = &Value> {
    let kinds = ["DaemonSet", "Deployment", "StatefulSet"];
    objects
        .iter()
        .filter(move |object| kinds.contains(&helm::name(object).0))
}

/// The stack's workloads with Promtail, each with the objects that it is built with.
fn all_workloads(builds: &Builds) -> Vec<(&str, &Value, &[Value])> {
    let mut all = Vec::new();
    for folder in [STACK, PROMTAIL] {
        let objects = builds[folder].as_slice();
        all.extend(workloads(objects).map(|one| (helm::name(one).1, one, objects)));
    }
    assert!(all.len() >= 9, "{}", all.len());
    all
}

fn pod(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]
}

/// The containers of a workload that run all the time.
fn containers(workload: &Value) -> impl Iterator<Item = &Value> {
    list(&pod(workload)["containers"])
}

/// The value of a variable of a workload's first container.
fn variable<'a>(workload: &'a Value, name: &str) -> &'a Value {
    let first = containers(workload).next().expect("a container");
    let found = list(&first["env"]).find(|variable| variable["name"] == name);
    let found = found.unwrap_or_else(|| panic!("{:?}: no {name}", helm::name(workload)));
    &found["value"]
}
