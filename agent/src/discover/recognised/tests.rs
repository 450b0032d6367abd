//! Tests of what is recognised where, on directories of a file system whose owners are what the test says.

use std::{fs, os::unix::fs::chown, path::Path};

use super::*;
use crate::discover::rules::{Rule, RuleDefinition};

const VICTIM: &str = "6d1f0a7c25b3e8946d1f0a7c25b3e8946d1f0a7c25b3e8946d1f0a7c25b3e894";
const MANAGER: &str = "user.slice/user-1000.slice/user@1000.service";

/// A tree of directories; those below a service manager belong to its user.
struct Node {
    tree: tempfile::TempDir,
    rules: Rules,
}

impl Node {
    fn new(paths: &[&str]) -> Self {
        let tree = tempfile::tempdir().unwrap();
        let node = Self {
            tree,
            rules: Rules::new(&[], true),
        };
        for path in paths {
            node.make(path);
        }
        node
    }

    fn make(&self, path: &str) {
        let mut at = self.tree.path().to_owned();
        let mut users = false;
        for name in Path::new(path).components() {
            at.push(name);
            users |= name.as_os_str() == "user@1000.service";
            if !at.exists() {
                fs::create_dir(&at).unwrap();
                if users {
                    chown(&at, Some(1000), Some(1000)).unwrap();
                }
            }
        }
    }

    /// Names of the sessions by path.
    fn sessions(&self) -> Vec<(String, Identity)> {
        self.recognition().1
    }

    fn recognition(&self) -> (Recognition, Vec<(String, Identity)>) {
        let hierarchy = Hierarchy::scan(self.tree.path()).unwrap();
        let mut recognition = Recognition::default();
        recognition.judge_all(&hierarchy, &self.rules, Instant::now());
        let sessions = recognition.cgroups.values().filter_map(|one| {
            let Verdict::Session(identity) = &one.verdict else {
                return None;
            };
            let path = String::from_utf8_lossy(&one.path).into_owned();
            Some((path, identity.clone()))
        });
        let mut sessions: Vec<_> = sessions.collect();
        sessions.sort_by(|a, b| a.0.cmp(&b.0));
        (recognition, sessions)
    }
}

#[test]
fn a_users_directory_that_is_called_like_a_container_is_the_users() {
    let name = format!("docker-{VICTIM}.scope");
    let node = Node::new(&[
        &format!("system.slice/{name}"),
        &format!("{MANAGER}/app.slice/{name}"),
        &format!("{MANAGER}/{name}/kubepods/pod0f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c40"),
    ]);
    let sessions = node.sessions();
    let keys: Vec<_> = sessions
        .iter()
        .map(|(_, identity)| (identity.platform.clone(), identity.within.clone()))
        .collect();
    let user = Some(Key::Unit("user@1000.service".to_owned()));
    assert_eq!(
        keys,
        [
            (Some(Key::Container(VICTIM.to_owned())), None),
            (user.clone(), None),
            (None, user.clone()),
            (None, user),
        ],
        "{sessions:?}"
    );
}

#[test]
fn what_root_of_a_container_makes_is_part_of_it() {
    let scope = format!("system.slice/docker-{VICTIM}.scope");
    let node = Node::new(&[
        &format!("{scope}/kubepods-pod0f7c1d9e_5b64_4c7e_9d35_2f1a8e6b7c40.slice"),
        &format!("{scope}/lxc/desk"),
        &format!("{scope}/user.slice/user-1000.slice/user@1000.service/docker-{VICTIM}.scope"),
        "lxc.payload.k3s/kubepods/pod0f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c40",
    ]);
    let names: Vec<_> = node.sessions().into_iter().map(|(path, _)| path).collect();
    assert_eq!(names, ["/lxc.payload.k3s".to_owned(), format!("/{scope}")]);
}

