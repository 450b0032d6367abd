//! How sessions are left: since when one is closing, who holds it, and how long that took.

use std::{collections::BTreeMap, time::Duration};

use agent_common::histogram::{Histogram, long_bucket_of};

use super::Registry;
use crate::{
    discover::platform::{PlatformPhase, Source},
    session::model::{Holder, Session, Template},
    telemetry::log_event,
};

/// A session that is held for so long is told in the log.
const HELD: Duration = Duration::from_secs(10);

impl Registry {
    /// Looks who is in the sessions that are closing: `read` has the first process of a cgroup.
    pub fn look_who_holds(&mut self, now_ns: u64, read: impl Fn(u64) -> Option<Holder>) {
        for session in self.sessions.values_mut().filter(|s| s.is_live()) {
            let Some(closing_ns) = session.logoff.closing_ns else {
                continue;
            };
            let found = session.cgroups.iter().filter_map(|&cgroup| read(cgroup));
            let found = found.min_by_key(|holder| holder.pid);
            let held = Duration::from_nanos(now_ns.saturating_sub(closing_ns));
            if let Some(holder) = &found
                && held >= HELD
                && !session.logoff.is_told
            {
                let Holder { pid, command } = holder;
                log_event!(
                    SessionHeld,
                    of = &*session,
                    pid = *pid,
                    command = command.as_str()
                );
                session.logoff.is_told = true;
            }
            session.logoff.held_by = found.or(session.logoff.held_by.take());
        }
    }
}

/// Notes since when a login is closing. One that goes on is not.
pub(super) fn note(
    session: &mut Session,
    now_ns: u64,
    logoffs: &mut BTreeMap<Template, Histogram>,
) {
    if session.identity.source != Some(Source::Logind) || !session.is_live() {
        return;
    }
    let Some(facts) = &session.platform else {
        return;
    };
    let is_closing = facts.phase == Some(PlatformPhase::Terminating);
    let noticed = is_closing.then(|| session.logoff.closing_ns.unwrap_or(now_ns));
    session.logoff.closing_ns = facts.closing_ns.or(noticed);
    // So that a rate sees the first.
    if facts.start.is_some() {
        logoffs.entry(session.template()).or_default();
    }
}

/// Counts the logoff of a session that has ended, if it was seen when it began.
pub(super) fn count(
    session: &mut Session,
    ended_ns: u64,
    logoffs: &mut BTreeMap<Template, Histogram>,
) {
    let facts = session.platform.as_ref();
    let Some(closing_ns) = facts.and_then(|facts| facts.closing_ns) else {
        return;
    };
    let took_ns = ended_ns.saturating_sub(closing_ns);
    session.logoff.took = Some(Duration::from_nanos(took_ns));
    let histogram = logoffs.entry(session.template()).or_default();
    histogram.buckets[long_bucket_of(took_ns)] += 1;
    histogram.sum_ns += took_ns;
}
