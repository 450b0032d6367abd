//! Tests of the registry against a kernel side made of plain maps.

use agent_common::{
    cgroup::CgroupBirth,
    process::{LAST_EXIT_KNOWN, LAST_EXIT_OOM_KILLED},
};

use std::sync::Arc;

use super::*;
use crate::{
    discover::{
        directory::WithoutCgroup,
        platform::{EndReason, Facts, Key as PlatformKey, PlatformPhase, Source},
    },
    session::{phase::Phase, remembered::Remembered, slots::slots_for},
};

mod ends;
mod fake_table;
mod histories;
mod labels;
mod logons;

use fake_table::FakeTable;

fn registry(max_sessions: u32) -> Registry {
    let settings = Settings {
        max_sessions,
        linger: MINUTE,
        ..Settings::default()
    };
    Registry::new(&settings, 200)
}

fn found(id: u64, parent: u64, path: &str) -> Found {
    Found {
        id,
        parent: Some(parent),
        path: Some(path.as_bytes().into()),
    }
}

fn identity(name: &str) -> Identity {
    Identity {
        session: name.to_owned(),
        namespace: String::new(),
        template: "desktop".to_owned(),
        runtime: None,
        rule: "test".to_owned(),
        ..Identity::default()
    }
}

/// `/s-NAME` and `/x/s-NAME` are sessions, `/i…` is ignored.
fn classify(path: &[u8]) -> Verdict {
    let last = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    match last {
        [b's', b'-', name @ ..] => Verdict::Session(identity(&String::from_utf8_lossy(name))),
        [b'i', ..] => Verdict::Ignored,
        _ => Verdict::NotASession,
    }
}

fn come(registry: &mut Registry, table: &mut FakeTable, f: &Found, now: Instant) {
    let verdict = classify(f.path.as_deref().unwrap());
    table.parents.insert(f.id, f.parent.unwrap());
    registry.appear(f, verdict, || None, table, now);
    registry.publish(table);
}

/// Compares all that is there with all that is known.
fn reconcile(
    registry: &mut Registry,
    table: &mut FakeTable,
    all: &[Found],
    classify: impl Fn(&[u8]) -> Verdict,
    now: Instant,
) {
    registry.retain(|id| all.iter().any(|found| found.id == id), now);
    for found in all {
        let verdict = classify(found.path.as_deref().unwrap());
        table.parents.insert(found.id, found.parent.unwrap());
        registry.appear(found, verdict, || None, table, now);
    }
    registry.publish(table);
}

fn has_room_for_waiting(registry: &Registry) -> bool {
    !registry.waiting_with_room().is_empty()
}

fn waits(registry: &Registry, name: &str) -> u64 {
    let session = registry
        .sessions()
        .find(|s| s.identity.session == name)
        .unwrap();
    session.counts.sched.runqueue_wait.count()
}

const MINUTE: Duration = Duration::from_mins(1);

/// Names of the live sessions, oldest first.
fn names(registry: &Registry) -> Vec<&str> {
    let live = registry.sessions().filter(|s| s.is_live());
    live.map(|s| s.identity.session.as_str()).collect()
}

fn unknown() -> (String, String, EndReason) {
    (String::new(), "desktop".to_owned(), EndReason::Unknown)
}

fn of_pod(name: &str, pod: &str) -> Identity {
    Identity {
        platform: Some(PlatformKey::Pod(pod.to_owned())),
        ..identity(name)
    }
}

fn appear(registry: &mut Registry, table: &mut FakeTable, id: u64, identity: Identity) {
    let verdict = Verdict::Session(identity);
    let found = found(id, 0, "/pod");
    registry.appear(&found, verdict, || None, table, Instant::now());
    registry.publish(table);
}

