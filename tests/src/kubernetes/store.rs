//! The objects of the server and what happened to them.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

/// Something that goes wrong with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server answers with this status.
    Status(u16, &'static str),
    /// It answers with what is no JSON.
    Nonsense,
    /// It closes the connection without an answer.
    HangUp,
}

/// A change, as a watch shows it.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) kind: &'static str,
    pub(super) object: Value,
}

/// Objects by namespace and name, and their history.
#[derive(Debug)]
pub(super) struct Store {
    version: u64,
    objects: BTreeMap<(String, String), Value>,
    history: Vec<Change>,
    /// Changes up to this one are forgotten.
    compacted: u64,
    /// What happens to the next requests.
    pub(super) faults: VecDeque<Fault>,
    /// Lines that watches show as they are.
    pub(super) lines: Vec<(u64, String)>,
    /// Grows when watches are to end.
    pub(super) generation: u64,
    /// Requests that were not allowed, or not for one node.
    pub(super) violations: Vec<String>,
    /// Resource versions that watches have begun from.
    pub(super) watched_from: Vec<u64>,
    /// How often objects have been listed.
    pub(super) lists: u64,
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            // As old as a cluster is.
            version: 481_000,
            objects: BTreeMap::new(),
            history: Vec::new(),
            compacted: 0,
            faults: VecDeque::new(),
            lines: Vec::new(),
            generation: 0,
            violations: Vec::new(),
            watched_from: Vec::new(),
            lists: 0,
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Writes an object.
    pub(super) fn apply(&mut self, mut object: Value) {
        let key = key(&object);
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let before = self.objects.insert(key, object.clone());
        self.history.push(Change {
            version: self.version,
            kind: if before.is_some() {
                "MODIFIED"
            } else {
                "ADDED"
            },
            object,
        });
    }

    /// Removes an object; its last state goes with the change.
    pub(super) fn delete(&mut self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        let mut object = self.objects.remove(&key).expect("the object is there");
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.history.push(Change {
            version: self.version,
            kind: "DELETED",
            object,
        });
    }

    /// A bookmark: nothing has happened until now. Other objects have been written in the meantime.
    pub(super) fn bookmark(&mut self) {
        self.version += 10;
        let version = self.version.to_string();
        let object = json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {"resourceVersion": version, "creationTimestamp": null},
            "spec": {"containers": null}, "status": {},
        });
        let event = json!({"type": "BOOKMARK", "object": object});
        self.lines.push((self.version, event.to_string()));
    }

    /// Forgets what happened up to now, as etcd does.
    pub(super) fn compact(&mut self) {
        self.version += 1;
        self.compacted = self.version;
        self.history.clear();
    }

    /// A page of the objects of a node: items after `after`, and where the next one begins.
    pub(super) fn page(
        &self,
        node: &str,
        after: usize,
        most: usize,
    ) -> (Vec<Value>, Option<usize>) {
        let of_node = self.objects.values();
        let of_node = of_node.filter(|object| object["spec"]["nodeName"] == node);
        let mut items: Vec<Value> = of_node.skip(after).take(most + 1).cloned().collect();
        let more = items.len() > most;
        items.truncate(most);
        (items, more.then_some(after + most))
    }

    /// What a watch that has seen everything up to `from` shows of a node; `None` when that is forgotten.
    pub(super) fn since(&self, from: u64, node: &str) -> Option<Vec<(u64, String)>> {
        if from < self.compacted {
            return None;
        }
        let changes = self
            .history
            .iter()
            .filter(|change| change.version > from && change.object["spec"]["nodeName"] == node);
        let changes = changes.map(|change| {
            let event = json!({"type": change.kind, "object": change.object});
            (change.version, event.to_string())
        });
        let lines = self.lines.iter().filter(|(version, _)| *version > from);
        let mut all: Vec<_> = changes.chain(lines.cloned()).collect();
        all.sort_by_key(|(version, _)| *version);
        Some(all)
    }
}

fn key(object: &Value) -> (String, String) {
    let text = |name: &str| {
        let value = object["metadata"][name].as_str();
        value
            .expect("an object has a name and a namespace")
            .to_owned()
    };
    (text("namespace"), text("name"))
}
