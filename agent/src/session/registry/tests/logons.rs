//! How logons and logoffs are counted.

use super::*;
use crate::{
    discover::platform::{LoginStart, PodStart, Start},
    session::{logon::LogonPhase, model::Holder},
    telemetry::captured::caused,
};

const S: u64 = 1_000_000_000;

fn of_login(name: &str) -> Identity {
    Identity {
        source: Some(Source::Logind),
        platform: Some(PlatformKey::Unit("session-3.scope".to_owned())),
        ..identity(name)
    }
}

/// A session of a login whose cgroup was made while the agent watched, with a process in it.
fn logged_in(r: &mut Registry, t: &mut FakeTable) -> u64 {
    let made_ns = clock::boot_ns();
    t.births.insert(
        1,
        CgroupBirth {
            made_ns,
            first_process_ns: made_ns,
        },
    );
    appear(r, t, 1, of_login("ada"));
    t.alive.insert(t.slot(1).unwrap(), 1);
    made_ns
}

fn told(r: &mut Registry, facts: Facts) {
    let facts = Arc::new(facts);
    r.take_platforms(|_| Some(Arc::clone(&facts)));
}

/// A login that was opened at a moment, two seconds after the connection.
fn facts(opened_ns: u64) -> Facts {
    Facts {
        is_session: true,
        phase: Some(PlatformPhase::Running),
        start: Some(Start::Login(LoginStart {
            connected_ns: Some(opened_ns - 2 * S),
            opened_ns,
            manager_ns: Some((opened_ns, opened_ns + S / 2)),
            ..LoginStart::default()
        })),
        ..Facts::default()
    }
}

/// How many logons had a phase, and its seconds.
fn observed(r: &Registry, phase: LogonPhase) -> Option<(u64, f64)> {
    let key = (String::new(), "desktop".to_owned(), phase);
    let histogram = r.logons().get(&key)?;
    Some((histogram.count(), histogram.sum_ns as f64 / 1e9))
}

#[test]
fn a_logon_is_counted_once_when_nothing_more_comes_of_it() {
    let (mut r, mut t) = (registry(4), FakeTable::default());
    logged_in(&mut r, &mut t);
    let now = Instant::now();
    let opened_ns = clock::boot_ns().saturating_sub(S);
    told(&mut r, facts(opened_ns));
    r.sample(&mut t, now);
    // It may go on. What may be observed is 0 already, and what is a pod's is not there.
    assert_eq!(observed(&r, LogonPhase::Authentication), Some((0, 0.0)));
    assert_eq!(observed(&r, LogonPhase::Unaccounted), Some((0, 0.0)));
    assert_eq!(observed(&r, LogonPhase::Pulled), None);
    assert_eq!(r.sessions().next().unwrap().logon, None);
    let manager = (String::new(), "desktop".to_owned(), Milestone::UserManager);
    assert_eq!(r.startup()[&manager].count(), 1);
    // With its end it is over.
    r.vanish(1, now);
    for _ in 0..3 {
        r.sample(&mut t, now);
    }
    assert_eq!(observed(&r, LogonPhase::Authentication), Some((1, 2.0)));
    assert_eq!(observed(&r, LogonPhase::UserManager), Some((1, 0.5)));
    assert_eq!(observed(&r, LogonPhase::HomeMounted), Some((0, 0.0)));
    assert_eq!(observed(&r, LogonPhase::Unaccounted), Some((1, 0.0)));
}

#[test]
fn a_logon_of_long_ago_is_over_and_one_of_before_the_agent_is_not_counted() {
    for was_seen in [true, false] {
        let (mut r, mut t) = (registry(4), FakeTable::default());
        logged_in(&mut r, &mut t);
        let session = r.sessions.values_mut().next().unwrap();
        session.made_ns = session.made_ns.filter(|_| was_seen);
        let begin_ns = 5 * S;
        told(&mut r, facts(begin_ns));
        // The test's own machine has been up for more than two minutes and some seconds.
        if clock::boot_ns() < 200 * S {
            return;
        }
        r.sample(&mut t, Instant::now());
        let expected = was_seen.then_some((1, 2.0));
        assert_eq!(observed(&r, LogonPhase::Authentication), expected);
    }
}

