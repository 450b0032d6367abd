//! Waiting for what takes seconds at most.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::interrupt::pause;

const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Waits for something that takes at most seconds.
pub(super) fn wait_until(
    what: &str,
    interrupted: &Receiver<()>,
    mut reached: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let begin = Instant::now();
    while !reached()? {
        if begin.elapsed() > LIMIT {
            bail!("{LIMIT:?} have passed and it is not so that {what}");
        }
        pause(POLL, interrupted)?;
    }
    Ok(())
}
