//! How sessions end, linger and are remembered.

use super::*;
use crate::kernel::accounts::{CgroupAccounts, MemoryEvents, ProcessLimit};

#[test]
fn a_session_that_its_platform_says_is_over_ends_though_its_cgroups_stay() {
    let (mut r, mut t) = (registry(8), FakeTable::default());
    let start = Instant::now();
    let ended = Arc::new(Facts {
        is_session: true,
        end: Some(EndReason::Completed),
        ..Facts::default()
    });
    appear(&mut r, &mut t, 1, of_pod("desk", "x"));
    come(&mut r, &mut t, &found(2, 1, "/pod/part"), start);
    let slot = t.slot(1).unwrap();
    t.alive.insert(slot, 1);
    r.sample(&mut t, start);
    r.take_platforms(|_| Some(Arc::clone(&ended)));
    r.sample(&mut t, start);
    assert_eq!(r.live(), 1, "somebody is still in it");
    t.alive.remove(&slot);
    r.sample(&mut t, start);
    r.sample(&mut t, start + REST);
    let key = (String::new(), "desktop".to_owned(), EndReason::Completed);
    assert_eq!((r.live(), r.ended()[&key].count), (0, 1));
    assert!(t.published.is_empty(), "{:?}", t.published);
    // Whatever is found there later is nobody's, also when the platform has forgotten the id.
    let over = found(1, 0, "/pod");
    let verdict = Verdict::Over(of_pod("desk", "x"));
    r.appear(&over, verdict, || None, &mut t, start);
    appear(&mut r, &mut t, 1, of_pod("pod-x", "x"));
    come(&mut r, &mut t, &found(3, 1, "/pod/later"), start);
    assert_eq!((r.live(), t.published.len()), (0, 0));
    // It is started again in the same place.
    let again = Identity {
        source: Some(Source::Containers),
        ..of_pod("desk", "x")
    };
    appear(&mut r, &mut t, 1, again);
    come(&mut r, &mut t, &found(3, 1, "/pod/later"), start);
    assert_eq!((r.live(), t.published.len()), (1, 1));
    assert_eq!(t.slot(3), t.slot(1));
}

#[test]
fn what_is_over_stays_over_when_the_agent_starts_again() {
    let (mut before, mut t) = (registry(8), FakeTable::default());
    let start = Instant::now();
    let over = || Verdict::Over(of_pod("desk", "x"));
    before.appear(&found(1, 0, "/pod"), over(), || None, &mut t, start);
    let (mut r, mut t) = (registry(8), FakeTable::default());
    r.recall(
        Remembered::now(before.living(), before.closed()),
        &HashSet::from([1]),
    );
    // Until its platform has spoken.
    appear(&mut r, &mut t, 1, of_pod("desk", "x"));
    come(&mut r, &mut t, &found(2, 1, "/pod/part"), start);
    assert_eq!((r.live(), t.slot(1), t.slot(2)), (0, None, None));
    r.appear(&found(1, 0, "/pod"), over(), || None, &mut t, start);
    r.vanish(2, start);
    r.vanish(1, start);
    r.sample(&mut t, start + MINUTE);
    assert!(r.ended().is_empty() && r.closed().is_empty());
}

#[test]
fn a_session_that_somebody_is_in_goes_on_whatever_its_platform_says() {
    let (mut r, mut t) = (registry(8), FakeTable::default());
    let start = Instant::now();
    appear(&mut r, &mut t, 1, of_pod("desk", "x"));
    t.alive.insert(t.slot(1).unwrap(), 1);
    let gone = Arc::new(Facts {
        is_session: true,
        gone: true,
        ..Facts::default()
    });
    r.sample(&mut t, start);
    r.take_platforms(|_| Some(Arc::clone(&gone)));
    for minutes in 0..10 {
        r.sample(&mut t, start + MINUTE * minutes);
    }
    assert_eq!(names(&r), ["desk"]);
}

#[test]
fn ended_sessions_linger_in_a_number_that_is_bounded() {
    let (mut r, mut t) = (registry(256), FakeTable::default());
    let start = Instant::now();
    for n in 0..1000_u64 {
        let now = start + Duration::from_millis(n * 17);
        let id = 100 + n;
        come(&mut r, &mut t, &found(id, 0, &format!("/s-{n}")), now);
        r.vanish(id, now);
        r.sample(&mut t, now);
    }
    let kept = r.sessions.len();
    let with_slot = slots_for(256) as usize;
    assert!(kept <= MOST_LINGERING + with_slot, "{kept}");
    let newest = r.sessions.values().next_back().unwrap();
    assert_eq!(newest.identity.session, "999");
}

