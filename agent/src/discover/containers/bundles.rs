//! What containerd and CRI-O keep on disk for the low-level runtime: an OCI bundle for each container, with a
//! `config.json` whose annotations say what the container is for.
//!
//! containerd keeps it in `<folder>/<namespace>/<id>/`, CRI-O in `<folder>/<id>/userdata/`, while the container
//! runs. A bundle does not change, so it is read once. That says as much as their sockets would, which speak
//! gRPC and can do anything.
//!
//! Docker's and Podman's containers are in the same folders without a name; their sockets have it.

use crate::telemetry::log_event;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::Deserialize;

use super::names::{self, Labels};
use crate::discover::{
    bounded::bounded,
    file,
    platform::{Facts, Key, Named},
    poll::Folder,
};

/// The namespace of containerd in which Docker's containers are.
const DOCKERS: &str = "moby";
/// A file that cannot be read when it is younger is still being written.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);
/// What the kubelet puts all pods into.
const PODS_CGROUP: &str = "kubepods";

/// Annotations that say what a container is for.
struct Dialect {
    /// It holds only the namespaces of a pod if this is `sandbox`.
    kind: &'static str,
    pod: &'static str,
    namespace: &'static str,
    container: &'static str,
    image: &'static str,
}

const DIALECTS: [Dialect; 3] = [
    // containerd's pkg/cri/annotations.
    Dialect {
        kind: "io.kubernetes.cri.container-type",
        pod: "io.kubernetes.cri.sandbox-name",
        namespace: "io.kubernetes.cri.sandbox-namespace",
        container: "io.kubernetes.cri.container-name",
        image: "io.kubernetes.cri.image-name",
    },
    // CRI-O's pkg/annotations, and the kubelet's labels of a container.
    Dialect {
        kind: "io.kubernetes.cri-o.ContainerType",
        pod: "io.kubernetes.pod.name",
        namespace: "io.kubernetes.pod.namespace",
        container: "io.kubernetes.container.name",
        image: "io.kubernetes.cri-o.ImageName",
    },
    // nerdctl's pkg/labels: neither pods nor images.
    Dialect {
        kind: "",
        pod: "",
        namespace: "nerdctl/namespace",
        container: "nerdctl/name",
        image: "",
    },
];
/// When CRI-O made a container.
const CREATED: &str = "io.kubernetes.cri-o.Created";
/// Says whose a bundle in CRI-O's folder is.
const MANAGER: &str = "io.container.manager";

/// A folder of bundles, and what was read there.
pub(super) struct Bundles {
    folder: PathBuf,
    known: BTreeMap<String, Bundle>,
}

enum Bundle {
    /// What is said of its container; `None` for one that others tell of.
    Read(Option<Box<Facts>>),
    /// It makes no sense, as it was written at this time.
    Faulty(SystemTime),
}

impl Bundles {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            known: BTreeMap::new(),
        }
    }

    /// Reads one that is new; `None` if it is not there yet.
    fn read(&self, id: &str, path: &Path) -> Option<Bundle> {
        let written = fs::metadata(path).and_then(|it| it.modified()).ok()?;
        if let Some(Bundle::Faulty(before)) = self.known.get(id)
            && *before == written
        {
            return None;
        }
        let text = file::text(path).map_err(|error| error.to_string());
        let config = text.and_then(|text| {
            serde_json::from_str::<Config>(&text).map_err(|error| error.to_string())
        });
        match config {
            Ok(config) => Some(Bundle::Read(config.facts(id, written).map(Box::new))),
            // Of the future is not young.
            Err(_) if written.elapsed().is_ok_and(|age| age < WRITTEN_WITHIN) => None,
            Err(reason) => {
                log_event!(
                    DescriptionRefused,
                    source = "containers",
                    file = %path.display(),
                    %reason,
                    remedy = "start the container again"
                );
                Some(Bundle::Faulty(written))
            }
        }
    }
}

impl Folder for Bundles {
    fn path(&self) -> &Path {
        &self.folder
    }

