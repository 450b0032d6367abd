//! Ctrl-C, SIGTERM and SIGHUP as messages, for commands that leave nothing behind.

use std::fmt;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result};

/// From now on the signals do not end this program; each is a message instead. The handler stays to
/// the end: a second Ctrl-C must not interrupt the cleaning up.
pub(crate) fn listen() -> Result<Receiver<()>> {
    let (sender, interrupted) = channel();
    ctrlc::set_handler(move || {
        // The receiver is gone only when the command is over anyway.
        let _ = sender.send(());
    })
    .context("cannot handle signals")?;
    Ok(interrupted)
}

/// The error of whoever was interrupted, to be told from failures that have another cause.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Lets time pass, unless the command is interrupted.
pub(crate) fn pause(duration: Duration, interrupted: &Receiver<()>) -> Result<()> {
    if interrupted.recv_timeout(duration).is_ok() {
        return Err(Interrupted.into());
    }
    Ok(())
}
