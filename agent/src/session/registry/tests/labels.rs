//! Tests of what sessions are called: labels that differ, stay, and go to the next one.

use super::*;
use crate::discover::rules::digest;

fn facts_of_living() -> Arc<Facts> {
    Arc::new(Facts {
        is_session: true,
        ..Facts::default()
    })
}

#[test]
fn cgroups_of_one_name_are_sessions_of_their_own_with_labels_that_stay() {
    let (mut r, mut t) = (registry(8), FakeTable::default());
    let runtime = |runtime: &str| Identity {
        runtime: Some(runtime.to_owned()),
        ..identity("101")
    };
    appear(&mut r, &mut t, 1, runtime("proxmox"));
    appear(&mut r, &mut t, 2, runtime("lxc"));
    appear(&mut r, &mut t, 3, runtime("lxc"));
    let digest = format!("101-{:08x}", digest(&3_u64.to_le_bytes()));
    assert_eq!(names(&r), ["101", "101-lxc", &digest]);
    let slots: HashSet<_> = [1, 2, 3].iter().map(|&id| t.slot(id)).collect();
    assert_eq!(slots.len(), 3);
    // As often as they are looked at, and when the first is gone.
    r.vanish(1, Instant::now());
    for (id, of) in [(2, "lxc"), (3, "lxc")] {
        appear(&mut r, &mut t, id, runtime(of));
    }
    assert_eq!(names(&r), ["101-lxc", &digest]);
    // Over a restart, whichever comes first.
    let remembered = Remembered::now(r.living(), r.closed());
    let (mut r, mut t) = (registry(8), FakeTable::default());
    r.recall(remembered, &HashSet::from([2, 3]));
    appear(&mut r, &mut t, 3, runtime("lxc"));
    appear(&mut r, &mut t, 2, runtime("lxc"));
    assert_eq!(names(&r), [&*digest, "101-lxc"]);
}

#[test]
fn who_takes_the_name_that_another_would_get_changes_nothing_for_the_first() {
    let (mut r, mut t) = (registry(8), FakeTable::default());
    appear(&mut r, &mut t, 1, identity("desk"));
    appear(&mut r, &mut t, 2, of_pod("desk-uid-two", "uid-one"));
    appear(&mut r, &mut t, 3, of_pod("desk", "uid-two"));
    let digest = digest(b"uid-two");
    assert_eq!(
        names(&r),
        ["desk", "desk-uid-two", &format!("desk-{digest:08x}")]
    );
}

#[test]
fn one_that_lost_its_name_on_the_way_out_and_stays_is_shown_again() {
    let (mut r, mut t) = (registry(8), FakeTable::default());
    let says = |phase: Option<PlatformPhase>| {
        move |_: &PlatformKey| {
            Some(Arc::new(Facts {
                is_session: true,
                phase,
                ..Facts::default()
            }))
        }
    };
    appear(&mut r, &mut t, 1, of_pod("user-1000", "x"));
    r.take_platforms(says(Some(PlatformPhase::Terminating)));
    appear(&mut r, &mut t, 2, identity("user-1000"));
    assert_eq!(r.sessions().count(), 1);
    r.vanish(2, Instant::now());
    r.take_platforms(says(None));
    appear(&mut r, &mut t, 1, of_pod("user-1000", "x"));
    assert_eq!(names(&r), ["user-1000"]);
    assert_eq!((r.live(), r.sessions().count()), (1, 1));
}

#[test]
fn what_a_user_makes_has_the_manager_in_its_name_and_is_never_nobodys() {
    let (mut r, mut t) = (registry(1), FakeTable::default());
    let made = Identity {
        within: Some(PlatformKey::Unit("user@1000.service".to_owned())),
        ..identity("101")
    };
    appear(&mut r, &mut t, 1, identity("user-1000"));
    let inner = found(2, 1, "/x");
    t.parents.insert(2, 1);
    let now = Instant::now();
    r.appear(&inner, Verdict::Session(made.clone()), || None, &mut t, now);
    r.publish(&mut t);
    assert_eq!((t.slot(2), r.overflowed_total()), (t.slot(1), 0));
    r.max_sessions = 2;
    r.appear(&inner, Verdict::Session(made), || None, &mut t, now);
    assert_eq!(names(&r), ["user-1000", "101-user@1000"]);
}

