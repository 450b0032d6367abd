//! The crates that the agent is made of, as cargo resolves them: those of its own code and those of the kernel
//! programs that it brings along.
//!
//! cargo joins the features of the whole workspace, so a crate may be named that the agent alone would do without;
//! none is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use lab::programs::AGENT;
use serde_json::Value;

use crate::command;

/// What is compiled into the binary: the agent, and the programs that are embedded.
const ROOTS: [&str; 2] = [AGENT, "agent-ebpf"];

/// A crate.
#[derive(Clone, Debug)]
pub(super) struct Crate {
    pub(super) name: String,
    pub(super) version: String,
    /// An SPDX expression.
    pub(super) licence: Option<String>,
    /// A file of its own choice with its licence.
    pub(super) licence_file: Option<PathBuf>,
    /// Where its sources are.
    pub(super) folder: PathBuf,
    pub(super) authors: Vec<String>,
    pub(super) repository: Option<String>,
    /// SHA-256 of what the registry has; nothing for the packages of the workspace.
    pub(super) checksum: Option<String>,
    /// Its code is in the binary, not only in a program that ran while that was built.
    pub(super) is_linked: bool,
    /// What it uses, each as [`Crate::title`] has it.
    pub(super) uses: BTreeSet<String>,
}

/// Those of the agent, for a target, ordered by name and version.
pub(super) fn of_agent(target: &str) -> Result<Vec<Crate>> {
    let mut cargo = command::cargo();
    cargo.args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform",
        target,
    ]);
    let metadata: Value = serde_json::from_str(&command::output(&mut cargo)?)
        .context("cargo printed metadata that is not JSON")?;
    let lock = command::repository().join("Cargo.lock");
    let lock =
        fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    of(&metadata, &checksums(&lock)?, &ROOTS)
}

/// The checksum of each name with its version.
fn checksums(lock: &str) -> Result<BTreeMap<(String, String), String>> {
    let lock: toml::Table = lock.parse().context("Cargo.lock is not TOML")?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let packages = packages.context("Cargo.lock has no packages")?;
    let of = |package: &toml::Value| {
        let text = |key: &str| Some(package.get(key)?.as_str()?.to_owned());
        Some(((text("name")?, text("version")?), text("checksum")?))
    };
    Ok(packages.iter().filter_map(of).collect())
}

fn of(
    metadata: &Value,
    checksums: &BTreeMap<(String, String), String>,
    roots: &[&str],
) -> Result<Vec<Crate>> {
    let graph = Graph::of(metadata);
    let roots = graph.named(roots)?;
    let linked = reached(&roots, |id| graph.uses(id, Edge::Linked));
    let mut crates = Vec::new();
    for id in reached(&roots, |id| graph.uses(id, Edge::Any)) {
        let package = graph
            .packages
            .get(id)
            .with_context(|| format!("cargo says nothing of {id}"))?;
        let text = |key: &str| package[key].as_str().map(str::to_owned);
        let missing = || format!("cargo says too little of {id}");
        let (name, version) = text("name").zip(text("version")).with_context(missing)?;
        let manifest = PathBuf::from(text("manifest_path").with_context(missing)?);
        let folder = manifest.parent().with_context(missing)?.to_owned();
        let checksum = checksums.get(&(name.clone(), version.clone())).cloned();
        ensure!(
            checksum.is_some() == package["source"].is_string(),
            "Cargo.lock has no checksum of {name} {version}"
        );
        let authors = list(&package["authors"]).iter();
        let authors = authors.filter_map(|author| Some(author.as_str()?.to_owned()));
        let uses = graph.uses(id, Edge::Any).into_iter();
        crates.push(Crate {
            authors: authors.collect(),
            licence: text("license").map(|licence| expression(&licence)),
            licence_file: text("license_file").map(|file| folder.join(file)),
            folder,
            repository: text("repository"),
            checksum,
            is_linked: linked.contains(id),
            uses: uses.map(|id| graph.title(id)).collect(),
            name,
            version,
        });
    }
    crates.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(crates)
}

/// A licence in SPDX's words: the slash is what cargo took before.
fn expression(licence: &str) -> String {
    let licence = licence.replace('/', " OR ");
    licence.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Which uses count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    /// Those by which code gets into the binary.
    Linked,
    /// Also those of what runs while it is built. What is for tests is in neither.
    Any,
}

/// What cargo says of packages, by their ids.
struct Graph<'m> {
    packages: BTreeMap<&'m str, &'m Value>,
    nodes: BTreeMap<&'m str, &'m Value>,
}

