//! Shows a text anew every two seconds, until Ctrl-C.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    task::spawn_blocking,
    time::sleep,
};

use super::print;
use crate::error::Error;

const PERIOD: Duration = Duration::from_secs(2);

/// What is on the screen when the first `fetch` fails is its error; later ones are shown and tried again.
pub(super) fn watch(
    fetch: impl Fn() -> Result<String, Error> + Clone + Send + 'static,
) -> Result<(), Error> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("tokio runtime"))?;
    let ended = runtime.block_on(async {
        let fails = || Error::io("signal handler");
        let mut interrupt = signal(SignalKind::interrupt()).map_err(fails())?;
        let mut terminate = signal(SignalKind::terminate()).map_err(fails())?;
        tokio::select! {
            shown = show(fetch) => shown,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    });
    // A request that hangs is not waited for.
    runtime.shutdown_background();
    ended
}

async fn show(
    fetch: impl Fn() -> Result<String, Error> + Clone + Send + 'static,
) -> Result<(), Error> {
    let mut screen = None;
    loop {
        let fetched = spawn_blocking(fetch.clone()).await;
        let text = match fetched.map_err(|error| Error::Other(error.to_string()))? {
            Ok(text) => text,
            Err(error) if screen.is_none() => return Err(error),
            Err(error) => format!("{error}\n"),
        };
        match screen.get_or_insert_with(Screen::enter) {
            Some(_) => draw(&text)?,
            None => print(&text)?,
        }
        sleep(PERIOD).await;
    }
}

/// The terminal's alternate screen, left by `Drop`.
struct Screen;

impl Screen {
    /// `None` where stdout is not a terminal: there the texts follow each other.
    fn enter() -> Option<Self> {
        io::stdout().is_terminal().then(|| {
            // Alternate screen, no cursor, no line wrapped.
            control("\x1b[?1049h\x1b[?25l\x1b[?7l");
            Self
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        control("\x1b[?7h\x1b[?25h\x1b[?1049l");
    }
}

/// Over what was there, without clearing it first, which would flicker; no line beyond the last.
fn draw(text: &str) -> Result<(), Error> {
    let height = terminal_size::terminal_size().map_or(usize::MAX, |(_, rows)| rows.0.into());
    control("\x1b[H");
    let lines: Vec<&str> = text.lines().take(height).collect();
    for (at, line) in lines.iter().enumerate() {
        print(line)?;
        control("\x1b[K");
        if at + 1 < lines.len() {
            control("\n");
        }
    }
    control("\x1b[J");
    Ok(())
}

/// What `NO_COLOR` is not about.
fn control(sequence: &str) {
    let mut stdout = io::stdout();
    // A terminal that is gone ends the process by SIGHUP.
    let _written = stdout.write_all(sequence.as_bytes());
    let _flushed = stdout.flush();
}
