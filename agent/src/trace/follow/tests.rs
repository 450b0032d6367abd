use std::{collections::BTreeMap, slice::from_ref};

use agent_common::histogram::bucket_of;

use super::*;
use crate::{
    discover::rules::Identity,
    kernel::accounts::{CgroupAccounts, Throttled},
    session::model::{Counts, Logoff, Milestone},
    telemetry::{begin_traces, session_id, trace_id},
};

const WAIT: Duration = Duration::from_millis(100);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

/// A session that began at 0 and that the agent has seen being made.
fn desk() -> SessionView {
    begin_traces();
    let identity = Identity {
        session: "desk".to_owned(),
        namespace: "vdi".to_owned(),
        pod: Some("3f9a".to_owned()),
        ..Identity::default()
    };
    SessionView {
        identity,
        id: session_id("3f9a", 7),
        trace: trace_id("3f9a", 7),
        cgroup: "/desk".to_owned(),
        roots: Vec::new(),
        phase: None,
        phase_since: None,
        started: Some(at(0)),
        adopted: at(0),
        made: Some(at(0)),
        ended: None,
        end_reason: None,
        idle_for: None,
        startup: BTreeMap::new(),
        logon: BTreeMap::new(),
        logoff: Logoff::default(),
        counts: Counts::default(),
        recent: None,
        history: None,
        preempted_by: Vec::new(),
        platform: None,
    }
}

/// Names of what is new a second after another.
struct Told {
    follower: Follower,
    began: Instant,
    second: u64,
}

impl Told {
    fn new() -> Self {
        Self {
            follower: Follower::new(WAIT),
            began: Instant::now(),
            second: 0,
        }
    }

    fn look(&mut self, session: &SessionView, seconds: u64) -> Vec<Span> {
        self.second += seconds;
        let sessions = from_ref(session);
        self.follower.look(sessions, &[], |_| true, self.now())
    }

    fn now(&self) -> Moment {
        Moment {
            wall: at(self.second),
            clock: self.began + Duration::from_secs(self.second),
        }
    }
}

fn moment(began: Instant, second: u64) -> Moment {
    Moment {
        wall: at(second),
        clock: began + Duration::from_secs(second),
    }
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| &*span.name).collect()
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|one| one.key.as_str() == key);
    found.map(|one| one.value.to_string())
}

#[test]
fn a_milestone_is_told_once_and_lasts_from_the_beginning() {
    let (mut told, mut session) = (Told::new(), desk());
    assert_eq!(told.look(&session, 1), []);
    session
        .startup
        .insert(Milestone::FirstProcess, Duration::from_millis(300));
    let spans = told.look(&session, 1);
    assert_eq!(names(&spans), ["first_process"]);
    let [span] = &spans[..] else { unreachable!() };
    assert_eq!(
        (span.start, span.end),
        (at(0), at(0) + Duration::from_millis(300))
    );
    assert_eq!(span.parent, Some(span::root(span.trace)));
    assert_eq!(attribute(span, "vdi.session").as_deref(), Some("desk"));
    assert_eq!(attribute(span, "vdi.pod_uid").as_deref(), Some("3f9a"));
    assert_eq!(told.look(&session, 1), []);
}

#[test]
fn of_a_session_that_was_there_before_nothing_is_told_twice() {
    let (mut told, mut session) = (Told::new(), desk());
    session.made = None;
    session
        .startup
        .insert(Milestone::FirstProcess, Duration::from_secs(1));
    session.counts.process.exits_signal = 3;
    session.counts.gpu.xids.insert(("0".to_owned(), 31), 2);
    assert_eq!(told.look(&session, 1), []);
    session.counts.process.exits_signal = 5;
    session.counts.gpu.xids.insert(("0".to_owned(), 31), 3);
    let spans = told.look(&session, 1);
    assert_eq!(names(&spans), ["crash", "xid"]);
    assert_eq!(attribute(&spans[0], "vdi.processes").as_deref(), Some("2"));
    assert_eq!(attribute(&spans[1], "vdi.errors").as_deref(), Some("1"));
    assert_eq!(attribute(&spans[1], "vdi.xid").as_deref(), Some("31"));
    // It happened since it was looked before.
    assert_eq!((spans[0].start, spans[0].end), (at(1), at(2)));
    assert!(spans.iter().all(|span| span.error.is_some()));
}

#[test]
fn the_root_is_told_at_the_end_with_how_it_ended() {
    let (mut told, mut session) = (Told::new(), desk());
    assert_eq!(told.look(&session, 1), []);
    session.counts.process.exits_oom_killed = 1;
    session.ended = Some(at(9));
    // How is not decided yet.
    assert_eq!(names(&told.look(&session, 8)), ["oom_kill"]);
    session.end_reason = Some(EndReason::OomKilled);
    let spans = told.look(&session, 1);
    assert_eq!(names(&spans), ["session"]);
    let root = &spans[0];
    assert_eq!((root.start, root.end), (at(0), at(9)));
    assert_eq!((root.parent, root.id), (None, span::root(root.trace)));
    assert_eq!(root.error.as_deref(), Some("oom_killed"));
    assert_eq!(attribute(root, "vdi.oom_kills").as_deref(), Some("1"));
    assert_eq!(told.look(&session, 1), []);
    // What ended well is no error.
    let mut other = desk();
    other.trace = trace_id("another", 8);
    assert_eq!(told.look(&other, 1), []);
    (other.ended, other.end_reason) = (Some(at(20)), Some(EndReason::Completed));
    assert_eq!(told.look(&other, 1)[0].error, None);
}

