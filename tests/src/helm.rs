//! Helm, of both majors, and what it makes of the chart; kubectl, and what it makes of kustomizations; and what
//! Kubernetes's own schemas say of either.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize as _, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{capability, repository, target_directory};

/// The last four releases of Kubernetes.
pub const RELEASES: [&str; 4] = ["1.34", "1.35", "1.36", "1.37"];
/// The namespace that a release is rendered for.
pub const NAMESPACE: &str = "sessionscope";

/// A Helm of one major.
#[derive(Debug)]
pub struct Helm {
    program: PathBuf,
    /// 3 or 4.
    pub major: u32,
}

/// Both majors; says why they cannot be had. `cargo xtask setup --for test` fetches them, for x86-64 only.
pub fn both() -> Option<[Helm; 2]> {
    if env::consts::ARCH != "x86_64" {
        capability::skip("Helm comes for x86-64 only");
        return None;
    }
    let both = [3, 4].map(|major| Helm {
        program: target_directory().join(format!("tools/python/helm{major}/helm")),
        major,
    });
    if both.iter().all(|helm| helm.program.is_file()) {
        return Some(both);
    }
    capability::skip("Helm is not there: `cargo xtask setup --for test` fetches it");
    None
}

/// The chart.
pub fn chart() -> PathBuf {
    repository().join("deploy/chart")
}

/// The values files of `ci/`: what each is called, and where it is.
pub fn situations() -> BTreeMap<String, PathBuf> {
    let folder = fs::read_dir(chart().join("ci")).expect("deploy/chart/ci can be read");
    let files = folder.map(|entry| entry.expect("an entry").path());
    files
        .map(|file| {
            let name = file.file_name().expect("a name").to_string_lossy();
            let situation = name.strip_suffix("-values.yaml");
            (situation.expect("NAME-values.yaml").to_owned(), file)
        })
        .collect()
}

impl Helm {
    /// What the chart becomes with these arguments, as text; what Helm says against it, if it refuses.
    pub fn template(&self, arguments: &[&str]) -> Result<String, String> {
        let chart = chart();
        let mut command = vec!["template", "sessionscope", path(&chart)];
        command.extend(["--namespace", NAMESPACE]);
        command.extend(arguments);
        run(&self.program, &command)
    }

    /// The same as objects, in their order.
    pub fn objects(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.template(arguments);
        let text = text.unwrap_or_else(|said| panic!("helm {}: {said}", self.major));
        objects(&text)
    }

    /// What `helm lint` finds in a chart with a values file; an error if that is more than advice.
    pub fn lint(&self, chart: &Path, values: &Path) -> Result<String, String> {
        let command = ["lint", "--strict", path(chart), "--values", path(values)];
        run(&self.program, &command)
    }
}

/// The objects that `kubectl` makes of a kustomization's folder, in their order; what it says against it, if it refuses.
/// It comes with Helm 4.
pub fn kustomize(folder: &Path) -> Result<Vec<Value>, String> {
    let kubectl = target_directory().join("tools/python/helm4/kubectl");
    run(&kubectl, &["kustomize", path(folder)]).map(|text| objects(&text))
}

fn run(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let output = Command::new(program)
        .args(arguments)
        // What a person has configured is nothing to a test.
        .env("HOME", home.path())
        .env_remove("KUBECONFIG")
        .output()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout).expect("UTF-8"));
    }
    // What `helm lint` has found is on its standard output.
    let said = [output.stdout, output.stderr].concat();
    Err(String::from_utf8_lossy(&said).into_owned())
}

fn path(path: &Path) -> &str {
    path.to_str().expect("the repository's path is UTF-8")
}

/// The objects of a text in YAML, one after the other.
pub fn objects(text: &str) -> Vec<Value> {
    let documents = serde_yaml_ng::Deserializer::from_str(text);
    let objects = documents.map(Value::deserialize);
    let objects = objects.map(|one| one.unwrap_or_else(|error| panic!("{error}\n{text}")));
    objects.filter(|object| !object.is_null()).collect()
}

/// What `kubernetes-validate` says of objects for a release; empty when it has found nothing.
pub fn findings<'a>(release: &str, objects: impl IntoIterator<Item = &'a Value>) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("objects.yaml");
    let documents = objects.into_iter().map(|object| format!("---\n{object}\n"));
    fs::write(&file, documents.collect::<String>()).expect("a file can be written");
    let output = Command::new(target_directory().join("tools/python/bin/kubernetes-validate"))
        .args(["-k", release, "--strict"])
        .arg(&file)
        .output()
        .expect("`cargo xtask setup --for test` installs kubernetes-validate");
    if output.status.success() {
        return String::new();
    }
    let said = [output.stdout, output.stderr].concat();
    format!("{release}: {}", String::from_utf8_lossy(&said))
}

/// Kind and name.
pub fn name(object: &Value) -> (&str, &str) {
    let [kind, name] = [&object["kind"], &object["metadata"]["name"]];
    let (Some(kind), Some(name)) = (kind.as_str(), name.as_str()) else {
        panic!("no object: {object}");
    };
    (kind, name)
}

/// The object of a kind; there must be exactly one.
pub fn only<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut of_kind = objects.iter().filter(|object| object["kind"] == kind);
    let one = of_kind.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(of_kind.next().is_none(), "more than one {kind}");
    one
}

/// An object goes through its type and back unchanged: what the type does not know would be lost. With a word that the
/// type does not know it does not, which shows that the other would be found.
pub fn assert_round_trip<T: DeserializeOwned + Serialize>(object: &Value) {
    if let Err(lost) = round_trip::<T>(object) {
        panic!("{:?}: {lost}", name(object));
    }
    let mut wrong = object.clone();
    wrong["spec"]["intervall"] = "1m".into();
    let refused = round_trip::<T>(&wrong);
    let refused = refused.expect_err("a word that the type does not know");
    assert!(refused.contains("intervall"), "{refused}");
}

fn round_trip<T: DeserializeOwned + Serialize>(object: &Value) -> Result<(), String> {
    let typed: T = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    let back = serde_json::to_value(typed).expect("it can be written");
    if back == *object {
        return Ok(());
    }
    Err(format!("{object} has become {back}"))
}
