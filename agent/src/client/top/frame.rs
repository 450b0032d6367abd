//! A terminal that is shown whole frames.
//!
//! ratatui clears a terminal whose size has changed, and flushes that before it draws: a person
//! sees a flash. Here a frame is collected, and written at once, between the marks of a
//! synchronised update (mode 2026) for the terminals that know them.

use std::{
    cell::RefCell,
    io::{self, Write},
    rc::Rc,
};

use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    crossterm::{
        queue,
        terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate},
    },
};

/// The terminal of stdout.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Collected>>,
    frame: Collected,
}

/// What is to be written to a terminal.
#[derive(Clone, Default)]
struct Collected(Rc<RefCell<Vec<u8>>>);

impl Screen {
    /// # Errors
    ///
    /// When stdout does not tell its size.
    pub(super) fn new() -> io::Result<Self> {
        let frame = Collected::default();
        let terminal = Terminal::new(CrosstermBackend::new(frame.clone()))?;
        Ok(Self { terminal, frame })
    }

    /// Draws a frame and shows it.
    ///
    /// # Errors
    ///
    /// When stdout cannot be written to, or does not tell its size.
    pub(super) fn draw(&mut self, frame: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        queue!(self.frame, BeginSynchronizedUpdate)?;
        self.terminal.draw(frame)?;
        queue!(self.frame, EndSynchronizedUpdate)?;
        let whole = self.frame.0.take();
        let mut stdout = io::stdout().lock();
        stdout.write_all(&whole)?;
        stdout.flush()
    }
}

impl Write for Collected {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// A frame is written once it is whole.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
