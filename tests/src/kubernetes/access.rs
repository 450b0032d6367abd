//! What the agent may ask for: the roles of its manifest.

use std::fs;

use serde_json::Value;

use crate::repository;

const MANIFEST: &str = "deploy/kubernetes/agent/rbac.yaml";

/// Verbs and resources that are allowed.
#[derive(Debug)]
pub(super) struct Access {
    rules: Vec<Value>,
}

impl Access {
    /// As the manifest has it.
    pub(super) fn of_manifest() -> Self {
        let path = repository().join(MANIFEST);
        let text = fs::read_to_string(&path).expect("the manifest is there");
        let documents = serde_yaml_ng::Deserializer::from_str(&text);
        let documents = documents.map(|document| {
            serde_yaml_ng::with::singleton_map::deserialize::<Value, _>(document)
                .expect("the manifest is YAML")
        });
        let rules = documents.filter(|document| document["kind"] == "ClusterRole");
        let rules: Vec<Value> = rules
            .flat_map(|role| role["rules"].as_array().cloned().unwrap_or_default())
            .collect();
        assert!(!rules.is_empty(), "{MANIFEST} has no rules");
        Self { rules }
    }

    /// Whether a resource of the core group may be used so.
    pub(super) fn allows(&self, verb: &str, resource: &str) -> bool {
        let has = |rule: &Value, key: &str, wanted: &str| {
            let values = rule[key].as_array().into_iter().flatten();
            values
                .filter_map(Value::as_str)
                .any(|value| value == wanted || value == "*")
        };
        self.rules.iter().any(|rule| {
            has(rule, "apiGroups", "")
                && has(rule, "resources", resource)
                && has(rule, "verbs", verb)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_allows_to_read_pods_and_nothing_else() {
        let access = Access::of_manifest();
        for verb in ["list", "watch"] {
            assert!(access.allows(verb, "pods"), "{verb}");
        }
        for (verb, resource) in [
            ("delete", "pods"),
            ("patch", "pods"),
            ("list", "nodes"),
            ("get", "secrets"),
            ("create", "pods/exec"),
        ] {
            assert!(!access.allows(verb, resource), "{verb} {resource}");
        }
    }
}
