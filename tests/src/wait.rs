//! Waiting for something to become true, with a limit that names what did not.

use std::{
    env, thread,
    time::{Duration, Instant},
};

const POLL: Duration = Duration::from_millis(10);

/// A limit as long as this machine needs: `SESSIONSCOPE_TEST_PATIENCE` times what a real one does, when
/// the tests run in an emulated one.
pub fn patient(limit: Duration) -> Duration {
    let times = env::var("SESSIONSCOPE_TEST_PATIENCE").map_or(1, |times| {
        times
            .parse()
            .expect("SESSIONSCOPE_TEST_PATIENCE is a whole number")
    });
    limit * times
}

/// Calls `look` until it finds something; panics with `what` after `limit`.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let limit = patient(limit);
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(POLL);
    }
}
