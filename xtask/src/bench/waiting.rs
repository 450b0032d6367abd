//! Letting time pass without becoming deaf to Ctrl-C.

use std::fmt;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// The error of whoever was interrupted, to be told from failures that have another cause.
#[derive(Debug)]
pub(super) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

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

/// Lets time pass, unless the benchmark is interrupted.
pub(super) fn pause(duration: Duration, interrupted: &Receiver<()>) -> Result<()> {
    if interrupted.recv_timeout(duration).is_ok() {
        return Err(Interrupted.into());
    }
    Ok(())
}