impl<'m> Graph<'m> {
    fn of(metadata: &'m Value) -> Self {
        let by_id = |values: &'m Value| -> BTreeMap<&'m str, &'m Value> {
            let values = list(values).iter();
            let pairs = values.filter_map(|value| Some((value["id"].as_str()?, value)));
            pairs.collect()
        };
        Self {
            packages: by_id(&metadata["packages"]),
            nodes: by_id(&metadata["resolve"]["nodes"]),
        }
    }

    /// The ids of packages.
    fn named(&self, names: &[&str]) -> Result<Vec<&'m str>> {
        let id = |name: &&str| -> Result<&'m str> {
            let mut packages = self.packages.iter();
            let found = packages.find(|(_, package)| package["name"].as_str() == Some(*name));
            let (id, _) = found.with_context(|| format!("the workspace has no package {name}"))?;
            Ok(*id)
        };
        names.iter().map(id).collect()
    }

    /// The ids of what a package uses.
    fn uses(&self, id: &str, edge: Edge) -> BTreeSet<&'m str> {
        let mut used = BTreeSet::new();
        let dependencies = self.nodes.get(id).map(|node| list(&node["deps"]));
        for dependency in dependencies.unwrap_or_default() {
            let Some(id) = dependency["pkg"].as_str() else {
                continue;
            };
            let is_macro = self.packages.get(id).copied().is_some_and(is_macro);
            let mut kinds = list(&dependency["dep_kinds"]).iter();
            let counts = kinds.any(|kind| match kind["kind"].as_str() {
                None => edge == Edge::Any || !is_macro,
                Some(kind) => edge == Edge::Any && kind == "build",
            });
            if counts {
                used.insert(id);
            }
        }
        used
    }

    /// What a bill calls a package: ids have the path of this machine's folders.
    fn title(&self, id: &str) -> String {
        let package = self.packages.get(id);
        let text = |key: &str| package.and_then(|package| package[key].as_str());
        format!(
            "{}@{}",
            text("name").unwrap_or_default(),
            text("version").unwrap_or_default()
        )
    }
}

/// All that can be reached from some.
fn reached<'m>(from: &[&'m str], next: impl Fn(&str) -> BTreeSet<&'m str>) -> BTreeSet<&'m str> {
    let mut waiting = from.to_vec();
    let mut found = BTreeSet::new();
    while let Some(one) = waiting.pop() {
        if found.insert(one) {
            waiting.extend(next(one));
        }
    }
    found
}

/// Whether a package runs in the compiler.
fn is_macro(package: &Value) -> bool {
    let mut kinds = list(&package["targets"])
        .iter()
        .flat_map(|target| list(&target["kind"]));
    kinds.any(|kind| kind == "proc-macro")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

impl Crate {
    /// What a bill calls it.
    pub(super) fn title(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// An agent that links `linked`, uses the macro `derive` that is made with `quote`, is built with `builder`, and
    /// is tested with `tester`.
    pub(in crate::package) fn example() -> Vec<Crate> {
        let package = |name: &str, kind: &str| {
            json!({
                "id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0",
                "license_file": null, "manifest_path": format!("/crates/{name}/Cargo.toml"),
                "authors": ["Someone"], "repository": null,
                "source": if name == "agent" { json!(null) } else { json!("registry") },
                "targets": [{"kind": [kind]}],
            })
        };
        let uses = |pkg: &str, kinds: &[Option<&str>]| {
            let kinds: Vec<Value> = kinds.iter().map(|kind| json!({"kind": kind})).collect();
            json!({"pkg": pkg, "dep_kinds": kinds})
        };
        let metadata = json!({
            "packages": [
                package("agent", "bin"), package("linked", "lib"), package("derive", "proc-macro"),
                package("quote", "lib"), package("builder", "lib"), package("tester", "lib"),
            ],
            "resolve": {"nodes": [
                {"id": "agent", "deps": [
                    uses("linked", &[None, Some("dev")]),
                    uses("derive", &[None]),
                    uses("builder", &[Some("build")]),
                    uses("tester", &[Some("dev")]),
                ]},
                {"id": "derive", "deps": [uses("quote", &[None])]},
            ]},
        });
        let names = ["linked", "derive", "quote", "builder", "tester"];
        let checksum = |name: &str| ((name.to_owned(), "1.0.0".to_owned()), "00".repeat(32));
        of(&metadata, &names.map(checksum).into(), &["agent"]).unwrap()
    }

    #[test]
    fn what_is_linked_is_told_from_what_only_builds() {
        let found: Vec<(String, bool)> = example()
            .into_iter()
            .map(|one| (one.name, one.is_linked))
            .collect();
        let expected = [
            ("agent", true),
            ("builder", false),
            ("derive", false),
            ("linked", true),
            ("quote", false),
        ];
        assert_eq!(found, expected.map(|(name, is)| (name.to_owned(), is)));
    }

    #[test]
    fn checksums_are_known_by_name_and_version() {
        let lock = "version = 4\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"ab\"\n\
                    [[package]]\nname = \"own\"\nversion = \"0.1.0\"\n";
        let found = checksums(lock).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[&("a".to_owned(), "1.0.0".to_owned())], "ab");
    }
}