    fn look(&mut self, anew: bool) -> io::Result<Option<BTreeMap<Key, Facts>>> {
        let present = configs(&file::place(&self.folder))?;
        let mut changed = anew;
        self.known.retain(|id, bundle| {
            let stays = present.contains_key(id);
            changed |= !stays && matches!(bundle, Bundle::Read(Some(_)));
            stays
        });
        for (id, path) in present {
            if matches!(self.known.get(&id), Some(Bundle::Read(_))) {
                continue;
            }
            if let Some(bundle) = self.read(&id, &path) {
                changed |= matches!(bundle, Bundle::Read(Some(_)));
                self.known.insert(id, bundle);
            }
        }
        if !changed {
            return Ok(None);
        }
        let facts = self.known.iter().filter_map(|(id, bundle)| match bundle {
            Bundle::Read(Some(facts)) => Some((Key::Container(id.clone()), facts.as_ref().clone())),
            Bundle::Read(None) | Bundle::Faulty(_) => None,
        });
        Ok(Some(facts.collect()))
    }
}

/// Where the configurations of all containers are, or will be.
fn configs(folder: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for name in names_in(folder)? {
        let path = folder.join(&name);
        if names::is_id(&name) {
            found.insert(name, path.join("userdata/config.json"));
        } else if name != DOCKERS {
            // No folder, or gone by now.
            for id in names_in(&path).unwrap_or_default() {
                if names::is_id(&id) {
                    let config = path.join(&id).join("config.json");
                    found.insert(id, config);
                }
            }
        }
    }
    Ok(found)
}

/// What is in a folder; names that are not UTF-8 are no ids.
fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().into_string()));
    let names: io::Result<Vec<_>> = names.collect();
    Ok(names?.into_iter().flatten().collect())
}

/// The parts of a `config.json` that are looked at (runtime-spec's config.md).
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    linux: Option<Linux>,
}

#[derive(Deserialize)]
struct Linux {
    #[serde(default, rename = "cgroupsPath")]
    cgroup: Option<String>,
}

impl Config {
    /// What is said of a container whose configuration was written at a time.
    fn facts(&self, id: &str, written: SystemTime) -> Option<Facts> {
        let cgroup = self.linux.as_ref().and_then(|linux| linux.cgroup.as_ref());
        if cgroup.is_some_and(|path| path.contains(PODS_CGROUP)) {
            return None;
        }
        let nothing = BTreeMap::new();
        let labels = Labels {
            kind: "annotation",
            values: self.annotations.as_ref().unwrap_or(&nothing),
        };
        if labels.get(MANAGER) == Some("libpod") {
            return None;
        }
        let spoken = DIALECTS
            .iter()
            .find(|dialect| labels.get(dialect.container).is_some() || dialect.is_sandbox(&labels));
        let created = labels.get(CREATED).and_then(super::moment);
        // Without any name too: then nobody waits for one.
        let mut facts = Facts {
            is_session: true,
            session: labels.session(),
            unique: names::unique(id),
            template: labels.template(None),
            user: labels.user(),
            created: created.or(Some(written)),
            ..Facts::default()
        };
        let Some(dialect) = spoken else {
            return Some(facts);
        };
        facts.is_session = !dialect.is_sandbox(&labels);
        facts.session = facts.session.or_else(|| dialect.name(&labels));
        facts.namespace = labels.named(dialect.namespace);
        let image = labels.get(dialect.image);
        facts.template = labels.template(image);
        for (detail, annotation) in [
            ("pod", dialect.pod),
            ("container", dialect.container),
            ("image", dialect.image),
        ] {
            if let Some(value) = labels.get(annotation) {
                facts.details.insert(detail, bounded(value));
            }
        }
        Some(facts)
    }
}

impl Dialect {
    fn is_sandbox(&self, labels: &Labels<'_>) -> bool {
        labels.get(self.kind) == Some("sandbox")
    }

    /// A container's name is unique in its pod.
    fn name(&self, labels: &Labels<'_>) -> Option<Named> {
        let container = labels.named(self.container)?;
        let Some(pod) = labels.get(self.pod) else {
            return Some(container);
        };
        let name = format!("{pod}/{}", container.name);
        Named::new(
            bounded(&name),
            format!("annotations {} and {}", self.pod, self.container),
        )
    }
}

/// What a bundle says is an error or in proportion.
#[cfg(any(test, fuzzing))]
pub(crate) fn must_hold(text: &str) {
    let id = "0".repeat(64);
    if let Ok(config) = serde_json::from_str::<Config>(text) {
        let facts = config.facts(&id, SystemTime::UNIX_EPOCH);
        let is = crate::fuzz::in_proportion(&facts, text.len());
        assert!(is, "{facts:?}");
    }
}

#[cfg(test)]
mod tests;
