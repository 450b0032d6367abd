//! What libvirt 9.0.0 wrote for a machine of QEMU, and what else there may be in its folder. Of the recorded
//! files only the list of QEMU's capabilities is shortened.

use std::{fs, path::Path};

use proptest::prelude::*;

use super::*;
use crate::{
    discover::platform::{EndReason, Named, PlatformPhase},
    fuzz::{self, text_like},
};

const RUNNING: &str = include_str!("recorded/running.xml");
/// After `virsh suspend`, with metadata that `virsh metadata` has set.
const PAUSED: &str = include_str!("recorded/paused.xml");
const RECORDED_METADATA: &str = "<libosinfo:os id=\"http://microsoft.com/win/11\"/>";

fn named(name: &str, from: &str) -> Option<Named> {
    Named::new(name, from)
}

fn details<'a>(facts: &'a Facts, names: [&str; 5]) -> [Option<&'a str>; 5] {
    names.map(|name| facts.details.get(name).map(String::as_str))
}

#[test]
fn a_recorded_machine_says_its_names_and_state() {
    let domain = Domain::parse(RUNNING).unwrap();
    assert_eq!(domain.key, "qemu-1");
    assert_eq!(domain.pid, Some(9687));
    let facts = domain.facts;
    assert!(facts.is_session);
    assert_eq!(facts.session, named("Win 11 (CAD)", "libvirt domain"));
    assert_eq!(facts.template, named("win11", "libosinfo metadata"));
    assert_eq!(
        (facts.namespace.as_ref(), facts.user.as_ref()),
        (None, None)
    );
    assert_eq!(facts.phase, Some(PlatformPhase::Running));
    assert_eq!(
        details(&facts, ["uuid", "title", "vcpus", "memory", "state"]),
        [
            Some("d65b86dc-9677-451a-b1bd-1e5257ef27de"),
            Some("Ada's CAD workstation"),
            Some("2"),
            Some("64 MiB"),
            None
        ]
    );
}

#[test]
fn what_an_owner_says_comes_first() {
    let facts = Domain::parse(PAUSED).unwrap().facts;
    assert_eq!(facts.session, named("ada", "sessionscope metadata"));
    assert_eq!(facts.unique, named("Win 11 (CAD)", "libvirt domain"));
    assert_eq!(facts.template, named("cad", "sessionscope metadata"));
    assert_eq!(
        facts.user,
        named("ada@example.org", "sessionscope metadata")
    );
    assert_eq!(facts.namespace, None);
    assert_eq!(facts.phase, Some(PlatformPhase::Running));
    assert_eq!(facts.details["state"], "paused (user)");
}

#[test]
fn openstack_says_more_than_libosinfo() {
    let nova = r#"
      <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
        <nova:name>cad-7</nova:name>
        <nova:flavor name="gpu.large"><nova:vcpus>8</nova:vcpus></nova:flavor>
        <nova:owner>
          <nova:user uuid="4f">vdi-broker</nova:user>
          <nova:project uuid="9a">engineering</nova:project>
        </nova:owner>
      </nova:instance></metadata>"#;
    let text = RUNNING.replace("</metadata>", nova);
    let facts = Domain::parse(&text).unwrap().facts;
    let from = "OpenStack metadata";
    assert_eq!(facts.session, named("cad-7", from));
    assert_eq!(facts.namespace, named("engineering", from));
    assert_eq!(facts.template, named("gpu.large", from));
    assert_eq!(facts.user, None);
}

#[test]
fn operating_systems_have_the_short_names_of_libosinfo() {
    for (id, short) in [
        ("http://microsoft.com/win/2k22", "win2k22"),
        ("http://ubuntu.com/ubuntu/24.04", "ubuntu24.04"),
        ("http://archlinux.org/archlinux/rolling", "archlinux"),
        ("http://libosinfo.org/unknown", "unknown"),
        ("windows", "windows"),
    ] {
        let os = format!("<libosinfo:os id=\"{id}\"/>");
        let text = RUNNING.replace(RECORDED_METADATA, &os);
        let facts = Domain::parse(&text).unwrap().facts;
        assert_eq!(facts.template, named(short, "libosinfo metadata"), "{id}");
    }
}