#[test]
fn how_long_a_session_lasted_is_told_by_the_clock_since_boot() {
    let (mut r, mut t) = (registry(4), FakeTable::default());
    appear(&mut r, &mut t, 1, identity("desk"));
    let session = r.sessions.values_mut().next().unwrap();
    session.started_ns = Some(5_000_000_000);
    let minute_ns = 60_000_000_000;
    assert_eq!(session.lasted(minute_ns), Some(Duration::from_secs(55)));
    // Converted when it is first said; a time of day that is set later does not change it.
    let created = SystemTime::now();
    let facts = Arc::new(Facts {
        created: Some(created),
        ..Facts::default()
    });
    session.take_facts(Arc::clone(&facts));
    session.created = Some((created, 3_000_000_000));
    session.take_facts(facts);
    assert_eq!(session.lasted(minute_ns), Some(Duration::from_secs(57)));
}

#[test]
fn a_session_that_its_platform_took_on_before_this_boot_began_when_that_says() {
    let (mut r, mut t) = (registry(4), FakeTable::default());
    appear(&mut r, &mut t, 1, identity("desk"));
    let session = r.sessions.values_mut().next().unwrap();
    session.started_ns = Some(5_000_000_000);
    // Longer ago than this machine has been up.
    let created = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365);
    session.take_facts(Arc::new(Facts {
        created: Some(created),
        ..Facts::default()
    }));
    assert_eq!(session.began(), Some(created));
    // And it has lasted since then, of which most was before the boot.
    let boot = clock::wall_of_boot(0).unwrap();
    let until_boot = boot.duration_since(created).unwrap();
    let lasted = session.lasted(60_000_000_000).unwrap();
    let since_boot = lasted.checked_sub(until_boot).unwrap();
    let tolerance = Duration::from_millis(10);
    assert!(
        since_boot.abs_diff(Duration::from_mins(1)) < tolerance,
        "{since_boot:?}"
    );
}

#[test]
fn an_ended_session_lingers_and_then_vanishes() {
    let (mut r, mut t) = (registry(4), FakeTable::default());
    let start = Instant::now();
    come(&mut r, &mut t, &found(1, 0, "/s-a"), start);
    t.switches(1, 5);
    r.vanish(1, start);
    r.sample(&mut t, start + REST);
    r.sample(&mut t, start + Duration::from_secs(59));
    assert_eq!(waits(&r, "a"), 5);
    r.sample(&mut t, start + MINUTE);
    assert_eq!(r.sessions().count(), 0);
    assert!(t.slot(1).is_none());
}

#[test]
fn the_last_two_hundred_that_have_ended_are_known_also_when_they_do_not_linger() {
    let (mut r, mut t) = (registry(4), FakeTable::default());
    r.linger = Duration::ZERO;
    let start = Instant::now();
    for n in 0..203_u64 {
        let now = start + Duration::from_secs(10 * n);
        let id = 100 + n;
        come(&mut r, &mut t, &found(id, 0, &format!("/s-{n}")), now);
        t.switches(id, 5);
        r.sample(&mut t, now);
        r.vanish(id, now);
        r.sample(&mut t, now + REST);
    }
    assert_eq!(r.sessions().count(), 0);
    let pasts = r.pasts().latest_first();
    let names: Vec<&str> = pasts.map(|past| &*past.identity.session).collect();
    assert_eq!((names.len(), names[0], names[199]), (200, "202", "3"));
    let latest = r.pasts().latest_first().next().unwrap();
    assert_eq!(latest.reason, EndReason::Unknown);
    assert!(latest.runqueue_wait[0].is_some());
    assert!(
        latest
            .findings
            .as_ref()
            .is_some_and(|[minute, _]| minute.is_empty())
    );
}

#[test]
fn of_one_that_has_ended_what_was_counted_stays_and_what_it_might_have_does_not() {
    let (mut r, mut t) = (registry(4), FakeTable::default());
    let start = Instant::now();
    come(&mut r, &mut t, &found(1, 0, "/s-a"), start);
    r.sample(&mut t, start);
    let accounts = CgroupAccounts {
        memory_events: Some(MemoryEvents { high: 1, max: 2 }),
        processes: ProcessLimit {
            most: Some(100),
            refused_forks: Some(3),
        },
        ..CgroupAccounts::default()
    };
    r.read_accounts(1, |_| Some(accounts));
    let known = |r: &Registry| r.sessions().next().unwrap().counts.accounts.unwrap();
    assert_eq!(known(&r), accounts);
    r.vanish(1, start);
    r.sample(&mut t, start + REST);
    let last = known(&r);
    assert_eq!(last.memory_events, accounts.memory_events);
    let processes = ProcessLimit {
        most: None,
        refused_forks: Some(3),
    };
    assert_eq!(last.processes, processes);
}

