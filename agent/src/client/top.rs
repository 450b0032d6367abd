//! `sessionscope top`: the sessions of an agent, live, in a terminal.
//!
//! ```text
//!  agent ─► fetch (a thread, each second) ─► state ─► draw ─► terminal
//!                                             ▲
//!                              keys, mouse ───┘
//! ```
//!
//! It reads a running agent and changes nothing.

mod draw;
mod fetch;
mod state;

use std::{
    io::{self, IsTerminal as _, stdout},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ratatui::crossterm::{
    event::{self, DisableMouseCapture, EnableMouseCapture},
    execute,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::{
    fetch::{Answer, Fetcher},
    state::{Next, State},
};
use super::{Output, OwnAgent, Place, SessionsOptions, TopOptions, list, print, units};
use crate::error::Error;

/// How long a key waits to be seen at most, and a signal.
const TICK: Duration = Duration::from_millis(100);

/// `sessionscope top`.
///
/// # Errors
///
/// When no agent answers, or stdout is not a terminal and neither `--once` nor `--json` is given.
pub fn top(options: &TopOptions, own: &OwnAgent) -> Result<(), Error> {
    let place = Place::of(&options.target, own)?;
    if options.once || options.json {
        let list_options = SessionsOptions {
            filter: options.filter.clone(),
            sort: options.sort,
            output: if options.json {
                Output::Json
            } else {
                Output::Table
            },
            ..SessionsOptions::default()
        };
        return print(&list(&list_options, &place)?);
    }
    if !stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Error::Other(
            "top needs a terminal: give --once for one table, or --json for the agent's answer"
                .to_owned(),
        ));
    }
    // An agent that does not answer is an error on the terminal, and not a screen that is empty.
    let first = fetch::report(&place)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(Error::io("signal handler"))?;
    }
    // Puts the terminal back also after a panic.
    let mut terminal = ratatui::try_init().map_err(Error::io("terminal"))?;
    let restore = Restore;
    execute!(stdout(), EnableMouseCapture).map_err(Error::io("terminal"))?;
    let mut state = State::new(options.sort, options.filter.clone());
    state.take(Answer::Report(Ok(Box::new(first))), units::now());
    let fetcher = Fetcher::start(place);
    let result = live(&mut terminal, &mut state, &fetcher, &stop);
    drop(restore);
    result
}

/// The terminal as it was.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _gone = execute!(stdout(), DisableMouseCapture);
        ratatui::restore();
    }
}

fn live(
    terminal: &mut ratatui::DefaultTerminal,
    state: &mut State,
    fetcher: &Fetcher,
    stop: &AtomicBool,
) -> Result<(), Error> {
    let broken = || Error::io("terminal");
    let mut changed = true;
    while !stop.load(Ordering::Relaxed) {
        for answer in fetcher.answers() {
            state.take(answer, units::now());
            changed = true;
        }
        if changed {
            terminal
                .draw(|frame| draw::draw(frame, state))
                .map_err(broken())?;
            changed = false;
        }
        if !event::poll(TICK).map_err(broken())? {
            continue;
        }
        changed = true;
        match state.on(&event::read().map_err(broken())?) {
            Next::Go => fetcher.wants(state.wanted()),
            Next::Leave => return Ok(()),
        }
    }
    Ok(())
}