#[test]
fn a_nested_cgroup_belongs_to_its_nearest_session() {
    let (mut r, mut t) = (registry(8), FakeTable::default());
    let now = Instant::now();
    for f in [
        found(1, 0, "/s-outer"),
        found(2, 1, "/s-outer/part"),
        found(3, 2, "/s-outer/part/s-inner"),
        found(4, 3, "/s-outer/part/s-inner/deep"),
        found(5, 0, "/other"),
        found(6, 1, "/s-outer/ignored"),
        found(7, 6, "/s-outer/ignored/deep"),
        found(8, 6, "/s-outer/ignored/s-not"),
    ] {
        come(&mut r, &mut t, &f, now);
    }
    assert_eq!(t.slot(1), t.slot(2));
    assert_eq!(t.slot(3), t.slot(4));
    assert_ne!(t.slot(1), t.slot(3));
    assert!(t.slot(1).is_some() && t.slot(3).is_some());
    // Whatever is in a session takes no place of the map: a session begins twice, and once one ends.
    assert_eq!(t.published.len(), 3);
    assert!([5, 6, 7, 8].iter().all(|&id| t.slot(id).is_none()));
    assert_eq!(r.live(), 2);
}

#[test]
fn cgroups_of_one_platform_id_are_one_session_until_the_last_is_gone() {
    let (mut r, mut t) = (registry(8), FakeTable::default());
    let now = Instant::now();
    appear(&mut r, &mut t, 1, of_pod("x", "uid"));
    appear(&mut r, &mut t, 2, of_pod("x", "uid"));
    assert_eq!((r.live(), t.slot(1)), (1, t.slot(2)));
    r.vanish(1, now);
    assert_eq!(r.live(), 1);
    r.vanish(2, now);
    assert_eq!(r.live(), 0);
}

#[test]
fn a_session_that_the_kernel_has_no_room_for_leaves_nothing_and_comes_later() {
    let (mut r, mut t) = (registry(1), FakeTable::default());
    let now = Instant::now();
    t.full = true;
    // More often than there are slots.
    for _ in 0..200 {
        come(&mut r, &mut t, &found(1, 0, "/s-x"), now);
    }
    assert_eq!((r.live(), r.sessions().count()), (0, 0));
    t.full = false;
    come(&mut r, &mut t, &found(1, 0, "/s-x"), now);
    assert_eq!(r.live(), 1);
    t.switches(1, 3);
    r.sample(&mut t, now);
    assert_eq!(waits(&r, "x"), 3);
}

#[test]
fn a_cgroup_that_a_scan_has_missed_and_the_next_one_finds_is_measured_on() {
    let (mut r, mut t) = (registry(8), FakeTable::default());
    let start = Instant::now();
    come(&mut r, &mut t, &found(1, 0, "/s-x"), start);
    r.vanish(1, start);
    come(&mut r, &mut t, &found(1, 0, "/s-x"), start + REST / 2);
    r.sample(&mut t, start + REST * 2);
    assert!(t.slot(1).is_some());
    assert_eq!(r.live(), 1);
}

#[test]
fn what_is_ignored_within_a_session_is_marked_while_there_is_one_and_until_it_is_gone() {
    let (mut r, mut t) = (registry(8), FakeTable::default());
    let start = Instant::now();
    // Before there is a session above, nothing needs to be said.
    come(&mut r, &mut t, &found(2, 1, "/x/i"), start);
    assert!(t.published.is_empty());
    let all = [found(1, 0, "/s-x"), found(2, 1, "/s-x/i")];
    reconcile(&mut r, &mut t, &all, classify, start);
    assert_eq!((t.slot(2), t.published.len()), (None, 2));
    reconcile(&mut r, &mut t, &all, |_| Verdict::NotASession, start);
    assert_eq!((t.slot(1), t.published.len()), (None, 0));
    reconcile(&mut r, &mut t, &all, classify, start);
    r.vanish(2, start);
    r.vanish(1, start);
    r.sample(&mut t, start + REST / 2);
    assert!(
        t.slot(1).is_some(),
        "threads may still be switched for the last time"
    );
    r.sample(&mut t, start + REST);
    assert!(t.pending.is_empty(), "{:?}", t.pending);
}

