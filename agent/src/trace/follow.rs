//! What of the sessions becomes spans: it compares each snapshot with the one before.
//!
//! A session is one trace. Its root span is its life and is sent when it has ended; until then its other spans name it as
//! their parent. So that a session of weeks can be read while it lives, each full hour of it is a span, too: a link to a
//! trace of its own would have to be followed, and most who look at traces do not. The others are the milestones of its
//! start, and incidents.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::{Duration, Instant, SystemTime},
};

use agent_common::histogram::Histogram;
use opentelemetry::KeyValue;

use super::span::{self, Span};
use crate::{
    discover::platform::EndReason,
    session::model::{Milestone, quantile},
    snapshot::SessionView,
    telemetry::TraceId,
};

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);
/// The part of a minute for which a limit must have held a session back, of one CPU, to be an incident.
const HELD_BACK: f64 = 0.05;
/// The waits that are judged: all but one in a hundred.
const QUANTILE: f64 = 0.99;

/// What has been told of each session.
#[derive(Debug)]
pub(super) struct Follower {
    sessions: HashMap<TraceId, Followed>,
    /// A minute in which one in a hundred waits for a CPU takes longer is an incident.
    run_queue_wait: Duration,
}

#[derive(Debug)]
struct Followed {
    /// Whether its trace is kept, which is decided once.
    is_kept: bool,
    milestones: BTreeSet<Milestone>,
    crashes: u64,
    oom_kills: u64,
    xids: BTreeMap<(String, u32), u64>,
    minute: Part,
    hour: Part,
    /// When it was looked at last.
    looked: SystemTime,
    /// The same by the other clock.
    seen: Instant,
    has_ended: bool,
}

/// A moment by the time of day, which spans have and which may be set, and by a clock that nobody sets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) wall: SystemTime,
    pub(super) clock: Instant,
}

impl Moment {
    /// This one.
    pub(super) fn now() -> Self {
        Self {
            wall: SystemTime::now(),
            clock: Instant::now(),
        }
    }
}

/// A minute or an hour that has begun.
#[derive(Clone, Debug)]
struct Part {
    since: SystemTime,
    until: Instant,
    /// Whether it is a whole one.
    is_whole: bool,
    waits: Histogram,
    throttled_us: u64,
    cpu_ns: u64,
}

impl Part {
    /// Begins with what is counted so far.
    fn of(session: &SessionView, now: Moment, length: Duration) -> Self {
        let counts = &session.counts;
        Self {
            since: now.wall,
            until: now.clock + length,
            is_whole: true,
            waits: counts.sched.runqueue_wait,
            throttled_us: throttled_us(session),
            cpu_ns: counts.cpu_ns,
        }
    }

    /// The first of a session. One of which the agent has seen the beginning began with that. The others are cut short, each
    /// at another moment, or all of a node would be told of at once for ever.
    fn first(
        session: &SessionView,
        trace: TraceId,
        is_new: bool,
        now: Moment,
        length: Duration,
    ) -> Self {
        if is_new {
            let began = start(session);
            let passed = now.wall.duration_since(began).unwrap_or_default();
            return Self {
                since: began,
                until: now.clock + length.saturating_sub(passed),
                is_whole: true,
                waits: Histogram::default(),
                throttled_us: 0,
                cpu_ns: 0,
            };
        }
        let part = f64::from(trace.bytes()[0]) / 256.0;
        Self {
            is_whole: false,
            ..Self::of(session, now, length.mul_f64(part))
        }
    }
}

fn throttled_us(session: &SessionView) -> u64 {
    let accounts = session.counts.accounts.as_ref();
    accounts
        .and_then(|accounts| accounts.throttled.own_us)
        .unwrap_or(0)
}

fn crashes(session: &SessionView) -> u64 {
    session.counts.process.exits_signal
}

fn oom_kills(session: &SessionView) -> u64 {
    session.counts.process.exits_oom_killed
}

/// When a session began, as far as that is known.
fn start(session: &SessionView) -> SystemTime {
    session.started.unwrap_or(session.adopted)
}

impl Followed {
    fn new(
        session: &SessionView,
        trace: TraceId,
        is_kept: bool,
        may_be_new: bool,
        now: Moment,
    ) -> Self {
        // Of one that the agent has seen from its beginning all is new.
        let is_new = may_be_new && session.made.is_some();
        let known = |count: u64| if is_new { 0 } else { count };
        let told = session.startup.keys().copied().filter(|_| !is_new);
        Self {
            is_kept,
            milestones: told.collect(),
            crashes: known(crashes(session)),
            oom_kills: known(oom_kills(session)),
            xids: if is_new {
                BTreeMap::new()
            } else {
                session.counts.gpu.xids.clone()
            },
            minute: Part::first(session, trace, is_new, now, MINUTE),
            hour: Part::first(session, trace, is_new, now, HOUR),
            looked: now.wall,
            seen: now.clock,
            has_ended: false,
        }
    }
}