#[test]
fn states_are_phases() {
    for (state, reason, phase) in [
        ("paused", "starting up", Some(PlatformPhase::Starting)),
        ("pmsuspended", "unknown", Some(PlatformPhase::Running)),
        ("shutdown", "user", Some(PlatformPhase::Terminating)),
        ("crashed", "panicked", Some(PlatformPhase::Terminating)),
        ("new in a later version", "", None),
    ] {
        let status = format!("<domstatus state='{state}' reason='{reason}'");
        let text = RUNNING.replace("<domstatus state='running' reason='booted'", &status);
        let facts = Domain::parse(&text).unwrap().facts;
        assert_eq!(facts.phase, phase, "{state}");
        let end = (state == "crashed").then_some(EndReason::Error);
        assert_eq!(facts.end, end, "{state}");
    }
}

#[test]
fn what_is_no_status_says_why() {
    let no_id = RUNNING.replace("<domain type='qemu' id='1'>", "<domain type='qemu'>");
    let no_name = RUNNING.replace("<name>Win 11 (CAD)</name>", "");
    let bomb = format!("<!DOCTYPE x [<!ENTITY a 'aaaa'>]>{RUNNING}");
    let broken = RUNNING.replacen("/>", "/\n>", 1);
    for (text, reason) in [
        ("", "root"),
        ("<domstatus>", "root"),
        ("<domain/>", "no <domstatus>"),
        ("<domstatus/>", "no <domain>"),
        (&no_id, "no id"),
        (&no_name, "no <name>"),
        (&bomb, "DTD"),
        (&broken, "not ' '"),
    ] {
        let error = Domain::parse(text).unwrap_err();
        assert!(error.contains(reason), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

/// Far more than the stack of a thread could follow if it were followed by recursion.
#[test]
fn depth_is_no_danger() {
    let deep = "<a>".repeat(300_000);
    assert!(Domain::parse(&deep).is_err());
}

/// As many as fit into a file would be compared for long.
#[test]
fn what_is_compared_one_by_one_has_a_bound() {
    let attributes: Vec<_> = (0..20_000).map(|number| format!(" a{number}=''")).collect();
    let wide = RUNNING.replace("<vcpus>", &format!("<vcpus{}>", attributes.concat()));
    let spaces: Vec<_> = (0..300)
        .map(|number| format!("<a xmlns:b{number}='c'>"))
        .collect();
    let deep = spaces.concat() + &"</a>".repeat(300);
    let deep = RUNNING.replace("<metadata>", &format!("<metadata>{deep}"));
    for (text, reason) in [(wide, "attributes"), (deep, "name spaces")] {
        let error = Domain::parse(&text).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

proptest! {
    #![proptest_config(fuzz::config())]

    #[test]
    fn whatever_a_file_says_is_a_reason_or_in_proportion(text in text_like(&[RUNNING, PAUSED])) {
        must_hold(&text);
    }
}

fn put(folder: &Path, name: &str, text: &str) {
    // As libvirt does.
    let new = folder.join(format!("{name}.new"));
    fs::write(&new, text).unwrap();
    fs::rename(&new, folder.join(name)).unwrap();
}

/// The recorded machine once more, as the second that was started.
fn second() -> String {
    RUNNING.replace("<domain type='qemu' id='1'>", "<domain type='qemu' id='2'>")
}

fn keys(known: &BTreeMap<Key, Facts>) -> Vec<&str> {
    let names = known.keys().map(|key| match key {
        Key::Machine(name) => name.as_str(),
        other => panic!("{other:?}"),
    });
    names.collect()
}

#[test]
fn machines_come_change_and_go_with_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut state = State::new(path.to_owned());
    fs::write(path.join("driver.pid"), "77").unwrap();
    fs::create_dir(path.join("dbus")).unwrap();
    assert_eq!(state.look(true).unwrap(), Some(BTreeMap::new()));
    assert_eq!(state.look(false).unwrap(), None);

    put(path, "Win 11 (CAD).xml", RUNNING);
    let known = state.look(false).unwrap().unwrap();
    assert_eq!(keys(&known), ["qemu-1"]);
    assert_eq!(state.look(false).unwrap(), None);
    assert_eq!(state.look(true).unwrap(), Some(known));

    put(path, "Win 11 (CAD).xml", PAUSED);
    put(path, "other.xml", &second());
    let known = state.look(false).unwrap().unwrap();
    assert_eq!(keys(&known), ["qemu-1", "qemu-2"]);
    let paused = &known[&Key::Machine("qemu-1".to_owned())];
    assert_eq!(paused.session, named("ada", "sessionscope metadata"));

    fs::remove_file(path.join("other.xml")).unwrap();
    let known = state.look(false).unwrap().unwrap();
    assert_eq!(keys(&known), ["qemu-1"]);

    fs::remove_dir_all(path).unwrap();
    let gone = state.look(false).unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_file_that_makes_no_sense_costs_its_machine_only() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "one.xml", RUNNING);
    put(folder.path(), "two.xml", "<domstatus>");
    let mut state = State::new(folder.path().to_owned());
    let known = state.look(true).unwrap().unwrap();
    assert_eq!(keys(&known), ["qemu-1"]);
    // Not read again until it changes.
    assert_eq!(state.look(false).unwrap(), None);
    put(folder.path(), "two.xml", &second());
    let known = state.look(false).unwrap().unwrap();
    assert_eq!(keys(&known), ["qemu-1", "qemu-2"]);
}

#[test]
fn machines_whose_names_libvirt_shortens_alike_are_two() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "one.xml", RUNNING);
    put(
        folder.path(),
        "two.xml",
        &second().replace("Win 11 (CAD)", "Win11CAD"),
    );
    let mut state = State::new(folder.path().to_owned());
    let known = state.look(true).unwrap().unwrap();
    let names: Vec<_> = known.values().map(|facts| facts.session.clone()).collect();
    let from = "libvirt domain";
    assert_eq!(
        names,
        [named("Win 11 (CAD)", from), named("Win11CAD", from)]
    );
}

#[test]
fn a_machine_began_when_its_process_did() {
    let folder = tempfile::tempdir().unwrap();
    let own = std::process::id();
    let text = RUNNING.replace("pid='9687'", &format!("pid='{own}'"));
    put(folder.path(), "one.xml", &text);
    let path = folder.path().join("one.xml");
    let now = SystemTime::now();
    let created = read(&path, Some(now)).unwrap().facts.created.unwrap();
    let age = now.duration_since(created).unwrap();
    assert!(age < Duration::from_mins(30), "{age:?}");
    // It stays the same when the file is read again.
    let mut state = State::new(folder.path().to_owned());
    let known = state.look(true).unwrap().unwrap();
    put(
        folder.path(),
        "one.xml",
        &text.replace("booted", "unpaused"),
    );
    assert_eq!(state.look(false).unwrap().unwrap(), known);
    // The file is older than the process that now has the pid.
    let older = Some(created - Duration::from_mins(1));
    assert_eq!(read(&path, older).unwrap().facts.created, None);
    // Its time is the last that there is.
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(i64::MAX as u64);
    let again = read(&path, Some(last)).unwrap().facts.created;
    assert!(again.is_some());
    // Nobody's pid.
    let text = RUNNING.replace("pid='9687'", "pid='-1'");
    put(folder.path(), "one.xml", &text);
    assert_eq!(read(&path, Some(now)).unwrap().facts.created, None);
}
