//! Waiting for something to become true, with a limit that names what did not.

use std::{thread, time::Duration};

pub use lab::wait::patient;

const POLL: Duration = Duration::from_millis(10);

/// Between two looks.
pub(crate) fn pause() {
    thread::sleep(POLL);
}

/// Calls `look` until it finds something; panics with `what` after `limit`.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let pause = || {
        pause();
        Ok(())
    };
    lab::wait::until(what, limit, pause, || Ok(look())).unwrap_or_else(|error| panic!("{error}"))
}