impl Follower {
    pub(super) fn new(run_queue_wait: Duration) -> Self {
        Self {
            sessions: HashMap::new(),
            run_queue_wait,
        }
    }

    /// What is new in a snapshot's sessions, and in those that it has for the last time. `keeps` decides about a trace that
    /// it sees for the first time.
    pub(super) fn look(
        &mut self,
        sessions: &[SessionView],
        ended_unseen: &[SessionView],
        keeps: impl Fn([u8; 16]) -> bool,
        now: Moment,
    ) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut there = HashSet::new();
        let unseen = ended_unseen.iter().map(|session| (session, true));
        let seen = sessions.iter().map(|session| (session, false));
        for (session, is_unseen) in seen.chain(unseen) {
            let Some(trace) = session.trace else { continue };
            there.insert(trace);
            let followed = self.sessions.entry(trace).or_insert_with(|| {
                let is_kept = keeps(trace.bytes());
                // One that was hidden for long was told of before that, all but its end.
                Followed::new(session, trace, is_kept, !is_unseen, now)
            });
            if !followed.is_kept || followed.has_ended {
                continue;
            }
            let teller = Teller {
                session,
                trace: trace.bytes(),
                now: now.wall,
            };
            followed.tell(&teller, now.clock, self.run_queue_wait, &mut spans);
        }
        // One whose labels another has is seen again when its end is decided.
        self.sessions
            .retain(|trace, followed| there.contains(trace) || followed.is_awaited(now.clock));
        spans
    }
}

impl Followed {
    /// Whether its end is still to be told, which a platform has some time to decide.
    fn is_awaited(&self, now: Instant) -> bool {
        !self.has_ended && now.saturating_duration_since(self.seen) < MINUTE
    }

    fn tell(
        &mut self,
        teller: &Teller<'_>,
        clock: Instant,
        run_queue_wait: Duration,
        spans: &mut Vec<Span>,
    ) {
        let Teller { session, now, .. } = *teller;
        let moment = Moment { wall: now, clock };
        for (milestone, after) in &session.startup {
            if self.milestones.insert(*milestone) {
                spans.push(teller.milestone(*milestone, *after));
            }
        }
        let oom_kills = oom_kills(session).saturating_sub(self.oom_kills);
        if oom_kills > 0 {
            spans.push(teller.oom_kill(self.looked, oom_kills));
        }
        let crashes = crashes(session).saturating_sub(self.crashes);
        if crashes > 0 {
            let processes = KeyValue::new("vdi.processes", signed(crashes));
            spans.push(teller.incident("crash", self.looked, vec![processes]));
        }
        for ((gpu, code), count) in &session.counts.gpu.xids {
            let known = self.xids.get(&(gpu.clone(), *code)).copied().unwrap_or(0);
            if *count > known {
                let attributes = vec![
                    KeyValue::new("vdi.gpu", gpu.clone()),
                    KeyValue::new("vdi.xid", i64::from(*code)),
                    KeyValue::new("vdi.errors", signed(count - known)),
                ];
                let mut span = teller.incident("xid", self.looked, attributes);
                // Another device may have failed in the same moment.
                span.id = span::id(&[&span.id, gpu.as_bytes(), &code.to_le_bytes()]);
                spans.push(span);
            }
        }
        self.oom_kills += oom_kills;
        self.crashes += crashes;
        self.xids.clone_from(&session.counts.gpu.xids);
        if clock >= self.minute.until {
            if self.minute.is_whole {
                teller.minute(&self.minute, run_queue_wait, spans);
            }
            self.minute = Part::of(session, moment, MINUTE);
        }
        if clock >= self.hour.until {
            if self.hour.is_whole {
                spans.push(teller.hour(&self.hour));
            }
            self.hour = Part::of(session, moment, HOUR);
        }
        (self.looked, self.seen) = (now, clock);
        if let (Some(ended), Some(reason)) = (session.ended, session.end_reason) {
            spans.push(teller.root(ended, reason));
            self.has_ended = true;
        }
    }
}

/// Makes spans of one session.
#[derive(Clone, Copy)]
struct Teller<'a> {
    session: &'a SessionView,
    trace: [u8; 16],
    now: SystemTime,
}

