//! What the log says of sessions' processes: those that failed, and if wanted those that executed a program.

use std::time::Instant;

use super::Agent;
use crate::{
    kernel::standing::{Standing, Why},
    session::{budget::Resource, failures::Kind},
    telemetry::{Subject, log_event},
};

impl Agent {
    pub(super) fn log_failure(
        &mut self,
        slot: u32,
        pid: u32,
        status: u32,
        oom_killed: bool,
        command: &str,
    ) {
        let session = self.registry.session_of_slot(slot);
        let name = session.map(|session| session.identity.session.as_str());
        let signal = status & 0x7f;
        let kind = if oom_killed || signal != 0 {
            Kind::Killed
        } else {
            Kind::Exited
        };
        if !self.failures.add(slot, name, kind, Instant::now()) {
            if kind == Kind::Killed {
                self.registry.exceeded_by_slot(slot, Resource::LogLines);
            }
            return;
        }
        if oom_killed {
            log_event!(ProcessOomKilled, of = session, pid, command);
        } else if signal != 0 {
            log_event!(ProcessKilled, of = session, pid, command, signal);
        } else {
            log_event!(
                ProcessFailed,
                of = session,
                pid,
                command,
                code = (status >> 8) & 0xff
            );
        }
    }

    pub(super) fn log_execution(&mut self, slot: u32, pid: u32, command: &str) {
        let session = self.registry.session_of_slot(slot);
        let name = session.map(|session| session.identity.session.as_str());
        if self
            .failures
            .add(slot, name, Kind::Executed, Instant::now())
        {
            log_event!(ProcessExecuted, of = session, pid, command);
        }
    }

    /// Says which application has ceased to respond. No session has more than a line every ten seconds: it is said at every
    /// other look at most.
    pub(super) fn log_unresponsive(&self) {
        for session in self.registry.sessions() {
            let experience = session.counts.experience.as_ref();
            let Some(experience) = experience else {
                continue;
            };
            let Some(process) = experience.begun else {
                continue;
            };
            let mut all = experience.unresponsive.iter().flatten();
            let begun = all.find(|one| one.process == process);
            let standing = begun.and_then(|one| one.standing.as_ref());
            let command = standing.map(|standing| standing.command.as_str());
            let words = standing.map(Standing::words);
            let why = begun.and_then(|one| one.why).map(Why::name);
            log_event!(
                ApplicationUnresponsive,
                of = Some(session),
                pid = process,
                command = command,
                why = why,
                standing = words
            );
        }
    }

    /// Says how many processes have no line of their own.
    pub(super) fn log_left_out(&mut self, now: Instant) {
        for left_out in self.failures.left_out(now) {
            let session = Subject {
                session: left_out.session.as_deref(),
                ..Subject::default()
            };
            let processes = left_out.processes;
            match left_out.kind {
                Kind::Killed => log_event!(ProcessesKilled, of = session, processes),
                Kind::Exited => log_event!(ProcessesFailed, of = session, processes),
                Kind::Executed => log_event!(ProcessesExecuted, of = session, processes),
            }
        }
    }
}
