//! What a container is called by its labels and its image. What Docker calls labels are annotations in bundles.

use std::collections::BTreeMap;

use crate::discover::{bounded::bounded, platform::Named};

/// Labels for this agent.
const SESSION: &str = "sessionscope/session";
const TEMPLATE: &str = "sessionscope/template";
const USER: &str = "sessionscope/user";
/// Written by Compose of either engine.
pub(super) const PROJECT: &str = "com.docker.compose.project";
/// On containers that a kubelet had Docker make: they are parts of pods.
pub(super) const POD: &str = "io.kubernetes.pod.uid";
/// On the desktops of Kasm Workspaces: the id by which their users and operators know them.
pub(super) const KASM: &str = "kasm.kasmid";
/// All labels of engines' containers that are looked at: nothing else is kept of a container's labels.
const LOOKED_AT: [&str; 6] = [SESSION, TEMPLATE, USER, PROJECT, POD, KASM];
/// The longest image that is kept as it is written: a repository has 255 characters at most, a tag 128, a digest
/// and its kind 72.
const LONGEST_IMAGE: usize = 512;
/// Digits of an id that the runtimes' own tools print, and the rules take for a name.
const SHORT_ID: usize = 12;
/// Images of containers that only hold the namespaces of a pod.
const PAUSE: [&str; 2] = ["pause", "podman-pause"];

/// Whether it is the id of a container: it is asked for by it, and cgroups have it in their names.
pub(super) fn is_id(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 64 && text.bytes().all(digit)
}

/// The labels of a container.
pub(super) struct Labels<'a> {
    /// What its runtime calls them: labels or annotations.
    pub(super) kind: &'static str,
    /// By name.
    pub(super) values: &'a BTreeMap<String, String>,
}

impl Labels<'_> {
    /// A label, unless it is empty.
    pub(super) fn get(&self, label: &str) -> Option<&str> {
        let value = self.values.get(label)?.trim();
        (!value.is_empty()).then_some(value)
    }

    /// A name by a label.
    pub(super) fn named(&self, label: &str) -> Option<Named> {
        Named::new(bounded(self.get(label)?), format!("{} {label}", self.kind))
    }

    /// The session's name that a label gives.
    pub(super) fn session(&self) -> Option<Named> {
        self.named(SESSION)
    }

    /// The user that a label gives.
    pub(super) fn user(&self) -> Option<Named> {
        self.named(USER)
    }

    /// The template that a label gives, or else the image.
    pub(super) fn template(&self, image: Option<&str>) -> Option<Named> {
        self.named(TEMPLATE)
            .or_else(|| Named::new(bounded(short_image(image?)?), "image"))
    }
}

/// The labels that are looked at, and none of them longer than it may be.
pub(super) fn kept(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let kept = LOOKED_AT
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), bounded(labels.get(*name)?.trim()))));
    kept.collect()
}

/// An image as it is written, unless it is longer than any image.
pub(super) fn image(reference: &str) -> String {
    if reference.len() <= LONGEST_IMAGE {
        reference.to_owned()
    } else {
        bounded(reference)
    }
}

/// A name that no other container has.
pub(super) fn unique(id: &str) -> Option<Named> {
    Named::new(id.get(..SHORT_ID)?, "id of the container")
}

/// Whether an image is for holding the namespaces of a pod.
pub(super) fn is_pause(image: &str) -> bool {
    let name = short_image(image).map(|name| name.rsplit('/').next().unwrap_or(name));
    name.is_some_and(|name| PAUSE.contains(&name))
}

/// An image without registry, tag and digest; `None` where it is named by its id.
fn short_image(reference: &str) -> Option<&str> {
    let name = reference.split('@').next()?;
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
            (Some(first), rest)
        }
        _ => (None, name),
    };
    // Podman writes out what Docker leaves away.
    let path = match registry {
        Some("docker.io") => path.strip_prefix("library/").unwrap_or(path),
        _ => path,
    };
    // In the path, not before it, a colon begins the tag.
    let name = path.split(':').next()?;
    let is_id = is_id(name) || reference.starts_with("sha256:");
    (!is_id && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::rules::LONGEST;

    #[test]
    fn an_image_is_a_template_without_registry_tag_and_digest() {
        let digest = format!("@sha256:{}", "0".repeat(64));
        for (reference, name) in [
            ("blender", Some("blender")),
            ("blender:4.2", Some("blender")),
            ("desks/blender:4.2", Some("desks/blender")),
            ("registry.example/desks/blender:4.2", Some("desks/blender")),
            ("registry:5000/desks/blender", Some("desks/blender")),
            ("localhost/blender:latest", Some("blender")),
            ("docker.io/library/debian:12", Some("debian")),
            ("docker.io/desks/blender", Some("desks/blender")),
            (&format!("desks/blender:4.2{digest}"), Some("desks/blender")),
            (&format!("blender{digest}"), Some("blender")),
            (&"0f".repeat(32), None),
            (&format!("sha256:{}", "0f".repeat(32)), None),
            ("", None),
            ("registry.example/", None),
        ] {
            assert_eq!(short_image(reference), name, "{reference}");
        }
    }

    #[test]
    fn labels_come_before_images() {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let values = BTreeMap::from([label(TEMPLATE, "cad"), label(SESSION, " ")]);
        let kind = "label";
        let labels = Labels {
            kind,
            values: &values,
        };
        let named = Named::new("cad", "label sessionscope/template");
        assert_eq!(labels.template(Some("blender")), named);
        assert_eq!(labels.session(), None);
        let values = &BTreeMap::new();
        let image = Named::new("blender", "image");
        assert_eq!(Labels { kind, values }.template(Some("blender")), image);
    }

    #[test]
    fn of_labels_only_what_is_looked_at_is_kept_and_no_more_than_a_name() {
        let megabyte = "x".repeat(1 << 20);
        let mut labels: BTreeMap<String, String> = (0..10_000)
            .map(|number| (format!("label-{number}"), "x".to_owned()))
            .collect();
        labels.extend([USER, KASM].map(|name| (name.to_owned(), megabyte.clone())));
        let kept = kept(&labels);
        let names: Vec<&str> = kept.keys().map(String::as_str).collect();
        assert_eq!(names, [KASM, USER]);
        assert!(kept.values().all(|value| value.chars().count() == LONGEST));
        // Annotations of bundles are not kept: names by them are bounded when they are made.
        let annotations = Labels {
            kind: "annotation",
            values: &labels,
        };
        assert_eq!(annotations.user().unwrap().name.chars().count(), LONGEST);
        assert_eq!(image(&megabyte).chars().count(), LONGEST);
        let template = annotations.template(Some(megabyte.as_str())).unwrap();
        assert_eq!(template.name.chars().count(), LONGEST);
    }

    #[test]
    fn pause_containers_are_known_by_their_image() {
        assert!(is_pause("registry.example/pause:3.9"));
        assert!(is_pause("localhost/podman-pause:4.3.1-0"));
        assert!(!is_pause("desks/pause-button"));
    }

    #[test]
    fn an_id_is_64_digits() {
        assert!(is_id(&"0f".repeat(32)));
        assert!(!is_id(&"0F".repeat(32)));
        assert!(!is_id("0f"));
        assert!(!is_id(&"../".repeat(22)));
    }
}
