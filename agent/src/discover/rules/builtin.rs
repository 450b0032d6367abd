//! The built-in rules: where the common runtimes put their cgroups.
//!
//! One list (`list.rs`); the examples in it are its test and its documentation. The order matters: a pod is the
//! session and its containers are parts of it, so the rules about pods come first and end the
//! search for everything below a pod. That also keeps a container that may write to its own cgroup
//! tree from inventing pods.
//!
//! Containers outside pods count only below slices and services, where the service manager puts
//! them; a container within a container is a part of the outer one.

use std::fmt::Write as _;

use super::{Decoding, Effect, Rule, RuleDefinition};

/// A rule that needs no configuration.
#[derive(Debug)]
pub struct Builtin {
    /// The rule's name.
    pub name: &'static str,
    /// The pattern.
    pub pattern: &'static str,
    /// What it matches, for the reference.
    pub about: &'static str,
    /// Template of the session's name; empty takes the capture `session`.
    pub session: &'static str,
    /// The runtime that puts its cgroups there.
    pub runtime: &'static str,
    /// What a match means.
    pub effect: Effect,
    /// How captures are encoded in the path.
    pub decoding: Decoding,
    /// Paths it is for, and what comes out.
    pub examples: &'static [Example],
}

/// A path and what comes out.
#[derive(Debug)]
pub struct Example {
    /// The cgroup's path.
    pub path: &'static str,
    /// The session's name; empty for a part of the session above.
    pub session: &'static str,
    /// The pod's uid, or empty.
    pub pod: &'static str,
    /// The container's id, or empty.
    pub container: &'static str,
}

/// A container id of the examples.
macro_rules! id {
    () => {
        "6d1f0a7c25b3e8946d1f0a7c25b3e8946d1f0a7c25b3e8946d1f0a7c25b3e894"
    };
}
/// The pattern of a container id. Its first twelve digits, which the runtimes' own tools print, are
/// the session's name.
macro_rules! container {
    () => {
        "(?<container>(?<session>[0-9a-f]{12})[0-9a-f]{52})"
    };
}
/// What may stand above a container's scope.
macro_rules! units {
    () => {
        r"^(?:/[^/]+\.(?:slice|service))*"
    };
}
/// A pod's directory by the kubelet's systemd driver: every level carries the names of those above,
/// and the uid has `_` for `-` (or neither, in a static pod).
macro_rules! pod_slice {
    () => {
        r"/(?:[^/]+-)?kubepods(?:-burstable|-besteffort)?-pod(?<pod>[0-9a-f_]{32,36})\.slice"
    };
}
/// The same by its cgroupfs driver.
macro_rules! pod_directory {
    () => {
        "/kubepods/(?:burstable/|besteffort/)?pod(?<pod>[0-9a-f-]{32,36})"
    };
}

mod list;

pub use list::BUILTIN;

impl Builtin {
    /// The compiled rule.
    pub(super) fn rule(&self) -> Rule {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let definition = RuleDefinition {
            name: self.name.to_owned(),
            pattern: self.pattern.to_owned(),
            session: given(self.session),
            runtime: given(self.runtime),
            ..RuleDefinition::default()
        };
        Rule::with(definition, self.effect, self.decoding).expect("a test compiles all of them")
    }
}

/// The list as a table for the configuration's reference.
pub fn builtin_markdown() -> String {
    let mut table = String::from(
        "| rule | what it matches | runtime | example | session |\n|---|---|---|---|---|\n",
    );
    for rule in BUILTIN {
        let example = &rule.examples[0];
        let session = match example.session {
            "" => "that of the pod".to_owned(),
            name => format!("`{name}`"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| `{}` | {} | {} | `{}` | {session} |",
            rule.name,
            rule.about,
            rule.runtime,
            example.path.replace(id!(), "6d1f0a7c25b3…"),
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::{Identity, Rules, Verdict};
    use super::*;

    fn classify(path: &str) -> Verdict {
        Rules::new(&[], true).classify(path.as_bytes())
    }

    #[test]
    fn every_example_is_recognised_by_its_own_rule() {
        let rules = Rules::new(&[], true);
        for rule in BUILTIN {
            assert!(!rule.examples.is_empty(), "{} has no example", rule.name);
            for Example {
                path,
                session,
                pod,
                container,
            } in rule.examples
            {
                let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
                let expected = match some(session) {
                    None => Verdict::NotASession,
                    Some(session) => Verdict::Session(Identity {
                        session,
                        runtime: some(rule.runtime),
                        rule: rule.name.to_owned(),
                        pod: some(pod),
                        container: some(container),
                        ..Identity::default()
                    }),
                };
                assert_eq!(rules.classify(path.as_bytes()), expected, "{path}");
            }
        }
    }

    #[test]
    fn names_are_unique() {
        for (at, rule) in BUILTIN.iter().enumerate() {
            assert!(
                BUILTIN[..at].iter().all(|other| other.name != rule.name),
                "{}",
                rule.name
            );
        }
    }

    #[test]
    fn what_runtimes_keep_beside_a_session_is_none() {
        for path in [
            "/",
            "/init.scope",
            "/system.slice",
            "/system.slice/docker.service",
            "/kubepods.slice",
            "/kubepods.slice/kubepods-burstable.slice",
            "/kubepods/burstable",
            "/user.slice/user-1000.slice",
            "/user.slice/user-1000.slice/user@1000.service/app.slice",
            concat!("/system.slice/crio-conmon-", id!(), ".scope"),
            concat!("/machine.slice/libpod-conmon-", id!(), ".scope"),
            concat!("/machine.slice/libpod-", id!(), ".scope/container"),
            "/lxc.monitor.desk-4",
            "/lxc.monitor/desk-4",
            "/lxc/101/ns",
            "/lxc.payload",
            r"/machine.slice/machine-qemu\x2d1\x2dwin11.scope/libvirt/vcpu0",
            "/machine.slice/systemd-nspawn@debian.service/payload/user.slice/user-0.slice/session-1.scope",
        ] {
            assert_eq!(classify(path), Verdict::NotASession, "{path}");
        }
    }

    #[test]
    fn a_container_cannot_invent_a_pod_or_a_container_below_itself() {
        for path in [
            concat!(
                "/kubepods/pod0f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c40/",
                id!(),
                "/kubepods/pod11111111-5b64-4c7e-9d35-2f1a8e6b7c40"
            ),
            concat!("/system.slice/docker-", id!(), ".scope/docker/", id!()),
        ] {
            assert_eq!(classify(path), Verdict::NotASession, "{path}");
        }
    }

    #[test]
    fn a_static_pods_uid_has_no_dashes() {
        let path = "/kubepods/podd41d8cd98f00b204e9800998ecf8427e";
        let Verdict::Session(identity) = classify(path) else {
            panic!("no session")
        };
        assert_eq!(identity.session, "pod-d41d8cd98f00b204e9800998ecf8427e");
    }
}