#[test]
fn a_second_root_of_a_session_that_waited_waits_no_longer() {
    let (mut r, mut t) = (registry(1), FakeTable::default());
    let start = Instant::now();
    come(&mut r, &mut t, &found(1, 0, "/s-first"), start);
    let roots = [2, 3];
    for root in roots {
        appear(&mut r, &mut t, root, of_pod("x", "uid"));
    }
    r.vanish(1, start);
    r.sample(&mut t, start + REST);
    assert!(has_room_for_waiting(&r));
    for root in roots {
        appear(&mut r, &mut t, root, of_pod("x", "uid"));
    }
    r.max_sessions = 2;
    assert_eq!((r.live(), has_room_for_waiting(&r)), (1, false));
}

#[test]
fn a_reused_slot_starts_at_nothing_and_the_ended_session_keeps_its_counts() {
    let (mut r, mut t) = (registry(1), FakeTable::default());
    let start = Instant::now();
    let mut slots_seen = HashSet::new();
    // More sessions than slots, one after the other.
    for n in 0..100u64 {
        let now = start + Duration::from_secs(n * 10);
        come(&mut r, &mut t, &found(100 + n, 0, &format!("/s-{n}")), now);
        slots_seen.insert(t.slot(100 + n).unwrap());
        r.sample(&mut t, now);
        assert_eq!(waits(&r, &n.to_string()), 0, "session {n} inherited counts");
        t.switches(100 + n, 7 + n);
        r.vanish(100 + n, now);
        // A last switch after the cgroup has gone still belongs to it.
        t.switches(100 + n, 1);
        r.sample(&mut t, now + REST);
        assert_eq!(waits(&r, &n.to_string()), 8 + n);
    }
    assert!(slots_seen.len() < 100, "no slot was used twice");
}

#[test]
fn a_session_over_the_cap_is_counted_once_and_adopted_when_there_is_room() {
    let (mut r, mut t) = (registry(2), FakeTable::default());
    let start = Instant::now();
    let all = [
        found(1, 0, "/s-a"),
        found(2, 0, "/s-b"),
        found(3, 0, "/s-c"),
        found(4, 3, "/s-c/part"),
    ];
    for _ in 0..3 {
        reconcile(&mut r, &mut t, &all, classify, start);
    }
    assert_eq!(
        (r.live(), r.overflowed_total(), has_room_for_waiting(&r)),
        (2, 1, false)
    );
    assert!(t.slot(3).is_none() && t.slot(4).is_none());
    // Its slot rests, and there are others: room at once.
    r.vanish(1, start);
    assert!(has_room_for_waiting(&r));
    reconcile(&mut r, &mut t, &all[1..], classify, start);
    assert_eq!(
        (r.live(), r.overflowed_total(), has_room_for_waiting(&r)),
        (2, 1, false)
    );
    assert_eq!(t.slot(3), t.slot(4));
}

#[test]
fn what_waits_is_nobodys_also_when_the_cgroup_above_becomes_a_session() {
    let (mut r, mut t) = (registry(1), FakeTable::default());
    let now = Instant::now();
    let (other, above, waits) = (
        found(1, 0, "/s-a"),
        found(2, 0, "/part"),
        found(3, 2, "/part/s-c"),
    );
    t.parents.insert(3, 2);
    let session = |name: &str| Verdict::Session(identity(name));
    r.appear(&other, session("a"), || None, &mut t, now);
    r.appear(&above, Verdict::NotASession, || None, &mut t, now);
    r.appear(&waits, session("c"), || None, &mut t, now);
    r.vanish(1, now);
    // There is room, and the one above takes it; of the other its platform has yet to speak.
    r.appear(&above, session("b"), || None, &mut t, now);
    r.appear(&waits, Verdict::Held, || None, &mut t, now);
    r.publish(&mut t);
    assert!(t.slot(2).is_some());
    assert_eq!(t.slot(3), None);
}

#[test]
fn new_rules_move_cgroups_without_a_restart() {
    let (mut r, mut t) = (registry(4), FakeTable::default());
    let now = Instant::now();
    let all = [found(1, 0, "/s-a"), found(2, 1, "/s-a/part")];
    reconcile(&mut r, &mut t, &all, classify, now);
    assert_eq!(t.slot(1), t.slot(2));
    let only_part = |path: &[u8]| {
        if path.ends_with(b"part") {
            Verdict::Session(identity("part"))
        } else {
            Verdict::NotASession
        }
    };
    reconcile(&mut r, &mut t, &all, only_part, now);
    assert!(t.slot(1).is_none());
    let live: Vec<_> = r
        .sessions()
        .filter(|s| s.is_live())
        .map(|s| s.identity.session.clone())
        .collect();
    assert_eq!(live, ["part"]);
}

