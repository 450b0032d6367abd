//! The built-in rules: where the common runtimes put their cgroups.
//!
//! One list (`list.rs`); the examples in it are its test and its documentation. Each pattern is anchored to where
//! its platform makes cgroups, and its ground says who else may be able to make one there. What is below a
//! session is a part of it, whatever it is called: a pod's containers, a container within a container, and what
//! a tenant invents. The exception are containers that users run without root in their own service managers.
//!
//! Containers outside pods count only below slices and services, where the service manager puts them. Where a
//! runtime is told to put its cgroups elsewhere, a path is believed if the platform names the id in it.

use std::fmt::Write as _;

use super::{Decoding, Effect, Ground, Rule, RuleDefinition, Standing};

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
    /// Where it is believed.
    pub ground: Ground,
    /// Who makes cgroups below one that it takes.
    pub below: Standing,
    /// Paths it is for, and what comes out.
    pub examples: &'static [Example],
}

/// A path and what comes out.
#[derive(Debug)]
pub struct Example {
    /// The cgroup's path.
    pub path: &'static str,
    /// The session's name.
    pub session: &'static str,
    /// The pod's uid, or empty.
    pub pod: &'static str,
    /// The container's id, or empty.
    pub container: &'static str,
    /// The machine by libvirt's id, or empty.
    pub machine: &'static str,
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
/// A user's service manager, and what may stand between it and a container's cgroup.
macro_rules! user_units {
    () => {
        r"^/user\.slice/user-[0-9]+\.slice/user@[0-9]+\.service(?:/[^/]+\.(?:slice|service))*"
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
        let mut rule = Rule::with(definition, self.effect, self.decoding)
            .expect("a test compiles all of them");
        (rule.ground, rule.below) = (self.ground, self.below);
        rule
    }
}

/// The list as a table for the configuration's reference.
pub fn builtin_markdown() -> String {
    let mut table = String::from(
        "| rule | what it matches | runtime | example | session |\n|---|---|---|---|---|\n",
    );
    for rule in BUILTIN {
        let example = &rule.examples[0];
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| `{}` | {} | {} | `{}` | `{}` |",
            rule.name,
            rule.about,
            rule.runtime,
            example.path.replace(id!(), "6d1f0a7c25b3…"),
            example.session,
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::{Identity, Rules, Verdict};
    use super::*;

    fn classify(path: &str) -> Verdict {
        at(path, Standing::Platform)
    }

    fn at(path: &str, standing: Standing) -> Verdict {
        let rules = Rules::new(&[], true);
        rules.judge(path.as_bytes(), || standing).verdict
    }

    #[test]
    fn every_example_is_recognised_by_its_own_rule() {
        for rule in BUILTIN {
            assert!(!rule.examples.is_empty(), "{} has no example", rule.name);
            let standing = match rule.ground {
                Ground::User => Standing::User,
                _ => Standing::Platform,
            };
            for Example {
                path,
                session,
                pod,
                container,
                machine,
            } in rule.examples
            {
                let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
                let expected = Verdict::Session(Identity {
                    session: (*session).to_owned(),
                    runtime: some(rule.runtime),
                    rule: rule.name.to_owned(),
                    pod: some(pod),
                    container: some(container),
                    machine: some(machine),
                    must_be_named: rule.ground == Ground::Named,
                    ..Identity::default()
                });
                assert_eq!(at(path, standing), expected, "{path}");
            }
        }
    }

    #[test]
    fn below_a_tenant_no_builtin_rule_is_believed() {
        for rule in BUILTIN {
            for example in rule.examples {
                let below = format!("/system.slice/docker-{}.scope{}", id!(), example.path);
                for path in [example.path, &below] {
                    assert_eq!(at(path, Standing::Tenant), Verdict::NotASession, "{path}");
                }
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
            "/lxc.monitor.desk-4",
            "/lxc.monitor/desk-4",
            "/lxc/101/ns",
            "/lxc.payload",
            "/nomad.slice/share.slice",
            "/system.slice/slurmstepd.scope/system",
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
