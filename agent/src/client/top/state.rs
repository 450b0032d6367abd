//! What is shown, and what keys and the mouse make of it. Nothing here knows of a terminal's cells.

use clap::ValueEnum as _;
use ratatui::crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use super::super::{Filter, table::Sort};
use super::fetch::Answer;
use crate::api::{Gpus, History, Report, Session};

/// Lines of a page.
const PAGE: usize = 10;

/// What the program does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Go,
    Leave,
}

/// What letters are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Typing {
    /// Keys that do something.
    Keys,
    /// A part of what is searched for.
    Search,
}

/// What is on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// All sessions.
    List,
    /// One of them, by its id, and how many lines of its page are above the screen.
    Session { id: String, above: usize },
    /// The keys.
    Help,
}

/// Where the list is on the screen, for the mouse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// The line of the headings.
    pub(super) headings: u16,
    /// The first line of sessions, and how many there are.
    pub(super) rows: (u16, u16),
    /// The session in the first line.
    pub(super) first: usize,
    /// Where each column begins, and what `--sort` calls it.
    pub(super) columns: Vec<(u16, &'static str)>,
}

pub(super) struct State {
    report: Report,
    /// Why there is nothing newer.
    pub(super) error: Option<String>,
    history: Option<History>,
    /// When the report came, seconds since the epoch.
    pub(super) now: f64,
    pub(super) sort: Sort,
    pub(super) is_reversed: bool,
    filter: Filter,
    /// What names must contain.
    pub(super) search: String,
    pub(super) typing: Typing,
    pub(super) is_frozen: bool,
    pub(super) is_wide: bool,
    /// The session that is chosen, by its id: it stays so wherever it is in the order.
    chosen: Option<String>,
    pub(super) view: View,
    pub(super) places: Places,
}

impl State {
    pub(super) fn new(sort: Sort, filter: Filter) -> Self {
        Self {
            report: Report::default(),
            error: None,
            history: None,
            now: 0.0,
            sort,
            is_reversed: false,
            filter,
            search: String::new(),
            typing: Typing::Keys,
            is_frozen: false,
            is_wide: false,
            chosen: None,
            view: View::List,
            places: Places::default(),
        }
    }

    /// Takes what the agent has answered.
    pub(super) fn take(&mut self, answer: Answer, now: f64) {
        if self.is_frozen {
            return;
        }
        match answer {
            Answer::Report(Ok(report)) => {
                (self.report, self.error, self.now) = (*report, None, now);
            }
            Answer::History(Ok(history)) => self.history = Some(*history),
            // What was there is still shown, and that it is old.
            Answer::Report(Err(error)) | Answer::History(Err(error)) => self.error = Some(error),
        }
    }

    /// Whose history is wanted.
    pub(super) fn wanted(&self) -> Option<String> {
        match &self.view {
            View::Session { id, .. } => Some(id.clone()),
            View::List | View::Help => None,
        }
    }

    /// The sessions that are shown, in order.
    pub(super) fn sessions(&self) -> Vec<&Session> {
        let contains = |name: &str| name.to_lowercase().contains(&self.search.to_lowercase());
        let is_wanted = |session: &&Session| {
            self.filter.takes(&session.namespace, &session.template)
                && [&session.session, &session.namespace, &session.template]
                    .into_iter()
                    .any(|name| contains(name))
        };
        let mut sessions: Vec<&Session> = self.report.sessions.iter().filter(is_wanted).collect();
        sessions.sort_by(|one, other| {
            let order = self.sort.compare(one, other, self.now);
            if self.is_reversed {
                order.reverse()
            } else {
                order
            }
        });
        sessions
    }

    /// How many there are, whatever is searched for.
    pub(super) fn count(&self) -> usize {
        self.report.sessions.len()
    }

    pub(super) fn gpus(&self) -> &Gpus {
        &self.report.gpus
    }

    /// The line that is chosen, of those that are shown.
    pub(super) fn chosen(&self) -> Option<usize> {
        let sessions = self.sessions();
        let last = sessions.len().checked_sub(1)?;
        let chosen = self.chosen.as_ref();
        let at = chosen.and_then(|id| sessions.iter().position(|session| session.id == *id));
        Some(at.unwrap_or(0).min(last))
    }

    /// The session whose page is shown, with its history; nothing once it is forgotten.
    pub(super) fn shown(&self) -> Option<(&Session, Option<&History>)> {
        let View::Session { id, .. } = &self.view else {
            return None;
        };
        let session = self
            .report
            .sessions
            .iter()
            .find(|session| session.id == *id)?;
        let history = self.history.as_ref().filter(|history| history.id == *id);
        Some((session, history))
    }

