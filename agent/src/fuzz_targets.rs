//! What cargo-fuzz asks for: the properties by name, each with any bytes.

use std::borrow::Cow;

use crate::{
    discover::{containers, kubernetes, libvirt, rules},
    kernel::{btf, log, ring, xid},
    serve::negotiate,
    session::remembered,
};

/// A property that must hold for any bytes; it panics where it does not.
type Target = fn(&[u8]);

/// THE list of what is fuzzed: `fuzz/Cargo.toml` has a program for each, which a test compares.
const TARGETS: [(&str, Target); 12] = [
    ("accept", |bytes| negotiate::must_hold(&text(bytes))),
    ("btf", |bytes| btf::must_hold(bytes.to_vec())),
    ("bundle", |bytes| {
        containers::bundles::must_hold(&text(bytes));
    }),
    ("cgroup_path", |bytes| rules::must_hold_of_path(bytes)),
    ("docker", |bytes| {
        containers::docker::container::must_hold(bytes, Some(137));
    }),
    ("kmsg", |bytes| log::must_hold(&text(bytes))),
    ("kubernetes", |bytes| {
        kubernetes::pod::must_hold(&text(bytes));
    }),
    ("libvirt", |bytes| libvirt::must_hold(&text(bytes))),
    ("ring", |bytes| ring::must_hold(bytes)),
    ("rule", |bytes| {
        let text = text(bytes);
        let (pattern, session) = text.split_once('\n').unwrap_or((&text, "$session"));
        rules::must_hold_of_rule(
            pattern,
            session,
            None,
            b"/machine.slice/machine-qemu-1.scope",
        );
    }),
    ("state", |bytes| remembered::must_hold(bytes)),
    ("xid_format", |bytes| xid::must_hold(&text(bytes))),
];

/// Asks for a property by its name.
///
/// # Panics
///
/// It does not hold, or there is none of the name.
pub fn run(name: &str, bytes: &[u8]) {
    let found = TARGETS.iter().find(|(its, _)| *its == name);
    let (_, target) = found.unwrap_or_else(|| panic!("nothing is called {name}"));
    target(bytes);
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{TARGETS, run};

    #[test]
    fn every_target_has_a_program_and_takes_anything() {
        let manifest = include_str!("../../fuzz/Cargo.toml");
        let programs: BTreeSet<&str> = manifest
            .split("[[bin]]")
            .skip(1)
            .filter_map(|bin| bin.split_once("name = \"")?.1.split('"').next())
            .collect();
        assert_eq!(programs, TARGETS.map(|(name, _)| name).into());
        for (name, _) in TARGETS {
            let path = format!("{}/../fuzz/targets/{name}.rs", env!("CARGO_MANIFEST_DIR"));
            let program = std::fs::read_to_string(path).unwrap();
            assert!(
                program.contains(&format!("run(\"{name}\", bytes)")),
                "{name}"
            );
            run(name, b"");
            run(name, b"\xff\0{");
        }
    }
}
