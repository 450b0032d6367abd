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
mod frame;
mod state;

use std::{
    io::{self, IsTerminal as _, stdout},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use ratatui::crossterm::{
    cursor::Show,
    event::{self, DisableMouseCapture, EnableMouseCapture},
    execute,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::{
    fetch::{Answer, Fetcher},
    frame::Screen,
    state::{Next, State},
};
use super::{Output, OwnAgent, Place, SessionsOptions, TopOptions, list, print, units};
use crate::error::Error;

/// How long a key waits to be seen at most, and a signal.
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
/// Who has not ended so long after a signal does not by itself.
const GRACE: Duration = Duration::from_secs(2);

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
    end_after(Arc::clone(&stop));
    // Puts the terminal back also after a panic.
    drop(ratatui::try_init().map_err(Error::io("terminal"))?);
    let restore = Restore;
    let mut screen = Screen::new().map_err(Error::io("terminal"))?;
    execute!(stdout(), EnableMouseCapture).map_err(Error::io("terminal"))?;
    let mut state = State::new(options.sort, options.filter.clone());
    state.take(Answer::Report(Ok(Box::new(first))), units::now());
    let fetcher = Fetcher::start(place);
    let result = live(&mut screen, &mut state, &fetcher, &stop);
    drop(restore);
    result
}

/// The terminal as it was.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _gone = execute!(stdout(), DisableMouseCapture, Show);
        ratatui::restore();
    }
}

fn live(
    screen: &mut Screen,
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
            screen
                .draw(|frame| draw::draw(frame, state))
                .map_err(broken())?;
            changed = false;
        }
        // A terminal that is gone is left: crossterm would read from it without end.
        if !wait_for_key().map_err(broken())? {
            return Ok(());
        }
        while event::poll(Duration::ZERO).map_err(broken())? {
            changed = true;
            match state.on(&event::read().map_err(broken())?) {
                Next::Go => fetcher.wants(state.wanted()),
                Next::Leave => return Ok(()),
            }
        }
    }
    Ok(())
}

/// Waits for a tick, or until something is typed; `false` once the terminal is gone.
fn wait_for_key() -> io::Result<bool> {
    let terminal = io::stdin();
    let mut typed = [PollFd::new(&terminal, PollFlags::IN)];
    match poll(&mut typed, Some(&TICK)) {
        // The size of the terminal has changed, or it is time to stop.
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(!typed[0]
        .revents()
        .intersects(PollFlags::HUP | PollFlags::ERR))
}

/// Ends the process a while after a signal, should it be stuck in reading from a terminal that is gone.
fn end_after(stop: Arc<AtomicBool>) {
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(GRACE / 4);
        }
        thread::sleep(GRACE);
        let _ended = signal_hook::low_level::emulate_default_handler(SIGTERM);
    });
}
