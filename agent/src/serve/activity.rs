//! What a connection is doing: it is silent, or a request of it is being answered.
//!
//! It is silent before its first request, and from the moment when the last byte of an answer has been handed to
//! the kernel. Only a silent connection is closed to make room for another: what has begun is not cut.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::places::Place;

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Requests whose answer has not been written in full.
    answers: u32,
    /// There is one, or what was written of the last one has not been taken.
    is_busy: bool,
    /// Since when that is so or is not.
    since: Instant,
    /// The connection is closed, or about to be.
    has_ended: bool,
    /// Held while an answer that takes one is under way.
    place: Option<Place>,
}

impl Activity {
    /// Of a connection that has just come.
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            answers: 0,
            is_busy: false,
            since: Instant::now(),
            has_ended: false,
            place: None,
        }))
    }

    /// The head of a request has come.
    pub(super) fn begin(&self) {
        let mut state = self.lock();
        state.answers += 1;
        if !state.is_busy {
            (state.is_busy, state.since) = (true, Instant::now());
        }
    }

    /// The answer has a place, until the connection is silent again.
    pub(super) fn hold(&self, place: Place) {
        let mut state = self.lock();
        if !state.has_ended {
            state.place = Some(place);
        }
    }

    /// Whether there is a place already: the client asks for the next thing before it has taken the last one.
    pub(super) fn has_place(&self) -> bool {
        self.lock().place.is_some()
    }

    /// An answer has been written in full.
    pub(super) fn answered(&self) {
        let mut state = self.lock();
        state.answers = state.answers.saturating_sub(1);
    }

    /// All that was written has been taken by the kernel.
    pub(super) fn flushed(&self) {
        let mut state = self.lock();
        if state.is_busy && state.answers == 0 {
            (state.is_busy, state.since) = (false, Instant::now());
            let place = state.place.take();
            // Who gets it is none of this connection's business.
            drop(state);
            drop(place);
        }
    }

    /// How long it has been silent; `None` while it is not.
    pub(super) fn silent_for(&self) -> Option<Duration> {
        let state = self.lock();
        (!state.is_busy).then(|| state.since.elapsed())
    }

    /// Marks it as ended unless a request is being answered; says whether it has.
    pub(super) fn end_if_silent(&self) -> bool {
        let mut state = self.lock();
        state.has_ended |= !state.is_busy;
        state.has_ended
    }

    /// Returns when an answer has been under way for longer than `limit`.
    pub(super) async fn overdue(&self, limit: Duration) {
        loop {
            let left = limit.saturating_sub(self.busy_for());
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }

    fn busy_for(&self) -> Duration {
        let state = self.lock();
        if state.is_busy {
            state.since.elapsed()
        } else {
            Duration::ZERO
        }
    }

    fn end(&self) {
        let mut state = self.lock();
        state.has_ended = true;
        let place = state.place.take();
        drop(state);
        drop(place);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives back what a connection holds when its task ends, in whatever way.
#[derive(Debug)]
pub(super) struct AtEnd(pub(super) Arc<Activity>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn it_is_silent_before_a_request_and_when_the_answer_has_been_taken() {
        let activity = Activity::new();
        assert!(activity.silent_for().is_some());
        activity.begin();
        assert!(activity.silent_for().is_none());
        // Flushed in the middle of the answer, as when its rest is yet to be made.
        activity.flushed();
        assert!(activity.silent_for().is_none() && !activity.end_if_silent());
        activity.answered();
        assert!(activity.silent_for().is_none());
        activity.flushed();
        assert!(activity.silent_for().is_some() && activity.end_if_silent());
    }

    #[tokio::test]
    async fn an_answer_is_overdue_and_silence_is_not() {
        let activity = Activity::new();
        let limit = Duration::from_millis(20);
        let silence = timeout(5 * limit, activity.overdue(limit)).await;
        assert!(silence.is_err());
        activity.begin();
        let answer = timeout(Duration::from_secs(20), activity.overdue(limit)).await;
        assert!(answer.is_ok());
    }
}