impl Teller<'_> {
    fn span(&self, name: &'static str, start: SystemTime, end: SystemTime) -> Span {
        let nanoseconds = start
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        Span {
            trace: self.trace,
            id: span::id(&[&self.trace, name.as_bytes(), &nanoseconds.to_le_bytes()]),
            parent: Some(span::root(self.trace)),
            is_root: false,
            is_of_another: false,
            is_server: false,
            name: name.into(),
            start,
            end,
            attributes: self.labels(),
            error: None,
        }
    }

    /// What is the same in all of its spans.
    fn labels(&self) -> Vec<KeyValue> {
        let identity = &self.session.identity;
        let known = |text: &String| (!text.is_empty()).then(|| text.clone());
        let facts = self.session.platform.as_ref();
        let pod = facts.and_then(|facts| facts.details.get("pod")).cloned();
        let labels = [
            ("vdi.session", known(&identity.session)),
            ("vdi.namespace", known(&identity.namespace)),
            ("vdi.template", known(&identity.template)),
            ("vdi.pod", pod),
            ("vdi.pod_uid", identity.pod.clone()),
            ("container.id", identity.container.clone()),
        ];
        let labels = labels.into_iter();
        labels
            .filter_map(|(key, value)| Some(KeyValue::new(key, value?)))
            .collect()
    }

    /// The whole life of a session that has ended.
    fn root(&self, ended: SystemTime, reason: EndReason) -> Span {
        let counts = &self.session.counts;
        let mut root = self.span("session", start(self.session), ended);
        root.id = span::root(self.trace);
        root.parent = None;
        root.is_root = true;
        root.attributes.extend([
            KeyValue::new("vdi.end_reason", reason.name()),
            KeyValue::new("vdi.cpu_seconds", seconds(counts.cpu_ns)),
            KeyValue::new("vdi.oom_kills", signed(counts.process.exits_oom_killed)),
            KeyValue::new("vdi.crashes", signed(counts.process.exits_signal)),
        ]);
        root.error = match reason {
            EndReason::Completed | EndReason::Unknown => None,
            failure => Some(failure.name().to_owned()),
        };
        root
    }

    fn milestone(&self, milestone: Milestone, after: Duration) -> Span {
        let start = start(self.session);
        self.span(milestone.name(), start, start + after)
    }

    /// Something that has gone wrong since it was looked last.
    fn incident(&self, name: &'static str, since: SystemTime, attributes: Vec<KeyValue>) -> Span {
        let mut span = self.span(name, since, self.now);
        span.attributes.extend(attributes);
        span.error = Some(name.to_owned());
        span
    }

    fn oom_kill(&self, since: SystemTime, processes: u64) -> Span {
        let mut attributes = vec![KeyValue::new("vdi.processes", signed(processes))];
        if let Some(last) = &self.session.counts.last_oom_kill {
            attributes.push(KeyValue::new("process.pid", i64::from(last.pid)));
            attributes.push(KeyValue::new(
                "process.executable.name",
                last.command.clone(),
            ));
        }
        self.incident("oom_kill", since, attributes)
    }

    /// What of a minute is an incident.
    fn minute(&self, minute: &Part, run_queue_wait: Duration, spans: &mut Vec<Span>) {
        let waits = self.session.counts.sched.runqueue_wait.since(&minute.waits);
        if let Some(wait) = quantile(&waits, QUANTILE)
            && wait > run_queue_wait.as_secs_f64()
        {
            let attributes = vec![KeyValue::new("vdi.run_queue_wait_p99_seconds", wait)];
            spans.push(self.incident("run_queue_latency", minute.since, attributes));
        }
        let throttled = throttled_us(self.session).saturating_sub(minute.throttled_us);
        let throttled = Duration::from_micros(throttled).as_secs_f64();
        let length = self.now.duration_since(minute.since).unwrap_or_default();
        if throttled > HELD_BACK * length.as_secs_f64() {
            let attributes = vec![KeyValue::new("vdi.throttled_seconds", throttled)];
            spans.push(self.incident("throttled", minute.since, attributes));
        }
    }

    fn hour(&self, hour: &Part) -> Span {
        let counts = &self.session.counts;
        let mut span = self.span("hour", hour.since, self.now);
        let cpu_ns = counts.cpu_ns.saturating_sub(hour.cpu_ns);
        span.attributes
            .push(KeyValue::new("vdi.cpu_seconds", seconds(cpu_ns)));
        let waits = counts.sched.runqueue_wait.since(&hour.waits);
        if let Some(wait) = quantile(&waits, QUANTILE) {
            span.attributes
                .push(KeyValue::new("vdi.run_queue_wait_p99_seconds", wait));
        }
        span
    }
}

fn seconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}

/// The protocol has signed integers alone.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
