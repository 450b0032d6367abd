//! Ctrl-C, SIGTERM and SIGHUP as messages, for commands that leave nothing behind.

use std::sync::mpsc::{Receiver, channel};

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