#[test]
fn what_was_missed_is_made_up_for_by_a_reconcile() {
    let (mut r, mut t) = (registry(4), FakeTable::default());
    let now = Instant::now();
    reconcile(&mut r, &mut t, &[found(1, 0, "/s-a")], classify, now);
    reconcile(&mut r, &mut t, &[found(2, 0, "/s-b")], classify, now);
    let live: Vec<_> = r
        .sessions()
        .filter(|s| s.is_live())
        .map(|s| s.identity.session.clone())
        .collect();
    assert_eq!(live, ["b"]);
}

#[test]
fn the_first_process_is_timed_once_for_sessions_made_while_watching() {
    let (mut r, mut t) = (registry(4), FakeTable::default());
    let now = Instant::now();
    let made_ns = clock::boot_ns();
    t.births.insert(
        1,
        CgroupBirth {
            made_ns,
            first_process_ns: 0,
        },
    );
    come(&mut r, &mut t, &found(1, 0, "/s-a"), now);
    r.sample(&mut t, now);
    assert!(r.startup().is_empty());
    let session = r.sessions().next().unwrap();
    assert_eq!(session.phase, Phase::Pending);
    let pending_since = session.phase_since_ns.unwrap();
    t.births.insert(
        1,
        CgroupBirth {
            made_ns,
            first_process_ns: made_ns + 500_000_000,
        },
    );
    for _ in 0..3 {
        r.sample(&mut t, now);
    }
    let histogram = &r.startup()[&(String::new(), "desktop".to_owned(), Milestone::FirstProcess)];
    assert_eq!((histogram.count(), histogram.sum_ns), (1, 500_000_000));
    let session = r.sessions().next().unwrap();
    assert_eq!(session.phase, Phase::Terminating);
    assert!(session.phase_since_ns.unwrap() > pending_since);
    // One that was there before the agent has not begun.
    come(&mut r, &mut t, &found(2, 0, "/s-b"), now);
    r.sample(&mut t, now);
    let of_template = (String::new(), "desktop".to_owned());
    assert_eq!(r.begun(), &BTreeMap::from([(of_template, 1)]));
    let session = r.sessions().next().unwrap();
    let half_a_second = Duration::from_millis(500);
    assert_eq!(
        session.startup(),
        BTreeMap::from([(Milestone::FirstProcess, half_a_second)])
    );
}

#[test]
fn a_cgroup_that_is_held_changes_nothing() {
    let (mut r, mut t) = (registry(4), FakeTable::default());
    let now = Instant::now();
    let pod = found(1, 0, "/pod");
    r.appear(&pod, Verdict::Held, || None, &mut t, now);
    come(&mut r, &mut t, &found(2, 1, "/pod/part"), now);
    assert_eq!((r.live(), t.published.len()), (0, 0));
    appear(&mut r, &mut t, 1, of_pod("desk", "x"));
    come(&mut r, &mut t, &found(2, 1, "/pod/part"), now);
    assert_eq!(t.slot(1), t.slot(2));
    r.appear(&pod, Verdict::Held, || None, &mut t, now);
    assert_eq!(r.live(), 1);
}

#[test]
fn who_was_there_before_is_looked_for_once_and_only_if_there_can_be_somebody() {
    let (mut r, mut t, now) = (registry(8), FakeTable::default(), Instant::now());
    t.empty.insert(2);
    come(&mut r, &mut t, &found(2, 1, "/s-empty"), now);
    r.sample(&mut t, now);
    assert_eq!(t.searches, 0);
    come(&mut r, &mut t, &found(3, 1, "/s-full"), now);
    r.sample(&mut t, now);
    r.sample(&mut t, now);
    assert_eq!(t.searches, 1);
    // A kernel that cannot look at the files of one process.
    t.carried = true;
    r.sample(&mut t, now);
    r.sample(&mut t, now);
    assert_eq!(t.searches, 2);
}