#[test]
fn a_rule_with_trust_finds_sessions_in_a_session() {
    let mut node = Node::new(&[
        "lxc.payload.k3s/kubepods/pod0f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c40",
        "lxc.payload.desk/kubepods/pod1f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c40",
    ]);
    let rule = Rule::compile(RuleDefinition {
        name: "k3s".to_owned(),
        pattern: "^/lxc.payload.k3s/kubepods/(?:[a-z]+/)?pod(?<pod>[0-9a-f-]+)$".to_owned(),
        session: Some("pod-$pod".to_owned()),
        trust: true,
        ..RuleDefinition::default()
    });
    node.rules = Rules::new(&[rule.unwrap()], true);
    let sessions = node.sessions();
    let pods: Vec<_> = sessions
        .iter()
        .filter_map(|(_, identity)| identity.platform.clone())
        .collect();
    let uid = "0f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c40";
    assert_eq!(pods, [Key::Pod(uid.to_owned())]);
    assert_eq!(sessions.len(), 3);
}

#[test]
fn below_a_directory_that_is_not_roots_nothing_is_believed() {
    let node = Node::new(&[&format!("ci.slice/docker-{VICTIM}.scope")]);
    assert_eq!(node.sessions().len(), 1);
    chown(node.tree.path().join("ci.slice"), Some(1001), None).unwrap();
    assert!(node.sessions().is_empty());
}

#[test]
fn a_user_has_so_many_sessions_and_the_others_keep_their_places() {
    let paths: Vec<String> = (0..40)
        .map(|number| format!("{MANAGER}/docker-{number:064x}.scope"))
        .collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let node = Node::new(&paths);
    let (mut recognition, sessions) = node.recognition();
    assert_eq!(sessions.len(), OF_A_USER + 1);
    assert_eq!(recognition.take_exceeded().len(), 40 - OF_A_USER);
    assert!(recognition.take_exceeded().is_empty());
    // One that goes makes room.
    let user = Key::Unit("user@1000.service".to_owned());
    let mut made = recognition.of_key(&user);
    assert_eq!(made.len(), OF_A_USER + 1);
    made.retain(|id| recognition.get(*id).unwrap().manager.is_some());
    let now = Instant::now();
    assert_eq!(recognition.removed(made[0], now), None);
    let hierarchy = Hierarchy::scan(node.tree.path()).unwrap();
    let left_out = hierarchy.in_order().into_iter().filter(|id| {
        let path = hierarchy.path(*id).unwrap();
        path.ends_with(b".scope") && recognition.get(*id).is_none() && *id != made[0]
    });
    let left_out: Vec<u64> = left_out.collect();
    // Not at once: whoever makes and removes them without end would use up the slots that rest.
    recognition.judge(left_out[0], &hierarchy, &node.rules, now);
    assert!(recognition.get(left_out[0]).is_none());
    assert_eq!(recognition.take_exceeded().len(), 1);
    recognition.judge(left_out[0], &hierarchy, &node.rules, now + GONE_COUNTS);
    assert!(recognition.get(left_out[0]).is_some());
    assert!(recognition.take_exceeded().is_empty());
}

#[test]
fn a_platforms_word_concerns_the_cgroups_that_have_its_id_until_they_are_gone() {
    let uid = "0f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c40";
    let slice = format!("kubepods-pod{}.slice", uid.replace('-', "_"));
    let node = Node::new(&[
        &format!("kubepods.slice/{slice}"),
        &format!("{slice}:cri-containerd:{VICTIM}"),
    ]);
    let (mut recognition, _) = node.recognition();
    let key = Key::Pod(uid.to_owned());
    let cgroups = recognition.of_key(&key);
    assert_eq!(cgroups.len(), 2);
    assert_eq!(recognition.removed(cgroups[0], Instant::now()), None);
    assert_eq!(
        recognition.removed(cgroups[1], Instant::now()),
        Some(key.clone())
    );
    assert!(recognition.of_key(&key).is_empty());
}

#[test]
fn a_container_of_a_pod_of_podman_is_found_below_what_looks_like_a_container() {
    let pod = "7".repeat(64);
    let node = Node::new(&[
        &format!("libpod_parent/{pod}/libpod-{VICTIM}"),
        &format!("desks/{pod}/{VICTIM}"),
    ]);
    let sessions = node.sessions();
    let named: Vec<_> = sessions
        .iter()
        .map(|(path, identity)| (path.rsplit('/').next().unwrap(), identity.must_be_named))
        .collect();
    let container = format!("libpod-{VICTIM}");
    assert_eq!(
        named,
        [(&*pod, true), (&*pod, true), (&*container, false)],
        "{sessions:?}"
    );
}
