//! Whether a peer of a source answers: what is said of that, once, and when it is asked again.

use std::time::Duration;

use super::platform::{ErrorType, Outcome, Update};
use super::settings::Watch;

/// Between two looks for a program that this node may not have.
const ABSENT: Duration = Duration::from_mins(1);
/// The first wait after a failure; each one is twice as long as the one before, up to the peer's longest.
const FIRST: Duration = Duration::from_millis(500);
/// The longest for a program of this node, which alone it bothers. An end waits 30 s for what its platform says of
/// it, which must be asked for in that time even where the platform is restarted again and again.
const LONGEST_HERE: Duration = Duration::from_secs(4);
/// The longest for a server that all nodes ask.
const LONGEST_AFAR: Duration = Duration::from_secs(30);

/// A peer: a program's socket, its folder, its name on a bus.
#[derive(Debug)]
pub(super) struct Peer {
    watch: Watch,
    standing: Standing,
    /// It has answered once.
    was_up: bool,
    /// After the next failure.
    wait: Duration,
    /// The longest of them.
    longest: Duration,
}

/// What has been said of whether it answers.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Unsaid,
    Up,
    Down(String),
}

/// Why a peer does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// What becomes of the comparison that failed.
    pub outcome: Outcome,
    /// For people.
    pub reason: String,
    /// There is no sign of the program. Where nobody has said that there must be, that is no failure.
    pub absent: bool,
}

impl Failure {
    /// Of something that is there.
    pub(super) fn new(kind: ErrorType, reason: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Error(kind),
            reason: reason.into(),
            absent: false,
        }
    }
}

/// What is to be said of a failure, and when it is tried again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setback {
    pub updates: Vec<Update>,
    pub wait: Duration,
}

impl Peer {
    /// A program of this node that has not been asked yet.
    pub(super) fn here(watch: Watch) -> Self {
        Self::new(watch, LONGEST_HERE)
    }

    /// A server that all nodes ask, and that has not been asked yet.
    pub(super) fn afar(watch: Watch) -> Self {
        Self::new(watch, LONGEST_AFAR)
    }

    fn new(watch: Watch, longest: Duration) -> Self {
        Self {
            watch,
            standing: Standing::Unsaid,
            was_up: false,
            wait: FIRST,
            longest,
        }
    }

    /// Whether it answered when it was asked last.
    pub(super) fn is_up(&self) -> bool {
        self.standing == Standing::Up
    }

    /// It answers: what is to be said of that.
    pub(super) fn up(&mut self) -> Option<Update> {
        self.was_up = true;
        let before = std::mem::replace(&mut self.standing, Standing::Up);
        (before != Standing::Up).then_some(Update::Up)
    }

    /// It has answered for long enough: the next failure is a first one again.
    pub(super) fn is_steady(&mut self) {
        self.wait = FIRST;
    }

    /// It does not answer: what is to be said of that, once for each reason.
    pub(super) fn down(&mut self, reason: String) -> Option<Update> {
        let standing = Standing::Down(reason.clone());
        let before = std::mem::replace(&mut self.standing, standing);
        (before != self.standing).then_some(Update::Down(reason))
    }

    /// It does not answer. `took` is how long the comparison took that failed for that, if one was being made.
    pub(super) fn failed(&mut self, failure: Failure, took: Option<Duration>) -> Setback {
        // That a program is not on this node is no failure.
        let expected = failure.absent && self.watch == Watch::Auto && !self.was_up;
        let outcome = failure.outcome;
        let mut updates = Vec::new();
        if let Some(took) = took.filter(|_| !expected) {
            updates.push(Update::Reconciled { took, outcome });
        }
        // Whoever asks to begin again is there.
        if outcome != Outcome::Requeue {
            updates.extend(self.down(failure.reason));
        }
        let wait = if expected { ABSENT } else { self.wait };
        if !expected {
            self.wait = (self.wait * 2).min(self.longest);
        }
        Setback { updates, wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Failure {
        Failure::new(ErrorType::Unavailable, "refused")
    }

    fn absent() -> Failure {
        Failure {
            absent: true,
            ..Failure::new(ErrorType::NotFound, "no socket")
        }
    }

    fn is_error(update: &Update, kind: ErrorType) -> bool {
        matches!(update, Update::Reconciled { outcome: Outcome::Error(is), .. } if *is == kind)
    }

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_steady_time() {
        let waits = |peer: &mut Peer, times| -> Vec<f64> {
            let wait = |_| peer.failed(refused(), None).wait.as_secs_f64();
            let waits = (0..times).map(wait).collect();
            peer.is_steady();
            waits
        };
        let mut here = Peer::here(Watch::Auto);
        assert_eq!(waits(&mut here, 6), [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]);
        assert_eq!(waits(&mut here, 2), [0.5, 1.0]);
        let mut afar = Peer::afar(Watch::Auto);
        let doubled = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0];
        assert_eq!(waits(&mut afar, 9), doubled);
    }

    #[test]
    fn a_reason_is_said_once_and_each_failure_is_counted() {
        let mut peer = Peer::here(Watch::Auto);
        let took = Some(Duration::from_secs(1));
        let first = peer.failed(refused(), took).updates;
        assert!(is_error(&first[0], ErrorType::Unavailable));
        assert_eq!(first[1..], [Update::Down("refused".to_owned())]);
        let second = peer.failed(refused(), took).updates;
        assert!(second.len() == 1 && is_error(&second[0], ErrorType::Unavailable));
        assert_eq!((peer.up(), peer.up()), (Some(Update::Up), None));
        assert_eq!(peer.failed(refused(), took).updates.len(), 2);
    }

    #[test]
    fn a_program_that_was_never_here_is_no_failure_unless_it_is_wanted() {
        let mut peer = Peer::here(Watch::Auto);
        let took = Some(Duration::ZERO);
        let quiet = peer.failed(absent(), took);
        assert_eq!(quiet.updates, [Update::Down("no socket".to_owned())]);
        assert_eq!(quiet.wait, ABSENT);
        let wanted = Peer::here(Watch::On).failed(absent(), took);
        assert!(is_error(&wanted.updates[0], ErrorType::NotFound));
        assert_eq!(wanted.wait, FIRST);
        // One that was here is missed.
        peer.up();
        let missed = peer.failed(absent(), took);
        assert_eq!((missed.updates.len(), missed.wait), (2, FIRST));
    }

    #[test]
    fn who_asks_to_begin_again_is_there() {
        let mut peer = Peer::here(Watch::Auto);
        peer.up();
        let expired = Failure {
            outcome: Outcome::Requeue,
            ..refused()
        };
        let setback = peer.failed(expired, Some(Duration::ZERO));
        let requeued = Update::Reconciled {
            took: Duration::ZERO,
            outcome: Outcome::Requeue,
        };
        assert_eq!(setback.updates, [requeued]);
        assert!(peer.is_up());
    }
}
