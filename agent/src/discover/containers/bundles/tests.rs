//! Bundles that containerd 1.6.20 made for CRI, by their annotations and the paths of their cgroups; and those
//! of others as their sources say that they make them.

use std::fs::File;

use proptest::prelude::*;

use super::*;
use crate::{
    discover::rules::LONGEST,
    fuzz::{self, text_like},
};

const CONTAINER: &str = include_str!("recorded/containerd-container.json");
const SANDBOX: &str = include_str!("recorded/containerd-sandbox.json");
const ID: &str = "89ec43d7eb84421bf37dd5b7331c46f28a036baf06a9c86207099631abebe70d";

fn facts(config: &str) -> Option<Facts> {
    let config: Config = serde_json::from_str(config).unwrap();
    config.facts(ID, SystemTime::UNIX_EPOCH)
}

fn annotated(annotations: &[(&str, &str)]) -> String {
    let annotations: BTreeMap<&str, &str> = annotations.iter().copied().collect();
    serde_json::json!({"ociVersion": "1.0.2", "annotations": annotations}).to_string()
}

#[test]
fn a_recorded_container_is_named_by_its_pod_and_itself() {
    let facts = facts(CONTAINER).unwrap();
    assert!(facts.is_session);
    let session = facts.session.unwrap();
    assert_eq!(session.name, "desk-ada/desktop");
    assert_eq!(
        session.from,
        "annotations io.kubernetes.cri.sandbox-name and io.kubernetes.cri.container-name"
    );
    assert_eq!(facts.unique.unwrap().name, "89ec43d7eb84");
    let namespace = "annotation io.kubernetes.cri.sandbox-namespace";
    assert_eq!(facts.namespace, Named::new("lab", namespace));
    assert_eq!(facts.template, Named::new("desks/blender", "image"));
    assert_eq!(facts.created, Some(SystemTime::UNIX_EPOCH));
    assert_eq!(facts.details["image"], "registry.example/desks/blender:4.2");
}

#[test]
fn a_sandbox_is_no_session_and_a_part_of_a_pod_is_not_told_of() {
    assert!(!facts(SANDBOX).unwrap().is_session);
    for cgroup in [
        "kubepods-burstable-pod0f7c1d9e.slice:cri-containerd:89ec43d7eb84",
        "/kubepods/pod0f7c1d9e/89ec43d7eb84",
    ] {
        let own = format!("/{ID}");
        let text = CONTAINER.replace(&own, cgroup);
        assert_ne!(text, CONTAINER);
        assert_eq!(facts(&text), None);
    }
}

