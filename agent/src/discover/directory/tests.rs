//! Tests of the directory: what platforms say, in which order, and what it makes of cgroups.

use std::slice;

use super::*;
use crate::discover::platform::{ErrorType, Outcome};

const POD: &str = "0f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c40";
const OTHER: &str = "1f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c41";
const SECOND: Duration = Duration::from_secs(1);

fn directory() -> Directory {
    let mut directory = Directory::new(Users::Plain);
    directory.add(Source::Kubernetes, None);
    directory.add(Source::Logind, None);
    directory
}

fn pod(uid: &str) -> Key {
    Key::Pod(uid.to_owned())
}

fn facts(session: &str) -> Facts {
    Facts {
        is_session: true,
        session: Named::new(session, "label x"),
        unique: Named::new(format!("pod-of-{session}"), "name of the pod"),
        namespace: Named::new("vdi", "namespace of the pod"),
        template: Named::new("desktop", "label y"),
        user: Named::new("ada", "label z"),
        ..Facts::default()
    }
}

fn say(directory: &mut Directory, update: Update) {
    sayat(directory, update, Instant::now());
}

fn sayat(directory: &mut Directory, update: Update, now: Instant) {
    let source = Source::Kubernetes;
    directory.take(Message { source, update }, now);
}

/// What a rule makes of a pod's cgroup.
fn by_rule(uid: &str) -> Identity {
    Identity {
        session: format!("pod-{uid}"),
        platform: Some(pod(uid)),
        ..Identity::default()
    }
}

fn named(directory: &mut Directory, uid: &str, now: Instant) -> Verdict {
    directory.name(Verdict::Session(by_rule(uid)), now)
}

fn identity(verdict: Verdict) -> Identity {
    match verdict {
        Verdict::Session(identity) | Verdict::Over(identity) => identity,
        other => panic!("{other:?} is no session"),
    }
}

#[test]
fn a_pod_is_called_what_its_platform_calls_it_and_says_from_where() {
    let mut directory = directory();
    let now = Instant::now();
    assert_eq!(named(&mut directory, POD, now), Verdict::Held);
    say(&mut directory, Update::Changed(pod(POD), facts("desk")));
    assert_eq!(directory.take_changed(now), BTreeSet::from([pod(POD)]));
    assert!(directory.take_changed(now).is_empty());
    let found = identity(named(&mut directory, POD, now));
    let names = (&*found.session, &*found.namespace, &*found.template);
    assert_eq!(names, ("desk", "vdi", "desktop"));
    assert_eq!(found.user.as_deref(), Some("ada"));
    assert_eq!(found.origins.session.as_deref(), Some("label x"));
    assert_eq!(found.source_name(), "kubernetes");
    assert_eq!(found.platform, Some(pod(POD)));
}

#[test]
fn a_pod_that_is_no_session_is_none_and_may_become_one() {
    let mut directory = directory();
    let now = Instant::now();
    let other = Facts {
        is_session: false,
        ..facts("proxy")
    };
    say(&mut directory, Update::Changed(pod(POD), other));
    assert_eq!(named(&mut directory, POD, now), Verdict::NotASession);
    say(&mut directory, Update::Changed(pod(POD), facts("desk")));
    assert_eq!(identity(named(&mut directory, POD, now)).session, "desk");
}

#[test]
fn a_cgroup_waits_for_its_name_and_not_for_ever() {
    let mut directory = directory();
    let now = Instant::now();
    assert_eq!(named(&mut directory, POD, now), Verdict::Held);
    let over = now + PODS_WAIT;
    let before = over.checked_sub(SECOND).unwrap();
    assert!(directory.take_changed(before).is_empty());
    assert_eq!(directory.take_changed(over), BTreeSet::from([pod(POD)]));
    assert!(directory.take_changed(over + SECOND).is_empty());
    let later = now + PODS_WAIT + SECOND;
    let found = identity(named(&mut directory, POD, later));
    assert_eq!(found.session, format!("pod-{POD}"));
    assert_eq!(found.source_name(), "cgroup");
    // When it is told after all, it is called so.
    say(&mut directory, Update::Changed(pod(POD), facts("desk")));
    assert_eq!(identity(named(&mut directory, POD, later)).session, "desk");
}

#[test]
fn a_cgroup_that_is_gone_waits_no_more() {
    let mut directory = directory();
    named(&mut directory, POD, Instant::now());
    assert_eq!(directory.held.len(), 1);
    directory.release(&pod(POD));
    assert!(directory.held.is_empty());
}

#[test]
fn who_is_off_or_has_never_answered_is_not_waited_for() {
    let mut off = Directory::new(Users::Off);
    off.add(Source::Kubernetes, Some("not in a pod".to_owned()));
    let now = Instant::now();
    assert_eq!(
        identity(named(&mut off, POD, now)).session,
        format!("pod-{POD}")
    );
    let mut directory = directory();
    let login = Identity {
        session: "session-3".to_owned(),
        platform: Some(Key::Unit("session-3.scope".to_owned())),
        ..Identity::default()
    };
    let verdict = Verdict::Session(login.clone());
    assert_eq!(identity(directory.name(verdict, now)), login);
}

