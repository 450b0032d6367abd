//! What the program is made of, as `CycloneDX` 1.6 has it in JSON.
//!
//! It has neither a serial number nor a time, which are optional, so that the same sources have the same bill.

use lab::programs::AGENT;
use serde_json::{Map, Value, json};

use super::VERSION;
use super::crates::Crate;

/// The bill of the crates, the agent's own among them, built from a commit.
pub(super) fn of(crates: &[Crate], commit: Option<&str>) -> Value {
    let mut subject = json!({
        "type": "application",
        "bom-ref": format!("{AGENT}@{VERSION}"),
        "name": AGENT,
        "version": VERSION,
        "licenses": [{"expression": env!("CARGO_PKG_LICENSE")}],
    });
    if let Some(commit) = commit {
        subject["properties"] = json!([{"name": "sessionscope:commit", "value": commit}]);
    }
    let components = crates.iter().filter(|one| one.name != AGENT).map(component);
    let dependencies = crates
        .iter()
        .map(|one| json!({"ref": one.title(), "dependsOn": one.uses}));
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": subject},
        "components": components.collect::<Vec<Value>>(),
        "dependencies": dependencies.collect::<Vec<Value>>(),
    })
}

fn component(one: &Crate) -> Value {
    let mut component = Map::new();
    let mut set = |key: &str, value: Value| component.insert(key.to_owned(), value);
    set("type", json!("library"));
    set("bom-ref", json!(one.title()));
    set("name", json!(one.name));
    set("version", json!(one.version));
    // What only ran while the program was built is not in it.
    set(
        "scope",
        json!(if one.is_linked {
            "required"
        } else {
            "excluded"
        }),
    );
    if let Some(licence) = &one.licence {
        set("licenses", json!([{"expression": licence}]));
    }
    // Packages of the workspace are in no registry.
    if let Some(checksum) = &one.checksum {
        set("hashes", json!([{"alg": "SHA-256", "content": checksum}]));
        // A `+` would be a space.
        let version = one.version.replace('+', "%2B");
        set("purl", json!(format!("pkg:cargo/{}@{version}", one.name)));
    }
    if let Some(repository) = &one.repository {
        set(
            "externalReferences",
            json!([{"type": "vcs", "url": repository}]),
        );
    }
    Value::Object(component)
}

#[cfg(test)]
mod tests {
    use super::super::crates::tests::example;
    use super::*;

    #[test]
    fn each_crate_is_named_with_what_is_known_of_it() {
        let mut crates = example();
        crates[3].version = "1.0.0+spec".to_owned();
        let bill = of(&crates, Some("0a1b2c"));
        let components = bill["components"].as_array().unwrap();
        let named = |name: &str| {
            let mut components = components.iter();
            components.find(|one| one["name"] == name).unwrap()
        };
        let linked = named("linked");
        assert_eq!(linked["purl"], "pkg:cargo/linked@1.0.0%2Bspec");
        assert_eq!(linked["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(linked["scope"], "required");
        assert_eq!(named("quote")["scope"], "excluded");
        // It stands for a package of the workspace here.
        assert!(named("agent")["purl"].is_null() && named("agent")["hashes"].is_null());
        let subject = &bill["metadata"]["component"];
        assert_eq!(subject["properties"][0]["value"], "0a1b2c");
        assert!(of(&crates, None)["metadata"]["component"]["properties"].is_null());
    }

    #[test]
    fn what_is_used_is_in_the_bill() {
        let bill = of(&example(), None);
        let dependencies = bill["dependencies"].as_array().unwrap();
        let refs: Vec<&Value> = dependencies.iter().map(|one| &one["ref"]).collect();
        for one in dependencies {
            for used in one["dependsOn"].as_array().unwrap() {
                assert!(refs.contains(&used), "{used}");
            }
        }
        assert_eq!(
            dependencies[0]["dependsOn"],
            json!(["builder@1.0.0", "derive@1.0.0", "linked@1.0.0"])
        );
    }
}