#[test]
fn a_pod_that_is_still_being_started_has_no_logon_yet() {
    let (mut r, mut t) = (registry(4), FakeTable::default());
    let made_ns = clock::boot_ns();
    let birth = |made_ns| CgroupBirth {
        made_ns,
        first_process_ns: made_ns,
    };
    t.births.insert(1, birth(made_ns));
    let identity = Identity {
        pod: Some("uid".to_owned()),
        ..of_pod("desk", "uid")
    };
    appear(&mut r, &mut t, 1, identity);
    // The runtime makes the container's cgroup when it has the image.
    let id = "ab".repeat(32);
    t.births.insert(2, birth(made_ns + 7 * S));
    let path = format!("/pod/cri-containerd-{id}.scope");
    come(&mut r, &mut t, &found(2, 1, &path), Instant::now());
    let at = clock::wall_of_boot;
    let mut facts = Facts {
        is_session: true,
        phase: Some(PlatformPhase::Pending),
        created: at(made_ns - 2 * S),
        scheduled: at(made_ns - S),
        ..Facts::default()
    };
    facts.start = Some(Start::Pod(PodStart {
        container: Some(id),
        ..PodStart::default()
    }));
    told(&mut r, facts.clone());
    r.sample(&mut t, Instant::now());
    let session = r.sessions().next().unwrap();
    assert_eq!(session.milestones[&Milestone::Pulled], made_ns + 7 * S);
    assert_eq!(session.logon, None);
    // It ends before anything of it was started: nobody has logged on.
    r.vanish(2, Instant::now());
    r.vanish(1, Instant::now());
    r.sample(&mut t, Instant::now());
    assert_eq!(observed(&r, LogonPhase::Unaccounted), Some((0, 0.0)));
    assert_eq!(observed(&r, LogonPhase::Authentication), None);
}

#[test]
fn a_logoff_lasts_from_the_leaders_end_to_the_cgroups() {
    let (mut r, mut t) = (registry(4), FakeTable::default());
    logged_in(&mut r, &mut t);
    let template = (String::new(), "desktop".to_owned());
    let opened_ns = clock::boot_ns();
    told(&mut r, facts(opened_ns.max(3 * S)));
    let now = Instant::now();
    r.sample(&mut t, now);
    assert_eq!(r.logoffs()[&template].count(), 0);
    let closing = Facts {
        phase: Some(PlatformPhase::Terminating),
        closing_ns: Some(clock::boot_ns().saturating_sub(3 * S)),
        gone: true,
        ..facts(opened_ns.max(3 * S))
    };
    told(&mut r, closing);
    r.sample(&mut t, now);
    r.vanish(1, now);
    r.sample(&mut t, now + REST);
    r.sample(&mut t, now + REST);
    let histogram = &r.logoffs()[&template];
    let seconds = histogram.sum_ns as f64 / 1e9;
    // The test's clock has been put forward by the rest of a slot, and the end was before it.
    assert_eq!(histogram.count(), 1);
    assert!((0.5..6.0).contains(&seconds), "{seconds}");
}

#[test]
fn a_logoff_that_was_not_seen_to_begin_is_not_counted() {
    let (mut r, mut t) = (registry(4), FakeTable::default());
    logged_in(&mut r, &mut t);
    let closing = Facts {
        phase: Some(PlatformPhase::Terminating),
        gone: true,
        ..facts(clock::boot_ns().max(3 * S))
    };
    told(&mut r, closing);
    let now = Instant::now();
    r.sample(&mut t, now);
    let session = r.sessions().next().unwrap();
    assert!(session.logoff.closing_ns.is_some());
    r.vanish(1, now);
    r.sample(&mut t, now + REST);
    r.sample(&mut t, now + REST);
    assert!(r.logoffs().values().all(|histogram| histogram.count() == 0));
}

#[test]
fn who_holds_a_session_is_told_once_and_stays_known() {
    let (mut r, mut t) = (registry(4), FakeTable::default());
    logged_in(&mut r, &mut t);
    let holder = || Holder {
        pid: 4711,
        command: "tmux: server".to_owned(),
    };
    let read = |cgroup: u64| (cgroup == 1).then(holder);
    let closing_ns = clock::boot_ns();
    // Nobody has logged out.
    let records = caused(|| r.look_who_holds(closing_ns + 60 * S, read));
    assert!(records.is_empty(), "{records:?}");
    let closing = Facts {
        phase: Some(PlatformPhase::Terminating),
        closing_ns: Some(closing_ns),
        ..facts(closing_ns.max(3 * S))
    };
    told(&mut r, closing);
    r.sample(&mut t, Instant::now());
    let records = caused(|| r.look_who_holds(closing_ns + 9 * S, read));
    assert!(records.is_empty(), "{records:?}");
    let records = caused(|| {
        r.look_who_holds(closing_ns + 10 * S, read);
        r.look_who_holds(closing_ns + 11 * S, read);
    });
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["event"], "session_held");
    assert_eq!(records[0]["session"], "ada");
    assert_eq!(records[0]["command"], "tmux: server");
    // It has gone by now, and was the last.
    r.look_who_holds(closing_ns + 12 * S, |_| None);
    let session = r.sessions().next().unwrap();
    assert_eq!(session.logoff.held_by, Some(holder()));
}
