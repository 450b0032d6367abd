//! What is shown comes from a thread of its own: a key is answered whatever the agent does.

use std::{
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use super::super::{
    parse,
    request::{self, Place},
};
use crate::{
    api::{History, Report},
    error::Error,
};

/// The agent's samples are as far apart.
const PERIOD: Duration = Duration::from_secs(1);

/// What the agent has answered.
pub(super) enum Answer {
    Report(Result<Box<Report>, String>),
    History(Result<Box<History>, String>),
}

/// Asks the agent until it is dropped.
pub(super) struct Fetcher {
    /// The session whose history is wanted, too.
    wanted: Sender<Option<String>>,
    answers: Mutex<Receiver<Answer>>,
}

impl Fetcher {
    pub(super) fn start(place: Place) -> Self {
        let (wanted, asked) = channel();
        let (sender, answers) = channel();
        // It ends with its channel; a request under way is not waited for.
        thread::spawn(move || ask(&place, &asked, &sender));
        Self {
            wanted,
            answers: Mutex::new(answers),
        }
    }

    /// Which session's history is wanted from now on.
    pub(super) fn wants(&self, id: Option<String>) {
        // Without the thread the last answer stays.
        let _gone = self.wanted.send(id);
    }

    /// What has come since this was asked last.
    pub(super) fn answers(&self) -> Vec<Answer> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.try_iter().collect()
    }
}

fn ask(place: &Place, asked: &Receiver<Option<String>>, answers: &Sender<Answer>) {
    let mut wanted: Option<String> = None;
    loop {
        // What is wanted may change meanwhile, and is then asked for at once.
        match asked.recv_timeout(PERIOD) {
            Ok(id) if id == wanted => continue,
            Ok(id) => wanted = id,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let text = |error: Error| error.to_string();
        let report = report(place).map(Box::new).map_err(text);
        let mut all = vec![Answer::Report(report)];
        if let Some(id) = &wanted {
            all.push(Answer::History(
                history(place, id).map(Box::new).map_err(text),
            ));
        }
        for answer in all {
            if answers.send(answer).is_err() {
                return;
            }
        }
    }
}

/// The sessions.
pub(super) fn report(place: &Place) -> Result<Report, Error> {
    parse(request::report(place)?, &place.address)
}

fn history(place: &Place, id: &str) -> Result<History, Error> {
    parse(request::history(place, id)?, &place.address)
}