#[test]
fn what_ended_while_the_agent_was_away_is_counted_once_and_what_lives_keeps_its_beginning() {
    let (mut before, mut t) = (registry(4), FakeTable::default());
    let now = Instant::now();
    for (id, path) in [(1, "/s-a"), (2, "/s-b"), (3, "/s-c")] {
        come(&mut before, &mut t, &found(id, 0, path), now);
    }
    let mut remembered = Remembered::now(before.living(), before.closed());
    remembered.sessions[0].began = Some(1_000.5);

    let (mut after, mut t) = (registry(4), FakeTable::default());
    after.recall(remembered.clone(), &HashSet::from([1, 3]));
    assert_eq!(after.ended()[&unknown()].count, 1);
    come(&mut after, &mut t, &found(1, 0, "/s-a"), now);
    let began_ns = after.sessions().next().unwrap().started_ns;
    assert_eq!(began_ns, Some(1_000_500_000_000));
    // One that no session has taken up is kept for the next start, and has ended when its cgroup goes.
    assert_eq!(after.living().len(), 2);
    after.vanish(3, now);
    assert_eq!(after.ended()[&unknown()].count, 2);
    assert_eq!(after.living().len(), 1);
    // After a reboot no cgroup is the same.
    let mut rebooted = registry(4);
    rebooted.recall(remembered, &HashSet::new());
    assert_eq!(rebooted.ended()[&unknown()].count, 3);
}

#[test]
fn a_login_that_logind_has_closed_has_completed_whatever_its_last_process_says() {
    let end = |source, closed: bool, last_exit| {
        let (mut r, mut t) = (registry(4), FakeTable::default());
        t.last_exit = LAST_EXIT_KNOWN | last_exit;
        let start = Instant::now();
        let login = Identity {
            platform: Some(PlatformKey::Unit("session-3.scope".to_owned())),
            source: Some(source),
            ..identity("session-3")
        };
        appear(&mut r, &mut t, 1, login);
        let phase = closed.then_some(PlatformPhase::Terminating);
        r.take_platforms(|_| {
            Some(Arc::new(Facts {
                is_session: true,
                phase,
                ..Facts::default()
            }))
        });
        r.vanish(1, start);
        r.sample(&mut t, start + REST);
        r.sample(&mut t, start + REST + MINUTE);
        r.ended().keys().map(|(_, _, reason)| *reason).next()
    };
    // An sshd's 255 when its client has left, and systemd's SIGKILL.
    let (left, killed) = (255 << 8, 9);
    assert_eq!(end(Source::Logind, true, left), Some(EndReason::Completed));
    assert_eq!(
        end(Source::Logind, true, killed),
        Some(EndReason::Completed)
    );
    let oom = killed | LAST_EXIT_OOM_KILLED;
    assert_eq!(end(Source::Logind, true, oom), Some(EndReason::OomKilled));
    // What no login manager has closed.
    assert_eq!(end(Source::Logind, false, left), Some(EndReason::Error));
    assert_eq!(end(Source::Containers, true, left), Some(EndReason::Error));
}

#[test]
fn what_turns_out_to_be_no_session_has_no_end() {
    let (mut r, mut t) = (registry(8), FakeTable::default());
    let start = Instant::now();
    // The API server was away when it came.
    appear(&mut r, &mut t, 1, of_pod("pod-x", "x"));
    r.sample(&mut t, start);
    let none = Arc::new(Facts::default());
    r.take_platforms(|_| Some(Arc::clone(&none)));
    let pod = found(1, 0, "/pod");
    r.appear(&pod, Verdict::NotASession, || None, &mut t, start);
    r.sample(&mut t, start + REST);
    r.sample(&mut t, start + MINUTE);
    assert!(r.ended().is_empty());
    assert_eq!(r.sessions().count(), 0);
}

#[test]
fn an_end_is_counted_when_the_platform_has_said_why_or_has_had_the_time() {
    let facts = |end| {
        Arc::new(Facts {
            is_session: true,
            end,
            ..Facts::default()
        })
    };
    let end = |end: Option<EndReason>, after: Duration| {
        let (mut r, mut t) = (registry(4), FakeTable::default());
        appear(&mut r, &mut t, 1, of_pod("desk", "x"));
        let start = Instant::now();
        r.take_platforms(|_| Some(facts(None)));
        r.vanish(1, start);
        r.sample(&mut t, start + REST);
        r.take_platforms(|_| Some(facts(end)));
        r.sample(&mut t, start + REST + after);
        r.ended().keys().map(|(_, _, reason)| *reason).next()
    };
    let second = Duration::from_secs(1);
    assert_eq!(end(None, second), None);
    assert_eq!(end(None, MINUTE), Some(EndReason::Unknown));
    let evicted = Some(EndReason::Evicted);
    assert_eq!(end(evicted, second), evicted);
}

#[test]
fn sessions_without_a_cgroup_are_awaited_or_have_ended_and_their_templates_are_bounded() {
    let settings = Settings::default();
    let mut r = Registry::new(&settings, 2);
    let one = |template: &str, end| WithoutCgroup {
        namespace: "n".to_owned(),
        template: template.to_owned(),
        end,
    };
    let error = Some(EndReason::Error);
    r.take_without_cgroup(vec![one("a", None), one("b", error), one("c", error)]);
    assert_eq!(r.awaited(), [("n".to_owned(), "a".to_owned())]);
    let ended: Vec<&str> = r.ended().keys().map(|(_, t, _)| t.as_str()).collect();
    assert_eq!(ended, ["b", "overflow"]);
    assert_eq!(r.templates_overflowed_total(), 1);
    r.take_without_cgroup(Vec::new());
    assert!(r.awaited().is_empty());
}
