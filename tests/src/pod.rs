//! A pod of one container as Docker is told to run it, field by field: one that is not known is a panic, so that nothing
//! of what is shipped is left out unseen.

use std::{collections::BTreeMap, fs};

use serde_json::{Map, Value};

use crate::runtimes::Engine;

/// What Docker has no use for: who makes the pod and where, which the test's own calls stand for.
const OF_THE_CLUSTER: [&str; 6] = [
    "affinity",
    "priorityClassName",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "tolerations",
    "runtimeClassName",
];
/// Likewise of the container. Its probes are the test's to ask.
const OF_THE_KUBELET: [&str; 7] = [
    "image",
    "name",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "startupProbe",
    "terminationMessagePolicy",
];

/// A pod's specification, and the files of its config maps.
#[derive(Debug)]
pub struct Pod<'a> {
    /// `spec.template.spec` of a `DaemonSet`.
    pub spec: &'a Value,
    /// By the name of the `ConfigMap`: `data`.
    pub files: BTreeMap<&'a str, &'a Value>,
}

/// What a variable is that Kubernetes takes from the pod.
fn field(path: &str) -> &'static str {
    match path {
        "spec.nodeName" => "node-a",
        "metadata.name" => "sessionscope-x7k2p",
        "metadata.namespace" => "sessionscope",
        other => panic!("the field {other} is not known"),
    }
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
}

fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("{value} is no list"))
}

/// The fields of an object that are there, but for some.
fn fields(object: &Value, without: &[&str]) -> Map<String, Value> {
    let mut fields: Map<String, Value> = object.as_object().expect("an object").clone();
    fields.retain(|name, _| !without.contains(&name.as_str()));
    fields
}

/// Nothing may be left.
fn finish(fields: &Map<String, Value>) {
    assert!(fields.is_empty(), "fields that are not known: {fields:?}");
}

