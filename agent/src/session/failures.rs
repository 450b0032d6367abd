//! How many processes of a session have a line of their own in the log: of those that failed five at once, and one every
//! ten seconds; of those that executed a program, if anybody wants to know, a hundred and ten a second. What goes on
//! without end must not fill the node's log; how many were left out is said instead.

use std::{
    collections::HashMap,
    mem,
    time::{Duration, Instant},
};

use agent_common::Slot;

/// What a process has done; each has lines of its own, because they are of different levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// By a signal, or for want of memory.
    Killed,
    /// With a code other than 0.
    Exited,
    /// It did not fail: it has executed a program.
    Executed,
}

impl Kind {
    /// Lines at once, and the time until there may be one more.
    const fn lines(self) -> (u32, Duration) {
        match self {
            Self::Killed | Self::Exited => (5, Duration::from_secs(10)),
            Self::Executed => (100, Duration::from_millis(100)),
        }
    }
}

/// Processes of a session that failed and have no line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name; `None` for processes of a session that is not known any more.
    pub session: Option<String>,
    /// How they failed.
    pub kind: Kind,
    /// How many.
    pub processes: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Failures {
    accounts: HashMap<(Slot, Kind), Account>,
    /// Of sessions whose slot another one has by now.
    earlier: Vec<LeftOut>,
}

#[derive(Debug)]
struct Account {
    session: Option<String>,
    /// When all lines may be written again; each puts it off.
    full_at: Instant,
    left_out: u64,
}

impl Account {
    /// Whether there may be a line now, which counts as written.
    fn take(&mut self, kind: Kind, now: Instant) -> bool {
        let (at_once, every) = kind.lines();
        let allowed = self.full_at <= now + every * (at_once - 1);
        if allowed {
            self.full_at = self.full_at.max(now) + every;
        }
        allowed
    }

    /// What is to be said of those without a line, once.
    fn told(&mut self, kind: Kind) -> Option<LeftOut> {
        (self.left_out > 0).then(|| LeftOut {
            session: self.session.clone(),
            kind,
            processes: mem::take(&mut self.left_out),
        })
    }
}

impl Failures {
    /// A process failed in a slot, which `session` has; says whether it has a line.
    pub fn add(&mut self, slot: Slot, session: Option<&str>, kind: Kind, now: Instant) -> bool {
        let new = || Account {
            session: session.map(str::to_owned),
            full_at: now,
            left_out: 0,
        };
        let account = self.accounts.entry((slot, kind)).or_insert_with(new);
        if account.session.as_deref() != session {
            self.earlier.extend(account.told(kind));
            *account = new();
        }
        // The next line is for how many there were.
        let has_line = account.left_out == 0 && account.take(kind, now);
        account.left_out += u64::from(!has_line);
        has_line
    }

    /// What is to be said of those without a line, each once. A session's is a line of its own, too.
    pub fn left_out(&mut self, now: Instant) -> Vec<LeftOut> {
        let mut all = mem::take(&mut self.earlier);
        self.accounts.retain(|(_, kind), account| {
            if account.left_out > 0 && account.take(*kind, now) {
                all.extend(account.told(*kind));
            }
            account.left_out > 0 || account.full_at > now
        });
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lines(failures: &mut Failures, count: usize, now: Instant) -> usize {
        let add = |_| failures.add(7, Some("desk"), Kind::Killed, now);
        (0..count).map(add).filter(|has_line| *has_line).count()
    }

    fn left_out(session: &str, processes: u64) -> LeftOut {
        LeftOut {
            session: Some(session.to_owned()),
            kind: Kind::Killed,
            processes,
        }
    }

    #[test]
    fn a_crash_loop_has_five_lines_and_then_one_in_ten_seconds() {
        let mut failures = Failures::default();
        let begin = Instant::now();
        let (mut written, mut counted) = (0, 0);
        for second in 0..60 {
            let now = begin + SECOND * second;
            let before = written;
            written += lines(&mut failures, 300, now);
            let summary = failures.left_out(now);
            written += summary.len();
            assert!(written - before <= 5, "{written} after {second} s");
            let processes = summary.iter().map(|one| one.processes);
            counted += processes.sum::<u64>();
        }
        assert_eq!(written, 5 + 5);
        // All but those with a line, and those since the last time it was said.
        assert!((15_000..60 * 300).contains(&counted), "{counted}");
    }

    #[test]
    fn how_many_were_left_out_is_said_once_and_all_are_told() {
        let mut failures = Failures::default();
        let begin = Instant::now();
        assert_eq!(lines(&mut failures, 12, begin), 5);
        assert!(failures.left_out(begin + SECOND * 9).is_empty());
        let later = begin + SECOND * 10;
        assert_eq!(failures.left_out(later), [left_out("desk", 7)]);
        assert!(failures.left_out(later + SECOND * 10).is_empty());
        // As before, once all of them are free again; and nothing is kept of it.
        let much_later = begin + SECOND * 100;
        assert_eq!(lines(&mut failures, 12, much_later), 5);
        assert_eq!(failures.left_out(much_later + SECOND * 50).len(), 1);
        assert!(failures.left_out(much_later + SECOND * 100).is_empty());
        assert!(failures.accounts.is_empty());
    }

    #[test]
    fn one_session_takes_no_lines_of_another_nor_of_the_next_in_its_slot() {
        let mut failures = Failures::default();
        let now = Instant::now();
        assert_eq!(lines(&mut failures, 9, now), 5);
        assert!(failures.add(8, Some("lab"), Kind::Killed, now));
        assert!(failures.add(7, Some("desk"), Kind::Exited, now));
        assert!(failures.add(7, Some("next"), Kind::Killed, now));
        assert_eq!(failures.left_out(now), [left_out("desk", 4)]);
        assert!(failures.add(7, None, Kind::Killed, now));
        assert!(failures.left_out(now).is_empty());
    }
}