#[test]
fn every_runtime_has_its_annotations() {
    let crio = facts(&annotated(&[
        ("io.container.manager", "cri-o"),
        ("io.kubernetes.cri-o.ContainerType", "container"),
        ("io.kubernetes.cri-o.Created", "1970-01-01T01:00:01+01:00"),
        (
            "io.kubernetes.cri-o.ImageName",
            "registry.example/desks/blender:4.2",
        ),
        ("io.kubernetes.pod.name", "desk-ada"),
        ("io.kubernetes.pod.namespace", "lab"),
        ("io.kubernetes.container.name", "desktop"),
        ("sessionscope/user", "ada"),
    ]));
    let crio = crio.unwrap();
    assert_eq!(crio.session.unwrap().name, "desk-ada/desktop");
    assert_eq!(crio.namespace.unwrap().name, "lab");
    assert_eq!(crio.template.unwrap().name, "desks/blender");
    let user = Named::new("ada", "annotation sessionscope/user");
    assert_eq!(crio.user, user);
    let second = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    assert_eq!(crio.created, Some(second));

    let nerdctl = facts(&annotated(&[
        ("nerdctl/name", "desk"),
        ("nerdctl/namespace", "default"),
    ]));
    let nerdctl = nerdctl.unwrap();
    let name = Named::new("desk", "annotation nerdctl/name");
    assert_eq!(nerdctl.session, name);
    assert_eq!(nerdctl.namespace.unwrap().name, "default");

    assert_eq!(
        facts(&annotated(&[("io.container.manager", "libpod")])),
        None
    );
    // One that nobody has named need not wait for a name.
    let unnamed = facts(r#"{"ociVersion": "1.0.2"}"#).unwrap();
    assert_eq!((unnamed.is_session, unnamed.session), (true, None));
}

#[test]
fn nothing_that_is_kept_of_an_annotation_is_longer_than_a_name() {
    let long = "x".repeat(1 << 18);
    let long = long.as_str();
    let facts = facts(&annotated(&[
        ("io.kubernetes.cri.sandbox-name", long),
        ("io.kubernetes.cri.container-name", long),
        ("io.kubernetes.cri.image-name", long),
        ("io.kubernetes.cri.sandbox-namespace", long),
        ("sessionscope/user", long),
    ]));
    let facts = facts.unwrap();
    let names = [
        &facts.session,
        &facts.namespace,
        &facts.template,
        &facts.user,
    ];
    let names = names.map(|named| named.as_ref().unwrap().name.as_str());
    let details = facts.details.values().map(String::as_str);
    let mut kept = names.into_iter().chain(details);
    assert!(kept.all(|text| text.chars().count() <= LONGEST));
    assert_eq!(facts.details.len(), 3);
}

/// Writes a configuration that is as old as wanted.
fn put(path: &Path, text: &str, age: Duration) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    let file = File::options().append(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

fn ids(look: io::Result<Option<BTreeMap<Key, Facts>>>) -> Option<Vec<String>> {
    let ids = look.unwrap()?.into_keys().map(|key| match key {
        Key::Container(id) => id[..2].to_owned(),
        other => panic!("{other:?}"),
    });
    Some(ids.collect())
}

#[test]
fn bundles_come_and_go_in_both_layouts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let now = Duration::ZERO;
    let containerd = path.join("default").join("aa".repeat(32));
    put(&containerd.join("config.json"), CONTAINER, now);
    let crio = path.join("bb".repeat(32));
    put(&crio.join("userdata/config.json"), CONTAINER, now);
    // Docker's, one with a name instead of an id, and a file among the namespaces.
    let dockers = path.join(DOCKERS).join("cc".repeat(32));
    put(&dockers.join("config.json"), CONTAINER, now);
    put(&path.join("default/blender/config.json"), CONTAINER, now);
    put(&path.join("lock"), "", now);
    // Podman keeps its configuration elsewhere.
    fs::create_dir_all(path.join("dd".repeat(32)).join("userdata")).unwrap();

    let mut bundles = Bundles::new(path.to_owned());
    let both = Some(vec!["aa".to_owned(), "bb".to_owned()]);
    assert_eq!(ids(bundles.look(true)), both);
    assert_eq!(ids(bundles.look(false)), None);
    assert_eq!(ids(bundles.look(true)), both);
    fs::remove_dir_all(&containerd).unwrap();
    assert_eq!(ids(bundles.look(false)), Some(vec!["bb".to_owned()]));
    assert_eq!(ids(bundles.look(false)), None);
}

#[test]
fn a_bundle_that_is_being_written_is_read_later_and_one_that_makes_no_sense_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let namespace = folder.path().join("default");
    let config = namespace.join("aa".repeat(32)).join("config.json");
    let old = Duration::from_mins(1);
    let mut bundles = Bundles::new(folder.path().to_owned());
    put(&config, &CONTAINER[..100], Duration::ZERO);
    assert_eq!(ids(bundles.look(true)), Some(vec![]));
    assert!(bundles.known.is_empty());
    put(&config, CONTAINER, Duration::ZERO);
    assert_eq!(ids(bundles.look(false)), Some(vec!["aa".to_owned()]));

    let faulty = namespace.join("bb".repeat(32)).join("config.json");
    put(&faulty, r#"{"annotations": ["none"]}"#, old);
    assert_eq!(ids(bundles.look(false)), None);
    let known = &bundles.known[&"bb".repeat(32)];
    assert!(matches!(known, Bundle::Faulty(_)));
    assert_eq!(ids(bundles.look(false)), None);
    // It was written anew.
    put(&faulty, CONTAINER, Duration::ZERO);
    let both = Some(vec!["aa".to_owned(), "bb".to_owned()]);
    assert_eq!(ids(bundles.look(false)), both);
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut bundles = Bundles::new(folder.path().join("absent"));
    let error = bundles.look(true).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

proptest! {
    #![proptest_config(fuzz::config())]

    #[test]
    fn whatever_a_bundle_says_is_an_error_or_in_proportion(
        text in text_like(&[CONTAINER, SANDBOX, &annotated(&[
            (MANAGER, "cri-o"),
            (CREATED, "1970-01-01T01:00:01+01:00"),
            ("io.kubernetes.cri-o.ImageName", "registry.example:5000/desks/blender:4.2@sha256:00"),
            ("io.kubernetes.pod.name", "desk-ada"),
            ("io.kubernetes.container.name", "desktop"),
            ("sessionscope/user", "ada"),
        ])])
    ) {
        must_hold(&text);
    }
}