impl Pod<'_> {
    fn container(&self) -> &Value {
        let containers = list(&self.spec["containers"]);
        assert_eq!(containers.len(), 1);
        &containers[0]
    }

    /// Path of each probe.
    pub fn probes(&self) -> Vec<&str> {
        let names = ["startupProbe", "readinessProbe", "livenessProbe"];
        let probes = names.map(|name| text(&self.container()[name]["httpGet"]["path"]));
        probes.into()
    }

    /// Starts the container under a name; the folders that it mounts are made.
    pub fn start(&self, engine: &Engine, name: &str, image: &str) {
        let mut arguments = vec!["run".to_owned(), "--detach".to_owned()];
        arguments.extend(["--network", "none", "--name", name].map(str::to_owned));
        self.add_pod(&mut arguments);
        self.add_security(&mut arguments);
        self.add_environment(&mut arguments);
        self.add_mounts(engine, &mut arguments);
        self.add_resources(&mut arguments);
        let mut rest = fields(self.container(), &OF_THE_KUBELET);
        for done in ["securityContext", "env", "volumeMounts", "resources"] {
            rest.remove(done);
        }
        arguments.push(image.to_owned());
        let own = rest.remove("args").expect("arguments");
        arguments.extend(list(&own).iter().map(|one| text(one).to_owned()));
        finish(&rest);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        engine.call(&arguments);
    }

    fn add_pod(&self, arguments: &mut Vec<String>) {
        let mut rest = fields(self.spec, &OF_THE_CLUSTER);
        rest.remove("containers");
        rest.remove("volumes");
        if rest.remove("hostPID") == Some(true.into()) {
            arguments.extend(["--pid".to_owned(), "host".to_owned()]);
        }
        assert_eq!(rest.remove("hostNetwork"), Some(false.into()));
        finish(&rest);
    }

    fn add_security(&self, arguments: &mut Vec<String>) {
        let mut rest = fields(&self.container()["securityContext"], &[]);
        if rest.remove("privileged") == Some(true.into()) {
            arguments.push("--privileged".to_owned());
        }
        if rest.remove("readOnlyRootFilesystem") == Some(true.into()) {
            arguments.push("--read-only".to_owned());
        }
        if rest.remove("allowPrivilegeEscalation") == Some(false.into()) {
            arguments.push("--security-opt=no-new-privileges".to_owned());
        }
        if let Some(user) = rest.remove("runAsUser") {
            arguments.push(format!("--user={user}"));
        }
        if let Some(sets) = rest.remove("capabilities") {
            for name in list(&sets["drop"]) {
                arguments.push(format!("--cap-drop={}", text(name)));
            }
            for name in list(&sets["add"]) {
                arguments.push(format!("--cap-add={}", text(name)));
            }
        }
        // The runtime's own is Docker's default.
        if let Some(profile) = rest.remove("seccompProfile") {
            assert_eq!(profile["type"], "RuntimeDefault");
        }
        if let Some(profile) = rest.remove("appArmorProfile") {
            assert_eq!(profile["type"], "Unconfined");
            arguments.push("--security-opt=apparmor=unconfined".to_owned());
        }
        if let Some(label) = rest.remove("seLinuxOptions") {
            arguments.push(format!(
                "--security-opt=label=type:{}",
                text(&label["type"])
            ));
        }
        finish(&rest);
    }

    fn add_environment(&self, arguments: &mut Vec<String>) {
        for variable in list(&self.container()["env"]) {
            let mut rest = fields(variable, &["name"]);
            let value = match (rest.remove("value"), rest.remove("valueFrom")) {
                (Some(value), None) => text(&value).to_owned(),
                (None, Some(from)) => field(text(&from["fieldRef"]["fieldPath"])).to_owned(),
                _ => panic!("{variable} has one value"),
            };
            finish(&rest);
            arguments.push(format!("--env={}={value}", text(&variable["name"])));
        }
    }

    fn add_mounts(&self, engine: &Engine, arguments: &mut Vec<String>) {
        let volumes = list(&self.spec["volumes"]);
        let mounts = list(&self.container()["volumeMounts"]);
        assert_eq!(volumes.len(), mounts.len(), "each is mounted once");
        for mount in mounts {
            let mut rest = fields(mount, &[]);
            let name = rest.remove("name").expect("a name");
            let volume = volumes.iter().find(|volume| volume["name"] == name);
            let source = self.source(engine, volume.expect("a volume"));
            let target = rest.remove("mountPath").expect("a path");
            let mode = match rest.remove("readOnly") {
                Some(Value::Bool(true)) => ":ro",
                _ => "",
            };
            finish(&rest);
            arguments.push(format!("--volume={source}:{}{mode}", text(&target)));
        }
    }

    /// Where a volume is on the engine's machine.
    fn source(&self, engine: &Engine, volume: &Value) -> String {
        let mut rest = fields(volume, &["name"]);
        let (map, host) = (rest.remove("configMap"), rest.remove("hostPath"));
        finish(&rest);
        match (map, host) {
            (Some(map), None) => {
                let name = text(&map["name"]);
                let path = format!("/run/configmaps/{name}");
                let folder = engine.folder(&path);
                for (file, content) in self.files[name].as_object().expect("files") {
                    fs::write(folder.join(file), text(content)).expect("a file can be written");
                }
                path
            }
            (None, Some(host)) => {
                let path = text(&host["path"]).to_owned();
                match text(&host["type"]) {
                    // Docker would make it.
                    "Directory" | "Socket" => {}
                    "DirectoryOrCreate" => drop(engine.folder(&path)),
                    other => panic!("a host path of type {other} is not known"),
                }
                path
            }
            _ => panic!("{volume} is not known"),
        }
    }

    fn add_resources(&self, arguments: &mut Vec<String>) {
        // What is requested is for the scheduler.
        let limits = &self.container()["resources"]["limits"];
        let mut rest = fields(limits, &[]);
        let memory = rest.remove("memory").expect("a limit of memory");
        let mebibytes = text(&memory).strip_suffix("Mi").expect("MiB");
        arguments.push(format!("--memory={mebibytes}m"));
        finish(&rest);
    }
}