#[test]
fn a_name_that_comes_back_replaces_its_lingering_predecessor() {
    let (mut r, mut t) = (registry(4), FakeTable::default());
    let start = Instant::now();
    come(&mut r, &mut t, &found(1, 0, "/s-a"), start);
    t.switches(1, 5);
    r.vanish(1, start);
    r.sample(&mut t, start + REST);
    come(&mut r, &mut t, &found(2, 0, "/s-a"), start + REST);
    r.sample(&mut t, start + REST);
    assert_eq!(r.sessions().count(), 1);
    assert_eq!(waits(&r, "a"), 0);
}

#[test]
fn a_session_that_its_platform_names_later_goes_on_under_its_name() {
    let (mut r, mut t) = (registry(4), FakeTable::default());
    appear(&mut r, &mut t, 1, of_pod("pod-x", "x"));
    t.switches(1, 5);
    r.sample(&mut t, Instant::now());
    appear(&mut r, &mut t, 1, of_pod("desk", "x"));
    r.sample(&mut t, Instant::now());
    assert_eq!((r.live(), r.sessions().count()), (1, 1));
    assert_eq!(waits(&r, "desk"), 5);
    assert!(r.ended().is_empty());
    // New rules give the same cgroup another name; with a platform it is another session.
    appear(&mut r, &mut t, 2, identity("a"));
    appear(&mut r, &mut t, 2, identity("b"));
    assert_eq!(names(&r), ["desk", "b"]);
    appear(&mut r, &mut t, 2, of_pod("b", "y"));
    assert_eq!(r.sessions().filter(|s| !s.is_live()).count(), 0);
    assert_eq!(r.sessions.values().filter(|s| !s.is_live()).count(), 1);
}

#[test]
fn a_pod_made_anew_takes_the_name_of_the_one_that_is_on_its_way_out() {
    let (mut r, mut t) = (registry(4), FakeTable::default());
    appear(&mut r, &mut t, 1, of_pod("desk-0", "x"));
    t.switches(1, 5);
    let leaving = Arc::new(Facts {
        is_session: true,
        phase: Some(PlatformPhase::Terminating),
        ..Facts::default()
    });
    r.take_platforms(|_| Some(Arc::clone(&leaving)));
    appear(&mut r, &mut t, 2, of_pod("desk-0", "y"));
    t.switches(2, 3);
    let start = Instant::now();
    r.sample(&mut t, start);
    assert_eq!((names(&r), waits(&r, "desk-0")), (vec!["desk-0"], 3));
    // The first is counted to its end, unseen.
    assert_eq!(r.live(), 2);
    r.vanish(1, start);
    r.sample(&mut t, start + REST);
    r.sample(&mut t, start + MINUTE);
    assert_eq!(r.ended()[&unknown()].count, 1);
    assert_eq!(names(&r), ["desk-0"]);
}

#[test]
fn two_living_pods_under_the_same_labels_are_two_sessions_and_stay_so() {
    let (mut r, mut t) = (registry(8), FakeTable::default());
    let start = Instant::now();
    appear(&mut r, &mut t, 1, of_pod("notebook", "uid-one"));
    r.take_platforms(|_| Some(facts_of_living()));
    // As often as the agent compares.
    for _ in 0..5 {
        appear(&mut r, &mut t, 1, of_pod("notebook", "uid-one"));
        appear(&mut r, &mut t, 2, of_pod("notebook", "uid-two"));
        r.take_platforms(|_| Some(facts_of_living()));
        r.sample(&mut t, start);
    }
    assert_eq!(names(&r), ["notebook", "notebook-uid-two"]);
    assert_eq!((r.live(), t.slot(1) == t.slot(2)), (2, false));
    r.sample(&mut t, start + MINUTE);
    assert!(r.ended().is_empty());
    // Also when the other one is gone.
    r.vanish(1, start + MINUTE);
    appear(&mut r, &mut t, 2, of_pod("notebook", "uid-two"));
    let live = r.sessions().find(|s| s.is_live()).unwrap();
    assert_eq!(live.identity.session, "notebook-uid-two");
}
