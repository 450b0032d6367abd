//! The subcommands for people: they ask a running agent for its sessions, and print them.
//!
//! ```text
//!  GET /api/v1/sessions ─► api::Report ─► table      sessionscope sessions
//!                                     ├─► one page   sessionscope explain <session>
//!                                     └─► a screen   sessionscope top
//!  Prometheus ──────────────────────────► a document  sessionscope report
//!  GET /api/v1/ended ────► api::Ended ──► one page   sessionscope explain <session>, of one that is not there any more
//! ```
//!
//! Text has colours, which are taken out again where stdout is not a terminal or `NO_COLOR` is set.

mod explain;
mod judge;
mod options;
mod report;
mod request;
mod select;
mod socket;
mod table;
mod top;
mod units;
mod watch;

use std::{
    io::{self, IsTerminal as _, Write},
    path::PathBuf,
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use self::{request::Place, table::Form};
use crate::{
    api::{Ended, Report, Session},
    error::Error,
    serve::address::Address,
};

pub use options::{ExplainOptions, Filter, Output, SessionsOptions, Target, TopOptions};
pub use report::{ReportOptions, report};
pub use table::Sort;
pub use top::top;

/// The agent of this node, as the configuration has it.
#[derive(Clone, Debug)]
pub struct OwnAgent {
    /// Where it listens, the first of its addresses.
    pub listen: Option<Address>,
    /// Whether it speaks TLS there.
    pub speaks_tls: bool,
    /// The file with the tokens of who may ask.
    pub session_tokens: Option<PathBuf>,
}

/// Whether an agent answers.
///
/// # Errors
///
/// Why it does not.
pub fn answers(target: &Target, own: &OwnAgent) -> Result<(), Error> {
    request::report(&Place::of(target, own)?).map(drop)
}

/// `sessionscope sessions`.
pub fn sessions(options: &SessionsOptions, own: &OwnAgent) -> Result<(), Error> {
    let place = Place::of(&options.target, own)?;
    if options.watch {
        let options = options.clone();
        return watch::watch(move || list(&options, &place));
    }
    print(&list(options, &place)?)
}

/// `sessionscope explain`.
pub fn explain(options: &ExplainOptions, own: &OwnAgent) -> Result<(), Error> {
    let place = Place::of(&options.target, own)?;
    let mut report: Report = parse(request::report(&place)?, &place.address)?;
    let now = units::now();
    let Some(name) = &options.session else {
        let filter = &options.filter;
        report
            .sessions
            .retain(|s| filter.takes(&s.namespace, &s.template));
        return print(&explain::page_of_node(&report));
    };
    match select::one(&report.sessions, name, &options.filter) {
        Ok(session) => print(&explain::page(session, &report.gpus, now)),
        Err(error) => {
            let filter = &options.filter;
            let is_meant =
                |s: &Session| s.session == *name && filter.takes(&s.namespace, &s.template);
            if report.sessions.iter().any(is_meant) {
                return Err(error);
            }
            // One that has left the list is known for a while.
            let ended = request::ended(&place)
                .and_then(|ended| parse::<Ended>(ended, &place.address))
                .unwrap_or_default();
            let past = select::past(&ended.sessions, name, filter);
            let (latest, earlier) = past.split_first().ok_or(error)?;
            print(&explain::page_of_past(latest, earlier, now))
        }
    }
}

fn list(options: &SessionsOptions, place: &Place) -> Result<String, Error> {
    let mut answer = request::report(place)?;
    let report: Report = parse(answer.clone(), &place.address)?;
    let now = units::now();
    let chosen = select::several(&report.sessions, &options.filter, options.sort, now);
    if options.output == Output::Json {
        let chosen = chosen.iter().map(|&at| answer["sessions"][at].clone());
        answer["sessions"] = Value::Array(chosen.collect());
        return Ok(format!("{answer:#}\n"));
    }
    if chosen.is_empty() {
        return Ok("no sessions\n".to_owned());
    }
    let rows = chosen.iter().map(|&at| &report.sessions[at]);
    let wide = options.output == Output::Wide;
    let form = Form {
        wide,
        sort: options.sort,
        fits: terminal_width().filter(|_| !wide),
    };
    Ok(table::table(rows, form, now))
}

/// Columns of the terminal that stdout is.
fn terminal_width() -> Option<usize> {
    let is_terminal = io::stdout().is_terminal();
    let size = is_terminal.then(terminal_size::terminal_size).flatten();
    size.map(|(width, _)| width.0.into())
}

fn parse<T: DeserializeOwned>(answer: Value, address: &str) -> Result<T, Error> {
    serde_json::from_value(answer).map_err(|error| Error::Unreachable {
        address: address.to_owned(),
        reason: format!("its answer is of another version: {error}"),
    })
}

fn print(text: &str) -> Result<(), Error> {
    let mut stdout = anstream::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        // `| head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Error::io("stdout")),
    }
}
