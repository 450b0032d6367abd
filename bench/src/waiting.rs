//! Waiting for what takes seconds at most.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::Result;
use lab::wait;

use crate::interrupt::pause;

const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Waits for something that takes at most seconds.
pub(crate) fn wait_until(
    what: &str,
    interrupted: &Receiver<()>,
    mut reached: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let pause = || pause(POLL, interrupted);
    wait::until(what, LIMIT, pause, || Ok(reached()?.then_some(())))
}