#[test]
fn one_that_lives_between_two_looks_is_told_of_wholly() {
    let (mut told, mut session) = (Told::new(), desk());
    session
        .startup
        .insert(Milestone::FirstProcess, Duration::from_secs(1));
    (session.ended, session.end_reason) = (Some(at(2)), Some(EndReason::Error));
    assert_eq!(
        names(&told.look(&session, 30)),
        ["first_process", "session"]
    );
    assert_eq!(told.look(&session, 1), []);
}

#[test]
fn one_that_nobody_sees_any_more_is_told_of_when_its_end_is_decided() {
    let (mut told, mut session) = (Told::new(), desk());
    assert_eq!(told.look(&session, 1), []);
    // Another one has its labels.
    told.second += 20;
    assert_eq!(told.follower.look(&[], &[], |_| false, told.now()), []);
    (session.ended, session.end_reason) = (Some(at(2)), Some(EndReason::Completed));
    told.second += 10;
    let spans = told
        .follower
        .look(&[], from_ref(&session), |_| false, told.now());
    assert_eq!(names(&spans), ["session"]);
}

#[test]
fn the_hours_of_sessions_that_were_there_before_are_not_over_at_once() {
    let mut told = Told::new();
    let mut sessions = Vec::new();
    for number in 0..256_u64 {
        let mut session = desk();
        (session.made, session.trace) = (None, trace_id("a pod", number));
        sessions.push(session);
    }
    let mut most = 0;
    let mut all = 0;
    for second in 0..7200 {
        told.second = second;
        let spans = told.follower.look(&sessions, &[], |_| true, told.now());
        assert!(spans.iter().all(|span| span.name == "hour"));
        most = most.max(spans.len());
        all += spans.len();
    }
    assert!(all >= 250 && most < 10, "{all} spans, {most} at once");
}

#[test]
fn two_gpus_that_fail_at_once_are_two_spans() {
    let (mut told, mut session) = (Told::new(), desk());
    assert_eq!(told.look(&session, 1), []);
    for (gpu, code) in [("0", 31), ("1", 31), ("1", 43)] {
        session.counts.gpu.xids.insert((gpu.to_owned(), code), 1);
    }
    let spans = told.look(&session, 1);
    let ids: BTreeSet<[u8; 8]> = spans.iter().map(|span| span.id).collect();
    assert_eq!((spans.len(), ids.len()), (3, 3));
}

#[test]
fn a_minute_of_long_waits_or_of_a_limit_is_an_incident() {
    let (mut told, mut session) = (Told::new(), desk());
    let waits = |session: &mut SessionView, wait: Duration, count: u64| {
        let ns = wait.as_nanos() as u64;
        session.counts.sched.runqueue_wait.buckets[bucket_of(ns)] += count;
    };
    waits(&mut session, WAIT / 10, 1000);
    assert_eq!(told.look(&session, 1), []);
    assert_eq!(told.look(&session, 59), []);
    // Two in a hundred wait twice as long as may be.
    waits(&mut session, WAIT / 10, 98);
    waits(&mut session, WAIT * 2, 2);
    let spans = told.look(&session, 60);
    assert_eq!(names(&spans), ["run_queue_latency"]);
    assert_eq!((spans[0].start, spans[0].end), (at(60), at(120)));
    let throttled = |us| {
        let throttled = Throttled {
            own_us: Some(us),
            ..Throttled::default()
        };
        CgroupAccounts {
            throttled,
            ..CgroupAccounts::default()
        }
    };
    session.counts.accounts = Some(throttled(2_900_000));
    assert_eq!(told.look(&session, 60), []);
    session.counts.accounts = Some(throttled(6_000_000));
    let spans = told.look(&session, 60);
    assert_eq!(names(&spans), ["throttled"]);
    assert_eq!(
        attribute(&spans[0], "vdi.throttled_seconds").as_deref(),
        Some("3.1")
    );
}

#[test]
fn each_full_hour_is_a_span_so_that_a_long_life_can_be_read() {
    let (mut told, mut session) = (Told::new(), desk());
    assert_eq!(told.look(&session, 1), []);
    session.counts.cpu_ns = 1_500_000_000;
    let spans = told.look(&session, 3599);
    assert_eq!(names(&spans), ["hour"]);
    assert_eq!((spans[0].start, spans[0].end), (at(0), at(3600)));
    assert_eq!(
        attribute(&spans[0], "vdi.cpu_seconds").as_deref(),
        Some("1.5")
    );
    assert_eq!(told.look(&session, 1), []);
    let spans = told.look(&session, 3599);
    assert_eq!(
        attribute(&spans[0], "vdi.cpu_seconds").as_deref(),
        Some("0")
    );
}

#[test]
fn a_trace_is_kept_or_not_from_its_first_sight_on() {
    let (mut follower, began) = (Follower::new(WAIT), Instant::now());
    let mut session = desk();
    let spans = follower.look(from_ref(&session), &[], |_| false, moment(began, 1));
    assert_eq!(spans, []);
    session
        .startup
        .insert(Milestone::FirstProcess, Duration::from_secs(1));
    let spans = follower.look(from_ref(&session), &[], |_| true, moment(began, 2));
    assert_eq!(spans, []);
    // One that is gone for long is forgotten.
    assert_eq!(follower.look(&[], &[], |_| true, moment(began, 90)), []);
    let spans = follower.look(from_ref(&session), &[], |_| true, moment(began, 91));
    assert_eq!(names(&spans), ["first_process"]);
}