#[test]
fn what_was_said_stands_while_the_platform_is_away_and_a_list_without_it_ends_it() {
    let mut directory = directory();
    let now = Instant::now();
    let all = BTreeMap::from([(pod(POD), facts("desk"))]);
    say(&mut directory, Update::All(all));
    say(&mut directory, Update::Up);
    let error = Outcome::Error(ErrorType::Unavailable);
    let failed = Update::Reconciled {
        took: SECOND,
        outcome: error,
    };
    for update in [Update::Down("no route".to_owned()), failed] {
        say(&mut directory, update);
    }
    assert_eq!(identity(named(&mut directory, POD, now)).session, "desk");
    let peer = &directory.peers()[&Source::Kubernetes];
    assert_eq!(peer.status, Status::Down("no route".to_owned()));
    assert_eq!(peer.reconciles.errors[&ErrorType::Unavailable], 1);
    assert_eq!(peer.reconciles.durations.len(), 1);

    sayat(&mut directory, Update::All(BTreeMap::new()), now);
    let known = directory.facts(&pod(POD)).unwrap();
    assert!(known.gone);
    assert_eq!(known.session, facts("desk").session);
    // Its cgroup may be there for a while, under its name.
    let over = named(&mut directory, POD, now);
    assert!(matches!(&over, Verdict::Over(identity) if identity.session == "desk"));
    directory.take_changed(now + FORGOTTEN_AFTER);
    assert_eq!(directory.facts(&pod(POD)), None);
}

#[test]
fn a_name_that_no_other_has_comes_with_the_one_that_is_wanted() {
    let mut directory = directory();
    say(&mut directory, Update::Changed(pod(POD), facts("desk")));
    let found = identity(named(&mut directory, POD, Instant::now()));
    assert_eq!(found.session, "desk");
    assert_eq!(found.unique.unwrap().name, "pod-of-desk");
}

#[test]
fn one_that_its_platform_must_name_is_none_until_it_does() {
    let mut directory = directory();
    let now = Instant::now();
    let elsewhere = || {
        Verdict::Session(Identity {
            must_be_named: true,
            ..by_rule(POD)
        })
    };
    assert_eq!(directory.name(elsewhere(), now), Verdict::NotASession);
    say(&mut directory, Update::Changed(pod(POD), facts("desk")));
    assert_eq!(directory.take_changed(now), BTreeSet::from([pod(POD)]));
    let found = identity(directory.name(elsewhere(), now));
    assert_eq!(found.session, "desk");
}

#[test]
fn what_a_user_makes_is_the_users_and_has_no_name_of_a_platform() {
    let mut directory = directory();
    let manager = Key::Unit("user@1000.service".to_owned());
    let login = Facts {
        user: Named::new("ada", "logind"),
        ..facts("user-1000")
    };
    let source = Source::Logind;
    let update = Update::Changed(manager.clone(), login);
    directory.take(Message { source, update }, Instant::now());
    let made = Identity {
        session: "6d1f0a7c25b3".to_owned(),
        within: Some(manager),
        ..Identity::default()
    };
    let found = identity(directory.name(Verdict::Session(made), Instant::now()));
    assert_eq!(found.session, "6d1f0a7c25b3");
    assert_eq!(found.user.as_deref(), Some("ada"));
    assert_eq!(found.source_name(), "cgroup");
}

#[test]
fn a_pod_that_came_and_failed_while_the_api_server_was_away_is_not_counted_again() {
    let failed = Facts {
        end: Some(EndReason::Error),
        ..facts("desk")
    };
    let now = Instant::now();
    let mut directory = directory();
    say(&mut directory, Update::All(BTreeMap::new()));
    assert_eq!(named(&mut directory, POD, now), Verdict::Held);
    directory.take_changed(now + PODS_WAIT);
    named(&mut directory, POD, now + PODS_WAIT);
    directory.release(&pod(POD));
    say(
        &mut directory,
        Update::All(BTreeMap::from([(pod(POD), failed)])),
    );
    assert!(directory.without_cgroup().is_empty());
}

#[test]
fn one_without_a_cgroup_is_awaited_and_its_end_is_told_once() {
    let mut directory = directory();
    let now = Instant::now();
    let over = Facts {
        end: Some(EndReason::Completed),
        ..facts("old")
    };
    // What had ended before the agent came is not its to count.
    let all = BTreeMap::from([(pod(POD), facts("desk")), (pod(OTHER), over.clone())]);
    say(&mut directory, Update::All(all));
    let awaited = WithoutCgroup {
        namespace: "vdi".to_owned(),
        template: "desktop".to_owned(),
        end: None,
    };
    assert_eq!(directory.without_cgroup(), slice::from_ref(&awaited));
    assert_eq!(directory.without_cgroup(), [awaited]);
    let evicted = Facts {
        end: Some(EndReason::Evicted),
        ..facts("desk")
    };
    say(&mut directory, Update::Changed(pod(POD), evicted));
    let told = directory.without_cgroup();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].end, Some(EndReason::Evicted));
    assert!(directory.without_cgroup().is_empty());
    say(&mut directory, Update::Gone(pod(POD)));
    assert!(directory.without_cgroup().is_empty());

    // One that has had a cgroup is the registry's to count.
    let third = "2f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c42";
    say(&mut directory, Update::Changed(pod(third), facts("lab")));
    named(&mut directory, third, now);
    assert!(directory.without_cgroup().is_empty());
    say(&mut directory, Update::Gone(pod(third)));
    assert!(directory.without_cgroup().is_empty());
}

#[test]
fn names_before_a_restart_stand_until_the_platform_speaks() {
    let mut directory = directory();
    let now = Instant::now();
    directory.recall(pod(POD), facts("desk"));
    assert_eq!(identity(named(&mut directory, POD, now)).session, "desk");
    let all = BTreeMap::from([(pod(POD), facts("lab"))]);
    say(&mut directory, Update::All(all));
    assert_eq!(identity(named(&mut directory, POD, now)).session, "lab");
}

#[test]
fn names_from_outside_are_bounded_in_length() {
    let mut directory = directory();
    let long = facts(&"x".repeat(10_000));
    say(&mut directory, Update::Changed(pod(POD), long));
    let found = identity(named(&mut directory, POD, Instant::now()));
    assert!(found.session.chars().count() <= crate::discover::rules::LONGEST);
}