    pub(super) fn on(&mut self, event: &Event) -> Next {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.on_key(*key),
            Event::Mouse(mouse) => {
                self.on_mouse(*mouse);
                Next::Go
            }
            _ => Next::Go,
        }
    }

    fn on_key(&mut self, key: KeyEvent) -> Next {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control && key.code == KeyCode::Char('c') {
            return Next::Leave;
        }
        if self.typing == Typing::Search {
            self.on_search(key.code);
            return Next::Go;
        }
        match (key.code, &self.view) {
            (KeyCode::Char('q') | KeyCode::F(10), View::List) => return Next::Leave,
            (KeyCode::Esc, View::List) => self.search.clear(),
            (KeyCode::Char('q' | 'h' | '?') | KeyCode::Esc | KeyCode::F(1), View::Help)
            | (
                KeyCode::Char('q') | KeyCode::Esc | KeyCode::Left | KeyCode::Backspace,
                View::Session { .. },
            ) => self.view = View::List,
            (KeyCode::Char('h' | '?') | KeyCode::F(1), _) => self.view = View::Help,
            (KeyCode::Char(' ' | 'p'), _) => self.is_frozen = !self.is_frozen,
            (KeyCode::Up | KeyCode::Char('k'), _) => self.move_by(-1),
            (KeyCode::Down | KeyCode::Char('j'), _) => self.move_by(1),
            (KeyCode::PageUp, _) => self.move_by(-(PAGE as isize)),
            (KeyCode::PageDown, _) => self.move_by(PAGE as isize),
            (KeyCode::Home, _) => self.move_by(isize::MIN / 2),
            (KeyCode::End, _) => self.move_by(isize::MAX / 2),
            (code, View::List) => self.on_list(code),
            _ => {}
        }
        Next::Go
    }

    fn on_list(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char('/') | KeyCode::F(3 | 4) => self.typing = Typing::Search,
            KeyCode::Char('s' | '>') | KeyCode::F(6) => self.sort_by(1),
            KeyCode::Char('<') => self.sort_by(-1),
            KeyCode::Char('r' | 'I') => self.is_reversed = !self.is_reversed,
            KeyCode::Char('w') => self.is_wide = !self.is_wide,
            KeyCode::Enter | KeyCode::Right => self.enter(),
            _ => {}
        }
    }

    fn on_search(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = Typing::Keys,
            KeyCode::Esc => {
                self.typing = Typing::Keys;
                self.search.clear();
            }
            KeyCode::Backspace => {
                self.search.pop();
            }
            KeyCode::Char(letter) => self.search.push(letter),
            _ => {}
        }
    }

    fn on_mouse(&mut self, mouse: MouseEvent) {
        match mouse.kind {
            MouseEventKind::ScrollUp => self.move_by(-1),
            MouseEventKind::ScrollDown => self.move_by(1),
            MouseEventKind::Down(MouseButton::Left) if self.view == View::List => {
                self.on_click(mouse.column, mouse.row);
            }
            _ => {}
        }
    }

    /// On a heading: sorts by it, and turns the order round if it is that already. On a session: chooses it, and enters it
    /// if it is chosen already.
    fn on_click(&mut self, column: u16, row: u16) {
        let (first, many) = self.places.rows;
        if row == self.places.headings {
            let columns = self.places.columns.iter();
            let Some(&(_, key)) = columns.rev().find(|(begin, _)| *begin <= column) else {
                return;
            };
            let Ok(sort) = Sort::from_str(key, false) else {
                return;
            };
            self.is_reversed = sort == self.sort && !self.is_reversed;
            self.sort = sort;
        } else if row >= first && row < first + many {
            let at = self.places.first + usize::from(row - first);
            if self.chosen() == Some(at) && self.chosen.is_some() {
                self.enter();
            } else {
                self.choose(at);
            }
        }
    }

    fn sort_by(&mut self, steps: isize) {
        let all = Sort::value_variants();
        let at = all.iter().position(|one| *one == self.sort).unwrap_or(0);
        let next = (at as isize + steps).rem_euclid(all.len() as isize);
        (self.sort, self.is_reversed) = (all[next as usize], false);
    }

    fn enter(&mut self) {
        let at = self.chosen();
        let id = at.map(|at| self.sessions()[at].id.clone());
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            self.chosen = Some(id.clone());
            self.history = None;
            self.view = View::Session { id, above: 0 };
        }
    }

    fn choose(&mut self, at: usize) {
        self.chosen = self.sessions().get(at).map(|session| session.id.clone());
    }

    fn move_by(&mut self, lines: isize) {
        if let View::Session { above, .. } = &mut self.view {
            // No further than there are lines: `draw` knows how many.
            *above = above.saturating_add_signed(lines);
            return;
        }
        if self.view == View::List
            && let Some(at) = self.chosen()
        {
            let last = self.sessions().len().saturating_sub(1);
            self.choose(at.saturating_add_signed(lines).min(last));
        }
    }

    /// Of so many lines above the screen there can be that many at most.
    pub(super) fn bound(&mut self, most: usize) {
        if let View::Session { above, .. } = &mut self.view {
            *above = (*above).min(most);
        }
    }
}

#[cfg(test)]
mod tests;
